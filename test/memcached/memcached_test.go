// Package memcached tests ocf:openstack:memcached on a real memcached, in a box: a host of its own.
package memcached

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	agent "github.com/openstack-ocf/agents/agents/memcached"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const port = 11311

func TestMain(m *testing.M) { box.Main(m) }

type host struct{ *box.Agent }

func newHost(t testing.TB) *host {
	needs.Program(t, "memcached", "memcached")
	return &host{box.NewAgent(t, box.Agent{
		Name: "memcached", Log: "/run/memcached.log",
		Params: ocftest.Params{"port": strconv.Itoa(port), "log": "/run/memcached.log", "max_connections": "200"},
		Pids:   box.Programs("memcached"), Processes: 1, Limit: 30 * time.Second, Watch: 10 * time.Second,
		Unit: &box.Unit{Direct: []string{"binary", "user", "memory", "max_connections", "log", "additional_parameters"}, Service: unit},
	})}
}

// unit is as Debian's.
func unit(p ocftest.Params) string {
	return fmt.Sprintf("User=nobody\nExecStart=/usr/bin/memcached -l 127.0.0.1 -p %s -m %s -c %s %s\n", p["port"], cmp.Or(p["memory"], "64"), p["max_connections"], p["additional_parameters"])
}

func TestContract(t *testing.T) {
	newHost(t).Contract(t, agent.New, ocftest.Params{"max_connections": "many"}, ocftest.Params{"port": "many"})
}
func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }
func TestNoForks(t *testing.T)   { newHost(t).NoForks(0, 10) }
func TestMemory(t *testing.T)    { newHost(t).Memory(10) }

// connect holds n connections until the test ends.
func (h *host) connect(n int) {
	h.T.Helper()
	for range n {
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			h.T.Fatal(err)
		}
		h.T.Cleanup(func() { _ = c.Close() })
	}
}

func TestByUnit(t *testing.T) {
	box.ByUnit(t, "started twice at once, stopped twice", "killed", "frozen", "started by hand, without a port on its command line", "port taken")
}

func TestFaults(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"started twice at once, stopped twice", func(h *host) {
			h.StartTwice()
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.OK)
			h.Stop()
			h.Stop()
		}},
		{"killed", func(h *host) {
			h.Start()
			h.Signal(syscall.SIGKILL)
			h.Monitor(0, ocf.NotRunning, "no memcached runs on 127.0.0.1:11311")
			h.Start()
		}},
		{"held by a debugger", func(h *host) { h.HeldByDebugger() }},
		{"frozen with a control group above its own", func(h *host) { h.FrozenAbove() }},
		{"frozen", func(h *host) {
			h.Start()
			h.Signal(syscall.SIGSTOP)
			h.Monitor(0, ocf.Generic, "frozen")
			h.Stop()
		}},
		{"started by hand, without a port on its command line", func(h *host) {
			box.Background(h.T, "memcached", "-u", "nobody", "-l", fmt.Sprintf("127.0.0.1:%d", port))
			box.Until(h.T, "it listens", func() bool { return h.Run(ocftest.Call{Action: ocf.Monitor}).Code == ocf.OK })
			h.Start()
			h.Running()
			h.Stop()
		}},
		{"systemd executes itself anew all the time", func(h *host) { // as at an upgrade of its package
			if box.InUnit() {
				box.Background(h.T, "sh", "-c", "while :; do systemctl daemon-reexec; done")
			}
			for range 5 {
				h.Start()
				h.Monitor(0, ocf.OK)
				h.Stop()
			}
		}},
		{"another memcached on another port", func(h *host) {
			h.Start()
			other := h.Another("port", "11312")
			other.Want(ocf.Monitor, ocf.NotRunning)
			other.Want(ocf.Stop, ocf.OK)
			h.Running()
		}},
		{"all connections in use", func(h *host) {
			h.Start()
			h.connect(200)
			h.Monitor(0, ocf.Degraded, "Too many open connections")
			h.Stop()
		}},
		{"nearly all connections in use", func(h *host) {
			h.Start()
			h.connect(162) // memcached refuses by the number of the descriptor, and has some 30 of its own
			h.Monitor(0, ocf.OK)
			h.With("degraded_connections_percent", "80").Monitor(10, ocf.Degraded, "of 200 connections are in use (degraded from 80%)")
		}},
		{"no room for a value", func(h *host) {
			h.With("additional_parameters", "-M -I 512k", "memory", "1").Start()
			box.Sh(h.T, `python3 - <<'P'
import socket
s = socket.create_connection(("127.0.0.1", %d))
f = s.makefile("rwb")
for i in range(100000):
    f.write(b"set k%%05d 0 0 22\r\n%%s\r\n" %% (i, b"x" * 22)); f.flush()
    if not f.readline().startswith(b"STORED"): break
else: raise SystemExit("it took everything")
P`, port)
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "refuses set: SERVER_ERROR out of memory")
		}},
		{"port taken", func(h *host) {
			box.Occupy(h.T, port)
			h.Want(ocf.Start, ocf.Generic, "Address already in use")
		}},
		{"no such user, no such program", func(h *host) {
			box.NotByUnit(h.T, "user and binary are refused beside it")
			h.With("user", "nobody-by-that-name").Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
			h.With("binary", "memcached-of-nobody").Want(ocf.Start, ocf.NotInstalled, "install its package")
			h.With("binary", "memcached-of-nobody").Want(ocf.Monitor, ocf.NotInstalled)
			h.Validate(ocf.OK)
			h.With("user", "nobody-by-that-name").Validate(ocf.BadArgument, "nobody-by-that-name")
		}},
	})
}

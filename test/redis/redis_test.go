// Package redis tests ocf:openstack:redis on a real Redis, in a box: a host of its own.
package redis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agent "github.com/openstack-ocf/agents/agents/redis"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const (
	port   = 6399
	dir    = "/run/redis-data"
	config = "/run/redis.conf"
	socket = "/run/redis/sock"
)

func TestMain(m *testing.M) { box.Main(m) }

type host struct{ *box.Agent }

func newHost(t testing.TB) *host {
	needs.Program(t, "redis-server", "redis-server")
	h := &host{box.NewAgent(t, box.Agent{
		Name: "redis", Log: "/run/redis.log",
		Params: ocftest.Params{"port": strconv.Itoa(port), "config": config, "log": "/run/redis.log"},
		Pids:   box.Programs("redis-server"), Processes: 1, Limit: 30 * time.Second, Watch: 10 * time.Second,
		Unit: &box.Unit{Direct: []string{"binary", "config", "user", "group", "log", "additional_parameters"}, Service: unit},
	})}
	box.Sh(t, "rm -rf %[1]s; mkdir -p %[1]s; chown redis: %[1]s; echo 'dir %[1]s' >%[2]s", dir, config)
	return h
}

// unit is as Debian's, but for the sandbox.
func unit(p ocftest.Params) string {
	args := []string{p["config"], "--supervised", "systemd", "--daemonize", "no"}
	for name, option := range map[string]string{"port": "--port", "listen": "--bind", "socket": "--unixsocket"} {
		if p[name] != "" && (name != "port" || p["socket"] == "") {
			args = append(args, option, p[name])
		}
	}
	return "Type=notify\nUser=redis\nGroup=redis\nRuntimeDirectory=redis\nUMask=007\nLimitNOFILE=65535\nExecStart=/usr/bin/redis-server " + strings.Join(args, " ") + " " + p["additional_parameters"] + "\n"
}

// configure adds to the configuration file.
func (h *host) configure(lines ...string) {
	h.T.Helper()
	box.Sh(h.T, "printf '%%s\\n' '%s' >>%s", strings.Join(lines, "' '"), config)
}

// tell sends the server commands.
func (h *host) tell(commands ...string) {
	h.T.Helper()
	c, err := new(net.Dialer).DialContext(h.T.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		h.T.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, command := range commands {
		_, _ = io.WriteString(c, command+"\r\n")
		if line, err := in.ReadString('\n'); err != nil || strings.HasPrefix(line, "-") {
			h.T.Fatalf("%s: %q, %v", command, line, err)
		}
	}
}

// connect holds n connections until the test ends.
func (h *host) connect(n int) {
	h.T.Helper()
	for range n {
		c, err := new(net.Dialer).DialContext(h.T.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			h.T.Fatal(err)
		}
		h.T.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, "PING\r\n")
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			h.T.Fatal(err)
		}
	}
}

func TestContract(t *testing.T) {
	newHost(t).Contract(t, agent.New, ocftest.Params{"degraded_memory_percent": "many"}, ocftest.Params{"port": "many"})
}
func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }
func TestNoForks(t *testing.T)   { newHost(t).NoForks(0, 10) }
func TestMemory(t *testing.T)    { newHost(t).Memory(10) }

func TestByUnit(t *testing.T) {
	box.ByUnit(t, "started twice at once, stopped twice", "killed", "frozen", "started by hand, the port in its file", "port taken")
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
			h.Monitor(0, ocf.NotRunning, "no Redis runs on 127.0.0.1:6399")
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
		{"started by hand, the port in its file", func(h *host) {
			h.configure("port 6399")
			box.Background(h.T, "redis-server", config)
			box.Until(h.T, "it listens", func() bool { return h.Run(ocftest.Call{Action: ocf.Monitor}).Code == ocf.OK })
			h.Start()
			h.Running()
			h.Stop()
		}},
		{"another Redis on another port", func(h *host) {
			h.Start()
			other := h.Another("port", "6398")
			other.Want(ocf.Monitor, ocf.NotRunning)
			other.Want(ocf.Stop, ocf.OK)
			h.Running()
		}},
		{"by its unix socket", func(h *host) {
			h.configure("port 0")
			s := h.With("port", "", "socket", socket)
			s.Start()
			s.Monitor(10, ocf.OK)
			h.Another().Want(ocf.Monitor, ocf.NotRunning)
			s.Another("socket", "/run/redis/other").Want(ocf.Monitor, ocf.NotRunning)
			s.With("socket", "relative").Want(ocf.Stop, ocf.Generic)
			box.Sh(h.T, "rm %s", socket)
			s.Monitor(0, ocf.Generic, "does not serve")
			s.Stop()
		}},
		{"it loads its data", func(h *host) {
			h.configure("enable-debug-command local", "key-load-delay 3000", "loading-process-events-interval-bytes 1024") // 3 ms for each key
			h.Start()
			h.tell("DEBUG POPULATE 1000", "SAVE")
			h.Stop()
			started := h.Go(ocftest.Call{Action: ocf.Start})
			loading := false
			box.Until(h.T, "it has loaded", func() bool {
				r := h.Run(ocftest.Call{Action: ocf.Monitor, Interval: time.Second})
				loading = loading || r.Code == ocf.Generic && strings.Contains(r.Shown(), "it still loads its data")
				return r.Code == ocf.OK
			})
			if r := <-started; r.Code != ocf.OK || !loading {
				h.T.Errorf("start: %v; seen loading: %v", r, loading)
			}
		}},
		{"it wants a password", func(h *host) {
			h.configure("requirepass geheim17")
			h.Start()
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "level 10 cannot ask it", "NOAUTH", "Set password")
			h.With("password", "geheim17").Monitor(10, ocf.OK)
			r := h.With("password", "geheim18").Monitor(0, ocf.Degraded, "refuses AUTH: WRONGPASS")
			if strings.Contains(r.Stdout+r.Stderr, "geheim") {
				h.T.Errorf("it tells the password: %v", r)
			}
			if title := box.Sh(h.T, "cat /proc/%d/cmdline", h.Running()[0]); strings.Contains(title, "geheim") {
				h.T.Errorf("its command line has the password: %q", title)
			}
			h.With("username", "nobody", "password", "geheim17").Monitor(0, ocf.Degraded, "refuses AUTH: WRONGPASS")
			h.With("username", "nobody").Want(ocf.Start, ocf.NotConfigured, "set password too")
		}},
		{"a password that it does not want", func(h *host) {
			h.Start()
			h.With("password", "geheim17").Monitor(0, ocf.Degraded, "refuses AUTH: ERR")
		}},
		{"it cannot save its data", func(h *host) {
			h.configure("save 3600 1000000", "rdbcompression no", "enable-debug-command local")
			box.Sh(h.T, "mount -t tmpfs -o size=64k,mode=777 full %s", dir)
			h.T.Cleanup(func() { box.Sh(h.T, "umount -l %s", dir) })
			h.Start()
			h.tell("DEBUG POPULATE 10000", "BGSAVE")
			box.Until(h.T, "it has failed", func() bool {
				return h.Run(ocftest.Call{Action: ocf.Monitor, Interval: time.Second}).Code == ocf.Degraded
			})
			h.Monitor(0, ocf.Degraded, "refuses PING: MISCONF")
			h.Monitor(10, ocf.Degraded, "MISCONF")
			h.tell("CONFIG SET stop-writes-on-bgsave-error no")
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "could not save its data")
			h.Stop() // although it wants to save before it ends, and cannot
		}},
		{"a replica that lost its master", func(h *host) {
			h.Start()
			h.tell("REPLICAOF 127.0.0.1 6398")
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "is a replica and has lost its master 127.0.0.1:6398")
			h.tell("CONFIG SET replica-serve-stale-data no")
			h.Monitor(0, ocf.Degraded, "refuses PING: MASTERDOWN")
		}},
		{"memory", func(h *host) {
			h.configure("maxmemory 64mb")
			h.Start()
			h.Monitor(10, ocf.OK)
			h.With("degraded_memory_percent", "1").Monitor(10, ocf.Degraded, "of 67108864 bytes of memory are in use (degraded from 1%)")
			h.tell("CONFIG SET maxmemory 1")
			h.With("degraded_memory_percent", "0").Monitor(10, ocf.Degraded, "refuses SET: OOM")
			h.Monitor(0, ocf.OK)
		}},
		{"connections", func(h *host) {
			h.configure("maxclients 50")
			h.Start()
			h.connect(46)
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "47 of 50 connections are in use (degraded from 90%)")
			h.connect(4)
			h.Monitor(0, ocf.Degraded, "ERR max number of clients reached")
			h.Stop()
		}},
		{"port taken", func(h *host) {
			box.Occupy(h.T, port)
			h.Want(ocf.Start, ocf.Generic, "Address already in use")
		}},
		{"no data directory", func(h *host) {
			box.Sh(h.T, "rm -r %s", dir)
			h.Want(ocf.Start, ocf.Generic, "dir /run/redis-data", "No such file or directory")
		}},
		{"no such user, program, configuration file", func(h *host) {
			box.NotByUnit(h.T, "all of these are refused beside it")
			h.With("user", "nobody-by-that-name").Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
			h.With("binary", "redis-of-nobody").Want(ocf.Start, ocf.NotInstalled, "install its package")
			h.With("config", "/run/nobodys.conf").Want(ocf.Start, ocf.BadArgument, "there is no configuration file /run/nobodys.conf")
			h.Validate(ocf.OK)
		}},
	})
}

package qpidd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
)

// hold keeps n connections open until the test ends.
func (h *host) hold(n int) {
	h.T.Helper()
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		c, err := goamqp.Dial(ctx, fmt.Sprintf("amqp://127.0.0.1:%d", port), &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()})
		cancel()
		if err != nil {
			h.T.Fatal(err)
		}
		h.T.Cleanup(func() { _ = c.Close() })
	}
}

func TestByUnit(t *testing.T) {
	box.ByUnit(t, "frozen by SIGSTOP", "killed, and started again at once", "started by hand", "held by a debugger")
}

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no broker.
func TestFaults(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"all levels of a healthy broker", func(h *host) {
			h.Start()
			for _, level := range []int{0, 10, 20} {
				h.Monitor(level, ocf.OK)
			}
		}},
		{"held by a debugger", func(h *host) { h.HeldByDebugger() }},
		{"frozen with a control group above its own", func(h *host) { h.FrozenAbove() }},
		{"frozen by SIGSTOP", func(h *host) {
			h.Start()
			h.Signal(syscall.SIGSTOP)
			h.Monitor(0, ocf.Generic, "frozen")
			h.Stop()
		}},
		{"killed, and started again at once", func(h *host) {
			h.Start()
			h.Signal(syscall.SIGKILL)
			h.Monitor(0, ocf.NotRunning, dataDir)
			h.Start()
			h.Monitor(10, ocf.OK)
		}},
		{"connection limit", func(h *host) {
			p := h.With("additional_parameters", "--max-connections=3")
			p.Start()
			h.hold(3)
			p.Monitor(0, ocf.Degraded, "limit")
			p.Start()
		}},
		{"connection limit near", func(h *host) {
			p := h.With("additional_parameters", "--max-connections=4")
			p.Start()
			h.hold(2)
			p.With("degraded_connections_percent", "50").Monitor(20, ocf.Degraded, "of 4 connections")
			p.With("degraded_connections_percent", "0").Monitor(20, ocf.OK)
		}},
		{"a queue that nobody reads", func(h *host) {
			h.Start()
			h.fill("orders", 50)
			h.Monitor(0, ocf.OK)
			h.Monitor(20, ocf.Degraded, "orders")
		}},
		{"AMQP 1.0 module not loaded", func(h *host) {
			p := h.With("additional_parameters", "--no-module-dir")
			p.Start()
			p.Monitor(0, ocf.Degraded, "amqp.so")
		}},
		{"store not loaded", func(h *host) {
			p := h.With("store", "legacystore")
			if h.kind == broker.Real {
				p = h.With("module_dir", h.bare(), "store", "linearstore")
			}
			p.Want(ocf.Start, ocf.NotInstalled, "not loaded")
		}},
		{"started by hand", func(h *host) {
			box.Sh(h.T, "chown root %s", dataDir)
			b := broker.Start(h.T, broker.Options{Port: port, DataDir: dataDir})
			h.Want(ocf.Monitor, ocf.OK)
			h.Start()
			h.Want(ocf.Stop, ocf.OK)
			b.Wait()
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"credentials", func(h *host) {
			broker.Start(h.T, broker.Options{Port: port, DataDir: dataDir, Users: map[string]string{"checker": "correct-horse"}, Mechs: "PLAIN"})
			file := filepath.Join(h.T.TempDir(), "creds")
			if err := os.WriteFile(file, []byte("[client]\nuser=checker\npassword=correct-horse\n"), 0o600); err != nil {
				h.T.Fatal(err)
			}
			h.With("username", "checker", "passwd", "correct-horse").Monitor(10, ocf.OK)
			h.With("credentials_file", file).Monitor(10, ocf.OK)
			h.With("username", "checker", "passwd", "wrong-horse").Monitor(0, ocf.Degraded, "checker")
			h.With("sasl_mechanism", "EXTERNAL", "username", "checker").Monitor(0, ocf.Degraded, "EXTERNAL")
			h.Monitor(0, ocf.OK) // refused, but nobody told us whom to log in as
			h.With("credentials_file", "/nowhere").Monitor(0, ocf.Degraded, "/nowhere")
			h.With("passwd", "x").Want(ocf.Monitor, ocf.NotConfigured, "username")
		}},
		{"pid file garbage, and pid reused", func(h *host) {
			stranger := box.Background(h.T, "sleep", "600")
			p := h.With("pid", "/run/qpidd-test.pid")
			p.Start()
			box.Sh(h.T, "echo garbage >/run/qpidd-test.pid")
			p.Monitor(0, ocf.OK)
			h.Signal(syscall.SIGKILL)
			box.Sh(h.T, "echo %d >/run/qpidd-test.pid", stranger.Process.Pid)
			p.Monitor(0, ocf.NotRunning)
			p.Want(ocf.Stop, ocf.OK)
			box.Unharmed(h.T, stranger)
		}},
		{"configuration deleted while running", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", config)
			h.Want(ocf.Start, ocf.BadArgument, config)
			h.Stop()
		}},
		{"an option the broker does not know", func(h *host) {
			h.With("additional_parameters", "--no-such-option").Want(ocf.Start, ocf.Generic, "no-such-option")
			h.configure("no-such-key=1")
			h.Want(ocf.Start, ocf.Generic, "no-such-key")
		}},
		{"port taken", func(h *host) {
			box.Occupy(h.T, port)
			h.Want(ocf.Start, ocf.Generic, "network address")
		}},
		{"another protocol on the port", func(h *host) {
			p := h.With("port", "5698") // the broker's own is another, and is asked there
			h.Start()
			l, err := net.Listen("tcp", "127.0.0.1:5698")
			if err != nil {
				h.T.Fatal(err)
			}
			defer l.Close()
			p.Monitor(0, ocf.OK)
			h.Signal(syscall.SIGSTOP)
			p.Monitor(0, ocf.Generic, "frozen")
		}},
		{"one that works elsewhere listens where ours would", func(h *host) {
			box.Sh(h.T, "mkdir -p /run/elsewhere; chmod a+rwx /run/elsewhere; echo auth=no >/run/other.conf")
			other := box.Background(h.T, h.Params["binary"], "--config", "/run/other.conf", "--no-module-dir", "--data-dir", "/run/elsewhere", "--port", strconv.Itoa(port), "--interface", "127.0.0.1")
			box.Until(h.T, "it listens", func() bool { return h.Run(ocftest.Call{Action: ocf.Monitor}).Code != ocf.NotRunning })
			h.Want(ocf.Monitor, ocf.Generic, "may be it: it has our address 127.0.0.1:5699, but works in ")
			h.Want(ocf.Stop, ocf.Generic, "may be it")
			box.Unharmed(h.T, other)
			_ = other.Process.Kill()
		}},
		{"data directory in use by another", func(h *host) {
			holder := box.Background(h.T, "/usr/bin/python3", "-c", fmt.Sprintf("import fcntl,os,time; f=open('%s/lock','w'); os.chmod('%s/lock',0o666); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(600)", dataDir, dataDir))
			box.Until(h.T, "the lock is held", func() bool { _, err := os.Stat(dataDir + "/lock"); return err == nil })
			h.Within(5*time.Second).Want(ocf.Start, ocf.Generic, "in use by process")
			_ = holder.Process.Kill()
			h.Start()
		}},
		{"ignores SIGTERM", func(h *host) {
			box.Stubborn(h.T, "/run/qpidd", dataDir)
			p := h.With("binary", "/run/qpidd")
			p.Monitor(0, ocf.Generic)
			p.Within(6 * time.Second).Stop()
		}},
		{"a start-up that outlives its budget", func(h *host) {
			box.Sh(h.T, "printf '#!/bin/sh\\ncd %s\\nexec sleep 600 # --data-dir\\n' >/run/slow-qpidd; chmod 755 /run/slow-qpidd", dataDir)
			slow := h.With("binary", "/run/slow-qpidd").Within(3 * time.Second)
			r := slow.Want(ocf.Start, ocf.Generic)
			if box.InUnit() { // it is not alone there, and goes on until the stop that follows a failed start
				slow.Want(ocf.Stop, ocf.OK)
			}
			if left := box.Sh(h.T, "ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -c %s || true", dataDir); left != "0" {
				h.T.Errorf("an orphan is left: %s", r)
			}
		}},
		{"two starts at once", func(h *host) {
			h.Within(20 * time.Second).StartTwice()
		}},
		{"shared storage", func(h *host) {
			p := h.With("shared_storage", "true")
			p.Want(ocf.Start, ocf.Generic, "not mounted")
			p.Want(ocf.Monitor, ocf.NotRunning)
			box.Sh(h.T, "truncate -s 200M /run/q.img; mkfs.ext4 -q -E nodiscard /run/q.img; mount -o loop /run/q.img %s; chown daemon %s", dataDir, dataDir)
			p.Start()
			p.Monitor(20, ocf.OK)
			box.Sh(h.T, "mount -t tmpfs other %s", dataDir)
			p.Monitor(0, ocf.Degraded, "umount "+dataDir+": tmpfs on other was mounted over the service's own ext4")
			box.Sh(h.T, "umount %s", dataDir)
			p.Monitor(20, ocf.OK)
			box.Sh(h.T, "umount -l %s", dataDir)
			p.Monitor(0, ocf.Generic, "no longer mounted")
			p.Stop()
		}},
		{"no such user", func(h *host) {
			h.With("user", "nobody-by-that-name").Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
		}},
		{"wrong owner of the data", func(h *host) {
			box.Sh(h.T, "chown root %s; chmod 755 %s", dataDir, dataDir)
			h.Want(ocf.Start, ocf.Permission, "chown")
		}},
		{"binary missing", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			p := h.With("binary", "/usr/sbin/no-such-qpidd")
			p.Want(ocf.Monitor, ocf.NotInstalled)
			p.Want(ocf.Start, ocf.NotInstalled)
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"roles without a cluster", func(h *host) {
			h.Start()
			h.Want(ocf.Promote, ocf.Unimplemented, "ha_cluster")
			h.Want(ocf.Demote, ocf.Unimplemented, "ha_cluster")
			h.With("ha_cluster", "true").Want(ocf.Monitor, ocf.NotConfigured, "ha_brokers_url")
		}},
		{"roles of a replicated broker", func(h *host) {
			ha := h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d", port))
			ha.Start()
			ha.Want(ocf.Monitor, ocf.OK)
			ha.Want(ocf.Promote, ocf.OK)
			ha.Want(ocf.Promote, ocf.OK)
			ha.Want(ocf.Monitor, ocf.RunningPromoted, "active")
			ha.Monitor(20, ocf.RunningPromoted)
			r := ha.Run(ocftest.Call{Action: ocf.Monitor, Interval: time.Second, Env: []string{"OCF_RESKEY_CRM_meta_role=Unpromoted"}})
			if r.Code != ocf.FailedPromoted || !strings.Contains(r.Reason, "TWO PRIMARIES") {
				h.T.Errorf("a primary that Pacemaker did not promote: %s", r)
			}
			ha.Want(ocf.Demote, ocf.OK)
			ha.Want(ocf.Demote, ocf.OK)
			ha.Want(ocf.Monitor, ocf.OK)
			h.Signal(syscall.SIGSTOP)
			ha.Within(6*time.Second).Want(ocf.Promote, ocf.Generic)
			ha.Want(ocf.Stop, ocf.OK)
			ha.Want(ocf.Promote, ocf.NotRunning)
		}},
		{"backups missing", func(h *host) {
			ha := h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d,127.0.0.1:5690", port))
			ha.Start()
			ha.Want(ocf.Promote, ocf.OK)
			ha.Monitor(20, ocf.DegradedPromoted, "1 of 2 brokers")
		}},
		{"a wrapper that executes the broker", func(h *host) {
			if h.kind != broker.Real {
				h.T.Skip("SKIP: needs qpidd (the stand-in is a script itself)")
			}
			box.Sh(h.T, `printf '#!/bin/sh\nexec %%s "$@"\n' %s >/run/wrapper; chmod 755 /run/wrapper`, h.Params["binary"])
			p := h.With("binary", "/run/wrapper")
			p.Start()
			p.Want(ocf.Monitor, ocf.OK)
			p.Want(ocf.Stop, ocf.OK)
			p.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"one broker with two addresses", func(h *host) {
			ha := h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:tcp:127.0.0.1:%d,tcp:[::1]:%[1]d", port))
			ha.Start()
			ha.Want(ocf.Promote, ocf.OK)
			ha.Monitor(20, ocf.RunningPromoted)
		}},
		{"a store on a disk of its own", func(h *host) {
			const store = "/run/store"
			box.Sh(h.T, "mkdir -p %[1]s; mount -t tmpfs -o size=8M store %[1]s; chown daemon: %[1]s; head -c 8M /dev/zero >%[1]s/filler || true", store)
			defer box.Sh(h.T, "umount %s", store)
			p := h.With("additional_parameters", "--store-dir="+store)
			p.Want(ocf.Start, ocf.Generic, "storage "+store, "is full")
			box.Sh(h.T, "rm %s/filler", store)
			p.Start()
			box.Sh(h.T, "head -c 8M /dev/zero >%s/filler || true", store)
			p.Monitor(0, ocf.Degraded, "100% full")
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"a store that is not where it is looked for", func(h *host) {
			if h.kind != broker.Real {
				h.T.Skip("SKIP: needs qpidd (the stand-in takes no shortened options)")
			}
			box.Sh(h.T, "mkdir -p /run/elsewhere; chown daemon: /run/elsewhere")
			defer box.Sh(h.T, "rm -r /run/elsewhere")
			p := h.With("additional_parameters", "--store-d=/run/elsewhere") // the broker takes it for --store-dir
			p.Start()
			p.Monitor(20, ocf.Degraded, "the store is in /run/elsewhere, and is looked after in "+dataDir)
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"a broker that should replicate and does not", func(h *host) {
			h.Start()
			h.With("ha_cluster", "true", "ha_brokers_url", "amqp:127.0.0.1").Monitor(0, ocf.Degraded, "does not replicate")
		}},
	})
}

// fill declares a queue with room for 40 kB and sends it 1 kB messages until
// the broker takes no more, at most n.
func (h *host) fill(queue string, n int) {
	h.T.Helper()
	h.send(queue, n, 1000, map[string]any{"qpid.max_size": int64(40 << 10), "qpid.flow_stop_size": int64(0)})
}

// send declares a queue and sends it messages of that size until the broker
// takes no more, at most n.
func (h *host) send(queue string, n, size int, args map[string]any) {
	h.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := goamqp.Dial(ctx, fmt.Sprintf("amqp://127.0.0.1:%d", port), &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()})
	if err != nil {
		h.T.Fatal(err)
	}
	defer c.Close()
	h.declare(ctx, c, queue, args)
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		h.T.Fatal(err)
	}
	snd, err := s.NewSender(ctx, queue, nil)
	if err != nil {
		h.T.Fatal(err)
	}
	for range n {
		if err := snd.Send(ctx, goamqp.NewMessage(make([]byte, size)), nil); err != nil {
			return // full
		}
	}
}

// bare is a module directory with AMQP 1.0 and nothing else.
func (h *host) bare() string {
	h.T.Helper()
	dir := h.T.TempDir()
	box.LetIn(h.T, dir)
	box.Sh(h.T, "cp $(find $(dirname $(dirname %s)) -name amqp.so | head -1) %s", h.Params["binary"], dir)
	return dir
}

package qpidd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	h.t.Helper()
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		c, err := goamqp.Dial(ctx, fmt.Sprintf("amqp://127.0.0.1:%d", port), &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()})
		cancel()
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { _ = c.Close() })
	}
}

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no broker.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(h *host)
	}{
		{"all levels of a healthy broker", func(h *host) {
			h.start()
			for _, level := range []int{0, 10, 20} {
				h.monitor(h.p, level, ocf.OK)
			}
		}},
		{"frozen by SIGSTOP", func(h *host) {
			h.start()
			h.signal(syscall.SIGSTOP)
			h.monitor(h.p, 0, ocf.Generic, "frozen")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"killed, and started again at once", func(h *host) {
			h.start()
			h.signal(syscall.SIGKILL)
			h.monitor(h.p, 0, ocf.NotRunning, dataDir)
			h.start()
			h.monitor(h.p, 10, ocf.OK)
		}},
		{"connection limit", func(h *host) {
			p := h.p.With("additional_parameters", "--max-connections=3")
			h.want(ocf.Start, p, ocf.OK)
			h.hold(3)
			h.monitor(p, 0, ocf.Degraded, "limit")
			h.want(ocf.Start, p, ocf.OK)
		}},
		{"connection limit near", func(h *host) {
			p := h.p.With("additional_parameters", "--max-connections=4")
			h.want(ocf.Start, p, ocf.OK)
			h.hold(2)
			h.monitor(p.With("degraded_connections_percent", "50"), 20, ocf.Degraded, "of 4 connections")
			h.monitor(p.With("degraded_connections_percent", "0"), 20, ocf.OK)
		}},
		{"a queue that nobody reads", func(h *host) {
			h.start()
			h.fill("orders", 50)
			h.monitor(h.p, 0, ocf.OK)
			h.monitor(h.p, 20, ocf.Degraded, "orders")
		}},
		{"AMQP 1.0 module not loaded", func(h *host) {
			p := h.p.With("additional_parameters", "--no-module-dir")
			h.want(ocf.Start, p, ocf.OK)
			h.monitor(p, 0, ocf.Degraded, "amqp.so")
		}},
		{"store not loaded", func(h *host) {
			p := h.p.With("store", "legacystore")
			if h.kind == broker.Real {
				dir := h.t.TempDir() // a module directory with AMQP 1.0 and nothing else
				box.Sh(h.t, "chmod a+rx %s %s; cp $(find $(dirname $(dirname %s)) -name amqp.so | head -1) %s", dir, filepath.Dir(dir), h.p["binary"], dir)
				p = h.p.With("module_dir", dir, "store", "linearstore")
			}
			h.want(ocf.Start, p, ocf.Installed, "not loaded")
		}},
		{"started by hand", func(h *host) {
			box.Sh(h.t, "chown root %s", dataDir)
			b := broker.Start(h.t, broker.Options{Port: port, DataDir: dataDir})
			h.want(ocf.Monitor, h.p, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
			b.Wait()
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"credentials", func(h *host) {
			broker.Start(h.t, broker.Options{Port: port, DataDir: dataDir, Users: map[string]string{"checker": "correct-horse"}, Mechs: "PLAIN"})
			file := filepath.Join(h.t.TempDir(), "creds")
			if err := os.WriteFile(file, []byte("[client]\nuser=checker\npassword=correct-horse\n"), 0o600); err != nil {
				h.t.Fatal(err)
			}
			h.monitor(h.p.With("username", "checker", "passwd", "correct-horse"), 10, ocf.OK)
			h.monitor(h.p.With("credentials_file", file), 10, ocf.OK)
			h.monitor(h.p.With("username", "checker", "passwd", "wrong-horse"), 0, ocf.Degraded, "checker")
			h.monitor(h.p.With("sasl_mechanism", "EXTERNAL", "username", "checker"), 0, ocf.Degraded, "EXTERNAL")
			h.monitor(h.p, 0, ocf.OK) // refused, but nobody told us whom to log in as
			h.monitor(h.p.With("credentials_file", "/nowhere"), 0, ocf.Degraded, "/nowhere")
			h.want(ocf.Monitor, h.p.With("passwd", "x"), ocf.Configured, "username")
		}},
		{"pid file garbage, and pid reused", func(h *host) {
			stranger := h.background("sleep", "600")
			p := h.p.With("pid", "/run/qpidd-test.pid")
			h.want(ocf.Start, p, ocf.OK)
			box.Sh(h.t, "echo garbage >/run/qpidd-test.pid")
			h.monitor(p, 0, ocf.OK)
			h.signal(syscall.SIGKILL)
			box.Sh(h.t, "echo %d >/run/qpidd-test.pid", stranger.Process.Pid)
			h.monitor(p, 0, ocf.NotRunning)
			h.want(ocf.Stop, p, ocf.OK)
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				h.t.Errorf("the stranger was signalled: %v", err)
			}
		}},
		{"configuration deleted while running", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", config)
			h.want(ocf.Start, h.p, ocf.Args, config)
			h.want(ocf.Stop, h.p, ocf.OK)
			if left := h.brokers(); len(left) > 0 {
				h.t.Errorf("stop said 0, and %v run", left)
			}
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"an option the broker does not know", func(h *host) {
			h.want(ocf.Start, h.p.With("additional_parameters", "--no-such-option"), ocf.Generic, "no-such-option")
			h.configure("no-such-key=1")
			h.want(ocf.Start, h.p, ocf.Generic, "no-such-key")
		}},
		{"port taken", func(h *host) {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				h.t.Fatal(err)
			}
			defer l.Close()
			h.want(ocf.Start, h.p, ocf.Generic, "network address")
		}},
		{"another protocol on the port", func(h *host) {
			p := h.p.With("port", "5698") // the broker's own is another
			h.start()
			l, err := net.Listen("tcp", "127.0.0.1:5698")
			if err != nil {
				h.t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
					_ = c.Close()
				}
			}()
			h.monitor(p, 0, ocf.Generic, "SSH")
		}},
		{"data directory in use by another", func(h *host) {
			holder := h.background("/usr/bin/python3", "-c", fmt.Sprintf("import fcntl,os,time; f=open('%s/lock','w'); os.chmod('%s/lock',0o666); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(600)", dataDir, dataDir))
			box.Until(h.t, "the lock is held", func() bool { _, err := os.Stat(dataDir + "/lock"); return err == nil })
			h.run.Want(h.t, ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 5 * time.Second}, ocf.Generic, "in use by process")
			_ = holder.Process.Kill()
			h.start()
		}},
		{"ignores SIGTERM", func(h *host) {
			box.Sh(h.t, "cp /proc/%d/exe /run/qpidd", os.Getpid())
			defer box.Sh(h.t, "rm /run/qpidd")
			h.t.Setenv("STUBBORN", "1")
			c := h.background("/run/qpidd")
			os.Unsetenv("STUBBORN")
			box.Until(h.t, "it is in the data directory", func() bool {
				cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", c.Process.Pid))
				return cwd == dataDir
			})
			p := h.p.With("binary", "/run/qpidd")
			h.monitor(p, 0, ocf.Generic)
			h.run.Want(h.t, ocftest.Call{Action: ocf.Stop, Params: p, Timeout: 6 * time.Second}, ocf.OK)
			h.want(ocf.Monitor, p, ocf.NotRunning)
		}},
		{"a start-up that outlives its budget", func(h *host) {
			box.Sh(h.t, "printf '#!/bin/sh\\ncd %s\\nexec sleep 600 # --data-dir\\n' >/run/slow-qpidd; chmod 755 /run/slow-qpidd", dataDir)
			r := h.run.Want(h.t, ocftest.Call{Action: ocf.Start, Params: h.p.With("binary", "/run/slow-qpidd"), Timeout: 3 * time.Second}, ocf.Generic)
			if left := box.Sh(h.t, "ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -c %s || true", dataDir); left != "0" {
				h.t.Errorf("an orphan is left: %s", r)
			}
		}},
		{"two starts at once", func(h *host) {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if r := h.run(context.Background(), ocftest.Call{Action: ocf.Start, Params: h.p}); r.Code != ocf.OK {
						h.t.Errorf("start: %s", r)
					}
				})
			}
			wg.Wait()
			if n := len(h.brokers()); n != 1 {
				h.t.Errorf("%d brokers", n)
			}
		}},
		{"shared storage", func(h *host) {
			p := h.p.With("shared_storage", "true")
			h.want(ocf.Start, p, ocf.Generic, "not mounted")
			h.want(ocf.Monitor, p, ocf.NotRunning)
			box.Sh(h.t, "truncate -s 200M /run/q.img; mkfs.ext4 -q -E nodiscard /run/q.img; mount -o loop /run/q.img %s; chown daemon %s", dataDir, dataDir)
			h.want(ocf.Start, p, ocf.OK)
			h.monitor(p, 20, ocf.OK)
			box.Sh(h.t, "umount -l %s", dataDir)
			h.monitor(p, 0, ocf.Generic, "no longer mounted")
			h.want(ocf.Stop, p, ocf.OK)
			h.want(ocf.Monitor, p, ocf.NotRunning)
		}},
		{"no such user", func(h *host) {
			h.want(ocf.Start, h.p.With("user", "nobody-by-that-name"), ocf.Args, "nobody-by-that-name")
		}},
		{"wrong owner of the data", func(h *host) {
			box.Sh(h.t, "chown root %s; chmod 755 %s", dataDir, dataDir)
			h.want(ocf.Start, h.p, ocf.Permission, "chown")
		}},
		{"binary missing", func(h *host) {
			p := h.p.With("binary", "/usr/sbin/no-such-qpidd")
			h.want(ocf.Monitor, p, ocf.Installed)
			h.want(ocf.Start, p, ocf.Installed)
			h.want(ocf.Stop, p, ocf.OK)
		}},
		{"roles without a cluster", func(h *host) {
			h.start()
			h.want(ocf.Promote, h.p, ocf.Unimplemented, "ha_cluster")
			h.want(ocf.Demote, h.p, ocf.Unimplemented, "ha_cluster")
			h.want(ocf.Monitor, h.p.With("ha_cluster", "true"), ocf.Configured, "ha_brokers_url")
		}},
		{"roles of a replicated broker", func(h *host) {
			ha := h.p.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d", port))
			h.want(ocf.Start, ha, ocf.OK)
			h.want(ocf.Monitor, ha, ocf.OK)
			h.want(ocf.Promote, ha, ocf.OK)
			h.want(ocf.Promote, ha, ocf.OK)
			h.want(ocf.Monitor, ha, ocf.RunningPromoted, "active")
			h.monitor(ha, 20, ocf.RunningPromoted)
			r := h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: ha, Interval: time.Second, Env: []string{"OCF_RESKEY_CRM_meta_role=Unpromoted"}})
			if r.Code != ocf.FailedPromoted || !strings.Contains(r.Reason, "TWO PRIMARIES") {
				h.t.Errorf("a primary that Pacemaker did not promote: %s", r)
			}
			h.want(ocf.Demote, ha, ocf.OK)
			h.want(ocf.Demote, ha, ocf.OK)
			h.want(ocf.Monitor, ha, ocf.OK)
			h.signal(syscall.SIGSTOP)
			h.run.Want(h.t, ocftest.Call{Action: ocf.Promote, Params: ha, Timeout: 6 * time.Second}, ocf.Generic)
			h.want(ocf.Stop, ha, ocf.OK)
			h.want(ocf.Promote, ha, ocf.NotRunning)
		}},
		{"backups missing", func(h *host) {
			ha := h.p.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d,127.0.0.1:5690", port))
			h.want(ocf.Start, ha, ocf.OK)
			h.want(ocf.Promote, ha, ocf.OK)
			h.monitor(ha, 20, ocf.DegradedPromoted, "1 of 2 brokers")
		}},
		{"a broker that should replicate and does not", func(h *host) {
			h.start()
			h.monitor(h.p.With("ha_cluster", "true", "ha_brokers_url", "amqp:127.0.0.1"), 0, ocf.Degraded, "does not replicate")
		}},
	} {
		t.Run(row.name, func(t *testing.T) { row.do(newHost(t)) })
	}
}

// fill declares a queue with room for 40 kB and sends it 1 kB messages until
// the broker takes no more, at most n.
func (h *host) fill(queue string, n int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := goamqp.Dial(ctx, fmt.Sprintf("amqp://127.0.0.1:%d", port), &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()})
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	h.declare(ctx, c, queue, map[string]any{"qpid.max_size": int64(40 << 10), "qpid.flow_stop_size": int64(0)})
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	snd, err := s.NewSender(ctx, queue, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for range n {
		if err := snd.Send(ctx, goamqp.NewMessage(make([]byte, 1000)), nil); err != nil {
			return // full
		}
	}
}

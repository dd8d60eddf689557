package haproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no HAProxy running.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(h *host)
	}{
		{"configuration broken", func(h *host) {
			h.write(config, text+"    balance sideways\n")
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.want(ocf.Start, h.p, ocf.Args, config+":26", "balance only supports")
			h.run.Want(h.t, ocftest.Call{Action: ocf.ValidateAll, Params: h.p, Level: 10}, ocf.Args, "balance only supports")
			h.want(ocf.ValidateAll, h.p, ocf.OK)
		}},
		{"the error's words are HAProxy's, however it puts them", func(h *host) {
			h.write(config, with(h.t, "server c1 127.0.0.1:8000 check inter 100ms", "server c1"))
			h.want(ocf.Start, h.p, ocf.Args, "'server'", "expects")
		}},
		{"configuration missing", func(h *host) {
			h.want(ocf.Start, h.p.With("config", "/run/nowhere.cfg"), ocf.Args, "/run/nowhere.cfg")
		}},
		{"configuration deleted while running", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", config)
			h.monitor(h.p, 0, ocf.Degraded, config)
			h.want(ocf.Start, h.p, ocf.OK)
			h.refused(config, "serves on")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"configuration broken while running", func(h *host) {
			h.servers()
			h.start()
			before := h.processes()
			h.write(config, text+"    balance sideways\n")
			h.refused("not reloaded", "serves on", "balance only supports")
			if _, err := get(url); err != nil {
				h.t.Errorf("it does not serve: %v", err)
			}
			if after := h.processes(); fmt.Sprint(after) != fmt.Sprint(before) {
				h.t.Errorf("processes %v became %v", before, after)
			}
			h.write(config, text)
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
			h.monitor(h.p, 0, ocf.OK)
		}},
		{"configuration edited and not reloaded", func(h *host) {
			h.start()
			h.write(config, with(h.t, ":9696", ":9697"))
			h.monitor(h.p, 0, ocf.Degraded, "0.0.0.0:9697", "neutron", "reload")
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
			h.monitor(h.p, 0, ocf.OK)
		}},
		{"a directory as configuration", func(h *host) {
			box.Sh(h.t, "mkdir -p /run/conf.d; mv %s /run/conf.d/10.cfg", config)
			defer box.Sh(h.t, "rm -r /run/conf.d")
			p := h.p.With("config", "/run/conf.d")
			h.want(ocf.Start, p, ocf.OK)
			h.monitor(p, 0, ocf.OK)
			h.want(ocf.ReloadAgent, p, ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
			h.gone()
		}},
		{"pid file garbage", func(h *host) {
			h.start()
			box.Sh(h.t, "echo -n 'not a pid \\200' >%s", pidFile)
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"pid file deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", pidFile)
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			h.family()
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"pid reused by a stranger", func(h *host) {
			stranger := h.background("sleep", "600")
			h.start()
			m, _ := h.family()
			h.kill(m, syscall.SIGKILL)
			h.gone()
			box.Sh(h.t, "echo %d >%s", stranger.Process.Pid, pidFile)
			h.monitor(h.p, 0, ocf.NotRunning)
			h.want(ocf.Stop, h.p, ocf.OK)
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				h.t.Errorf("the stranger was signalled: %v", err)
			}
		}},
		{"a stranger's HAProxy", func(h *host) {
			h.write("/run/other.cfg", "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend metadata\n bind 127.0.0.1:9697\n")
			other := h.background("haproxy", "-db", "-f", "/run/other.cfg", "-p", "/run/other.pid")
			h.until("the other one serves", func() bool { return strings.Contains(box.Sh(h.t, "ss -ltn"), ":9697 ") })
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.start()
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
			if err := other.Process.Signal(syscall.Signal(0)); err != nil {
				h.t.Errorf("the other one was stopped: %v", err)
			}
			_ = other.Process.Kill()
			h.gone()
		}},
		{"somebody checks the configuration", func(h *host) {
			h.write(config, with(h.t, "global\n", "global\n    lua-load /run/slow.lua\n"))
			h.write("/run/slow.lua", "os.execute('sleep 600')\n")
			h.background("haproxy", "-c", "-f", config)
			h.until("it runs", func() bool { return len(h.processes()) == 1 })
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.write(config, text)
			box.Sh(h.t, "kill -9 $(pgrep -x sleep) $(pgrep -x haproxy)")
			h.gone()
		}},
		{"frozen master", func(h *host) {
			h.start()
			m, _ := h.family()
			h.kill(m, syscall.SIGSTOP)
			h.monitor(h.p, 0, ocf.Generic, "frozen", "master", fmt.Sprint(m))
			h.want(ocf.Start, h.p, ocf.Generic, "frozen")
			h.want(ocf.ReloadAgent, h.p, ocf.Generic, "frozen")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"frozen worker", func(h *host) {
			h.start()
			_, w := h.family()
			h.kill(w, syscall.SIGSTOP)
			h.monitor(h.p, 0, ocf.Generic, "frozen", "worker", fmt.Sprint(w))
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"a worker that hangs", func(h *host) {
			h.write(config, with(h.t, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "    nbthread 1\n    lua-load /run/hang.lua\n    insecure-fork-wanted\n"))
			h.write("/run/hang.lua", "core.register_cli({'hang'}, '', function() os.execute('sleep 600') end)\n")
			h.start()
			c, err := net.Dial("unix", socket)
			if err != nil {
				h.t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintln(c, "hang")
			h.until("it hangs", func() bool { return box.Sh(h.t, "pgrep -xc sleep || true") == "1" })
			_, w := h.family()
			h.monitor(h.p, 0, ocf.Generic, "does not answer", fmt.Sprint(w))
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"worker killed", func(h *host) {
			h.start()
			_, w := h.family()
			h.kill(w, syscall.SIGKILL)
			h.gone()
			h.monitor(h.p, 0, ocf.NotRunning)
			h.start()
		}},
		{"worker killed, master told to stay", func(h *host) {
			h.write(config, with(h.t, "global\n", "global\n    master-worker no-exit-on-failure\n"))
			h.start()
			_, w := h.family()
			h.kill(w, syscall.SIGKILL)
			h.until("it is gone", func() bool { return len(h.processes()) < 2 })
			r := h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: h.p, Interval: 10 * time.Second})
			if n := len(h.processes()); (n == 0) != (r.Code == ocf.NotRunning) || n > 0 && r.Code != ocf.Generic {
				h.t.Errorf("%d processes are left: %s", n, r)
			}
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"master killed", func(h *host) {
			h.start()
			m, _ := h.family()
			h.kill(m, syscall.SIGKILL)
			h.gone() // the worker sees it
			h.monitor(h.p, 0, ocf.NotRunning)
		}},
		{"master killed, worker frozen", func(h *host) {
			h.start()
			m, w := h.family()
			h.kill(w, syscall.SIGSTOP)
			h.kill(m, syscall.SIGKILL)
			h.until("the master is gone", func() bool { return len(h.processes()) == 1 })
			h.monitor(h.p, 0, ocf.Generic)
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"port taken", func(h *host) {
			h.occupy(5000)
			h.want(ocf.Start, h.p, ocf.Generic, "127.0.0.1:5000", "keystone", "python3")
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"port of the new configuration taken", func(h *host) {
			h.servers()
			h.start()
			h.occupy(5001)
			h.write(config, with(h.t, "127.0.0.1:5000", "127.0.0.1:5001"))
			stop, failures := h.load(url, 2)
			h.refused("not reloaded", "serves on", "127.0.0.1:5001", "python3")
			if n := stop(); n == 0 || len(failures()) > 0 {
				h.t.Errorf("%d requests, failed: %v", n, failures())
			}
			h.monitor(h.p, 0, ocf.Degraded, "127.0.0.1:5001")
			h.run.Want(h.t, ocftest.Call{Action: ocf.ValidateAll, Params: h.p, Level: 10}, ocf.Args, "127.0.0.1:5001", "python3")
			h.write(config, text)
			h.run.Want(h.t, ocftest.Call{Action: ocf.ValidateAll, Params: h.p, Level: 10}, ocf.OK)
		}},
		{"chroot directory missing", func(h *host) {
			h.servers()
			h.write(config, with(h.t, "/var/lib/haproxy", "/var/lib/nowhere"))
			h.want(ocf.Start, h.p, ocf.Args, "/var/lib/nowhere")
			h.write(config, text)
			h.start()
			h.write(config, with(h.t, "/var/lib/haproxy", "/var/lib/nowhere"))
			h.refused("serves on", "/var/lib/nowhere")
			if _, err := get(url); err != nil {
				h.t.Error(err)
			}
		}},
		{"no such user", func(h *host) {
			h.write(config, with(h.t, "user haproxy", "user nobody-by-that-name"))
			h.want(ocf.Start, h.p, ocf.Args, "nobody-by-that-name")
		}},
		{"backend down", func(h *host) {
			h.start()
			h.until("the check has failed", func() bool { return h.status("keystone", "BACKEND") == "DOWN" })
			h.monitor(h.p, 0, ocf.OK)
			h.monitor(h.p, 10, ocf.Degraded, "keystone", "c1 DOWN", "Connection refused")
			h.servers()
			h.until("the check has passed", func() bool { _, err := get(url); return err == nil })
			h.monitor(h.p, 10, ocf.OK)
		}},
		{"one of two servers down", func(h *host) {
			h.servers()
			const c1 = "    server c1 127.0.0.1:8000 check inter 100ms\n"
			h.write(config, with(h.t, c1, c1+"    server c2 127.0.0.1:8002 check inter 100ms\n"))
			h.start()
			h.until("c2 is down", func() bool { return h.status("keystone", "c2") == "DOWN" })
			h.monitor(h.p, 10, ocf.OK)
		}},
		{"two backends down", func(h *host) {
			h.write(config, with(h.t, "bind :9696\n", "bind :9696\n    default-server check inter 100ms\n"))
			h.start()
			for _, backend := range []string{"keystone", "neutron"} {
				h.until(backend+" is down", func() bool { return h.status(backend, "BACKEND") == "DOWN" })
			}
			h.monitor(h.p, 10, ocf.Degraded, "no server is up in: keystone (c1 DOWN", "neutron (c1 DOWN")
		}},
		{"check_url", func(h *host) {
			h.write(config, with(h.t, "check inter 100ms", ""))
			h.start()
			h.monitor(h.p.With("check_url", url), 10, ocf.Degraded, url, "503")
			h.monitor(h.p.With("check_url", url), 0, ocf.OK)
			h.monitor(h.p.With("check_url", "http://127.0.0.1:5099/"), 10, ocf.Generic, "refuses", ":5099")
			h.monitor(h.p.With("statusurl", "http://192.0.2.1:5000/"), 10, ocf.OK) // not an address of this node
			h.monitor(h.p.With("check_url", "ftp://x"), 10, ocf.Configured, "check_url")
			l, err := net.Listen("tcp", "127.0.0.1:5098") // accepts, and says nothing
			if err != nil {
				h.t.Fatal(err)
			}
			defer l.Close()
			h.monitor(h.p.With("check_url", "http://ops:secret@127.0.0.1:5098/"), 10, ocf.Degraded, "no answer", "ops:xxxxx@")
			h.servers()
			h.monitor(h.p.With("check_url", url), 10, ocf.OK)
		}},
		{"frontend disabled by hand", func(h *host) {
			h.start()
			h.tell("disable frontend keystone")
			h.monitor(h.p, 0, ocf.Degraded, "keystone is PAUSED")
			h.tell("disable frontend neutron")
			h.tell("disable frontend database")
			h.monitor(h.p, 0, ocf.Generic, "no frontend serves")
			h.tell("enable frontend keystone")
			h.monitor(h.p, 0, ocf.Degraded, "neutron")
		}},
		{"in a soft stop", func(h *host) {
			h.servers()
			h.start()
			c := h.connect()
			defer c.Close()
			m, _ := h.family()
			h.kill(m, syscall.SIGUSR1)
			h.until("it stops", func() bool { return !strings.Contains(box.Sh(h.t, "ss -ltn"), ":5000 ") })
			h.monitor(h.p, 0, ocf.Generic)
			h.want(ocf.Stop, h.p.With("soft_stop", "0"), ocf.OK)
			h.gone()
		}},
		{"stats socket deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", socket)
			h.monitor(h.p, 0, ocf.Degraded, socket)
			h.want(ocf.Stop, h.p, ocf.OK)
		}},
		{"master's socket deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", master)
			h.monitor(h.p, 0, ocf.Degraded, master, "reload")
			h.want(ocf.Start, h.p, ocf.OK)
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
			h.monitor(h.p, 0, ocf.OK)
		}},
		{"all sockets deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm -r /run/haproxy.ocf %s", socket)
			h.monitor(h.p, 0, ocf.Degraded, "cannot be asked")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"binary missing", func(h *host) {
			p := h.p.With("binary", "/usr/sbin/no-such-haproxy")
			h.want(ocf.Monitor, p, ocf.Installed, "no-such-haproxy")
			h.want(ocf.Start, p, ocf.Installed)
			h.want(ocf.Stop, p, ocf.OK)
			h.start()
			h.want(ocf.Monitor, p, ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
			h.gone()
		}},
		{"binary replaced while running", func(h *host) {
			box.Sh(h.t, "cp /usr/sbin/haproxy /run/haproxy.new; mv /run/haproxy.new /run/tmp/haproxy")
			p := h.p.With("binary", "/run/tmp/haproxy")
			h.want(ocf.Start, p, ocf.OK)
			box.Sh(h.t, "cp /usr/sbin/haproxy /run/haproxy.new; mv /run/haproxy.new /run/tmp/haproxy")
			h.monitor(p, 0, ocf.OK)
			h.want(ocf.ReloadAgent, p, ocf.OK)
			h.monitor(p, 0, ocf.OK)
			box.Sh(h.t, "rm /run/tmp/haproxy")
			h.monitor(p, 0, ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
			h.gone()
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
			h.family()
			h.monitor(h.p, 0, ocf.OK)
		}},
		{"two that share the ports", func(h *host) {
			h.start()
			h.background("haproxy", "-W", "-db", "-f", config)
			h.until("both run", func() bool { return len(h.processes()) == 4 })
			h.until("both serve", func() bool { return strings.Count(box.Sh(h.t, "ss -ltn"), "127.0.0.1:5000 ") == 2 })
			h.monitor(h.p, 0, ocf.Degraded, "share the connections")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"stop during start", func(h *host) {
			h.write(config, with(h.t, "global\n", "global\n    lua-load /run/slow.lua\n"))
			h.write("/run/slow.lua", "os.execute('test -e /run/checked && sleep 2; touch /run/checked')\n")
			defer box.Sh(h.t, "rm -f /run/checked")
			started := make(chan ocftest.Result, 1)
			go func() {
				started <- h.run(context.Background(), ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 30 * time.Second})
			}()
			h.until("it starts", func() bool { _, err := os.Stat("/run/checked"); return err == nil && len(h.processes()) > 0 })
			h.want(ocf.Stop, h.p, ocf.OK)
			<-started
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"started by an init script", func(h *host) {
			h.servers()
			box.Sh(h.t, "mkdir -p /run/haproxy; haproxy -D -f %s -p %s", config, pidFile)
			h.want(ocf.Monitor, h.p, ocf.OK)
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			if n := len(h.processes()); n != 1 {
				h.t.Errorf("%d processes", n)
			}
			h.want(ocf.ReloadAgent, h.p, ocf.OK) // by taking over
			h.monitor(h.p, 0, ocf.OK)
			h.until("the former one is gone", func() bool { return len(h.processes()) == 2 })
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"started by a unit", func(h *host) {
			h.servers()
			box.Sh(h.t, "mkdir -p /run/haproxy")
			h.background("haproxy", "-W", "-db", "-f", config, "-p", "/run/by-hand.pid", "-S", "/run/haproxy-master.sock")
			h.until("it serves", func() bool { _, err := get(url); return err == nil })
			m, w := h.family()
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			h.write(config, with(h.t, "X-Generation 0", "X-Generation 1"))
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
			if g, err := get(url); g != "1" || err != nil {
				h.t.Errorf("generation %s, %v", g, err)
			}
			h.until("the old worker is gone", func() bool { return len(h.processes()) == 2 })
			if m2, w2 := h.family(); m2 != m || w2 == w {
				h.t.Errorf("master %d became %d, worker %d %d", m, m2, w, w2)
			}
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"started by hand, with no socket to ask", func(h *host) {
			h.write(config, with(h.t, "    stats socket /run/haproxy/admin.sock mode 660 level admin\n", ""))
			box.Sh(h.t, "haproxy -D -f %s", config)
			h.monitor(h.p, 0, ocf.Degraded, "cannot be asked")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.gone()
		}},
		{"the floating IP is not here", func(h *host) {
			const vip = "192.0.2.203"
			h.servers()
			level10 := ocftest.Call{Action: ocf.ValidateAll, Params: h.p, Level: 10}
			h.write(config, with(h.t, "127.0.0.1:5000", vip+":5000"))
			h.run.Want(h.t, level10, ocf.Args, vip, "ip_nonlocal_bind", "transparent")
			h.want(ocf.Start, h.p, ocf.Generic, vip, "ip_nonlocal_bind", "transparent")
			h.write(config, with(h.t, "127.0.0.1:5000", vip+":5000 transparent"))
			h.run.Want(h.t, level10, ocf.OK)
			h.start()
			h.monitor(h.p, 10, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)

			h.write(config, with(h.t, "127.0.0.1:5000", vip+":5000"))
			box.Sh(h.t, "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind")
			defer box.Sh(h.t, "echo 0 >/proc/sys/net/ipv4/ip_nonlocal_bind")
			h.run.Want(h.t, level10, ocf.OK)
			h.start()
			h.monitor(h.p.With("check_url", "http://"+vip+":5000/"), 10, ocf.OK)
			box.Sh(h.t, "ip addr add %s/32 dev lo", vip) // the floating IP comes
			defer box.Sh(h.t, "ip addr del %s/32 dev lo || true", vip)
			if _, err := get("http://" + vip + ":5000/"); err != nil {
				h.t.Errorf("on the floating IP: %v", err)
			}
			h.monitor(h.p.With("check_url", "http://"+vip+":5000/"), 10, ocf.OK)
			box.Sh(h.t, "ip addr del %s/32 dev lo", vip) // and goes
			h.monitor(h.p, 10, ocf.OK)
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
		}},
		{"stop with a long-lived connection", func(h *host) {
			h.servers()
			h.start()
			c := h.connect()
			defer c.Close()
			r := h.want(ocf.Stop, h.p.With("soft_stop", "2s"), ocf.OK)
			h.gone()
			if r.Elapsed < 2*time.Second || r.Elapsed > 6*time.Second {
				h.t.Errorf("stop took %v, of which 2 s are for connections to end", r.Elapsed)
			}
			h.start()
			c = h.connect()
			go func() { time.Sleep(time.Second); c.Close() }()
			if r := h.want(ocf.Stop, h.p.With("soft_stop", "10s"), ocf.OK); r.Elapsed > 5*time.Second {
				h.t.Errorf("stop took %v, though the last connection ended after 1 s", r.Elapsed)
			}
		}},
		{"stop while an old worker drains", func(h *host) {
			h.servers()
			h.start()
			c := h.connect()
			defer c.Close()
			h.want(ocf.ReloadAgent, h.p, ocf.OK)
			if n := len(h.processes()); n != 3 {
				h.t.Errorf("%d processes, want a master and two workers", n)
			}
			h.monitor(h.p, 0, ocf.OK)
			h.monitor(h.p, 10, ocf.OK)
			h.echo(c)
			h.want(ocf.Stop, h.p.With("soft_stop", "1"), ocf.OK)
			h.gone()
		}},
		{"parameters", func(h *host) {
			h.want(ocf.Start, ocftest.Params{"conffile": config, "pidfile": pidFile, "binpath": "/usr/sbin/haproxy", "extraconf": "-n 300"}, ocf.OK)
			h.want(ocf.Monitor, h.p.With("additional_parameters", "-n 300"), ocf.OK)
			h.want(ocf.Monitor, h.p.With("conffile", config), ocf.Configured, "conffile")
			h.want(ocf.Start, h.p.With("additional_parameters", "-db"), ocf.Configured, "-db")
			h.want(ocf.Start, h.p.With("config", "haproxy.cfg"), ocf.Configured, "config")
		}},
		{"not root", func(h *host) {
			h.start()
			box.Sh(h.t, "chmod -R a+rX /run/tmp")
			cmd := h.as("nobody", ocf.Monitor)
			out, _ := cmd.CombinedOutput()
			if code := ocf.Code(cmd.ProcessState.ExitCode()); code != ocf.Permission {
				h.t.Errorf("exit %d: %s", code, out)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) { row.do(newHost(t)) })
	}
}

// connect opens a long-lived connection through HAProxy, and proves that it carries.
func (h *host) connect() net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:3306")
	if err != nil {
		h.t.Fatal(err)
	}
	h.echo(c)
	return c
}

func (h *host) echo(c net.Conn) {
	h.t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintln(c, "still there?")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "still there?\n" {
		h.t.Errorf("long-lived connection: %q, %v", line, err)
	}
}

package haproxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

func TestByUnit(t *testing.T) {
	box.ByUnit(t, "configuration broken while running", "frozen master", "frozen worker", "worker killed", "master killed", "port taken",
		"two starts at once", "stop during start", "started by an init script", "stop with a long-lived connection")
}

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no HAProxy running.
func TestFaults(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"configuration broken", func(h *host) {
			box.NotByUnit(h.T, "it is its check that fails then, as any failed start")
			h.write(config, text+"    balance sideways\n")
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.Want(ocf.Start, ocf.BadArgument, config+":26", "balance only supports")
			h.Validate(ocf.BadArgument, "balance only supports")
			h.Want(ocf.ValidateAll, ocf.OK)
		}},
		{"the error's words are HAProxy's, however it puts them", func(h *host) {
			box.NotByUnit(h.T, "it is its check that fails then, as any failed start")
			h.write(config, with(h.T, "server c1 127.0.0.1:8000 check inter 100ms", "server c1"))
			h.Want(ocf.Start, ocf.BadArgument, "'server'", "expects")
		}},
		{"configuration missing", func(h *host) {
			box.NotByUnit(h.T, "config is refused beside it")
			h.With("config", "/run/nowhere.cfg").Want(ocf.Start, ocf.BadArgument, "/run/nowhere.cfg")
		}},
		{"configuration deleted while running", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", config)
			h.Monitor(0, ocf.Degraded, config)
			h.Start()
			h.refused(config, "serves on")
			h.Stop()
		}},
		{"configuration broken while running", func(h *host) {
			h.servers()
			h.Start()
			before := h.Pids()
			h.write(config, text+"    balance sideways\n")
			h.refused("not reloaded", "serves on", "balance only supports")
			if _, err := get(url); err != nil {
				h.T.Errorf("it does not serve: %v", err)
			}
			if after := h.Pids(); fmt.Sprint(after) != fmt.Sprint(before) {
				h.T.Errorf("processes %v became %v", before, after)
			}
			h.write(config, text)
			h.Want(ocf.ReloadAgent, ocf.OK)
			h.Monitor(0, ocf.OK)
		}},
		{"configuration edited and not reloaded", func(h *host) {
			h.Start()
			h.write(config, with(h.T, ":9696", ":9697"))
			h.Monitor(0, ocf.Degraded, "0.0.0.0:9697", "neutron", "reload")
			h.Want(ocf.ReloadAgent, ocf.OK)
			h.Monitor(0, ocf.OK)
		}},
		{"a directory as configuration", func(h *host) {
			box.NotByUnit(h.T, "config is refused beside it")
			box.Sh(h.T, "mkdir -p /run/conf.d; mv %s /run/conf.d/10.cfg", config)
			defer box.Sh(h.T, "rm -r /run/conf.d")
			p := h.With("config", "/run/conf.d")
			p.Start()
			p.Monitor(0, ocf.OK)
			p.Want(ocf.ReloadAgent, ocf.OK)
			p.Stop()
		}},
		{"pid file garbage", func(h *host) {
			h.Start()
			box.Sh(h.T, "echo -n 'not a pid \\200' >%s", pidFile)
			h.Monitor(0, ocf.OK)
			h.Stop()
		}},
		{"pid file deleted", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", pidFile)
			h.Monitor(0, ocf.OK)
			h.Start()
			h.family()
			h.Stop()
		}},
		{"pid reused by a stranger", func(h *host) {
			stranger := box.Background(h.T, "sleep", "600")
			h.Start()
			m, _ := h.family()
			box.Signal(h.T, syscall.SIGKILL, m)
			h.Gone()
			box.Sh(h.T, "echo %d >%s", stranger.Process.Pid, pidFile)
			h.Monitor(0, ocf.NotRunning)
			h.Want(ocf.Stop, ocf.OK)
			box.Unharmed(h.T, stranger)
		}},
		{"a stranger's HAProxy", func(h *host) {
			h.write("/run/other.cfg", "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend metadata\n bind 127.0.0.1:9697\n")
			other := box.Background(h.T, "haproxy", "-db", "-f", "/run/other.cfg", "-p", "/run/other.pid")
			box.Until(h.T, "the other one serves", func() bool { return strings.Contains(box.Sh(h.T, "ss -ltn"), ":9697 ") })
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.Start()
			h.Monitor(0, ocf.OK)
			h.Want(ocf.Stop, ocf.OK)
			box.Unharmed(h.T, other)
			_ = other.Process.Kill()
			h.Gone()
		}},
		{"one with other files listens where ours would", func(h *host) {
			box.Sh(h.T, "mkdir -p /run/haproxy; cp %s /run/copy.cfg", config)
			other := box.Background(h.T, "haproxy", "-db", "-f", "/run/copy.cfg", "-p", "/run/other.pid")
			box.Until(h.T, "it listens", func() bool { return h.Run(ocftest.Call{Action: ocf.Monitor}).Code != ocf.NotRunning })
			h.Want(ocf.Monitor, ocf.Generic, "(pid "+strconv.Itoa(other.Process.Pid)+") may be it: it has our address, but was started with -f /run/copy.cfg")
			h.Want(ocf.Start, ocf.Generic, "may be it")
			h.Want(ocf.Stop, ocf.Generic, "may be it")
			box.Unharmed(h.T, other)
			_ = other.Process.Kill()
			h.Gone()
		}},
		{"somebody checks the configuration", func(h *host) {
			h.write(config, with(h.T, "global\n", "global\n    lua-load /run/slow.lua\n"))
			h.write("/run/slow.lua", "os.execute('sleep 600')\n")
			box.Background(h.T, "haproxy", "-c", "-f", config)
			box.Until(h.T, "it has come to the configuration", func() bool { return box.Sh(h.T, "pgrep -xc sleep || true") == "1" })
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.write(config, text)
			box.Sh(h.T, "kill -9 $(pgrep -x sleep) $(pgrep -x haproxy)")
			h.Gone()
		}},
		{"held by a debugger", func(h *host) { h.HeldByDebugger() }},
		{"frozen with a control group above its own", func(h *host) { h.FrozenAbove() }},
		{"frozen master", func(h *host) {
			h.Start()
			m, _ := h.family()
			box.Signal(h.T, syscall.SIGSTOP, m)
			h.Monitor(0, ocf.Generic, "frozen", "master", fmt.Sprint(m))
			h.Want(ocf.Start, ocf.Generic, "frozen")
			h.Want(ocf.ReloadAgent, ocf.Generic, "frozen")
			h.Stop()
		}},
		{"frozen worker", func(h *host) {
			h.Start()
			_, w := h.family()
			box.Signal(h.T, syscall.SIGSTOP, w)
			h.Monitor(0, ocf.Generic, "frozen", "worker", fmt.Sprint(w))
			h.Stop()
		}},
		{"descriptors used up", func(h *host) {
			h.Start()
			m, w := h.family()
			for _, pid := range []int{m, w} {
				var open string
				box.Until(h.T, "no request before this one is open any more", func() bool {
					open = box.Sh(h.T, "ls /proc/%d/fd | wc -l", pid)
					time.Sleep(20 * time.Millisecond)
					return open == box.Sh(h.T, "ls /proc/%d/fd | wc -l", pid)
				})
				h.mayOpen(pid, open)
				h.Monitor(0, ocf.Generic, fmt.Sprint(pid), open+" of its "+open+" file descriptors are in use: raise LimitNOFILE")
				h.mayOpen(pid, "1000")
				h.Monitor(0, ocf.OK)
			}
		}},
		{"a worker that hangs", func(h *host) {
			h.write(config, with(h.T, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "    nbthread 1\n    lua-load /run/hang.lua\n    insecure-fork-wanted\n"))
			h.write("/run/hang.lua", "core.register_cli({'hang'}, '', function() os.execute('sleep 600') end)\n")
			h.Start()
			c, err := net.Dial("unix", socket)
			if err != nil {
				h.T.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintln(c, "hang")
			box.Until(h.T, "it hangs", func() bool { return box.Sh(h.T, "pgrep -xc sleep || true") == "1" })
			_, w := h.family()
			h.Monitor(0, ocf.Generic, "does not answer", fmt.Sprint(w))
			h.Stop()
		}},
		{"worker killed", func(h *host) {
			h.Start()
			_, w := h.family()
			box.Signal(h.T, syscall.SIGKILL, w)
			h.Gone()
			h.Monitor(0, ocf.NotRunning)
			h.Start()
		}},
		{"worker killed, master told to stay", func(h *host) {
			h.write(config, with(h.T, "global\n", "global\n    master-worker no-exit-on-failure\n"))
			h.Start()
			_, w := h.family()
			box.Signal(h.T, syscall.SIGKILL, w)
			box.Until(h.T, "it is gone", func() bool { return len(h.Pids()) < 2 })
			r := h.Run(ocftest.Call{Action: ocf.Monitor, Interval: 10 * time.Second})
			half := r.Code == ocf.Generic && strings.Contains(r.Reason, "is a master without its worker")
			if n := len(h.Pids()); (n == 0) != (r.Code == ocf.NotRunning) || n > 0 && !half {
				h.T.Errorf("%d processes are left: %s", n, r)
			}
			h.Stop()
		}},
		{"master killed", func(h *host) {
			h.Start()
			m, _ := h.family()
			box.Signal(h.T, syscall.SIGKILL, m)
			h.Monitor(0, ocf.NotRunning) // also while the worker has not seen it yet
		}},
		{"master killed, worker frozen", func(h *host) {
			box.NotByUnit(h.T, "systemd ends the worker with its master (KillMode=mixed)")
			h.Start()
			m, w := h.family()
			box.Signal(h.T, syscall.SIGSTOP, w)
			box.Signal(h.T, syscall.SIGKILL, m)
			box.Until(h.T, "the master is gone", func() bool { return len(h.Pids()) == 1 })
			h.Monitor(0, ocf.Generic)
			h.Stop()
		}},
		{"port taken", func(h *host) {
			box.Occupy(h.T, 5000)
			h.Want(ocf.Start, ocf.Generic, "127.0.0.1:5000", "keystone", "python3")
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"port of the new configuration taken", func(h *host) {
			h.servers()
			h.Start()
			box.Occupy(h.T, 5001)
			h.write(config, with(h.T, "127.0.0.1:5000", "127.0.0.1:5001"))
			stop, failures := h.load(url, 2)
			h.refused("not reloaded", "serves on", "127.0.0.1:5001", "python3")
			if n := stop(); n == 0 || len(failures()) > 0 {
				h.T.Errorf("%d requests, failed: %v", n, failures())
			}
			h.Monitor(0, ocf.Degraded, "127.0.0.1:5001")
			h.Validate(ocf.BadArgument, "127.0.0.1:5001", "python3")
			h.write(config, text)
			h.Validate(ocf.OK)
		}},
		{"chroot directory missing", func(h *host) {
			box.NotByUnit(h.T, "it is HAProxy that fails then, as any failed start")
			h.servers()
			h.write(config, with(h.T, "/var/lib/haproxy", "/var/lib/nowhere"))
			h.Want(ocf.Start, ocf.BadArgument, "/var/lib/nowhere")
			h.write(config, text)
			h.Start()
			h.write(config, with(h.T, "/var/lib/haproxy", "/var/lib/nowhere"))
			h.refused("serves on", "/var/lib/nowhere")
			if _, err := get(url); err != nil {
				h.T.Error(err)
			}
		}},
		{"no such user", func(h *host) {
			box.NotByUnit(h.T, "it is its check that fails then, as any failed start")
			h.write(config, with(h.T, "user haproxy", "user nobody-by-that-name"))
			h.Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
		}},
		{"backend down", func(h *host) {
			h.Start()
			box.Until(h.T, "the check has failed", func() bool { return h.status("keystone", "BACKEND") == "DOWN" })
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "keystone", "c1 DOWN", "Connection refused")
			h.servers()
			box.Until(h.T, "the check has passed", func() bool { _, err := get(url); return err == nil })
			h.Monitor(10, ocf.OK)
		}},
		{"one of two servers down", func(h *host) {
			h.servers()
			const c1 = "    server c1 127.0.0.1:8000 check inter 100ms\n"
			h.write(config, with(h.T, c1, c1+"    server c2 127.0.0.1:8002 check inter 100ms\n"))
			h.Start()
			box.Until(h.T, "c2 is down", func() bool { return h.status("keystone", "c2") == "DOWN" })
			h.Monitor(10, ocf.OK)
		}},
		{"two backends down", func(h *host) {
			h.write(config, with(h.T, "bind :9696\n", "bind :9696\n    default-server check inter 100ms\n"))
			h.Start()
			for _, backend := range []string{"keystone", "neutron"} {
				box.Until(h.T, backend+" is down", func() bool { return h.status(backend, "BACKEND") == "DOWN" })
			}
			h.Monitor(10, ocf.Degraded, "no server is up in: keystone (c1 DOWN", "neutron (c1 DOWN")
		}},
		{"check_url", func(h *host) {
			h.write(config, with(h.T, "check inter 100ms", ""))
			h.Start()
			h.With("check_url", url).Monitor(10, ocf.Degraded, url, "503")
			h.With("check_url", url).Monitor(0, ocf.OK)
			h.With("check_url", "http://127.0.0.1:5099/").Monitor(10, ocf.Generic, "refuses", ":5099")
			h.With("statusurl", "http://192.0.2.1:5000/").Monitor(10, ocf.OK) // not an address of this node
			h.With("check_url", "ftp://x").Monitor(10, ocf.NotConfigured, "check_url")
			l, err := net.Listen("tcp", "127.0.0.1:5098") // accepts, and says nothing
			if err != nil {
				h.T.Fatal(err)
			}
			defer l.Close()
			h.With("check_url", "http://ops:secret@127.0.0.1:5098/").Monitor(10, ocf.Degraded, "no answer", "ops:xxxxx@")
			h.servers()
			h.With("check_url", url).Monitor(10, ocf.OK)
		}},
		{"frontend disabled by hand", func(h *host) {
			h.Start()
			h.tell("disable frontend keystone")
			h.Monitor(0, ocf.Degraded, "keystone is PAUSED")
			h.tell("disable frontend neutron")
			h.tell("disable frontend database")
			h.Monitor(0, ocf.Generic, "no frontend serves")
			h.tell("enable frontend keystone")
			h.Monitor(0, ocf.Degraded, "neutron")
		}},
		{"in a soft stop", func(h *host) {
			h.servers()
			h.Start()
			c := h.connect()
			defer c.Close()
			m, _ := h.family()
			box.Signal(h.T, syscall.SIGUSR1, m)
			box.Until(h.T, "it stops", func() bool { return !strings.Contains(box.Sh(h.T, "ss -ltn"), ":5000 ") })
			h.Monitor(0, ocf.Generic)
			h.With("soft_stop", "0").Stop()
		}},
		{"stats socket deleted", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", socket)
			h.Monitor(0, ocf.Degraded, socket)
			h.Want(ocf.Stop, ocf.OK)
		}},
		{"master's socket deleted", func(h *host) {
			box.NotByUnit(h.T, "a unit reloads without that socket")
			h.Start()
			box.Sh(h.T, "rm %s", master)
			h.Monitor(0, ocf.Degraded, master, "reload")
			h.Start()
			h.Want(ocf.ReloadAgent, ocf.OK)
			h.Monitor(0, ocf.OK)
		}},
		{"all sockets deleted", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm /run/haproxy-master.sock* %s", socket)
			h.Monitor(0, ocf.Degraded, "cannot be asked")
			h.Stop()
		}},
		{"binary missing", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			p := h.With("binary", "/usr/sbin/no-such-haproxy")
			p.Want(ocf.Monitor, ocf.NotInstalled, "no-such-haproxy")
			p.Want(ocf.Start, ocf.NotInstalled)
			p.Want(ocf.Stop, ocf.OK)
			h.Start()
			p.Want(ocf.Monitor, ocf.OK)
			p.Want(ocf.Stop, ocf.OK)
			h.Gone()
		}},
		{"binary replaced while running", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			box.Sh(h.T, "cp /usr/sbin/haproxy /run/haproxy.new; mv /run/haproxy.new /run/tmp/haproxy")
			p := h.With("binary", "/run/tmp/haproxy")
			p.Start()
			box.Sh(h.T, "cp /usr/sbin/haproxy /run/haproxy.new; mv /run/haproxy.new /run/tmp/haproxy")
			p.Monitor(0, ocf.OK)
			p.Want(ocf.ReloadAgent, ocf.OK)
			p.Monitor(0, ocf.OK)
			box.Sh(h.T, "rm /run/tmp/haproxy")
			p.Monitor(0, ocf.OK)
			p.Want(ocf.Stop, ocf.OK)
			h.Gone()
		}},
		{"two starts at once", func(h *host) {
			h.Within(20 * time.Second).StartTwice()
			h.Monitor(0, ocf.OK)
		}},
		{"two that share the ports", func(h *host) {
			h.Start()
			box.Background(h.T, "haproxy", "-W", "-db", "-f", config)
			box.Until(h.T, "both run", func() bool { return len(h.Pids()) == 4 })
			box.Until(h.T, "both serve", func() bool { return strings.Count(box.Sh(h.T, "ss -ltn"), "127.0.0.1:5000 ") == 2 })
			h.Monitor(0, ocf.Degraded, "share the connections")
			h.Stop()
		}},
		{"stop during start", func(h *host) {
			h.write(config, with(h.T, "global\n", "global\n    lua-load /run/slow.lua\n"))
			h.write("/run/slow.lua", "os.execute('test -e /run/checked && sleep 2; touch /run/checked')\n")
			defer box.Sh(h.T, "rm -f /run/checked")
			started := h.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			box.Until(h.T, "it starts", func() bool { _, err := os.Stat("/run/checked"); return err == nil && len(h.Pids()) > 0 })
			h.Want(ocf.Stop, ocf.OK)
			<-started
			h.Stop()
		}},
		{"started by an init script", func(h *host) {
			h.servers()
			box.Sh(h.T, "mkdir -p /run/haproxy; haproxy -D -f %s -p %s", config, pidFile)
			h.Want(ocf.Monitor, ocf.OK)
			h.Monitor(0, ocf.OK)
			h.Start()
			if n := len(h.Pids()); n != 1 {
				h.T.Errorf("%d processes", n)
			}
			h.Want(ocf.ReloadAgent, ocf.OK) // by taking over
			h.Monitor(0, ocf.OK)
			box.Until(h.T, "the former one is gone", func() bool { return len(h.Pids()) == 2 })
			h.Stop()
		}},
		{"started by a unit", func(h *host) {
			h.servers()
			box.Sh(h.T, "mkdir -p /run/haproxy")
			box.Background(h.T, "haproxy", "-W", "-db", "-f", config, "-p", "/run/by-hand.pid", "-S", "/run/haproxy-master.sock")
			box.Until(h.T, "it serves", func() bool { _, err := get(url); return err == nil })
			box.Until(h.T, "the master has executed itself anew", func() bool { return len(h.Pids()) == 2 })
			m, w := h.family()
			h.Monitor(0, ocf.OK)
			h.Start()
			h.write(config, with(h.T, "X-Generation 0", "X-Generation 1"))
			h.Want(ocf.ReloadAgent, ocf.OK)
			if g, err := get(url); g != "1" || err != nil {
				h.T.Errorf("generation %s, %v", g, err)
			}
			box.Until(h.T, "the old worker is gone", func() bool { return len(h.Pids()) == 2 })
			if m2, w2 := h.family(); m2 != m || w2 == w {
				h.T.Errorf("master %d became %d, worker %d %d", m, m2, w, w2)
			}
			h.Stop()
		}},
		{"started by hand, with no socket to ask", func(h *host) {
			h.write(config, with(h.T, "    stats socket /run/haproxy/admin.sock mode 660 level admin\n", ""))
			box.Sh(h.T, "haproxy -D -f %s", config)
			h.Monitor(0, ocf.Degraded, "cannot be asked")
			h.Stop()
		}},
		{"the floating IP is not here", func(h *host) {
			const vip = "192.0.2.203"
			h.servers()
			h.write(config, with(h.T, "127.0.0.1:5000", vip+":5000"))
			h.Validate(ocf.BadArgument, vip, "ip_nonlocal_bind", "transparent")
			h.Want(ocf.Start, ocf.Generic, vip, "ip_nonlocal_bind", "transparent")
			h.write(config, with(h.T, "127.0.0.1:5000", vip+":5000 transparent"))
			h.Validate(ocf.OK)
			h.Start()
			h.Monitor(10, ocf.OK)
			h.Want(ocf.Stop, ocf.OK)

			h.write(config, with(h.T, "127.0.0.1:5000", vip+":5000"))
			box.Sh(h.T, "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind")
			defer box.Sh(h.T, "echo 0 >/proc/sys/net/ipv4/ip_nonlocal_bind")
			h.Validate(ocf.OK)
			h.Start()
			h.With("check_url", "http://"+vip+":5000/").Monitor(10, ocf.OK)
			box.Sh(h.T, "ip addr add %s/32 dev lo", vip) // the floating IP comes
			defer box.Sh(h.T, "ip addr del %s/32 dev lo || true", vip)
			if _, err := get("http://" + vip + ":5000/"); err != nil {
				h.T.Errorf("on the floating IP: %v", err)
			}
			h.With("check_url", "http://"+vip+":5000/").Monitor(10, ocf.OK)
			box.Sh(h.T, "ip addr del %s/32 dev lo", vip) // and goes
			h.Monitor(10, ocf.OK)
			h.Want(ocf.ReloadAgent, ocf.OK)
		}},
		{"stop with a long-lived connection", func(h *host) {
			h.servers()
			h.Start()
			c := h.connect()
			defer c.Close()
			r := h.With("soft_stop", "2s").Stop()
			if r.Elapsed < 2*time.Second || r.Elapsed > 6*time.Second {
				h.T.Errorf("stop took %v, of which 2 s are for connections to end", r.Elapsed)
			}
			h.Start()
			c = h.connect()
			go func() { time.Sleep(time.Second); c.Close() }()
			if r := h.With("soft_stop", "10s").Want(ocf.Stop, ocf.OK); r.Elapsed > 5*time.Second {
				h.T.Errorf("stop took %v, though the last connection ended after 1 s", r.Elapsed)
			}
		}},
		{"stop while an old worker drains", func(h *host) {
			h.servers()
			h.Start()
			c := h.connect()
			defer c.Close()
			h.Want(ocf.ReloadAgent, ocf.OK)
			if n := len(h.Pids()); n != 3 {
				h.T.Errorf("%d processes, want a master and two workers", n)
			}
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.OK)
			h.echo(c)
			h.With("soft_stop", "1").Stop()
		}},
		{"parameters", func(h *host) {
			box.NotByUnit(h.T, "they are refused beside it")
			older := h.With()
			older.Params = ocftest.Params{"conffile": config, "pidfile": pidFile, "binpath": "/usr/sbin/haproxy", "extraconf": "-n 300"}
			older.Start()
			h.With("additional_parameters", "-n 300").Want(ocf.Monitor, ocf.OK)
			h.With("conffile", config).Want(ocf.Monitor, ocf.NotConfigured, "conffile")
			h.With("additional_parameters", "-db").Want(ocf.Start, ocf.NotConfigured, "-db")
			h.With("config", "haproxy.cfg").Want(ocf.Start, ocf.NotConfigured, "config")
		}},
		{"not root", func(h *host) {
			h.Start()
			box.LetIn(h.T, h.Path)
			cmd := exec.Command("setpriv", "--reuid=nobody", "--clear-groups", h.Path, ocf.Monitor)
			cmd.Env = []string{"OCF_RESKEY_config=" + config, "OCF_RESKEY_CRM_meta_interval=10000"}
			out, _ := cmd.CombinedOutput()
			if code := ocf.Code(cmd.ProcessState.ExitCode()); code != ocf.Permission {
				h.T.Errorf("exit %d: %s", code, out)
			}
		}},
	})
}

// connect opens a long-lived connection through HAProxy, and proves that it carries.
func (h *host) connect() net.Conn {
	h.T.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:3306")
	if err != nil {
		h.T.Fatal(err)
	}
	h.echo(c)
	return c
}

func (h *host) echo(c net.Conn) {
	h.T.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintln(c, "still there?")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "still there?\n" {
		h.T.Errorf("long-lived connection: %q, %v", line, err)
	}
}

package haproxy

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// load asks for url from several clients at once until stop is called, each
// with a new connection per request; every second client keeps its connection,
// as real ones do. stop returns the number of requests.
func (h *host) load(url string, clients int) (stop func() int64, failures func() []error) {
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		errs     []error
		requests atomic.Int64
	)
	ctx, cancel := context.WithCancel(context.Background())
	for i := range clients {
		wg.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			pace := time.NewTicker(2 * time.Millisecond) // the machine has other work to do
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				answer, err := client.Get(url)
				if err == nil {
					if answer.StatusCode != http.StatusOK {
						err = fmt.Errorf("%s", answer.Status)
					}
					_ = answer.Body.Close()
				}
				requests.Add(1)
				if err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	box.Until(h.T, "the load flows", func() bool { return requests.Load() > int64(clients) })
	return func() int64 { cancel(); wg.Wait(); return requests.Load() },
		func() []error { mu.Lock(); defer mu.Unlock(); return errs }
}

// TestHitlessReload: no request fails over reloads under load, each is in effect
// when reload-agent returns, a connection that was there before lives on, and
// the monitor finds nothing wrong at any time.
func TestHitlessReload(t *testing.T) {
	const reloads, takeovers = 20, 5 // each takes as long as reload-agent watches the new worker
	h := newHost(t)
	h.servers()
	h.Start()
	box.Until(h.T, "the backend is up", func() bool { _, err := get(url); return err == nil })
	m, _ := h.family()
	old := h.connect()
	defer old.Close()

	var monitors sync.WaitGroup
	watch, enough := context.WithCancel(context.Background())
	seen := 0
	monitors.Go(func() {
		for watch.Err() == nil {
			r := h.Run(ocftest.Call{Action: ocf.Monitor, Interval: 10 * time.Second})
			seen++
			// The file is ahead of the process for a moment, which is a handicap and no more.
			if r.Code != ocf.OK && r.Code != ocf.Degraded {
				t.Errorf("monitor during reloads: %s", r)
			}
		}
	})
	stop, failures := h.load(url, 8)
	var slowest time.Duration
	reload := func(n int, a *box.Agent) {
		h.write(config, with(t, "X-Generation 0", fmt.Sprintf("X-Generation %d", n)))
		r := a.Want(ocf.ReloadAgent, ocf.OK)
		slowest = max(slowest, r.Elapsed)
		if g, err := get(url); err != nil || g != fmt.Sprint(n) {
			t.Errorf("after reload %d, generation %q answers: %v", n, g, err)
		}
		h.echo(old) // which HAProxy would close after a minute of silence
	}
	for n := 1; n <= reloads; n++ {
		reload(n, h.Agent)
	}
	if pids := h.Pids(); pids[0] != m {
		t.Errorf("the master is no longer pid %d: %v", m, pids)
	}
	t.Logf("%d reloads, the slowest took %v", reloads, slowest.Round(time.Millisecond))

	// What SIGUSR2 cannot bring into effect is a new master, that takes over the sockets.
	slowest = 0
	for n := 1; n <= takeovers; n++ {
		reload(100+n, h.With("additional_parameters", fmt.Sprintf("-n %d", 500+n)))
	}
	t.Logf("%d takeovers, the slowest took %v", takeovers, slowest.Round(time.Millisecond))

	enough()
	monitors.Wait()
	requests := stop()
	for i, err := range failures() {
		if i < 5 {
			t.Errorf("request failed: %v", err)
		}
	}
	t.Logf("%d requests, %d failed; %d monitors", requests, len(failures()), seen)
	if requests < 1000 {
		t.Errorf("only %d requests are no load", requests)
	}
	_ = old.Close()
	box.Until(h.T, "the old ones are gone", func() bool { return len(h.Pids()) == 2 })
	h.Monitor(10, ocf.OK)
}

// between is a stand-in for the master, which passes commands on. With the first question for the frontends it reloads
// HAProxy, and says what the old worker says after that. It is a process of its own: this one is called haproxy.test, and who
// is called so and has HAProxy's socket may be it.
const between = `
import os, signal, socket, sys, time
master, pid = sys.argv[1], int(sys.argv[2])
moved = master + ".moved"
os.rename(master, moved)
door = socket.socket(socket.AF_UNIX)
door.bind(master)
door.listen()
print("ready", flush=True)

def haproxies():
    def exe(p):
        try:
            return os.path.basename(os.readlink("/proc/%s/exe" % p))
        except OSError:
            return ""
    return sum(exe(p) == "haproxy" for p in os.listdir("/proc") if p.isdigit())

def read(s, until):
    data = b""
    while not (until and data.endswith(until)):
        more = s.recv(65536)
        if not more:
            break
        data += more
    return data

while True:
    client, _ = door.accept()
    command = read(client, b"\n")
    behind = socket.socket(socket.AF_UNIX)
    behind.connect(moved)
    behind.sendall(command)
    behind.shutdown(socket.SHUT_WR)
    answer = read(behind, b"")
    last = b"show stat" in command
    if last:
        answer = answer.replace(b"OPEN", b"STOP")
        door.close()
        os.rename(moved, master)
        os.kill(pid, signal.SIGUSR2)
        while haproxies() < 3:
            time.sleep(0.005)
    client.sendall(answer)
    client.close()
    if last:
        print("asked", flush=True)
        break
`

// TestReloadWhileMonitored: a reload that begins in the middle of a monitor is
// no failure, though it is the old worker that answers: that one has no
// frontend any more, but it lives as long as its connections.
func TestReloadWhileMonitored(t *testing.T) {
	h := newHost(t)
	h.servers()
	h.Start()
	m, _ := h.family()
	old := h.connect()
	defer old.Close()
	youth := time.Now().Add(3 * time.Second) // the monitor has patience with a process of less than 2 s
	box.Until(t, "the worker is no longer young", func() bool { return time.Now().After(youth) })

	cmd := exec.Command("/usr/bin/python3", "-c", between, master, strconv.Itoa(m))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	says := bufio.NewReader(out)
	if line, err := says.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	h.Monitor(0, ocf.OK)
	if line, err := says.ReadString('\n'); line != "asked\n" { // else it waits for the question until this fails
		t.Errorf("the monitor did not ask for the frontends: %q, %v", line, err)
	}
	h.echo(old)
	h.Monitor(0, ocf.OK)
}

// TestReloadToAnotherFile: a change of the parameter config is a reload too.
func TestReloadToAnotherFile(t *testing.T) {
	h := newHost(t)
	h.servers()
	h.Start()
	box.Until(h.T, "the backend is up", func() bool { _, err := get(url); return err == nil })
	const other = "/run/haproxy-2.cfg"
	h.write(other, with(t, "X-Generation 0", "X-Generation 2"))
	p := h.With("config", other)
	stop, failures := h.load(url, 4)
	p.Want(ocf.ReloadAgent, ocf.OK)
	if g, err := get(url); g != "2" || err != nil {
		t.Errorf("generation %q answers: %v", g, err)
	}
	if n := stop(); n == 0 || len(failures()) > 0 {
		t.Errorf("%d requests, failed: %v", n, failures())
	}
	box.Until(h.T, "the former one is gone", func() bool { return len(h.Pids()) == 2 })
	p.Monitor(0, ocf.OK)
	p.Stop()
}

// TestReloadOfAnOlderAgents: the agent once kept its sockets in a directory of their own. One that it started so is known,
// asked and stopped, and a reload gives it sockets where they are now, without a connection lost.
func TestReloadOfAnOlderAgents(t *testing.T) {
	const dir = "/run/haproxy.ocf"
	h := newHost(t)
	h.servers()
	start := func() {
		t.Helper()
		box.Sh(t, "mkdir -p /run/haproxy; mkdir -m 700 %s", dir)
		h.write(dir+"/stats.cfg", "global\n    stats socket "+dir+"/worker.sock mode 600 level admin expose-fd listeners\n")
		box.Sh(t, "haproxy -W -D -S %[1]s/master.sock,mode,600 -p %[2]s -f %[3]s -f %[1]s/stats.cfg", dir, pidFile, config)
		h.Monitor(0, ocf.OK)
	}
	start()
	box.Sh(t, "rm %s/master.sock", dir)
	h.Monitor(0, ocf.Degraded, dir+"/master.sock", "is gone")
	box.Sh(t, "rm %s/worker.sock %s", dir, socket)
	h.Monitor(0, ocf.Degraded, "cannot be asked")
	h.Stop()
	if left := box.Sh(t, "ls -d /run/*.ocf* 2>/dev/null || true"); left != "" {
		t.Errorf("the stop left %s", left)
	}

	start()
	box.Until(h.T, "the backend is up", func() bool { _, err := get(url); return err == nil })
	old := h.connect()
	defer old.Close()
	stop, failures := h.load(url, 4)
	h.write(config, with(t, "X-Generation 0", "X-Generation 2"))
	h.Want(ocf.ReloadAgent, ocf.OK)
	if g, err := get(url); g != "2" || err != nil {
		t.Errorf("generation %q answers: %v", g, err)
	}
	h.echo(old)
	if n := stop(); n == 0 || len(failures()) > 0 {
		t.Errorf("%d requests, failed: %v", n, failures())
	}
	_ = old.Close()
	box.Until(h.T, "the former one is gone", func() bool { return len(h.Pids()) == 2 })
	h.Monitor(0, ocf.OK)
	box.Sh(t, "test -S %s -a ! -e %s", master, dir)
	h.Stop()
	if left := box.Sh(t, "ls -d /run/*.ocf* 2>/dev/null || true"); left != "" {
		t.Errorf("the stop left %s", left)
	}
}

// TestWorkerDiesOnReload: what no check can foresee is told.
func TestWorkerDiesOnReload(t *testing.T) {
	h := newHost(t)
	h.write("/run/die.lua", "core.register_task(function() if io.open('/run/die') then os.execute('kill -9 $PPID') end end)\n")
	h.write(config, with(t, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "    lua-load /run/die.lua\n    insecure-fork-wanted\n"))
	h.Start()
	m, _ := h.family()
	h.write("/run/die", "")
	defer syscall.Unlink("/run/die")
	r := h.Run(ocftest.Call{Action: ocf.ReloadAgent, Timeout: 20 * time.Second})
	box.Until(h.T, "the master is gone", func() bool { return syscall.Kill(m, 0) != nil })
	t.Logf("reload: %s", r)
	if r.Code != ocf.OK && (r.Code != ocf.Generic || !strings.Contains(r.Reason, "no longer serves")) {
		t.Errorf("reload: %s", r)
	}
	h.Monitor(0, ocf.NotRunning)
}

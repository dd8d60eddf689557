package haproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/haproxy"
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

	// A stand-in for the master passes commands on. With the first question for the frontends it reloads HAProxy,
	// and says what the old worker says after that.
	const moved = master + ".moved"
	if err := os.Rename(master, moved); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", master)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	defer l.Close()
	asked := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			answer, err := haproxy.API{Address: moved}.Ask(t.Context(), strings.TrimSpace(line))
			last := strings.Contains(line, "show stat")
			if last {
				answer = strings.ReplaceAll(answer, "OPEN", "STOP")
				_ = l.Close()
				err = errors.Join(err, os.Rename(moved, master), syscall.Kill(m, syscall.SIGUSR2))
				for len(h.Pids()) < 3 && t.Context().Err() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				asked <- err
			}
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	h.Monitor(0, ocf.OK)
	select {
	case err := <-asked:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("the monitor did not ask for the frontends")
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

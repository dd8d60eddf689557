// Package haproxy tests ocf:openstack:haproxy on a real HAProxy, in a box: a
// host of its own.
package haproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

const (
	config  = "/run/haproxy.cfg"
	pidFile = "/run/haproxy.pid"
	socket  = "/run/haproxy/admin.sock"
	master  = "/run/haproxy.ocf/master.sock"
	url     = "http://127.0.0.1:5000/v3"
)

func TestMain(m *testing.M) { box.Main(m, "/etc/haproxy", "/var/lib/haproxy") }

// host is the box with its configuration and two API servers, and the agent.
type host struct {
	t   testing.TB
	run ocftest.Runner
	p   ocftest.Params
}

// newHost has a configuration, and no HAProxy running; and sees to it that none is left.
func newHost(t testing.TB) *host {
	box.Need(t)
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("SKIP: needs haproxy")
	}
	h := &host{t: t, run: ocftest.Program(built.Agent(t, "haproxy")), p: ocftest.Params{"config": config}}
	h.write(config, text)
	box.Sh(t, "rm -rf /run/haproxy")
	t.Cleanup(func() {
		h.want(ocf.Stop, h.p, ocf.OK)
		if pids := h.processes(); len(pids) > 0 {
			t.Errorf("clean-up: left: %v", pids)
		}
	})
	return h
}

// text is a configuration as the deployment has it, but for the addresses.
const text = `global
    daemon
    maxconn 500
    chroot /var/lib/haproxy
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend keystone
    bind 127.0.0.1:5000
    default_backend keystone
backend keystone
    http-response set-header X-Generation 0
    server c1 127.0.0.1:8000 check inter 100ms
listen neutron
    bind :9696
    server c1 127.0.0.1:8000
listen database
    mode tcp
    bind 127.0.0.1:3306
    server c1 127.0.0.1:8001
`

func (h *host) write(file, text string) {
	h.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// with is text with one change.
func with(t testing.TB, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the configuration has no %q", old)
	}
	return strings.Replace(text, old, new, 1)
}

// servers runs an HTTP service on port 8000, and one that echoes on 8001.
func (h *host) servers() {
	h.t.Helper()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	listen := func(port int) net.Listener {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { _ = l.Close() })
		return l
	}
	http8000 := listen(8000)
	go func() { _ = web.Serve(http8000) }()
	h.t.Cleanup(func() { _ = web.Close() })
	echo := listen(8001)
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
}

func (h *host) want(action string, p ocftest.Params, code ocf.Code, words ...string) ocftest.Result {
	h.t.Helper()
	return h.run.Want(h.t, ocftest.Call{Action: action, Params: p, Timeout: 30 * time.Second}, code, words...)
}

// monitor is a recurring monitor with a short time, which is what faults are found in.
func (h *host) monitor(p ocftest.Params, level int, code ocf.Code, words ...string) ocftest.Result {
	h.t.Helper()
	return h.run.Want(h.t, ocftest.Call{Action: ocf.Monitor, Params: p, Interval: 10 * time.Second, Level: level, Timeout: 8 * time.Second}, code, words...)
}

func (h *host) start() { h.t.Helper(); h.want(ocf.Start, h.p, ocf.OK) }

// processes are the pids of every HAProxy, the oldest first, found without the agent.
func (h *host) processes() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var pids []int
	for _, l := range links {
		exe, _ := os.Readlink(l)
		if filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == "haproxy" {
			pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// family is master and worker of the one HAProxy there should be.
func (h *host) family() (master, worker int) {
	h.t.Helper()
	pids := h.processes()
	if len(pids) != 2 {
		h.t.Fatalf("want a master and a worker, there are %v", pids)
	}
	return pids[0], pids[1]
}

func (h *host) kill(pid int, sig syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) gone() {
	h.t.Helper()
	h.until("no HAProxy is left", func() bool { return len(h.processes()) == 0 })
}

// get asks over a new connection; the error of a status other than 200 says which.
func get(url string) (generation string, err error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || string(b) != "ok") {
		err = fmt.Errorf("%s: %.80q", answer.Status, b)
	}
	return answer.Header.Get("X-Generation"), err
}

// tell sends a command to the runtime API.
func (h *host) tell(command string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, command+"\n")
	b, err := io.ReadAll(c)
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// status is what HAProxy says of a backend's server, or of the backend itself ("BACKEND").
func (h *host) status(proxy, service string) string {
	h.t.Helper()
	rows, err := haproxy.API{Address: socket}.Stat(h.t.Context(), haproxy.Backends|haproxy.Servers)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range rows {
		if r.Proxy == proxy && r.Service == service {
			return r.Status
		}
	}
	return ""
}

// until polls, for half a minute at most.
func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// background runs a command until the test ends.
func (h *host) background(name string, args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	return cmd
}

// occupy has another process listen on a port of 127.0.0.1.
func (h *host) occupy(port int) {
	h.t.Helper()
	h.background("python3", "-c", fmt.Sprintf("import socket,time; s=socket.create_server(('127.0.0.1',%d)); time.sleep(600)", port))
	h.until("the port is taken", func() bool { return strings.Contains(box.Sh(h.t, "ss -ltn"), fmt.Sprintf(":%d ", port)) })
}

// refused is a reload that the old HAProxy survives: it succeeds, so that the
// cluster does not restart what serves, and the monitor says why.
func (h *host) refused(words ...string) {
	h.t.Helper()
	h.want(ocf.ReloadAgent, h.p, ocf.OK)
	h.monitor(h.p, 0, ocf.Degraded, words...)
}

// Package haproxy tests ocf:openstack:haproxy on a real HAProxy, in a box: a
// host of its own.
package haproxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const (
	config  = "/run/haproxy.cfg"
	pidFile = "/run/haproxy.pid"
	socket  = "/run/haproxy/admin.sock"
	master  = "/run/haproxy-master.sock.ocf"
	url     = "http://127.0.0.1:5000/v3"
)

func TestMain(m *testing.M) { box.Main(m, "/etc/haproxy", "/var/lib/haproxy") }

// host is the box with its configuration and two API servers, and the agent.
type host struct{ *box.Agent }

// newHost has a configuration, and no HAProxy running.
func newHost(t testing.TB) *host {
	needs.Program(t, "haproxy", "haproxy")
	h := &host{box.NewAgent(t, box.Agent{
		Name: "haproxy", Params: ocftest.Params{"config": config},
		Pids: box.Programs("haproxy"), Processes: 2, Limit: 30 * time.Second, Watch: 8 * time.Second,
		Unit: &box.Unit{Direct: []string{"config", "conffile", "binary", "binpath", "pid", "pidfile", "additional_parameters", "extraconf"}, Service: unit},
	})}
	h.write(config, text)
	box.Sh(t, "rm -rf /run/haproxy")
	return h
}

// unit is as Debian's.
func unit(p ocftest.Params) string {
	args := fmt.Sprintf("-f %s %s", cmp.Or(p["config"], p["conffile"]), cmp.Or(p["additional_parameters"], p["extraconf"]))
	return "Type=notify\nKillMode=mixed\nSuccessExitStatus=143\nRuntimeDirectory=haproxy\nRuntimeDirectoryPreserve=yes\n" +
		"ExecStart=/usr/sbin/haproxy -Ws " + args + " -p " + pidFile + " -S /run/haproxy-master.sock\n" +
		"ExecReload=/usr/sbin/haproxy -Ws -c -q " + args + "\nExecReload=/bin/kill -USR2 $MAINPID\n"
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
	h.T.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.T.Fatal(err)
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
	h.T.Helper()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	listen := func(port int) net.Listener {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			h.T.Fatal(err)
		}
		h.T.Cleanup(func() { _ = l.Close() })
		return l
	}
	http8000 := listen(8000)
	go func() { _ = web.Serve(http8000) }()
	h.T.Cleanup(func() { _ = web.Close() })
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

// family is master and worker of the one HAProxy there should be.
func (h *host) family() (master, worker int) {
	h.T.Helper()
	pids := h.Running()
	return pids[0], pids[1]
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

// mayOpen limits how many files a process may have open. Whom it belongs to may say so, even where root may not.
func (h *host) mayOpen(pid int, files string) {
	h.T.Helper()
	box.Sh(h.T, "setpriv $(awk '/^Uid:/ {u=$2} /^Gid:/ {g=$2} END {print \"--reuid=\" u, \"--regid=\" g}' /proc/%[1]d/status) --clear-groups prlimit --pid=%[1]d --nofile=%[2]s:", pid, files)
}

// tell sends a command to the runtime API.
func (h *host) tell(command string) string {
	h.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		h.T.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, command+"\n")
	b, err := io.ReadAll(c)
	if err != nil {
		h.T.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// status is what HAProxy says of a backend's server, or of the backend itself ("BACKEND").
func (h *host) status(proxy, service string) string {
	h.T.Helper()
	rows, err := haproxy.API{Address: socket}.Stat(h.T.Context(), haproxy.Backends|haproxy.Servers)
	if err != nil {
		h.T.Fatal(err)
	}
	for _, r := range rows {
		if r.Proxy == proxy && r.Service == service {
			return r.Status
		}
	}
	return ""
}

// refused is a reload that the old HAProxy survives: it succeeds, so that the
// cluster does not restart what serves, and the monitor says why.
func (h *host) refused(words ...string) {
	h.T.Helper()
	h.Want(ocf.ReloadAgent, ocf.OK)
	h.Monitor(0, ocf.Degraded, words...)
}

package openstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/ocf"
)

func config(t *testing.T, text string) *oslo.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := oslo.Load(oslo.File(file))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// request runs f as an action of an agent, which gives it a request.
func request(t *testing.T, f func(context.Context, *ocf.Request)) {
	t.Helper()
	ran := false
	run := func(ctx context.Context, r *ocf.Request) error { f(ctx, r); ran = true; return nil }
	a := ocf.Agent{Name: "x", Actions: []ocf.Action{{Name: ocf.Monitor, Timeout: 5 * time.Second, Run: run}}}
	var out strings.Builder
	if code := ocf.Run(t.Context(), a, ocf.Call{Args: []string{ocf.Monitor}, Stdout: &out, Stderr: &out}); code != ocf.OK || !ran {
		t.Fatalf("exit %d: %s", code, out.String())
	}
}

func TestConfigFiles(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"/usr/bin/python3", "/usr/bin/nova-api"}, nil},
		{[]string{"/usr/bin/python3", "/usr/bin/nova-api", "--config-file=/a", "--config-file", "/b"}, []string{"/a", "/b"}},
		{[]string{"/usr/bin/nova-api", "--config-file"}, nil},
		{[]string{"neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-file=/a --config-file /b)"}, []string{"/a", "/b"}},
		{[]string{"/usr/bin/python3 /usr/bin/neutron-server --config-file=/a"}, []string{"/a"}},
		{[]string{"ceilometer-polling: master process [/usr/bin/ceilometer-polling --config-file=/a --polling-namespaces central]"}, []string{"/a"}},
		{[]string{"neutron-server: rpc worker"}, nil},
		{nil, nil},
	} {
		if got := configFiles(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
}

func TestUntitled(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
		told bool
	}{
		{[]string{"/usr/bin/python3", "/usr/bin/nova-api"}, "/usr/bin/python3 /usr/bin/nova-api", true},
		{[]string{"neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-dir /d)"}, "/usr/bin/python3 /usr/bin/neutron-l3-agent --config-dir /d", true},
		{[]string{"neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-di"}, "", false},
		{[]string{"/usr/bin/python3 /usr/bin/neutron-server --config-file=/a"}, "/usr/bin/python3 /usr/bin/neutron-server --config-file=/a", true},
		{[]string{"ceilometer-polling: master process [/usr/bin/ceilometer-polling --config-file=/a]"}, "/usr/bin/ceilometer-polling --config-file=/a", true},
		{[]string{"neutron-server: rpc worker"}, "", false},
		{nil, "", false},
	} {
		got, told := untitled(c.args)
		if told != c.told || told && strings.Join(got, " ") != c.want {
			t.Errorf("%q: got %q, %v", c.args, got, told)
		}
	}
}

// TestUnitFiles: what the packages' units give their programs, RDO's among them.
func TestUnitFiles(t *testing.T) {
	const rdo = `[Unit]
Description=OpenStack Neutron Open vSwitch Agent
[Service]
Type=simple
User=neutron
PermissionsStartOnly=true
ExecStartPre=/usr/bin/neutron-enable-bridge-firewall.sh
ExecStart=/usr/bin/neutron-openvswitch-agent --config-file /usr/share/neutron/neutron-dist.conf --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugins/ml2/openvswitch_agent.ini --config-dir /etc/neutron/conf.d/common \\
  --config-dir=/etc/neutron/conf.d/neutron-openvswitch-agent --log-file /var/log/neutron/openvswitch-agent.log
`
	for name, c := range map[string]struct {
		files map[string]string
		want  string
		found bool
	}{
		"none": {},
		"RDO's nova, which finds its files by itself": {map[string]string{"usr/lib/systemd/system/openstack-nova-scheduler.service": "[Service]\nExecStart=/usr/bin/nova-scheduler\n"}, "", true},
		"RDO's neutron, whose order decides": {
			map[string]string{"usr/lib/systemd/system/neutron-openvswitch-agent.service": rdo},
			"--config-file=/usr/share/neutron/neutron-dist.conf --config-file=/etc/neutron/neutron.conf --config-file=/etc/neutron/plugins/ml2/openvswitch_agent.ini --config-dir=/etc/neutron/conf.d/common --config-dir=/etc/neutron/conf.d/neutron-openvswitch-agent", true,
		},
		"Debian's, which runs a script": {map[string]string{"lib/systemd/system/nova-scheduler.service": "[Service]\nExecStart=/etc/init.d/nova-scheduler systemd-start\n"}, "", false},
		"one with variables":            {map[string]string{"lib/systemd/system/nova-scheduler.service": "[Service]\nEnvironmentFile=-/etc/default/nova\nExecStart=/usr/bin/nova-scheduler $OPTIONS\n", "etc/default/nova": "# one\nOPTIONS='--config-file /a --debug'\n"}, "--config-file=/a", true},
		"the administrator's comes first": {map[string]string{
			"usr/lib/systemd/system/nova-scheduler.service": "[Service]\nExecStart=/usr/bin/nova-scheduler --config-file /a\n",
			"etc/systemd/system/nova-scheduler.service":     "[Service]\nExecStart=/usr/bin/nova-scheduler --config-file '/b c'\n",
		}, "--config-file=/b c", true},
		"a unit of the operator's own": {map[string]string{
			"usr/lib/systemd/system/nova-scheduler.service": "[Service]\nExecStart=/usr/bin/nova-scheduler --config-file /a\n",
			"etc/systemd/system/scheduler@.service":         "[Service]\nExecStart=/usr/bin/nova-scheduler --config-dir /etc/nova/%i.d --config-file /b\n",
		}, "--config-dir=/etc/nova/cell1.d --config-file=/b", true},
		"a drop-in": {map[string]string{
			"usr/lib/systemd/system/nova-scheduler.service":                "[Service]\nExecStart=/usr/bin/nova-scheduler --config-file /a\n",
			"usr/lib/systemd/system/nova-scheduler.service.d/10.conf":      "[Service]\nExecStart=\nExecStart=/usr/bin/nova-scheduler --config-file /not\n",
			"etc/systemd/system/nova-scheduler.service.d/10.conf":          "[Service]\nExecStart=\nExecStart=-/usr/bin/nova-scheduler --config-file /b\n",
			"etc/systemd/system/nova-scheduler.service.d/20-restart.conf":  "[Service]\nRestart=no\n",
			"etc/systemd/system/openstack-nova-scheduler.service.d/x.conf": "[Service]\nRestart=no\n",
		}, "--config-file=/b", true},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			file = filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		prog := "nova-scheduler"
		if strings.Contains(name, "neutron") {
			prog = "neutron-openvswitch-agent"
		}
		unit := ""
		if strings.Contains(name, "own") {
			unit = "scheduler@cell1.service"
		}
		files, found := unitFiles(root, prog, unit)
		if got := strings.Join(files, " "); got != c.want || found != c.found {
			t.Errorf("%s: got %s, %v", name, got, found)
		}
	}
}

// TestUnnamed: a host that only the service's code knows keeps no start from being tried.
func TestUnnamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nova.conf")
	if err := os.WriteFile(file, []byte("[DEFAULT]\nhost = $my_ip\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := instance{decl: Declaration{Project: "nova", Row: NovaRow}}
	c, err := i.load(oslo.CommandLine{Prog: "nova-scheduler", Args: []string{"--config-file", file}})
	if err != nil || c.unnamed == nil || len(c.hosts) > 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	// Of a process the files count that it was given.
	cmd := exec.Command("/bin/sh", "-c", "read wait", "nova-scheduler", "--config-file", "nova.conf")
	cmd.Dir = filepath.Dir(file)
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Close(); _ = cmd.Wait() }()
	p, err := daemon.Identity{Name: "shell", Executables: []string{"*"}, Test: func(_ context.Context, p *daemon.Process) (bool, error) { return p.PID == cmd.Process.Pid, nil }}.Find(t.Context())
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	request(t, func(ctx context.Context, r *ocf.Request) {
		i.r, i.prog, i.args = r, "nova-scheduler", []string{"--config-file=/nowhere"}
		err := i.health(ctx, p)
		if ocf.CodeOf(err) != ocf.Degraded || !strings.Contains(err.Error(), "cannot be told") || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHosts(t *testing.T) {
	for text, want := range map[string][]string{
		"[DEFAULT]\nhost=n1\n":                    {"n1"},
		"[DEFAULT]\nhost=n1\nenabled_backends=\n": {"n1"},
		"[DEFAULT]\nhost=n1\nenabled_backends=lvm, ceph\n[ceph]\nbackend_host=rbd\n": {"n1@lvm", "rbd@ceph"},
	} {
		i := instance{decl: Declaration{Backends: "DEFAULT.enabled_backends"}}
		if got, err := i.hosts(config(t, text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestLogFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"[DEFAULT]\nlog_dir=/l\n":              "/l/p.log",
		"[DEFAULT]\nlog_dir=/l\nlog_file=f\n":  "/l/f",
		"[DEFAULT]\nlog_dir=/l\nlog_file=/f\n": "/f",
		"[DEFAULT]\nlogdir=/l\n":               "/l/p.log",
	} {
		if got := logFile(config(t, text), "p"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	api := API{Host: []string{"DEFAULT.bind_host"}, Port: []string{"DEFAULT.bind_port"}, Default: 9292, TLS: []string{"DEFAULT.cert_file", "DEFAULT.use_ssl"}}
	for _, c := range []struct {
		text, url string
		port      int
		want      string
	}{
		{"", "", 0, "http://127.0.0.1:9292/"},
		{"[DEFAULT]\nbind_host=0.0.0.0\nbind_port=1\n", "", 0, "http://127.0.0.1:1/"},
		{"[DEFAULT]\nbind_host=::\n", "", 0, "http://[::1]:9292/"},
		{"[DEFAULT]\nbind_host=10.0.0.1\ncert_file=/c\n", "", 0, "https://10.0.0.1:9292/"},
		{"[DEFAULT]\nuse_ssl=False\n", "", 0, "http://127.0.0.1:9292/"},
		{"", "", 6080, "http://127.0.0.1:6080/"},
		{"", "http://api/v2/", 0, "http://api/v2/"},
	} {
		i := instance{decl: Declaration{API: api}, params: params{url: c.url, consolePort: c.port}}
		if got, err := i.endpoint(config(t, c.text)); err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestAnswersHTTP(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	defer close(hang)
	for path, want := range map[string]ocf.Code{
		"/200": ocf.OK, "/300": ocf.OK, "/302": ocf.OK, "/401": ocf.OK, "/404": ocf.OK,
		"/500": ocf.Degraded, "/503": ocf.Degraded, "/hang": ocf.Generic,
	} {
		request(t, func(ctx context.Context, r *ocf.Request) {
			ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			i := instance{r: r, params: params{url: server.URL + path}}
			if err := i.answersHTTP(ctx, configuration{}, nil); ocf.CodeOf(err) != want {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
		})
	}
}

// TestElsewhere: an API is judged where it listens, not where its file says by now.
func TestElsewhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer server.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	conf := configuration{cfg: config(t, fmt.Sprintf("[DEFAULT]\nport = %d\n", free.Addr().(*net.TCPAddr).Port))}
	i := instance{decl: Declaration{API: API{Host: []string{"DEFAULT.bind_host"}, Port: []string{"DEFAULT.port"}, Default: 1}}}
	request(t, func(ctx context.Context, r *ocf.Request) {
		i.r = r
		err := i.answersHTTP(ctx, conf, &daemon.Process{PID: os.Getpid()})
		if ocf.CodeOf(err) != ocf.Degraded || !strings.Contains(err.Error(), server.URL) || !strings.Contains(err.Error(), free.Addr().String()) {
			t.Errorf("got %v", err)
		}
		if err := i.answersHTTP(ctx, conf, &daemon.Process{PID: 1}); ocf.CodeOf(err) != ocf.Generic {
			t.Errorf("of a process that listens nowhere: %v", err)
		}
	})
}

// serve answers each connection with reply; "" hangs.
func serve(t *testing.T, network, address, reply string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if reply != "" {
				_, _ = conn.Read(make([]byte, 100))
				_, _ = fmt.Fprint(conn, reply)
				conn.Close()
			}
		}
	}()
	return l.Addr()
}

func TestMemcached(t *testing.T) {
	for reply, want := range map[string]string{
		"VERSION 1.6.18\r\n": "",
		"ERROR\r\n":          "refuses",
		"":                   "timeout",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := askMemcached(ctx, serve(t, "tcp", "127.0.0.1:0", reply).String())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", reply, err, want)
		}
	}
}

func TestControlSocket(t *testing.T) {
	if got := controlSocket([]string{"ovs-vswitchd", "--unixctl=/x.ctl"}, 7); got != "/x.ctl" {
		t.Error(got)
	}
	if got := controlSocket([]string{"ovs-vswitchd"}, 7); got != "/run/openvswitch/ovs-vswitchd.7.ctl" {
		t.Error(got)
	}
	for reply, want := range map[string]bool{
		`{"id":0,"result":"3.1.0","error":null}`:     true,
		`{"id":0,"result":null,"error":"not valid"}`: false,
		"HTTP/1.1 400 Bad Request\r\n":               false,
		"":                                           false,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := askControl(ctx, serve(t, "unix", filepath.Join(t.TempDir(), "s"), reply).String())
		if (err == nil) != want {
			t.Errorf("%q: %v", reply, err)
		}
	}
}

func TestDatabase(t *testing.T) {
	for text, want := range map[string]string{
		"": errNoWitness.Error(),
		"[database]\nconnection=sqlite:////var/lib/x\n":                      errNoWitness.Error(),
		"[database]\nconnection=mysql+pymysql://u:p@h:3307/d\n":              "",
		"[database]\nconnection=mysql://u:hunter2@h/d?ssl_ca=/nowhere.pem\n": "/nowhere.pem",
		"[database]\nconnection=$nothing\n":                                  "set nowhere",
	} {
		target, err := Database(config(t, text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err == nil && (target.Address != "h:3307" || target.User != "u" || target.Password != "p" || target.Database != "d") {
			t.Errorf("%q: %+v", text, target)
		}
	}
}

func TestCutOff(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	bus := oslo.Transport{Brokers: []oslo.Broker{{Host: "127.0.0.1", Port: port}}}
	self := &daemon.Process{PID: os.Getpid()}
	if !cutOff(self, bus) {
		t.Error("it has no connection, and is said to have one")
	}
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if cutOff(self, bus) {
		t.Error("it has a connection, and is said to have none")
	}
	if cutOff(&daemon.Process{PID: 1 << 30}, bus) {
		t.Error("in doubt it is said to have none")
	}
}

func TestWeigh(t *testing.T) {
	database := ocf.Errorf(ocf.Degraded, "the database does not answer")
	broker := ocf.Errorf(ocf.Degraded, "the broker does not answer")
	silent := ocf.Errorf(ocf.Generic, "silence")
	late := errors.New("late")
	gone := ocf.Errorf(ocf.Degraded, "the database does not answer: %w", away{errors.New("nothing listens there")})
	unheard := ocf.Errorf(ocf.Generic, "%w", unsubscribed{errors.New("not subscribed")})
	for _, c := range []struct {
		row, bus error
		young    bool
		want     ocf.Code
	}{
		{nil, nil, false, ocf.OK},
		{nil, broker, false, ocf.Degraded},
		{nil, silent, false, ocf.Generic},
		{nil, errNoWitness, false, ocf.OK},
		{database, nil, false, ocf.Degraded},
		{database, broker, false, ocf.Degraded},
		{database, silent, false, ocf.Generic},
		{database, errNoWitness, false, ocf.Degraded},
		{database, unheard, false, ocf.Generic},
		{gone, silent, false, ocf.Generic},
		{gone, unheard, false, ocf.Degraded},
		{late, unheard, false, ocf.Generic},
		{late, nil, false, ocf.Degraded},
		{late, nil, true, ocf.OK},
		{late, broker, false, ocf.Degraded},
		{late, broker, true, ocf.Degraded},
		{late, silent, false, ocf.Generic},
		{late, silent, true, ocf.Generic},
		{late, errNoWitness, false, ocf.Degraded},
		{late, errNoWitness, true, ocf.Degraded},
		{errNoWitness, nil, false, ocf.OK},
		{errNoWitness, broker, false, ocf.Degraded},
		{errNoWitness, silent, false, ocf.Generic},
	} {
		if got := weigh(c.row, c.bus, c.young); ocf.CodeOf(got) != c.want {
			t.Errorf("row %v, bus %v, young %v: got %v, want %s", c.row, c.bus, c.young, got, c.want)
		}
	}
	if got := weigh(gone, unheard, false); errors.As(got, new(away)) {
		t.Errorf("a start waits for it: %v", got)
	}
	if got := weigh(errNoWitness, errNoWitness, false); !errors.Is(got, errNoWitness) {
		t.Errorf("nobody to ask: got %v", got)
	}
}

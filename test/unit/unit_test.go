// Package unit tests agents that run their service by its systemd unit, on a node that runs systemd: the
// distribution's own packages and units, or EL's units by hand.
package unit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// deadline is for a step that waits: a bound for what hangs, not a measure.
const deadline = 5 * time.Minute

// host is a node, and the agent on it with a unit.
type host struct {
	testing.TB
	*cluster.Node
	run    ocftest.Runner
	unit   string
	params ocftest.Params
	slow   bool   // it takes seconds to start
	leaves string // a monitor's words of what goes on in its unit after it was killed
}

// boot is a node without a cluster.
func boot(t testing.TB) *cluster.Node {
	t.Helper()
	cfg, err := scenario.Config(built.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Nodes, cfg.Bare = 1, true
	return cluster.New(t, cfg).Nodes()[0]
}

func on(t testing.TB, n *cluster.Node, agent, unit string, params ocftest.Params) *host {
	return &host{TB: t, Node: n, unit: unit, params: params.With("unit", unit), run: ocftest.Remote(
		"/usr/lib/ocf/resource.d/openstack/"+agent,
		func(ctx context.Context, argv, env []string) (string, string, int, error) {
			r, err := n.Run(ctx, cluster.Cmd{Argv: argv, Env: env})
			var exit *cluster.ExitError
			if errors.As(err, &exit) {
				err = nil
			}
			return r.Stdout, r.Stderr, r.Code, err
		})}
}

func (h *host) want(action string, code ocf.Code, words ...string) ocftest.Result {
	h.Helper()
	timeout := time.Minute
	if h.slow {
		timeout = 3 * time.Minute
	}
	return h.run.Want(h.TB, ocftest.Call{Action: action, Params: h.params, Timeout: timeout}, code, words...)
}

// watch is a recurring monitor.
func (h *host) watch(level int, code ocf.Code, words ...string) {
	h.Helper()
	h.run.Want(h.TB, ocftest.Call{Action: ocf.Monitor, Params: h.params, Interval: 10 * time.Second, Level: level, Timeout: time.Minute}, code, words...)
}

func (h *host) sh(format string, args ...any) string {
	h.Helper()
	r, err := h.Node.Shell(context.Background(), fmt.Sprintf(format, args...))
	if err != nil {
		h.Fatalf("%s: %v: %s", fmt.Sprintf(format, args...), err, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// state is a property of the unit.
func (h *host) state(property string) string {
	h.Helper()
	return h.sh("systemctl show --value --property=%s %s", property, h.unit)
}

func (h *host) pid() int {
	h.Helper()
	pid, err := strconv.Atoi(h.state("MainPID"))
	if err != nil || pid == 0 {
		h.Fatalf("%s has no main process: %v", h.unit, err)
	}
	return pid
}

func (h *host) until(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("waited in vain until %s", what)
		}
	}
}

// dropIn adds to the unit, as an operator does.
func (h *host) dropIn(text string) {
	h.Helper()
	dir := "/etc/systemd/system/" + h.unit + ".d"
	h.sh("mkdir -p %[1]s; printf '%%s' '%[2]s' >%[1]s/50-operator.conf; systemctl daemon-reload", dir, text)
	if t, ok := h.TB.(*testing.T); ok {
		t.Cleanup(func() { h.sh("rm %s/50-operator.conf; systemctl daemon-reload", dir) })
	}
}

// life is what every agent with a unit owes; or only those parts, where its other unit has shown the rest.
func (h *host) life(t *testing.T, only ...string) {
	part := func(name string, do func(h *host)) {
		if len(only) > 0 && !slices.Contains(only, name) {
			return
		}
		t.Run(name, func(t *testing.T) {
			in := *h
			in.TB = t
			defer in.want(ocf.Stop, ocf.OK)
			do(&in)
		})
	}
	part("start, stop and again", func(h *host) {
		h.want(ocf.Monitor, ocf.NotRunning)
		h.want(ocf.Start, ocf.OK)
		h.want(ocf.Start, ocf.OK)
		h.want(ocf.Monitor, ocf.OK)
		h.watch(0, ocf.OK)
		if got := h.sh("cat /proc/%d/cgroup", h.pid()); !strings.HasSuffix(got, "/"+h.unit) {
			h.Errorf("its control group is %q", got)
		}
		if got := h.state("Restart"); got != "no" {
			h.Errorf("systemd restarts it (%s), behind the cluster's back", got)
		}
		if got := h.state("Before"); !strings.Contains(got, "pacemaker.service") {
			h.Errorf("a shutdown would stop it before Pacemaker knows: Before=%s", got)
		}
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Monitor, ocf.NotRunning)
		if got := h.state("ActiveState"); got != "inactive" {
			h.Errorf("the unit is %s: %s %s", got, h.state("Result"), h.state("ExecMainStatus"))
		}
	})
	part("killed", func(h *host) {
		h.want(ocf.Start, ocf.OK)
		h.sh("kill -KILL %d", h.pid())
		h.until("systemd has seen it die", func() bool { return h.state("ActiveState") == "failed" })
		if h.leaves == "" {
			h.watch(0, ocf.NotRunning)
		} else {
			h.watch(0, ocf.Generic, h.unit+" runs ", h.leaves)
		}
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Monitor, ocf.NotRunning)
		for range map[bool]int{false: 8}[h.slow] { // more often than systemd's own limit of starts
			h.want(ocf.Start, ocf.OK)
			h.sh("kill -KILL %d", h.pid())
			h.until("systemd has seen it die", func() bool { return h.state("ActiveState") == "failed" })
		}
	})
	part("frozen", func(h *host) {
		h.want(ocf.Start, ocf.OK)
		h.sh("kill -STOP $(cat /sys/fs/cgroup/system.slice/%s/cgroup.procs)", h.unit)
		h.until("it has stopped", func() bool { return strings.Contains(h.sh("cat /proc/%d/stat", h.pid()), ") T ") })
		h.watch(0, ocf.Generic, "frozen")
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Monitor, ocf.NotRunning)
	})
	part("control group frozen", func(h *host) {
		h.dropIn("[Service]\nTimeoutStopSec=15min\n")
		h.want(ocf.Start, ocf.OK)
		h.sh("echo 1 >/sys/fs/cgroup/system.slice/%[1]s/cgroup.freeze; until grep -qx 'frozen 1' /sys/fs/cgroup/system.slice/%[1]s/cgroup.events; do sleep 0.01; done", h.unit)
		h.watch(0, ocf.Generic, "frozen with its control group /system.slice/"+h.unit)
		h.run.Want(h.TB, ocftest.Call{Action: ocf.Stop, Params: h.params, Timeout: 20 * time.Second}, ocf.OK)
		h.want(ocf.Monitor, ocf.NotRunning)
	})
	part("masked, and missing", func(h *host) {
		none := *h
		none.params = h.params.With("unit", "nobodys.service")
		none.want(ocf.Start, ocf.NotInstalled, "there is no unit nobodys.service")
		none.want(ocf.Monitor, ocf.NotInstalled, "nobodys.service")
		none.want(ocf.Stop, ocf.OK)
		h.sh("systemctl mask --runtime %s", h.unit)
		defer h.sh("systemctl unmask --runtime %s", h.unit)
		h.want(ocf.Start, ocf.NotInstalled, "is masked")
	})
	part("the job fails", func(h *host) {
		h.dropIn("[Service]\nExecStart=\nExecStart=/bin/sh -c \"echo cannot go on: the disk is upside down >&2; exit 3\"\nNoExecPaths=\nExecPaths=\n")
		h.want(ocf.Start, ocf.Generic, h.unit, "status 3", "the disk is upside down")
	})
	part("a stranger in the unit", func(h *host) {
		h.dropIn("[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep 1000\nNoExecPaths=\nExecPaths=\n")
		h.sh("systemctl start %s", h.unit)
		h.until("it runs", func() bool { return h.sh("cat /proc/%s/comm || true", h.state("MainPID")) == "sleep" })
		h.want(ocf.Monitor, ocf.Generic, h.unit+" runs sleep (pid ")
		h.want(ocf.Stop, ocf.OK)
	})
	part("restarted by hand", func(h *host) {
		h.dropIn("[Service]\nExecStartPre=+/bin/sleep 1\n")
		h.want(ocf.Start, ocf.OK)
		was := h.state("MainPID")
		h.sh("systemctl --no-block restart %s", h.unit) // as an upgrade of its package does
		h.until("it was restarted, and well whenever it was asked", func() bool {
			h.want(ocf.Monitor, ocf.OK)
			now := h.state("MainPID")
			return now != was && now != "0"
		})
	})
	part("shutdown of the service by hand", func(h *host) {
		h.want(ocf.Start, ocf.OK)
		h.sh("systemctl stop %s", h.unit)
		h.watch(0, ocf.NotRunning)
	})
}

// direct runs a command in the node, beside any unit, until it is stopped.
func (h *host) direct(format string, args ...any) {
	h.Helper()
	h.sh("setsid -f bash -c '%s' </dev/null >/dev/null 2>&1", fmt.Sprintf(format, args...))
}

func TestMemcached(t *testing.T) {
	needs.Turn(t, 0, 2)
	needs.Program(t, "memcached", "memcached")
	h := on(t, boot(t), "memcached", "memcached.service", ocftest.Params{})
	h.life(t)
	t.Run("beside its unit", func(t *testing.T) {
		h := on(t, h.Node, "memcached", "memcached.service", ocftest.Params{})
		h.direct("exec memcached -u nobody -l 127.0.0.1")
		h.until("it serves", func() bool {
			return h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: h.params}).Code == ocf.OK
		})
		h.want(ocf.Start, ocf.OK)
		if got := h.state("ActiveState"); got != "inactive" {
			t.Errorf("it was started a second time: the unit is %s", got)
		}
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Start, ocf.OK)
		h.pid()
		h.want(ocf.Stop, ocf.OK)
	})
	t.Run("alias, instance of a template, init script", func(t *testing.T) {
		h.write("/usr/lib/systemd/system/memcached@.service", "[Service]\nExecStart=/usr/bin/memcached -u nobody -l 127.0.0.1 -p %i\n")
		h.write("/etc/init.d/cached", "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: cached\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\n"+
			"case $1 in start) exec memcached -d -u nobody -l 127.0.0.1 -p 11212 -P /run/cached.pid;; stop) kill $(cat /run/cached.pid);; esac\n")
		h.sh("chmod 755 /etc/init.d/cached; ln -s memcached.service /usr/lib/systemd/system/cache.service; ln -s memcached@.service /usr/lib/systemd/system/cache@.service; systemctl daemon-reload")
		for unit, c := range map[string]struct{ lives, port string }{
			"cache.service":           {"memcached.service", "11211"},
			"memcached@11311.service": {"memcached@11311.service", "11311"},
			"cache@11411.service":     {"memcached@11411.service", "11411"},
			"cached.service":          {"cached.service", "11212"},
		} {
			h := on(t, h.Node, "memcached", unit, ocftest.Params{"port": c.port})
			h.want(ocf.Monitor, ocf.NotRunning)
			h.want(ocf.Start, ocf.OK)
			h.watch(0, ocf.OK)
			if got := h.sh("cat /sys/fs/cgroup/system.slice/%[1]s/cgroup.procs || cat /sys/fs/cgroup/system.slice/system-memcached.slice/%[1]s/cgroup.procs", c.lives); got == "" {
				t.Errorf("%s: nothing runs in %s", unit, c.lives)
			}
			if got := h.state("Restart"); got != "no" {
				t.Errorf("%s: Restart=%s", unit, got)
			}
			h.want(ocf.Stop, ocf.OK)
			h.want(ocf.Monitor, ocf.NotRunning)
		}
	})
	t.Run("what says how it runs is refused", func(t *testing.T) {
		h := on(t, h.Node, "memcached", "memcached.service", ocftest.Params{"memory": "128"})
		h.want(ocf.Start, ocf.NotConfigured, "memory says how the service is run, and so does unit=memcached.service")
		h = on(t, h.Node, "memcached", "memcached.socket", ocftest.Params{})
		h.want(ocf.Start, ocf.NotConfigured, "is a socket, and no service")
	})
}

const frontends = `global
    stats socket /run/haproxy.stats mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend main
    bind "${VIP}:8080"
    http-request return status 200 content-type text/plain string main
`

func TestHAProxy(t *testing.T) {
	needs.Program(t, "haproxy", "haproxy")
	n := boot(t)
	h := on(t, n, "haproxy", "haproxy.service", ocftest.Params{})
	h.write("/etc/haproxy/haproxy.cfg", frontends)
	h.write("/etc/default/haproxy", "VIP=127.0.0.1\n")
	if !t.Run("Debian's unit", func(t *testing.T) { on(t, n, "haproxy", "haproxy.service", nil).life(t) }) {
		return
	}
	t.Run("EL's unit", func(t *testing.T) {
		h := on(t, n, "haproxy", "haproxy.service", nil)
		h.lay(scenario.ELHAProxy())
		h.sh("systemctl daemon-reload")
		get := func(port int) string { return h.sh("curl -s --max-time 5 http://127.0.0.1:%d/", port) }
		h.want(ocf.Start, ocf.OK)
		h.watch(0, ocf.OK)
		if a, b := get(8080), get(8081); a != "main" || b != "api1" {
			t.Errorf("after the start: %q, %q", a, b)
		}
		h.sh("systemctl --quiet enable %s", h.unit)
		res := h.run.Want(h.TB, ocftest.Call{Action: ocf.ValidateAll, Params: h.params, Level: 10, Timeout: time.Minute}, ocf.OK)
		if warns := res.Stdout + res.Stderr; !strings.Contains(warns, "systemctl disable "+h.unit) {
			t.Errorf("validate-all does not say that systemd starts it at boot: %q", warns)
		}
		h.sh("systemctl --quiet disable %s; test -z \"$(ls /run | grep [.]ocf)\"", h.unit)
		pid := h.pid()
		h.write("/etc/haproxy/conf.d/api.cfg", "frontend beside\n    bind 127.0.0.1:8081\n    http-request return status 200 content-type text/plain string api2\n")
		h.want(ocf.ReloadAgent, ocf.OK)
		if a, b := get(8080), get(8081); a != "main" || b != "api2" || h.pid() != pid {
			t.Errorf("after the reload: %q, %q, pid %d, then %d", a, b, pid, h.pid())
		}
		h.write("/etc/haproxy/conf.d/bad.cfg", "frontend bad\n    bnid 127.0.0.1:8082\n")
		h.want(ocf.ReloadAgent, ocf.OK)
		h.watch(0, ocf.Degraded, "not reloaded, the old configuration serves on", "bnid")
		h.sh("rm /etc/haproxy/conf.d/bad.cfg")
		h.want(ocf.ReloadAgent, ocf.OK)
		h.watch(0, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		h.write("/etc/sysconfig/haproxy", "\n")
		h.want(ocf.Start, ocf.BadArgument, "not set in HAProxy's environment")
		h.write("/etc/sysconfig/haproxy", "VIP=127.0.0.1\n")
		const socket = "    stats socket /run/haproxy.stats mode 600 level admin\n"
		h.write("/etc/haproxy/haproxy.cfg", strings.Replace(frontends, socket, "", 1))
		h.want(ocf.Start, ocf.OK)
		h.watch(0, ocf.Degraded, "give it a stats socket in global, and reload")
		h.write("/etc/haproxy/haproxy.cfg", frontends)
		h.want(ocf.ReloadAgent, ocf.OK)
		h.watch(0, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		h.life(t, "start, stop and again", "killed", "control group frozen")
	})
}

func (h *host) write(path, text string) {
	h.Helper()
	if err := h.Node.WriteFile(context.Background(), path, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
}

// TestMySQL: Debian's mariadb.service with its data on storage of its own.
func TestMySQL(t *testing.T) {
	needs.Program(t, "mariadbd", "mariadb-server")
	n := boot(t)
	h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
	const data = "/var/lib/mysql"
	h.sh("mkdir -p %[1]s; mount -t tmpfs -o size=400M tmpfs %[1]s; chown mysql: %[1]s; chmod 700 %[1]s", data)
	h.sh("mariadb-install-db --user=mysql --datadir=%s --skip-test-db --innodb-log-file-size=8M >/dev/null 2>&1", data)
	h.write("/etc/mysql/mariadb.conf.d/99-small.cnf", "[mysqld]\ninnodb-buffer-pool-size=8M\ninnodb-log-file-size=8M\ninnodb-use-native-aio=0\n")
	in := func(t *testing.T, params ocftest.Params) *host {
		return on(t, n, "mysql-shared-storage", "mariadb.service", params)
	}
	t.Run("what its unit says holds for the process, and is asked", func(t *testing.T) {
		h := in(t, nil)
		h.dropIn(`[Service]
LimitMEMLOCK=1234K
Environment=TZ=Pacific/Apia "MYSQLD_OPTS=--socket=/run/mysqld/unit.sock --skip-networking"
`)
		h.want(ocf.Start, ocf.OK)
		defer h.want(ocf.Stop, ocf.OK)
		h.watch(10, ocf.OK)
		if got := h.sh("grep 'Max locked memory' /proc/%d/limits", h.pid()); !strings.Contains(got, strconv.Itoa(1234<<10)) {
			t.Errorf("LimitMEMLOCK is not the unit's: %s", got)
		}
		if got := h.sh("tr '\\0' '\\n' </proc/%d/environ", h.pid()); !strings.Contains(got, "TZ=Pacific/Apia") {
			t.Errorf("the environment is not the unit's: %s", got)
		}
		if got := h.sh("ls /run/mysqld"); !strings.Contains(got, "unit.sock") {
			t.Errorf("the command line is not the unit's: %s", got)
		}
		h.sh("sed -i s/unit.sock/next.sock/ /etc/systemd/system/%s.d/50-operator.conf; systemctl daemon-reload", h.unit)
		h.want(ocf.Monitor, ocf.OK) // the process is asked as it was started
		h.watch(0, ocf.OK)
	})
	t.Run("data directory unmounted", func(t *testing.T) {
		h := in(t, nil)
		h.sh("mkdir -p /run/held; mount --move %[1]s /run/held 2>/dev/null || { mount --bind %[1]s /run/held; umount %[1]s; }", data)
		h.want(ocf.Start, ocf.Generic, "mount it first")
		if got := h.state("ActiveState"); got == "active" {
			t.Errorf("the unit is %s", got)
		}
		h.want(ocf.Monitor, ocf.NotRunning)
		h.want(ocf.Stop, ocf.OK)
		h.sh("mount --bind /run/held %s; umount /run/held; mkdir /run/none; mount -t tmpfs tmpfs /run/none; chown mysql: /run/none", data)
		h.params = h.params.With("datadir", "/run/none")
		h.want(ocf.Start, ocf.Generic, "there are no databases in /run/none")
		h.sh("umount /run/none")
	})
	t.Run("a server of its unit on the socket of another resource", func(t *testing.T) {
		h := in(t, nil)
		h.want(ocf.Start, ocf.OK)
		other := *h
		other.params = ocftest.Params{"datadir": "/srv", "shared_storage": "false", "socket": "/run/mysqld/mysqld.sock"}
		other.want(ocf.Monitor, ocf.Generic, "listens on our socket, but works on "+data) // though in the unit's own mount namespace
		other.want(ocf.Start, ocf.Generic, "listens on our socket")
		h.watch(0, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		other.want(ocf.Monitor, ocf.NotRunning)
	})
	t.Run("what says how it runs is refused", func(t *testing.T) {
		for name, value := range map[string]string{"additional_parameters": "--port=1", "enable_creation": "true", "log": "/var/log/x"} {
			in(t, ocftest.Params{name: value}).want(ocf.Start, ocf.NotConfigured, name+" says how the service is run, and so does unit=mariadb.service")
		}
	})
	in(t, nil).life(t)
}

package osagents

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/openstack"
)

// TestNova is the table of what befalls a service of nova's: each row finds
// the plane whole, and leaves it so.
func TestNova(t *testing.T) {
	box.Need(t)
	t.Parallel()
	p := &plane{rabbit: openstack.StartRabbit(t), db: openstack.StartMariaDB(t)}
	p.nova = openstack.NewNova(t, p.db, p.rabbit.TransportURL())
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	conductor.start()
	consoleauth := newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()})

	t.Run("contract", func(t *testing.T) {
		ocftest.Run(t, ocftest.Subject{
			New: consoleauth.new, Program: consoleauth.path, Params: consoleauth.p, Broken: ocftest.Params{"database_server_port": "many"},
			Kill:   func(testing.TB) { consoleauth.signal(syscall.SIGKILL) },
			Freeze: func(testing.TB) { consoleauth.signal(syscall.SIGSTOP) },
		})
	})
	t.Run("ocf-tester", func(t *testing.T) { consoleauth.in(t).ocfTester() })
	for _, row := range []struct {
		name string
		do   func(s *service)
	}{
		{"all levels of a healthy service", func(s *service) {
			for _, level := range []int{0, 10, 20} {
				s.monitor(level, ocf.OK)
			}
		}},
		{"frozen", func(s *service) {
			s.signal(syscall.SIGSTOP)
			s.monitor(0, ocf.Generic, "frozen")
			s.want(ocf.Stop, ocf.OK)
			s.want(ocf.Monitor, ocf.NotRunning)
		}},
		{"broker killed, and back", func(s *service) {
			s.await(15*time.Second, 0, ocf.OK)
			p.rabbit.Kill()
			s.monitor(10, ocf.Degraded, "message bus", "not there")
			s.await(20*time.Second, 0, ocf.Degraded, "message bus")
			p.rabbit.Start()
			// Not yet subscribed again: that is waited for, not punished.
			s.run.Want(s.t, ocftest.Call{Action: ocf.Monitor, Params: s.p, Interval: time.Second, Level: 10, Timeout: time.Minute}, ocf.OK)
			s.monitor(20, ocf.OK)
		}},
		{"broker frozen", func(s *service) {
			p.rabbit.Freeze()
			defer p.rabbit.Thaw()
			s.monitor(10, ocf.Degraded, "hangs")
			s.monitor(20, ocf.Degraded, "hangs")
		}},
		{"broker refuses us", func(s *service) {
			other := p.nova.Write("password.conf", "rabbit://guest:hunter2@"+p.rabbit.Address()+"/")
			r := s.with("additional_parameters", "--config-file="+other).monitor(10, ocf.Degraded, "refuses")
			if strings.Contains(r.Stderr, "hunter2") {
				s.t.Errorf("the password is told: %s", r)
			}
		}},
		{"database frozen", func(s *service) {
			s.await(15*time.Second, 0, ocf.OK)
			p.db.Freeze()
			s.monitor(0, ocf.Degraded, "its database does not answer", "hangs")
			s.monitor(10, ocf.Degraded, "its database does not answer", "hangs")
			p.db.Thaw()
			s.await(20*time.Second, 0, ocf.OK)
		}},
		{"database dead", func(s *service) {
			p.db.Kill()
			s.monitor(0, ocf.Degraded, "its database does not answer", "dial")
			p.db.Start()
			s.await(20*time.Second, 0, ocf.OK)
		}},
		{"reports late, and answers", func(s *service) {
			reports(s.t, p.db.Open("nova"), queries["nova"], "node1", s.name) // lately, whatever happened in the rows above
			p.db.Exec("CREATE TRIGGER nova.late BEFORE UPDATE ON nova.services FOR EACH ROW SET NEW.last_seen_up = OLD.last_seen_up")
			defer p.db.Exec("DROP TRIGGER nova.late")
			s.await(30*time.Second, 0, ocf.Degraded, "answers over the message bus", "last report")
		}},
		{"disabled by the admin", func(s *service) {
			s.await(15*time.Second, 0, ocf.OK)
			p.row("nova-consoleauth", "disabled = 1, disabled_reason = 'a test'")
			s.monitor(0, ocf.OK)
			s.monitor(10, ocf.OK)
		}},
		{"registered under another name", func(s *service) {
			other := filepath.Join(s.t.TempDir(), "host.conf")
			box.Sh(s.t, "printf '[DEFAULT]\nhost = elsewhere\n' >%s", other)
			s.with("additional_parameters", "--config-file="+other).monitor(0, ocf.Generic, "consoleauth.elsewhere is not subscribed")
		}},
		{"memcached dead", func(s *service) {
			other := filepath.Join(s.t.TempDir(), "cache.conf")
			box.Sh(s.t, "printf '[cache]\nenabled = true\nbackend = oslo_cache.memcache_pool\nmemcache_servers = 127.0.0.1:9\n' >%s", other)
			s.with("additional_parameters", "--config-file="+other).monitor(20, ocf.Degraded, "memcached", "127.0.0.1:9")
		}},
		{"configuration deleted while running", func(s *service) {
			box.Sh(s.t, "mv %s %s.away", p.nova.Conf, p.nova.Conf)
			defer box.Sh(s.t, "mv %s.away %s", p.nova.Conf, p.nova.Conf)
			s.monitor(0, ocf.Degraded, p.nova.Conf)
			s.want(ocf.Start, ocf.Args, p.nova.Conf)
			s.want(ocf.Stop, ocf.OK)
			s.want(ocf.Monitor, ocf.NotRunning)
		}},
		{"program removed while running", func(s *service) {
			box.Sh(s.t, "mv %s %s.away", s.p["binary"], s.p["binary"])
			defer box.Sh(s.t, "mv %s.away %s", s.p["binary"], s.p["binary"])
			s.monitor(0, ocf.OK)
			s.want(ocf.Stop, ocf.OK)
			s.want(ocf.Monitor, ocf.Installed)
		}},
		{"pid file garbage, killed, and pid reused", func(s *service) {
			pid := s.p["pid"]
			stranger := box.Background(s.t, "sleep", "600")
			box.Sh(s.t, "echo garbage >%s", pid)
			s.monitor(0, ocf.OK)
			s.signal(syscall.SIGKILL)
			box.Sh(s.t, "echo %d >%s", stranger.Process.Pid, pid)
			s.monitor(0, ocf.NotRunning)
			s.want(ocf.Stop, ocf.OK)
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				s.t.Errorf("the stranger was signalled: %v", err)
			}
		}},
		{"started by an init script", func(s *service) {
			s.want(ocf.Stop, ocf.OK)
			other := box.Background(s.t, "/usr/bin/python3", s.p["binary"], "--config-file", p.nova.Conf)
			box.Until(s.t, "it runs", func() bool { return len(s.pids()) == 1 })
			s.want(ocf.Start, ocf.OK)
			s.monitor(10, ocf.OK)
			if pids := s.pids(); len(pids) != 1 || pids[0] != other.Process.Pid {
				s.t.Errorf("there are %v, started was %d", pids, other.Process.Pid)
			}
			s.want(ocf.Stop, ocf.OK)
		}},
		{"of another configuration", func(s *service) {
			other := p.nova.Write("stranger.conf", p.rabbit.TransportURL())
			stranger := s.with("config", other)
			stranger.want(ocf.Monitor, ocf.NotRunning)
			stranger.want(ocf.Stop, ocf.OK)
			s.monitor(0, ocf.OK)
		}},
		{"what it left behind", func(s *service) {
			box.Sh(s.t, "setsid sleep 601 >/dev/null 2>&1 & echo $! >/run/other")
			// A child in the service's session, as a privsep helper is.
			s.want(ocf.Stop, ocf.OK)
			script := filepath.Join(s.t.TempDir(), "nova-consoleauth")
			box.Sh(s.t, "printf '#!/bin/sh\nsleep 602 &\nexec /usr/bin/python3 %s \"$@\"\n' >%s; chmod 755 %s", s.p["binary"], script, script)
			child := s.with("binary", script)
			child.start()
			child.want(ocf.Stop, ocf.OK)
			if left := box.Sh(s.t, "pgrep -f '[s]leep 602' || true"); left != "" {
				s.t.Errorf("a child is left: %s", left)
			}
			box.Sh(s.t, "kill $(cat /run/other)") // fails if it is gone
		}},
		{"wrong password at the start", func(s *service) {
			other := p.nova.Write("refused.conf", "rabbit://guest:hunter2@"+p.rabbit.Address()+"/", "host = another")
			s = newService(s.t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			r := s.want(ocf.Start, ocf.Generic, "died", "AccessRefused")
			if strings.Contains(r.Stderr, "hunter2") {
				s.t.Errorf("the password is told: %s", r)
			}
		}},
		{"ignores SIGTERM while it looks for a dead broker", func(s *service) {
			other := p.nova.Write("dead.conf", fmt.Sprintf("rabbit://guest:guest@127.0.0.1:%d/", openstack.Ports(s.t, 1)[0]), "host = another")
			s = newService(s.t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			s.run.Want(s.t, ocftest.Call{Action: ocf.Start, Params: s.p, Timeout: 20 * time.Second}, ocf.OK)
			box.Until(s.t, "it looks for the broker", func() bool {
				b, _ := os.ReadFile(s.p["log"])
				return strings.Contains(string(b), "Connection failed")
			})
			s.monitor(0, ocf.Degraded, "message bus", "not there")
			// Within the 20 s that a cluster gives by default.
			r := s.run.Want(s.t, ocftest.Call{Action: ocf.Stop, Params: s.p}, ocf.OK)
			if !strings.Contains(r.Stderr, "SIGKILL") {
				s.t.Errorf("it was not killed: %s", r)
			}
			s.want(ocf.Monitor, ocf.NotRunning)
		}},
		{"qpidd without the queue patterns", func(s *service) {
			// It connects, reports, and is refused every subscription; only the bus tells.
			qpidd := broker.Start(s.t, broker.Options{})
			s.t.Logf("broker: %s", qpidd.Kind())
			other := p.nova.Write("qpidd.conf", fmt.Sprintf("amqp://127.0.0.1:%d/", qpidd.Port), "host = another")
			s = newService(s.t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			// It starts with a handicap, after it had half of the time for coming right.
			s.run.Want(s.t, ocftest.Call{Action: ocf.Start, Params: s.p}, ocf.OK)
			s.monitor(10, ocf.Degraded, "--queue-patterns")
			s.want(ocf.Stop, ocf.OK)
		}},
		{"as the service's own user", func(s *service) {
			conf := p.nova.Conf
			letIn(s.t, conf)
			box.Sh(s.t, "chown nova %s", filepath.Dir(conf))
			s = newService(s.t, "nova-scheduler", ocftest.Params{"config": conf}).with("user", "nova", "log", "/run/log/nova/s.log")
			s.start()
			s.monitor(10, ocf.OK)
			// /run/nova is root's if an earlier start made it.
			if owners := strings.Fields(box.Sh(s.t, "stat -c %%U /proc/%d /run/log/nova", s.pids()[0])); !slices.Equal(owners, []string{"nova", "nova"}) {
				s.t.Errorf("owners of the process and of the log's folder: %v", owners)
			}
		}},
		{"row deleted", func(s *service) {
			// Of one that is old enough to have reported for sure, a minute.
			s = conductor.in(s.t)
			p.row(s.name, "deleted = id")
			s.await(80*time.Second, 0, ocf.Degraded, "no row", "restart")
			s.want(ocf.Start, ocf.OK) // it runs already, with a handicap
			s.want(ocf.Stop, ocf.OK)
			s.start()
			s.await(15*time.Second, 0, ocf.OK)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := consoleauth.in(t)
			s.start()
			row.do(s)
		})
	}
	s := consoleauth
	s.start()
	s.await(20*time.Second, 0, ocf.OK)
	t.Run("no forks", func(t *testing.T) {
		for _, level := range []string{"0", "10", "20"} {
			env := append(s.environ(), "OCF_CHECK_LEVEL="+level)
			for _, line := range box.Forks(t, env, int(ocf.OK), s.path, "monitor") {
				t.Errorf("level %s: %s", level, line)
			}
		}
	})
	t.Run("cost", func(t *testing.T) {
		var cpu []time.Duration
		for range 51 {
			cmd := exec.Command(s.path, "monitor")
			cmd.Env = append(os.Environ(), s.environ()...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cpu = append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		slices.Sort(cpu)
		// Of CPU time: what else the machine does is not the monitor's cost.
		if median := cpu[len(cpu)/2]; median > 10*time.Millisecond {
			t.Errorf("a monitor at level 0 takes %v of CPU time, want under 10 ms", median)
		} else {
			t.Logf("a monitor at level 0 takes %v of CPU time", median)
		}
	})
}

// plane is a control plane of nova: bus, database, configuration.
type plane struct {
	rabbit *openstack.Rabbit
	db     *openstack.MariaDB
	nova   *openstack.Nova
}

// row changes the service's row in nova's database.
func (p *plane) row(binary, set string) {
	p.db.Exec(fmt.Sprintf("UPDATE nova.services SET %s WHERE `binary` = '%s'", set, binary))
}

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

	agents "github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/openstack"
)

// TestByUnit: what a start, a stop and a service beside its unit are, of nova's.
func TestByUnit(t *testing.T) {
	t.Parallel()
	box.ByUnit(t, "TestNova/frozen", "TestNova/configuration deleted while running", "TestNova/started by an init script", "TestNova/what it left behind")
}

// TestNova is the table of what befalls a service of nova's: each row finds
// the plane whole, and leaves it so.
func TestNova(t *testing.T) {
	box.Need(t)
	t.Parallel()
	p := &plane{rabbit: openstack.StartRabbit(t), db: openstack.StartMariaDB(t)}
	p.nova = openstack.NewNova(t, p.db, p.rabbit.TransportURL())
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	conductor.Start()
	consoleauth := newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()})

	t.Run("contract", func(t *testing.T) {
		consoleauth.Contract(t, agents.Agents()["nova-consoleauth"], ocftest.Params{"database_server_port": "many"}, ocftest.Params{"config": "nova.conf"})
	})
	t.Run("ocf-tester", func(t *testing.T) { ocfTester(consoleauth.In(t)) })
	box.Rows(t, running(consoleauth), []box.Row[*box.Agent]{
		{"all levels of a healthy service", func(s *box.Agent) {
			for _, level := range []int{0, 10, 20} {
				s.Monitor(level, ocf.OK)
			}
		}},
		{"frozen", func(s *box.Agent) {
			s.Signal(syscall.SIGSTOP)
			s.Monitor(0, ocf.Generic, "frozen")
			s.Stop()
		}},
		{"broker killed, and back", func(s *box.Agent) {
			s.Await(15*time.Second, 0, ocf.OK)
			p.rabbit.Kill()
			s.Monitor(10, ocf.Degraded, "message bus", "not there")
			s.Await(20*time.Second, 0, ocf.Degraded, "message bus")
			p.rabbit.Start()
			// Not yet subscribed again: that is waited for, not punished.
			s.Call(ocftest.Call{Action: ocf.Monitor, Interval: time.Second, Level: 10, Timeout: time.Minute}, ocf.OK)
			s.Monitor(20, ocf.OK)
		}},
		{"started while its broker is dead", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			p.rabbit.Kill()
			defer p.rabbit.Start()
			began := time.Now()
			s.Call(ocftest.Call{Action: ocf.Start, Timeout: 3 * time.Minute}, ocf.OK)
			// Until it is over, Pacemaker does not start the broker that is before it in its group.
			if took := time.Since(began); took > time.Minute {
				s.T.Errorf("the start took %v", took)
			}
			s.Monitor(10, ocf.Degraded, "not there")
		}},
		{"broker frozen", func(s *box.Agent) {
			p.rabbit.Freeze()
			defer p.rabbit.Thaw()
			s.Monitor(10, ocf.Degraded, "hangs")
			s.Monitor(20, ocf.Degraded, "hangs")
		}},
		{"broker refuses us", func(s *box.Agent) {
			defer p.edit(s.T, "transport_url = rabbit://guest:hunter2@"+p.rabbit.Address()+"/")()
			r := s.Monitor(10, ocf.Degraded, "refuses")
			if strings.Contains(r.Stderr, "hunter2") {
				s.T.Errorf("the password is told: %s", r)
			}
		}},
		{"database frozen", func(s *box.Agent) {
			s.Await(15*time.Second, 0, ocf.OK)
			p.db.Freeze()
			s.Monitor(0, ocf.Degraded, "its database does not answer", "hangs")
			s.Monitor(10, ocf.Degraded, "its database does not answer", "hangs")
			p.db.Thaw()
			s.Await(20*time.Second, 0, ocf.OK)
		}},
		{"database dead", func(s *box.Agent) {
			p.db.Kill()
			s.Monitor(0, ocf.Degraded, "its database does not answer", "connection refused")
			p.db.Start()
			s.Await(20*time.Second, 0, ocf.OK)
		}},
		{"database dead at a start", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			p.db.Kill()
			s.Start() // it does not wait until the service gives up, and fails then: it is no start that brings the database back
			s.Monitor(0, ocf.Degraded, "its database does not answer", "connection refused")
			p.db.Start()
			s.Await(time.Minute, 0, ocf.OK)
		}},
		{"database frozen at a start", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			p.db.Freeze()
			defer p.db.Thaw()
			began := time.Now()
			s.Start()
			s.Monitor(10, ocf.Degraded, "its database does not answer", "hangs")
			s.Monitor(20, ocf.Degraded, "its database does not answer", "hangs")
			// Until they are over, Pacemaker does nothing for the database that is before it in its group.
			if took := time.Since(began); took > time.Minute {
				s.T.Errorf("they took %v", took)
			}
			p.db.Thaw()
			s.Await(time.Minute, 0, ocf.OK)
		}},
		{"reports late, and answers", func(s *box.Agent) {
			reports(s.T, p.db.Open("nova"), queries["nova"], "node1", s.Name) // lately, whatever happened in the rows above
			p.db.Exec("CREATE TRIGGER nova.late BEFORE UPDATE ON nova.services FOR EACH ROW SET NEW.last_seen_up = OLD.last_seen_up")
			defer p.db.Exec("DROP TRIGGER nova.late")
			s.Await(30*time.Second, 0, ocf.Degraded, "answers over the message bus", "last report")
		}},
		{"disabled by the admin", func(s *box.Agent) {
			s.Await(15*time.Second, 0, ocf.OK)
			p.row("nova-consoleauth", "disabled = 1, disabled_reason = 'a test'")
			s.Monitor(0, ocf.OK)
			s.Monitor(10, ocf.OK)
		}},
		{"registered under another name", func(s *box.Agent) {
			// It serves under the old name: that its file was edited is no failure of its.
			restore := p.edit(s.T, "host = elsewhere")
			s.Monitor(0, ocf.Degraded, "consoleauth.elsewhere is not subscribed", "nova.conf was edited after the start", "restart it")
			restore()
			s.Monitor(10, ocf.OK)
			// What the parameters say by now is not what it was given.
			other := write(s.T, filepath.Join(s.T.TempDir(), "host.conf"), "[DEFAULT]\nhost = elsewhere\n")
			s.With("additional_parameters", "--config-file="+other).Monitor(10, ocf.OK)
		}},
		{"its default directory and the file of its program", func(s *box.Agent) {
			home := s.T.TempDir()
			write(s.T, box.Sh(s.T, "mkdir -p %[1]s/.nova/nova.conf.d; echo %[1]s/.nova/nova-consoleauth.conf", home), "[DEFAULT]\nhost = of-its-program\n")
			write(s.T, filepath.Join(home, ".nova/nova.conf.d/1.conf"), "[DEFAULT]\nhost = node1\n")
			s.Want(ocf.Stop, ocf.OK)
			box.Sh(s.T, "cp %s %s/.nova/nova.conf", p.nova.Conf, home)
			other := exec.Command("/usr/bin/python3", s.Params["binary"]) // as EL's unit has it, and with a home of its own
			other.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
			if err := other.Start(); err != nil {
				s.T.Fatal(err)
			}
			defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
			here := s.With("config", "/etc/nova/nova.conf") // its default, which such a process belongs to
			here.Start()
			here.Monitor(10, ocf.OK)
		}},
		{"memcached dead", func(s *box.Agent) {
			defer p.edit(s.T, "[cache]", "enabled = true", "backend = oslo_cache.memcache_pool", "memcache_servers = 127.0.0.1:9")()
			s.Monitor(20, ocf.Degraded, "memcached", "127.0.0.1:9")
		}},
		{"configuration deleted while running", func(s *box.Agent) {
			box.Sh(s.T, "mv %s %s.away", p.nova.Conf, p.nova.Conf)
			defer box.Sh(s.T, "mv %s.away %s", p.nova.Conf, p.nova.Conf)
			s.Monitor(0, ocf.Degraded, p.nova.Conf)
			s.Start() // it runs already
			s.Stop()
			s.Want(ocf.Start, ocf.BadArgument, p.nova.Conf)
		}},
		{"program removed while running", func(s *box.Agent) {
			box.Sh(s.T, "mv %s %s.away", s.Params["binary"], s.Params["binary"])
			defer box.Sh(s.T, "mv %s.away %s", s.Params["binary"], s.Params["binary"])
			s.Monitor(0, ocf.OK)
			s.Want(ocf.Stop, ocf.OK)
			if box.InUnit() { // which is installed
				s.Want(ocf.Monitor, ocf.NotRunning)
				return
			}
			s.Want(ocf.Monitor, ocf.NotInstalled)
		}},
		{"pid file garbage, killed, and pid reused", func(s *box.Agent) {
			pid := s.Params["pid"]
			stranger := box.Background(s.T, "sleep", "600")
			box.Sh(s.T, "echo garbage >%s", pid)
			s.Monitor(0, ocf.OK)
			s.Signal(syscall.SIGKILL)
			box.Sh(s.T, "echo %d >%s", stranger.Process.Pid, pid)
			s.Monitor(0, ocf.NotRunning)
			s.Want(ocf.Stop, ocf.OK)
			box.Unharmed(s.T, stranger)
		}},
		{"started by an init script", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			other := box.Background(s.T, "/usr/bin/python3", s.Params["binary"], "--config-file", p.nova.Conf)
			box.Until(s.T, "it runs", func() bool { return len(s.Pids()) == 1 })
			s.Start()
			s.Monitor(10, ocf.OK)
			if pids := s.Pids(); len(pids) != 1 || pids[0] != other.Process.Pid {
				s.T.Errorf("there are %v, started was %d", pids, other.Process.Pid)
			}
			s.Want(ocf.Stop, ocf.OK)
		}},
		{"of another configuration", func(s *box.Agent) {
			other := p.nova.Write("stranger.conf", p.rabbit.TransportURL())
			stranger := s.Another("config", other, "pid", "/run/stranger.pid") // as another resource has: the default is named after it
			stranger.Want(ocf.Monitor, ocf.NotRunning)
			stranger.Want(ocf.Stop, ocf.OK)
			s.Monitor(0, ocf.OK)
		}},
		{"what it left behind", func(s *box.Agent) {
			box.Sh(s.T, "setsid sleep 601 >/dev/null 2>&1 & echo $! >/run/other")
			// A child in the service's session, as a privsep helper is.
			s.Want(ocf.Stop, ocf.OK)
			script := filepath.Join(s.T.TempDir(), "nova-consoleauth")
			box.Sh(s.T, "printf '#!/bin/sh\nsleep 602 &\nexec /usr/bin/python3 %s \"$@\"\n' >%s; chmod 755 %s", s.Params["binary"], script, script)
			child := s.With("binary", script)
			child.Start()
			child.Want(ocf.Stop, ocf.OK)
			if left := box.Sh(s.T, "pgrep -f '[s]leep 602' || true"); left != "" {
				s.T.Errorf("a child is left: %s", left)
			}
			box.Sh(s.T, "kill $(cat /run/other)") // fails if it is gone
		}},
		{"wrong password at the start", func(s *box.Agent) {
			other := p.nova.Write("refused.conf", "rabbit://guest:hunter2@"+p.rabbit.Address()+"/", "host = another")
			s = newService(s.T, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			// Under systemd it ends well, for itself.
			r := s.Want(ocf.Start, ocf.Generic, map[bool]string{false: "died", true: "has ended at once"}[box.InUnit()], "AccessRefused")
			if strings.Contains(r.Stderr, "hunter2") {
				s.T.Errorf("the password is told: %s", r)
			}
		}},
		{"a host that only nova's code knows", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			other := write(s.T, filepath.Join(s.T.TempDir(), "host.conf"), "[DEFAULT]\nhost = $my_ip\n")
			with := s.With("additional_parameters", "--config-file="+other)
			with.Validate(ocf.OK)
			if r := with.Want(ocf.Start, ocf.OK); r.Elapsed > 30*time.Second {
				s.T.Errorf("the start took %v", r.Elapsed)
			}
			with.Monitor(0, ocf.Degraded, "host", "cannot be told", "write a name or address")
		}},
		{"ignores SIGTERM while it looks for a dead broker", func(s *box.Agent) {
			other := p.nova.Write("dead.conf", fmt.Sprintf("rabbit://guest:guest@127.0.0.1:%d/", openstack.Ports(s.T, 1)[0]), "host = another")
			s = newService(s.T, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			s.Within(20 * time.Second).Start()
			box.Until(s.T, "it looks for the broker", func() bool { return strings.Contains(s.Said(), "Connection failed") })
			s.Monitor(0, ocf.Degraded, "message bus", "not there")
			// Within the 20 s that a cluster gives by default.
			r := s.Within(20 * time.Second).Stop()
			if !strings.Contains(r.Stderr, map[bool]string{false: "SIGKILL", true: "systemd did not stop the unit"}[box.InUnit()]) {
				s.T.Errorf("it was not killed: %s", r)
			}
		}},
		{"qpidd without the queue patterns", func(s *box.Agent) {
			// It connects, reports, and is refused every subscription; only the bus tells.
			qpidd := broker.Start(s.T, broker.Options{})
			s.T.Logf("broker: %s", qpidd.Kind())
			other := p.nova.Write("qpidd.conf", fmt.Sprintf("amqp://127.0.0.1:%d/", qpidd.Port), "host = another")
			s = newService(s.T, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
			// It starts with a handicap, for which nobody waits: what refuses it now will refuse it later.
			s.Start()
			s.Monitor(10, ocf.Degraded, "--queue-patterns")
			s.Want(ocf.Stop, ocf.OK)
		}},
		{"as the service's own user", func(s *box.Agent) {
			conf := p.nova.Conf
			box.LetIn(s.T, conf)
			box.Sh(s.T, "chown nova %s", filepath.Dir(conf))
			s = newService(s.T, "nova-scheduler", ocftest.Params{"config": conf}).With("user", "nova", "log", "/run/log/nova/s.log")
			s.Start()
			s.Monitor(10, ocf.OK)
			if owner := box.Sh(s.T, "stat -c %%U /proc/%d", s.Pids()[0]); owner != "nova" {
				s.T.Errorf("it runs as %s", owner)
			}
			box.NotByUnit(s.T, "log is refused beside it")
			if owner := box.Sh(s.T, "stat -c %%U /run/log/nova"); owner != "nova" { // /run/nova is root's if an earlier start made it
				s.T.Errorf("the log's folder belongs to %s", owner)
			}
		}},
		{"row deleted", func(s *box.Agent) {
			// Of one that is old enough to have reported for sure, a minute.
			s = conductor.In(s.T)
			p.row(s.Name, "deleted = id")
			s.Await(80*time.Second, 0, ocf.Degraded, "no row", "restart")
			s.Start() // it runs already, with a handicap
			s.Want(ocf.Stop, ocf.OK)
			s.Start()
			s.Await(15*time.Second, 0, ocf.OK)
		}},
	})
	t.Run("no forks", func(t *testing.T) {
		consoleauth.In(t).Stop()
		consoleauth.In(t).NoForks(0, 10, 20)
	})
	t.Run("memory", func(t *testing.T) { consoleauth.In(t).Memory(20) })
	t.Run("cost", func(t *testing.T) {
		used := map[string][]time.Duration{ocf.Monitor: nil, ocf.MetaData: nil}
		for range 51 {
			for action := range used {
				used[action] = append(used[action], consoleauth.In(t).CPU(action, 0))
			}
		}
		median := func(action string) time.Duration { return slices.Sorted(slices.Values(used[action]))[25] }
		// Of CPU time, which a busy machine makes more of, and of what only says what the agent is, too.
		took, least := median(ocf.Monitor), median(ocf.MetaData)
		t.Logf("a monitor at level 0 takes %v of CPU time, meta-data %v", took, least)
		if took > max(10*time.Millisecond, 3*least) {
			t.Errorf("a monitor at level 0 takes %v of CPU time, want under 10 ms, or three times what meta-data does (%v)", took, least)
		}
	})
}

// plane is a control plane of nova: bus, database, configuration.
type plane struct {
	rabbit *openstack.Rabbit
	db     *openstack.MariaDB
	nova   *openstack.Nova
}

// edit puts lines behind those of nova.conf, where they outweigh them; restore takes them away.
func (p *plane) edit(t testing.TB, lines ...string) (restore func()) {
	t.Helper()
	old, err := os.ReadFile(p.nova.Conf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.nova.Conf, string(old)+"[DEFAULT]\n"+strings.Join(lines, "\n")+"\n")
	return func() { write(t, p.nova.Conf, string(old)) }
}

// row changes the service's row in nova's database.
func (p *plane) row(binary, set string) {
	p.db.Exec(fmt.Sprintf("UPDATE nova.services SET %s WHERE `binary` = '%s'", set, binary))
}

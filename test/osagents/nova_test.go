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
	"github.com/openstack-ocf/agents/test/openstack"
)

// TestNova is the table of what befalls a service of nova's: each row finds
// the plane whole, and leaves it so.
func TestNova(t *testing.T) {
	p := newPlane(t)
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	conductor.start()
	consoleauth := newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()})
	scheduler := newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf})

	for _, s := range []*service{consoleauth, scheduler} {
		t.Run(s.name, func(t *testing.T) {
			ocftest.Run(t, ocftest.Subject{
				New: s.new, Program: s.path, Params: s.p, Broken: ocftest.Params{"database_server_port": "many"},
				Kill:   func(testing.TB) { s.signal(syscall.SIGKILL) },
				Freeze: func(testing.TB) { s.signal(syscall.SIGSTOP) },
			})
		})
	}
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
			s.monitor(0, ocf.Degraded, "database", "no answer")
			s.monitor(10, ocf.Degraded, "database", "no answer")
			p.db.Thaw()
			s.await(20*time.Second, 0, ocf.OK)
		}},
		{"database dead", func(s *service) {
			p.db.Kill()
			s.monitor(0, ocf.Degraded, "database", "nothing listens")
			p.db.Start()
			s.await(20*time.Second, 0, ocf.OK)
		}},
		{"row deleted", func(s *service) {
			s.await(15*time.Second, 0, ocf.OK)
			p.row("nova-consoleauth", "deleted = id")
			s.await(80*time.Second, 0, ocf.Degraded, "no row", "restart")
			s.want(ocf.Start, ocf.OK) // it runs already, with a handicap
			s.want(ocf.Stop, ocf.OK)
			s.start()
			s.await(15*time.Second, 0, ocf.OK)
		}},
		{"reports late, and answers", func(s *service) {
			p.row("nova-consoleauth", "host = 'elsewhere'") // where its reports go from now on
			defer p.row("nova-consoleauth", "host = 'node1'")
			s.await(80*time.Second, 0, ocf.Degraded, "answers over the message bus")
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
			s.with("additional_parameters", "--config-file="+other).monitor(0, ocf.Generic, "consoleauth.elsewhere", "no row")
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
		{"pid file garbage, and pid reused", func(s *service) {
			pid := filepath.Join("/run/resource-agents", "test.pid")
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
	} {
		t.Run(row.name, func(t *testing.T) {
			s := consoleauth.in(t)
			s.start()
			row.do(s)
		})
	}
	t.Run("wrong password at the start", func(t *testing.T) {
		other := p.nova.Write("refused.conf", "rabbit://guest:hunter2@"+p.rabbit.Address()+"/")
		s := newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
		r := s.run(t.Context(), ocftest.Call{Action: ocf.Start, Params: s.p, Timeout: 20 * time.Second})
		if r.Code != ocf.Generic || strings.Contains(r.Stderr, "hunter2") {
			t.Errorf("start: %s", r)
		}
		t.Log(r.Reason)
	})
	t.Run("ignores SIGTERM while it looks for a dead broker", func(t *testing.T) {
		other := p.nova.Write("dead.conf", fmt.Sprintf("rabbit://guest:guest@127.0.0.1:%d/", openstack.Ports(t, 1)[0]))
		s := newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf, "additional_parameters": "--config-file=" + other})
		r := s.run(t.Context(), ocftest.Call{Action: ocf.Start, Params: s.p, Timeout: 20 * time.Second})
		t.Logf("start: %s", r)
		s.monitor(0, ocf.Degraded, "message bus")
		// Within the 20 s that a cluster gives by default.
		r = s.run.Want(t, ocftest.Call{Action: ocf.Stop, Params: s.p}, ocf.OK)
		t.Logf("stopped after %v", r.Elapsed)
		s.want(ocf.Monitor, ocf.NotRunning)
	})
	t.Run("as the service's own user", func(t *testing.T) {
		box.Sh(t, "chmod 644 %s; d=%s; while [ $d != / ]; do chmod a+rx $d; d=$(dirname $d); done; chown nova $(dirname %s)", p.nova.Conf, filepath.Dir(p.nova.Conf), p.nova.Conf)
		s := newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf}).with("user", "nova", "log", "/run/log/nova/s.log")
		s.start()
		s.monitor(10, ocf.OK)
		// /run/nova is root's if an earlier start made it.
		if owners := strings.Fields(box.Sh(t, "stat -c %%U /proc/%d /run/log/nova", s.pids()[0])); !slices.Equal(owners, []string{"nova", "nova"}) {
			t.Errorf("owners of the process and of the log's folder: %v", owners)
		}
		s.want(ocf.Stop, ocf.OK)
	})
}

// TestOCFTester runs the tester of the resource-agents project, and looks at what a monitor forks and costs.
func TestOCFTester(t *testing.T) {
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		t.Skip("SKIP: needs resource-agents")
	}
	p := newPlane(t)
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	for _, s := range []*service{
		conductor, // the others need it
		newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()}),
		newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf}),
	} {
		t.Run(s.name, func(t *testing.T) {
			s.in(t).ocfTester()
			s.in(t).start()
		})
	}
	s := newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()})
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

// environ is that of a recurring monitor.
func (s *service) environ() []string {
	env := []string{"OCF_RESOURCE_INSTANCE=test", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_timeout=20000"}
	for k, v := range s.p {
		env = append(env, "OCF_RESKEY_"+k+"="+v)
	}
	return env
}

func (s *service) ocfTester() {
	s.t.Helper()
	box.Sh(s.t, "chmod -R a+rX /run/tmp") // ocf-tester runs meta-data as nobody
	args := []string{"-v", "-n", "s"}
	for k, v := range s.p {
		args = append(args, "-o", k+"="+v)
	}
	out, err := exec.Command("ocf-tester", append(args, s.path)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		s.t.Errorf("%v\n%s", err, out)
	}
}

package osagents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/openstack"
)

// TestNeutron is the table of what befalls neutron-server and its agents.
func TestNeutron(t *testing.T) {
	box.Need(t)
	t.Parallel()
	ovs := openstack.StartSwitch(t)
	db := openstack.StartMariaDB(t)
	rabbit := openstack.StartRabbit(t)
	n := openstack.NewNeutron(t, db, rabbit.TransportURL(), ovs)
	server := newService(t, "neutron-server", ocftest.Params{"config": n.Conf, "plugin_config": n.Conf})
	l2 := newService(t, "neutron-l2-agent", ocftest.Params{"config": n.Conf, "plugin_config": n.Agent})
	l2.name = "neutron-openvswitch-agent"

	// port adds a port as Nova does, or tells whether it is there.
	port := func(do string) bool {
		t.Helper()
		argv := map[string]string{
			"add":  "add-port br-int tap-test -- set Interface tap-test type=internal external_ids:iface-id=00000000-0000-0000-0000-000000000001 external_ids:attached-mac=02:00:00:00:00:01",
			"list": "list-ports br-int",
		}
		return strings.Contains(box.Sh(t, "ovs-vsctl --db=tcp:127.0.0.1:%d %s", ovs.Port, argv[do]), "tap-test")
	}

	t.Run("server", func(t *testing.T) {
		s := server.in(t)
		s.want(ocf.Monitor, ocf.NotRunning)
		s.start()
		s.monitor(0, ocf.OK)
		s.with("url", fmt.Sprintf("http://127.0.0.1:%d/v2.0/networks", n.API)).monitor(0, ocf.OK)
		s.with("url", fmt.Sprintf("http://127.0.0.1:%d/", openstack.Ports(t, 1)[0])).monitor(0, ocf.Generic, "does not listen")
		s.signal(syscall.SIGSTOP)
		s.monitor(0, ocf.Generic, "frozen")
		s.signal(syscall.SIGCONT)
		s.monitor(0, ocf.OK)
		s.want(ocf.Stop, ocf.OK)
		s.want(ocf.Monitor, ocf.NotRunning)
		if pids := s.pids(); len(pids) != 0 {
			t.Errorf("workers are left: %v\n%s", pids, box.Sh(t, "ps -eo pid,ppid,pgid,sid,stat,etimes,args | cut -c1-250; ls -l /proc/%d/exe", pids[0]))
		}
		s.start()
	})
	t.Run("contract", func(t *testing.T) {
		ocftest.Run(t, ocftest.Subject{
			New: l2.new, Program: l2.path, Params: l2.p, Broken: ocftest.Params{"cleanup": "sometimes"},
			Kill:   func(testing.TB) { l2.in(t).signal(syscall.SIGKILL) },
			Freeze: func(testing.TB) { l2.in(t).signal(syscall.SIGSTOP) },
		})
	})
	for _, row := range []struct {
		name string
		do   func(s *service)
	}{
		{"all levels of a healthy agent", func(s *service) {
			s.await(15*time.Second, 0, ocf.OK)
			s.monitor(10, ocf.OK)
		}},
		{"neutron-server frozen", func(s *service) {
			server.in(s.t).signal(syscall.SIGSTOP)
			s.await(30*time.Second, 0, ocf.Degraded, "answers over the message bus", "neutron-server")
			server.in(s.t).signal(syscall.SIGCONT)
			s.await(30*time.Second, 0, ocf.OK)
		}},
		{"ovs-vswitchd frozen", func(s *service) {
			ovs.Daemon.Freeze()
			s.monitor(0, ocf.Generic, "ovs-vswitchd", "frozen")
			ovs.Daemon.Thaw()
			s.monitor(0, ocf.OK)
		}},
		{"row deleted", func(s *service) {
			// neutron-server makes it again with the next report.
			db.Exec("DELETE FROM neutron.agents WHERE `binary` = 'neutron-openvswitch-agent'")
			s.await(15*time.Second, 0, ocf.OK)
		}},
		{"disabled by the admin", func(s *service) {
			db.Exec("UPDATE neutron.agents SET admin_state_up = 0")
			s.await(15*time.Second, 0, ocf.OK)
			db.Exec("UPDATE neutron.agents SET admin_state_up = 1")
		}},
		{"a stop leaves no child, not the L3 agent, and all ports", func(s *service) {
			l3 := n.StartL3Agent() // which does not answer in its place
			defer l3.Kill()
			port("add")
			box.Until(s.t, "it has a child", func() bool { return strings.Contains(children(), "ovsdb-client") })
			s.want(ocf.Stop, ocf.OK)
			s.want(ocf.Monitor, ocf.NotRunning)
			if left := children(); strings.Contains(left, "ovsdb-client") {
				s.t.Errorf("left: %s", left)
			}
			if !port("list") {
				s.t.Error("a restart in place would have lost a port")
			}
			s.with("cleanup", "on-stop").want(ocf.Stop, ocf.OK)
			if port("list") {
				s.t.Error("the port is left")
			}
		}},
		{"the companion cleans when the agent has left", func(s *service) {
			c := newService(s.t, "neutron-cleanup", ocftest.Params{"config": n.Conf + " " + n.Agent, "clean": "ovs"})
			c.name = "none"
			c.want(ocf.Monitor, ocf.NotRunning)
			c.want(ocf.Stop, ocf.OK)
			c.start()
			c.want(ocf.Monitor, ocf.OK)
			port("add")
			// Out of order: the agent still runs, and keeps its ports.
			c.want(ocf.Stop, ocf.OK)
			if !port("list") {
				s.t.Error("cleaned under a running agent")
			}
			c.start()
			s.want(ocf.Stop, ocf.OK)
			c.want(ocf.Stop, ocf.OK)
			if port("list") {
				s.t.Error("the port is left")
			}
			c.want(ocf.Monitor, ocf.NotRunning)
			c.with("clean", "everything").want(ocf.Start, ocf.Configured, "everything")
			c.start()
			c.with("config", "/nowhere.conf").want(ocf.Stop, ocf.Generic, "could not be removed")
		}},
		{"ovs-vswitchd dead", func(s *service) {
			ovs.Daemon.Kill()
			s.monitor(0, ocf.Generic, "ovs-vswitchd")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := l2.in(t)
			s.start()
			row.do(s)
		})
	}
}

// children are the command lines of all processes.
func children() string {
	var all []string
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		args, _ := os.ReadFile(d)
		all = append(all, strings.ReplaceAll(string(args), "\x00", " "))
	}
	return strings.Join(all, "\n")
}

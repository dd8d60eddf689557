package osagents

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	agents "github.com/openstack-ocf/agents/agents/openstack"
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
		s := server.In(t)
		s.Want(ocf.Monitor, ocf.NotRunning)
		s.Start()
		s.Monitor(0, ocf.OK)
		s.With("url", fmt.Sprintf("http://127.0.0.1:%d/v2.0/networks", n.API)).Monitor(0, ocf.OK)
		s.With("url", fmt.Sprintf("http://127.0.0.1:%d/", openstack.Ports(t, 1)[0])).Monitor(0, ocf.Generic, "does not listen")
		s.Signal(syscall.SIGSTOP)
		s.Monitor(0, ocf.Generic, "frozen")
		s.Signal(syscall.SIGCONT)
		s.Monitor(0, ocf.OK)
		s.Stop()
		s.Start()
	})
	t.Run("contract", func(t *testing.T) {
		l2.Contract(t, agents.Agents()["neutron-l2-agent"], ocftest.Params{"cleanup": "sometimes"}, ocftest.Params{"plugin_config": "relative.ini"})
	})
	box.Rows(t, running(l2), []box.Row[*box.Agent]{
		{"all levels of a healthy agent", func(s *box.Agent) {
			s.Await(15*time.Second, 0, ocf.OK)
			s.Monitor(10, ocf.OK)
		}},
		{"neutron-server frozen", func(s *box.Agent) {
			server.In(s.T).Signal(syscall.SIGSTOP)
			s.Await(30*time.Second, 0, ocf.Degraded, "answers over the message bus", "neutron-server")
			server.In(s.T).Signal(syscall.SIGCONT)
			s.Await(30*time.Second, 0, ocf.OK)
		}},
		{"ovs-vswitchd frozen", func(s *box.Agent) {
			ovs.Daemon.Freeze()
			s.Monitor(0, ocf.Generic, "ovs-vswitchd", "frozen")
			ovs.Daemon.Thaw()
			s.Monitor(0, ocf.OK)
		}},
		{"row deleted", func(s *box.Agent) {
			// neutron-server makes it again with the next report.
			db.Exec("DELETE FROM neutron.agents WHERE `binary` = 'neutron-openvswitch-agent'")
			s.Await(15*time.Second, 0, ocf.OK)
		}},
		{"disabled by the admin", func(s *box.Agent) {
			db.Exec("UPDATE neutron.agents SET admin_state_up = 0")
			s.Await(15*time.Second, 0, ocf.OK)
			db.Exec("UPDATE neutron.agents SET admin_state_up = 1")
		}},
		{"a stop leaves no child, not the L3 agent, and all ports", func(s *box.Agent) {
			l3 := n.StartL3Agent() // which does not answer in its place
			defer l3.Kill()
			port("add")
			box.Until(s.T, "it has a child", func() bool { return len(monitors()) > 0 })
			s.Stop()
			if left := monitors(); len(left) > 0 {
				s.T.Errorf("children are left: %v", left)
			}
			if !port("list") {
				s.T.Error("a restart in place would have lost a port")
			}
			s.With("cleanup", "on-stop").Want(ocf.Stop, ocf.OK)
			if port("list") {
				s.T.Error("the port is left")
			}
		}},
		{"the companion cleans when the agent has left", func(s *box.Agent) {
			c := newService(s.T, "neutron-cleanup", ocftest.Params{"config": n.Conf + " " + n.Agent, "clean": "ovs"})
			c.Pids = func() []int { return nil } // nothing runs
			c.Want(ocf.Monitor, ocf.NotRunning)
			c.Want(ocf.Stop, ocf.OK)
			c.Start()
			c.Want(ocf.Monitor, ocf.OK)
			port("add")
			// Out of order: the agent still runs, and keeps its ports.
			c.Want(ocf.Stop, ocf.OK)
			if !port("list") {
				s.T.Error("cleaned under a running agent")
			}
			c.Start()
			s.Want(ocf.Stop, ocf.OK)
			c.Want(ocf.Stop, ocf.OK)
			if port("list") {
				s.T.Error("the port is left")
			}
			c.Want(ocf.Monitor, ocf.NotRunning)
			c.With("clean", "everything").Want(ocf.Start, ocf.NotConfigured, "everything")
			c.Start()
			c.With("config", "/nowhere.conf").Want(ocf.Stop, ocf.Generic, "could not be removed")
		}},
		// Late: neutron-server goes on answering the agents that were killed here, and an agent after them waits for minutes.
		{"a database that refuses the login, or cannot be asked", func(s *box.Agent) {
			s.Want(ocf.Stop, ocf.OK)
			usual := s.Want(ocf.Start, ocf.OK).Elapsed
			for reason, url := range map[string]string{
				"refuses its login":          fmt.Sprintf("mysql+pymysql://nobody:hunter2@127.0.0.1:%d/neutron", db.Port),
				"cannot be asked as it asks": db.URL("neutron") + "&ssl_ca=/nowhere.pem",
			} {
				s.Want(ocf.Stop, ocf.OK)
				other := write(s.T, filepath.Join(s.T.TempDir(), "db.conf"), "[database]\nconnection = "+url+"\n")
				with := s.With("additional_parameters", "--config-file="+other) // the agent itself needs none
				if r := with.Want(ocf.Start, ocf.OK); r.Elapsed > usual+15*time.Second {
					s.T.Errorf("%s: the start took %v and %v as usual, though waiting cannot help", reason, r.Elapsed, usual)
				}
				if r := with.Monitor(0, ocf.Degraded, reason); strings.Contains(r.Stderr, "hunter2") {
					s.T.Errorf("the password is told: %s", r)
				}
			}
			s.Want(ocf.Stop, ocf.OK) // whose configuration is gone after this row
		}},
		{"ovs-vswitchd dead", func(s *box.Agent) {
			ovs.Daemon.Kill()
			s.Monitor(0, ocf.Generic, "ovs-vswitchd")
		}},
	})
}

// monitors are the processes that watch Open vSwitch's database, the agent's children.
func monitors() []int {
	return box.Pids(func(p box.Process) bool { return strings.Contains(strings.Join(p.Args, " "), "ovsdb-client") })
}

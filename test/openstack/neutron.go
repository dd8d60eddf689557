package openstack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/needs"
)

// Switch is an Open vSwitch in user space: it needs no kernel module, but
// /dev/net/tun and root.
type Switch struct {
	DB     *Process // ovsdb-server
	Daemon *Process // ovs-vswitchd
	Port   int      // of the database, on 127.0.0.1
	Dir    string   // its OVS_RUNDIR
}

// StartSwitch starts an Open vSwitch with an empty database.
func StartSwitch(t testing.TB) *Switch {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIP: needs root and /dev/net/tun")
	}
	server := needs.Program(t, "ovsdb-server", "openvswitch-switch")
	daemon := needs.Program(t, "ovs-vswitchd", "openvswitch-switch")
	s := &Switch{Port: Ports(t, 1)[0], Dir: t.TempDir()}
	env := []string{"OVS_RUNDIR=" + s.Dir, "OVS_LOGDIR=" + s.Dir, "OVS_DBDIR=" + s.Dir}
	db, socket := filepath.Join(s.Dir, "conf.db"), filepath.Join(s.Dir, "db.sock")
	run(t, s.Dir, env, "ovsdb-tool", "create", db, "/usr/share/openvswitch/vswitch.ovsschema")
	s.DB = start(t, "ovsdb-server", s.Dir, env, server, db, "--remote=punix:"+socket,
		fmt.Sprintf("--remote=ptcp:%d:127.0.0.1", s.Port), "--unixctl="+filepath.Join(s.Dir, "ovsdb.ctl"), "--no-chdir", "--verbose=off")
	s.DB.Await(time.Minute, "socket", func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	run(t, s.Dir, env, "ovs-vsctl", "--db=unix:"+socket, "--no-wait", "init")
	ctl := filepath.Join(s.Dir, "vswitchd.ctl")
	s.Daemon = start(t, "ovs-vswitchd", s.Dir, env, daemon, "unix:"+socket, "--unixctl="+ctl, "--no-chdir", "--verbose=off")
	s.Daemon.Await(time.Minute, "control socket", func(context.Context) error {
		_, err := os.Stat(ctl)
		return err
	})
	return s
}

// Neutron is a configuration and a database; its server and agents are
// started one by one. An agent needs a running server.
type Neutron struct {
	Conf  string // path of neutron.conf
	Agent string // path of openvswitch_agent.ini
	Host  string // the name its agents register under
	API   int    // port of neutron-server on 127.0.0.1

	t   testing.TB
	dir string
}

// NewNeutron makes neutron's database in db, and config files for the message
// bus of transportURL and the switch. lines follow in [DEFAULT] of neutron.conf.
func NewNeutron(t testing.TB, db *MariaDB, transportURL string, s *Switch, lines ...string) *Neutron {
	t.Helper()
	needPython(t, "neutron.service", "neutron-server")
	needs.Program(t, "neutron-server", "neutron-server")
	needs.Program(t, "neutron-openvswitch-agent", "neutron-openvswitch-agent")
	ports := Ports(t, 2)
	n := &Neutron{t: t, dir: t.TempDir(), Host: "node1", API: ports[0]}
	db.Exec("CREATE DATABASE neutron")
	n.Conf = write(t, n.dir, "neutron.conf", 0o600, append(append([]string{
		"[DEFAULT]", "host = " + n.Host, "transport_url = " + transportURL, "rpc_ping_enabled = true",
		"state_path = " + n.dir, "auth_strategy = noauth", "core_plugin = ml2", "service_plugins = router",
		"bind_host = 127.0.0.1", fmt.Sprintf("bind_port = %d", n.API), "api_workers = 0", "rpc_workers = 1", "rpc_state_report_workers = 0",
		"agent_down_time = 10", "api_paste_config = /etc/neutron/api-paste.ini", "notify_nova_on_port_status_changes = false", "notify_nova_on_port_data_changes = false",
	}, lines...),
		"[agent]", "report_interval = 2", "root_helper =",
		"[oslo_concurrency]", "lock_path = "+filepath.Join(n.dir, "lock"),
		"[database]", "connection = "+db.URL("neutron"),
		"[ml2]", "type_drivers = flat,vlan,vxlan", "tenant_network_types = vxlan", "mechanism_drivers = openvswitch",
		"[ml2_type_vxlan]", "vni_ranges = 1:1000")...)
	n.Agent = write(t, n.dir, "openvswitch_agent.ini", 0o600,
		"[ovs]", "datapath_type = netdev", fmt.Sprintf("ovsdb_connection = tcp:127.0.0.1:%d", s.Port),
		"of_listen_address = 127.0.0.1", fmt.Sprintf("of_listen_port = %d", ports[1]), "local_ip = 127.0.0.1",
		"[agent]", "tunnel_types = vxlan",
		"[securitygroup]", "firewall_driver = noop", "enable_security_group = false")
	run(t, n.dir, nil, needs.Program(t, "neutron-db-manage", "neutron-common"), "--config-file", n.Conf, "upgrade", "heads")
	return n
}

// StartServer starts neutron-server and waits for its API.
func (n *Neutron) StartServer() *Process {
	n.t.Helper()
	p := n.start("/usr/bin/neutron-server", "--config-file", n.Conf)
	p.Await(3*time.Minute, "API", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", fmt.Sprint(n.API)), nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode >= 400 {
			return fmt.Errorf("status %s", res.Status)
		}
		return nil
	})
	return p
}

// StartOVSAgent starts neutron-openvswitch-agent.
func (n *Neutron) StartOVSAgent() *Process {
	n.t.Helper()
	return n.start("/usr/bin/neutron-openvswitch-agent", "--config-file", n.Conf, "--config-file", n.Agent)
}

// StartL3Agent starts neutron-l3-agent.
func (n *Neutron) StartL3Agent() *Process {
	n.t.Helper()
	needs.Program(n.t, "neutron-l3-agent", "neutron-l3-agent")
	conf := write(n.t, n.dir, "l3_agent.ini", 0o600, "[DEFAULT]", "interface_driver = openvswitch")
	return n.start("/usr/bin/neutron-l3-agent", "--config-file", n.Conf, "--config-file", n.Agent, "--config-file", conf)
}

func (n *Neutron) start(binary string, args ...string) *Process {
	n.t.Helper()
	return start(n.t, filepath.Base(binary), n.dir, nil, append([]string{python, binary}, args...)...)
}

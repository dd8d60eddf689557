package clusternova

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

const neutronConf = `[DEFAULT]
host = ` + scenario.Controller + `
transport_url = amqp://` + scenario.FloatingIP + `:5672/
rpc_ping_enabled = true
auth_strategy = noauth
core_plugin = ml2
service_plugins =
bind_host = 0.0.0.0
api_workers = 0
rpc_workers = 1
rpc_state_report_workers = 0
agent_down_time = 10
api_paste_config = /etc/neutron/api-paste.ini
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
[agent]
report_interval = 2
root_helper =
[oslo_concurrency]
lock_path = /run/lock/neutron
[database]
connection = mysql+pymysql://neutron:` + scenario.SQLPassword + `@` + scenario.FloatingIP + `/neutron
`

// The switch in user space: the machine's kernel may have no module for it, and a node cannot load one.
const (
	switchDB = `[Service]
RuntimeDirectory=openvswitch
ExecStartPre=/usr/bin/ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ExecStart=/usr/sbin/ovsdb-server /run/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --remote=ptcp:6640:127.0.0.1 --no-chdir
ExecStartPost=/bin/sh -c "until ovs-vsctl --no-wait init; do sleep 0.1; done"
`
	switchDaemon = `[Unit]
Requires=switch-db.service
After=switch-db.service
[Service]
ExecStart=/usr/sbin/ovs-vswitchd unix:/run/openvswitch/db.sock --no-chdir
`
	serverConf = `[ml2]
type_drivers = flat,vlan,vxlan
tenant_network_types = vxlan
mechanism_drivers = openvswitch
[ml2_type_vxlan]
vni_ranges = 1:1000
`
	l2Conf = `[ovs]
datapath_type = netdev
ovsdb_connection = tcp:127.0.0.1:6640
of_listen_address = 127.0.0.1
local_ip = 127.0.0.1
[agent]
tunnel_types = vxlan
[securitygroup]
firewall_driver = noop
enable_security_group = false
`
)

// neutron is neutron-server and the L2 agent as an operator has them in the group: the same host on all nodes, so that
// the agent finds its ports wherever it runs, and a switch on every node.
func neutron(t *testing.T) (server, l2 scenario.Service) {
	t.Helper()
	for _, need := range []string{"/usr/bin/neutron-server", "/usr/bin/neutron-openvswitch-agent", "/usr/sbin/ovs-vswitchd", "/dev/net/tun"} {
		needs.File(t, need, "neutron, openvswitch-switch, and a kernel with tun")
	}
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		t.Skip("SKIP: needs python3")
	}
	unit := func(name, text string) []cluster.File {
		path := "/etc/systemd/system/" + name
		return []cluster.File{{Path: path, Content: text}, {Path: "/etc/systemd/system/multi-user.target.wants/" + name, Link: path}}
	}
	server = scenario.Service{
		ID: "neutron-server", Agent: "ocf:openstack:neutron-server",
		Daemon: []string{filepath.Base(python)}, Script: "neutron-server", Speaks: "neutron's API", Unit: "requests", Diskless: true,
		Pause: 100 * time.Millisecond,
		Files: []cluster.File{
			{Path: "/etc/neutron/neutron.conf", Owner: "root:neutron", Mode: 0o640, Content: neutronConf},
			{Path: "/etc/neutron/plugin.ini", Content: serverConf},
		},
		Setup: func(ctx context.Context, s *scenario.Stage) error {
			return s.MakeDatabase(ctx, "neutron", "neutron-db-manage --config-file /etc/neutron/neutron.conf upgrade heads")
		},
		Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) {
			return scenario.Versions(dial, "http://"+scenario.FloatingIP+":9696/"), nil
		},
	}
	l2 = scenario.Service{
		ID: "l2-agent", Agent: "ocf:openstack:neutron-l2-agent", Options: []string{"user=root", "op", "monitor", "interval=3s", "timeout=40s"},
		Daemon: []string{filepath.Base(python)}, Script: "neutron-openvswitch-agent", Speaks: "the L2 agent's RPC", Unit: "pings", Diskless: true,
		Pause: 100 * time.Millisecond,
		Files: append(append(unit("switch-db.service", switchDB), unit("switch.service", switchDaemon)...),
			cluster.File{Path: "/etc/neutron/plugins/ml2/openvswitch_agent.ini", Content: l2Conf}),
		Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) {
			return pings{dial, "neutron", "q-agent-notifier-tunnel-update", "server", scenario.Controller}, nil
		},
	}
	return server, l2
}

// pings are a service as others of its project see it, which tell it over the broker what is to be done.
type pings struct {
	dial                     scenario.Dialer
	exchange, topic, replyTo string
	host                     string
}

func (p pings) Put(ctx context.Context, _ int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a := rpcping.ServerPing(ctx, scenario.Bus(p.exchange), p.topic, p.host, rpcping.Options{ReplyTo: p.replyTo, Dial: p.dial})
	if a.State != rpcping.Answered {
		return errors.New(a.Reason())
	}
	return nil
}

func (pings) Numbers(context.Context) ([]int, error) { return nil, nil }
func (pings) Close() error                           { return nil }

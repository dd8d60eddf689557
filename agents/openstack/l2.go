package openstack

import (
	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/rpcping"
)

// l2 is the agent that wires a node's ports, of Open vSwitch or of Linux bridges.
//
// What it wired stays when it stops, and must: traffic goes on while it restarts.
// When it leaves the node for good, what stays is live on two nodes (gateway
// addresses among it). An action of OCF is not told which of the two it is, and
// to guess from the cluster's configuration races with the transition that is
// under way. So the agent leaves all as it is (cleanup=never), and a companion,
// ocf:openstack:neutron-cleanup, stands before it in the group: Pacemaker stops
// the companion only after the agent, and only when the group leaves the node
// or something before the companion is recovered. What is restarted in place
// because it failed itself never stops what is before it.
func l2() openstack.Declaration {
	return openstack.Declaration{
		Agent: "neutron-l2-agent", Title: "Neutron L2 agent", Project: "neutron", Binary: "neutron-openvswitch-agent", Config: neutronConf,
		Long: "Of Open vSwitch by default, of Linux bridges with binary=neutron-linuxbridge-agent. Where it runs on\none node at a time, set the same host= in its configuration on all nodes, so that a successor\ninherits the ports that are bound to it. For what a stop leaves on the node see cleanup.",
		Plugin: openstack.Plugin{Param: "plugin_config", Files: []string{
			"/etc/neutron/plugins/ml2/openvswitch_agent.ini", "/etc/neutron/plugins/openvswitch/ovs_neutron_plugin.ini", "/etc/neutron/plugin.ini",
		}},
		Row: openstack.NeutronRow,
		Bus: openstack.Bus{
			Topic: "q-agent-notifier-tunnel-update", // on network-update the L3 agent would answer in its place
			Quiet: rpcping.Request{Method: "add_fdb_entries", Version: "1.0", Args: map[string]any{"fdb_entries": map[string]any{}}},
		},
		Switch:  true,
		Cleanup: "neutron-ovs-cleanup",
		Variants: map[string]openstack.Variant{
			"neutron-linuxbridge-agent": {
				Plugin: []string{
					"/etc/neutron/plugins/ml2/linuxbridge_agent.ini", "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini", "/etc/neutron/plugin.ini",
				},
				Bus:     openstack.Bus{Topic: "q-agent-notifier-port-update"},
				Cleanup: "neutron-linuxbridge-cleanup",
			},
		},
	}
}

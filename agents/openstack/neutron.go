package openstack

import (
	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/rpcping"
)

const neutronConf = "/etc/neutron/neutron.conf"

// neutron's server and agents. An agent's row is written by neutron-server.
func neutron() []openstack.Declaration {
	agent := func(name, title, binary string, bus openstack.Bus, config string) openstack.Declaration {
		return openstack.Declaration{
			Agent: name, Title: title, Project: "neutron", Binary: binary, Config: neutronConf,
			Plugin: openstack.Plugin{Param: "plugin_config", Files: []string{config}},
			Row:    openstack.NeutronRow, Bus: bus,
			Older: "amqp_server_port",
		}
	}
	l3 := agent("neutron-agent-l3", "Neutron L3 agent", "neutron-l3-agent", openstack.Bus{
		Topic: "l3_agent",
		Quiet: rpcping.Request{Method: "routers_updated", Version: "1.0", Args: map[string]any{"routers": []string{}}},
	}, "/etc/neutron/l3_agent.ini")
	l3.Older = "neutron_server_port amqp_server_port"
	metadata := agent("neutron-metadata-agent", "Neutron metadata agent", "neutron-metadata-agent", openstack.Bus{}, "/etc/neutron/metadata_agent.ini")
	metadata.Plugin.Param = "agent_config"
	return []openstack.Declaration{
		l2(),
		l3,
		agent("neutron-agent-dhcp", "Neutron DHCP agent", "neutron-dhcp-agent", openstack.Bus{Topic: "dhcp_agent"}, "/etc/neutron/dhcp_agent.ini"),
		metadata,
		{
			Agent: "neutron-server", Title: "Neutron server", Project: "neutron", Binary: "neutron-server", Config: neutronConf,
			Plugin: openstack.Plugin{Param: "plugin_config", Files: []string{"/etc/neutron/plugin.ini", "/etc/neutron/plugins/ml2/ml2_conf.ini"}},
			API: openstack.API{
				Host: []string{"DEFAULT.bind_host"}, Port: []string{"DEFAULT.bind_port"}, Default: 9696, TLS: []string{"DEFAULT.use_ssl"},
			},
			Older: "url" + login,
		},
	}
}

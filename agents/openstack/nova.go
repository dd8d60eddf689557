package openstack

import (
	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/rpcping"
)

const (
	novaConf = "/etc/nova/nova.conf"
	// login are the parameters by which the older agents' monitors logged in.
	login = " keystone_get_token_url os_username os_password os_tenant_name"
)

// nova's services.
func nova() []openstack.Declaration {
	// worker is of nova's own service class: it reports to the table services,
	// and answers baseapi.ping on its topic.
	worker := func(agent, title, topic string) openstack.Declaration {
		return openstack.Declaration{
			Agent: agent, Title: title, Project: "nova", Binary: agent, Config: novaConf,
			Row: openstack.NovaRow, Bus: openstack.Bus{Topic: topic, BaseAPI: true},
			Older: "database_server_port amqp_server_port zeromq",
		}
	}
	consoleauth := worker("nova-consoleauth", "Nova console token service", "consoleauth")
	consoleauth.Names = []string{"consoleauth"}
	consoleauth.Single = "a token is known to the one that gave it out"
	consoleauth.Long = "Only one may run at a time: a token is known to the one that gave it out. Where [cache] names\nmemcached, a successor knows the tokens too; level 20 looks whether memcached answers, and has\nthe service look up a token that there is not."
	consoleauth.Probe = rpcping.Request{Method: "check_token", Version: "2.0", Args: map[string]any{"token": "openstack-ocf"}}
	consoleauth.Cache = true
	return []openstack.Declaration{
		consoleauth,
		worker("nova-scheduler", "Nova scheduler", "scheduler"),
		worker("nova-conductor", "Nova conductor", "conductor"),
		worker("nova-cert", "Nova certificate service", "cert"),
		worker("nova-network", "Nova network service", "network"),
		{
			Agent: "nova-api", Title: "Nova API", Project: "nova", Binary: "nova-api", Config: novaConf,
			API: openstack.API{
				Host: []string{"DEFAULT.osapi_compute_listen"}, Port: []string{"DEFAULT.osapi_compute_listen_port"}, Default: 8774,
				TLS: []string{"DEFAULT.enabled_ssl_apis"},
			},
			Older: "url" + login,
		},
		{
			Agent: "nova-novnc", Title: "Nova noVNC console proxy", Project: "nova", Binary: "nova-novncproxy", Config: novaConf,
			API: openstack.API{
				Host: []string{"vnc.novncproxy_host", "DEFAULT.novncproxy_host"},
				Port: []string{"vnc.novncproxy_port", "DEFAULT.novncproxy_port"}, Default: 6080, TLS: []string{"DEFAULT.ssl_only"},
			},
			Older: "console_port web",
		},
	}
}

package openstack

import (
	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/rpcping"
)

// nova's services.
func nova() []openstack.Declaration {
	// worker is a service of nova's own service class: it reports to the table
	// services, and answers baseapi.ping on its topic.
	worker := func(agent, title, topic string) openstack.Declaration {
		return openstack.Declaration{
			Agent: agent, Title: title, Project: "nova", Binary: agent, Config: "/etc/nova/nova.conf",
			Row: openstack.NovaRow, Bus: openstack.Bus{Topic: topic, BaseAPI: true},
			Older: "database_server_port amqp_server_port zeromq",
		}
	}
	consoleauth := worker("nova-consoleauth", "Nova console token service", "consoleauth")
	consoleauth.Long = "Only one may run at a time: a token is known to the one that gave it out. Where [cache] names\nmemcached, a successor knows the tokens too; level 20 looks whether memcached answers, and has\nthe service look up a token that there is not."
	consoleauth.Probe = rpcping.Request{Method: "check_token", Version: "2.0", Args: map[string]any{"token": "openstack-ocf"}}
	consoleauth.Cache = true
	return []openstack.Declaration{
		consoleauth,
		worker("nova-scheduler", "Nova scheduler", "scheduler"),
		worker("nova-conductor", "Nova conductor", "conductor"),
	}
}

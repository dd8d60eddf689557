package qpidd

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/placement"
)

// Place is where the agent stands in a control plane.
func Place() placement.Place {
	return placement.Place{
		Port: defaultPort, PortParameter: "port",
		Single:     "brokers that do not replicate each other do not have each other's messages; `run: promotable` has them replicate",
		Promotable: replicated,
	}
}

const defaultPort = 5672

func replicated(nodes []netip.Addr, parameter func(string) string) []placement.Setting {
	port := cmp.Or(parameter("port"), strconv.Itoa(defaultPort))
	var brokers []string
	for _, n := range nodes {
		brokers = append(brokers, net.JoinHostPort(n.String(), port))
	}
	return []placement.Setting{{Name: "ha_cluster", Value: "true"}, {Name: "ha_brokers_url", Value: "amqp:" + strings.Join(brokers, ",")}}
}

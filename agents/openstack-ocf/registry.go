package main

import (
	"maps"

	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/memcached"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/swap"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// agents are the provider's agents, by the names they are called by.
func agents() map[string]func() ocf.Agent {
	m := openstack.Agents()
	maps.Copy(m, ownAgents())
	return m
}

func ownAgents() map[string]func() ocf.Agent {
	return map[string]func() ocf.Agent{
		"haproxy":              haproxy.New,
		"memcached":            memcached.New,
		"mysql-shared-storage": mysql.New,
		"qpidd":                qpidd.New,
		swap.ScoutAgent:        func() ocf.Agent { return swap.Scout(version) },
	}
}

// places are the agents that a control plane can have, and where each may stand: all but the swap's own.
func places() map[string]placement.Agent {
	where := openstack.Places()
	maps.Copy(where, map[string]placement.Place{
		"haproxy": haproxy.Place(), "memcached": {}, "mysql-shared-storage": mysql.Place(), "qpidd": qpidd.Place(),
	})
	m := map[string]placement.Agent{}
	for name, declare := range agents() {
		if place, ok := where[name]; ok {
			m[name] = placement.Agent{New: declare, Place: place}
		}
	}
	return m
}

// find is agents()[name], without the declarations of all OpenStack services
// where none of them is meant: a monitor of the database has no use for them.
func find(name string) (func() ocf.Agent, bool) {
	if agent, ok := ownAgents()[name]; ok {
		return agent, true
	}
	agent, ok := openstack.Agents()[name]
	return agent, ok
}

// takeovers are the agents with what they take over.
func takeovers() map[string]takeover.Agent {
	kinds := openstack.Takeovers()
	maps.Copy(kinds, map[string]func() takeover.Kind{
		"haproxy":              haproxy.Takeover,
		"memcached":            memcached.Takeover,
		"mysql-shared-storage": mysql.Takeover,
		"qpidd":                qpidd.Takeover,
	})
	m := map[string]takeover.Agent{}
	for name, agent := range agents() {
		m[name] = takeover.Agent{New: agent, Kind: kinds[name]}
	}
	return m
}

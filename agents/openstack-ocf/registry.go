package main

import (
	"maps"

	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/swap"
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
		"mysql-shared-storage": mysql.New,
		"qpidd":                qpidd.New,
		swap.ScoutAgent:        func() ocf.Agent { return swap.Scout(version) },
	}
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

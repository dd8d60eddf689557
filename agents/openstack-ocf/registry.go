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
var agents = all()

func all() map[string]func() ocf.Agent {
	m := map[string]func() ocf.Agent{
		"haproxy":              haproxy.New,
		"mysql-shared-storage": mysql.New,
		"qpidd":                qpidd.New,
	}
	m[swap.ScoutAgent] = func() ocf.Agent { return swap.Scout(version) }
	maps.Copy(m, openstack.Agents())
	return m
}

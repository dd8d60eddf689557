package main

import (
	"github.com/openstack-ocf/agents/agents/floatingip"
	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/memcached"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/agents/redis"
	"github.com/openstack-ocf/agents/agents/sharedstorage"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/swap"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// agents are the provider's agents, by the names they are called by.
func agents() map[string]func() ocf.Agent {
	m := openstack.Agents()
	for name, e := range own() {
		m[name] = e.agent
	}
	m[swap.ScoutAgent] = scout
	return m
}

// scout is no service: the swap has nodes probe by it.
func scout() ocf.Agent { return swap.Scout(version) }

// own are the agents with a package each: a line for every one.
func own() map[string]entry {
	return map[string]entry{
		"floating-ip":          {floatingip.New, floatingip.Place, floatingip.Takeover},
		"haproxy":              {haproxy.New, haproxy.Place, haproxy.Takeover},
		"memcached":            {memcached.New, memcached.Place, memcached.Takeover},
		"redis":                {redis.New, redis.Place, redis.Takeover},
		"mysql-shared-storage": {mysql.New, mysql.Place, mysql.Takeover},
		"shared-storage":       {sharedstorage.New, sharedstorage.Place, sharedstorage.Takeover},
		"qpidd":                {qpidd.New, qpidd.Place, qpidd.Takeover},
	}
}

// entry is what is known of an agent: its declaration, where it stands in a control plane, and how it takes a running
// service over; nil where there is no such thing.
type entry struct {
	agent    func() ocf.Agent
	place    func() placement.Place
	takeover func() takeover.Kind
}

// places are the agents that a control plane can have, and where each may stand: all but the swap's own.
func places() map[string]placement.Agent {
	where := openstack.Places()
	for name, e := range own() {
		where[name] = e.place()
	}
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
	if e, ok := own()[name]; ok {
		return e.agent, true
	}
	if name == swap.ScoutAgent {
		return scout, true
	}
	agent, ok := openstack.Agents()[name]
	return agent, ok
}

// takeovers are the agents with what they take over.
func takeovers() map[string]takeover.Agent {
	kinds := openstack.Takeovers()
	for name, e := range own() {
		kinds[name] = e.takeover
	}
	m := map[string]takeover.Agent{}
	for name, agent := range agents() {
		m[name] = takeover.Agent{New: agent, Kind: kinds[name]}
	}
	return m
}

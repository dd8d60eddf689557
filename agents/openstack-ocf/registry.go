package main

import (
	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/ocf"
)

// agents are the provider's agents, by the names they are called by.
var agents = map[string]func() ocf.Agent{
	"haproxy":              haproxy.New,
	"mysql-shared-storage": mysql.New,
	"qpidd":                qpidd.New,
}

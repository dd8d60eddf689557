// Package openstack declares the services of an OpenStack control plane as
// agents. What they have in common is package lib/openstack.
package openstack

import (
	"slices"

	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Agents are the agents by their names.
func Agents() map[string]func() ocf.Agent {
	all := map[string]func() ocf.Agent{"neutron-cleanup": newCleanup}
	for _, d := range slices.Concat(nova(), neutron(), others()) {
		all[d.Agent] = d.New
	}
	return all
}

// Takeovers are how the agents take running services over, by the agents' names.
func Takeovers() map[string]func() takeover.Kind {
	all := map[string]func() takeover.Kind{}
	for _, d := range slices.Concat(nova(), neutron(), others()) {
		all[d.Agent] = d.Takeover
	}
	return all
}

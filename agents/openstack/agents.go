// Package openstack declares the services of an OpenStack control plane as
// agents. What they have in common is package lib/openstack.
package openstack

import (
	"slices"

	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Agents are the agents by their names.
func Agents() map[string]func() ocf.Agent {
	all := map[string]func() ocf.Agent{"neutron-cleanup": newCleanup}
	for _, d := range declarations() {
		all[d.Agent] = d.New
	}
	return all
}

// Takeovers are how the agents take running services over, by the agents' names.
func Takeovers() map[string]func() takeover.Kind {
	all := map[string]func() takeover.Kind{}
	for _, d := range declarations() {
		all[d.Agent] = d.Takeover
	}
	return all
}

// Places are where the agents stand in a control plane.
func Places() map[string]placement.Place {
	all := map[string]placement.Place{"neutron-cleanup": {Single: "it stands before the agents that it cleans up after, in their group"}}
	for _, d := range declarations() {
		all[d.Agent] = placement.Place{Names: d.Names, Single: d.Single}
	}
	return all
}

func declarations() []openstack.Declaration { return slices.Concat(nova(), neutron(), others()) }

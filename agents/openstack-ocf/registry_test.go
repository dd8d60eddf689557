package main

import (
	"testing"

	"github.com/openstack-ocf/agents/lib/swap"
)

// An agent that is forgotten in places cannot stand in a control plane.
func TestEveryAgentHasAPlace(t *testing.T) {
	have := places()
	for name := range agents() {
		if _, ok := have[name]; !ok && name != swap.ScoutAgent {
			t.Errorf("%s has no place", name)
		}
	}
}

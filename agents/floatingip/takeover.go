package floatingip

import (
	"context"
	"fmt"
	"strings"

	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Place is where it may stand in a control plane.
func Place() placement.Place {
	return placement.Place{Single: "an address on two nodes is on neither", HoldsAddress: true}
}

// Takeover is how an address is taken over that ocf:heartbeat:IPaddr2 put there, which has the same parameters. It is
// everybody's agent for addresses: which ones are to be swapped, an operator says.
func Takeover() takeover.Kind {
	return takeover.Kind{OCF: []string{"heartbeat:IPaddr2"}, Named: true, Lives: lives}
}

// lives is the address that these parameters mean, as it is on this node.
func lives(ctx context.Context, given map[string]string) (what string, err error) {
	a := newAgent()
	self := a.declare()
	self.Actions = []ocf.Action{{Name: ocf.Monitor, Timeout: self.Actions[0].Timeout, Run: a.in(func(_ context.Context, _ *ocf.Request, k *rtnl.Conn) error {
		address, _, err := a.served(k)
		if err == nil && address != nil {
			what = at(k, *address)
		}
		return err
	})}}
	said := ocf.Try(ctx, self, ocf.Monitor, "address", given, self.Actions[0].Timeout)
	if said.Code != ocf.OK {
		return "", fmt.Errorf("%s", said.Reason)
	}
	if what == "" {
		return "", fmt.Errorf("%s is not on this node", strings.TrimSpace(given["ip"]))
	}
	return what, nil
}

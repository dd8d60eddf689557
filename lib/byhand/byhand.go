// Package byhand keeps people from having a service on two nodes. What the cluster starts on a node, it has stopped elsewhere; whoever runs an
// agent himself (pcs resource debug-start, crm_resource --force-start) may not have, and nothing but the cluster knows.
package byhand

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// Guarded is an agent whose start and promote ask the cluster first, unless it is the cluster that runs them.
func Guarded(declare func() ocf.Agent) func() ocf.Agent {
	return func() ocf.Agent {
		a := declare()
		for i, act := range a.Actions {
			if act.Name != ocf.Start && act.Name != ocf.Promote || act.Run == nil {
				continue
			}
			a.Actions[i].Run = func(ctx context.Context, r *ocf.Request) error {
				if err := alone(ctx, r); err != nil {
					return err
				}
				return act.Run(ctx, r)
			}
		}
		return a
	}
}

// executors are the programs by which Pacemaker runs agents, as the kernel has their names: 15 bytes of them.
var executors = []string{"pacemaker-execd", "pacemaker-remot", "lrmd", "pacemaker_remot"}

// alone is an error if somebody runs this on one node, and the cluster says that another one has what may be on one only.
func alone(ctx context.Context, r *ocf.Request) error {
	parent, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if err == nil && slices.Contains(executors, strings.TrimSpace(string(parent))) || !pacemaker.RunsHere() {
		return nil
	}
	r.Step("asking the cluster whether another node has it")
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "this was run by hand, and the cluster does not say whether another node has it: %w", err)
	}
	here, err := pacemaker.LocalNode(ctx)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "this was run by hand, and the cluster does not say which node this is: %w", err)
	}
	id, _, _ := strings.Cut(r.Instance, ":")
	if why := forbidden(status, id, r.Action, here); why != "" {
		return ocf.Errorf(ocf.Generic, "%s", why)
	}
	return nil
}

// forbidden says why a resource must not be started, or promoted, by hand on a node; "" where it may: of a clone, each node has its own.
func forbidden(s *pacemaker.Status, id, action, here string) string {
	instances := s.Instances(id)
	if len(instances) == 0 {
		return "" // it is not the cluster's
	}
	single := len(instances) == 1
	for _, in := range instances {
		promoted := action == ocf.Promote && (in.Role == "Promoted" || in.Role == "Master") // before 2.1
		for _, node := range in.Nodes {
			if node != here && (single || promoted) {
				return fmt.Sprintf("the cluster has %s on %s: have the cluster move it, or refresh it if it is not there (pcs resource move, refresh)", id, node)
			}
		}
	}
	if in := instances[0]; single && len(in.Nodes) == 0 && in.Managed && !in.Disabled && !s.Maintenance {
		return fmt.Sprintf("the cluster may start %s on another node at any time: pcs resource disable %[1]s first, and stop it here before you enable it again", id)
	}
	return ""
}

package swap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// olderDropIn is what versions before this one left where a service was swapped that lived in a unit: Restart=no and
// KillMode=none, so that the unit let go of it.
func olderDropIn(unit string) string { return beside(unit, "60-openstack-ocf-swap.conf") }

// pacemakers is what a start by Pacemaker's class systemd leaves: Restart=no, and stopped after Pacemaker at a shutdown.
// Its stop removes it.
func pacemakers(unit string) string { return beside(unit, "50-pacemaker.conf") }

func beside(unit, name string) string {
	return filepath.Join(filepath.Dir(systemd.DropIn(unit)), name)
}

// claim sees to it that systemd does not restart the unit's service behind the cluster's back. It does nothing where
// that is so, as under a resource of the class systemd. The agent's own start claims the unit in any case.
func claim(ctx context.Context, unit string) error {
	props, err := systemd.Show(ctx, unit, "Restart", "Before")
	if err != nil || props["Restart"] == "no" && slices.Contains(strings.Fields(props["Before"]), "pacemaker.service") {
		return err
	}
	return systemd.Claim(ctx, unit)
}

// disclaim makes the unit what it was before it was claimed.
func disclaim(ctx context.Context, unit string) error {
	return reread(ctx, unit, remove(systemd.DropIn(unit)), remove(olderDropIn(unit)))
}

// handOver makes a unit Pacemaker's own again, as if its class systemd had started it.
func handOver(ctx context.Context, unit string) error {
	give := func() error { return os.Rename(systemd.DropIn(unit), pacemakers(unit)) }
	if files.Exists(pacemakers(unit)) {
		give = func() error { return remove(systemd.DropIn(unit)) }
	}
	return reread(ctx, unit, give(), remove(olderDropIn(unit)))
}

func remove(dropIn string) error {
	err := os.Remove(dropIn)
	_ = os.Remove(filepath.Dir(dropIn)) // if nothing else is in it
	return err
}

// reread has systemd read a unit again of which drop-ins were changed; ours and older say whether they were, and
// whether they were there. With KillMode=none, which an older version's had, a stop would not stop the service.
func reread(ctx context.Context, unit string, ours, older error) error {
	for _, err := range []error{ours, older} {
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if ours != nil && older != nil {
		return nil
	}
	if err := systemd.Reload(ctx); err != nil || older != nil {
		return err
	}
	props, err := systemd.Show(ctx, unit, "KillMode")
	if err == nil && props["KillMode"] == "none" {
		err = fmt.Errorf("systemd would not stop the process of %s: KillMode is still none", unit)
	}
	return err
}

// unitActions are what is done to units, by the parameter of [Scout] that has it done on other nodes.
func unitActions() map[string]func(context.Context, string) error {
	return map[string]func(context.Context, string) error{"claim": claim, "disclaim": disclaim, "hand_over": handOver}
}

// becomes is what is done to the unit of a service that comes to the agent of that primitive.
func becomes(p *pacemaker.Element) string {
	switch {
	case p.Attr("provider") == Provider:
		return "claim"
	case p.Attr("class") == "systemd", p.Attr("class") == "service" && !files.Exists("/etc/init.d/"+p.Attr("type")):
		return "hand_over"
	}
	return "disclaim"
}

// units has the units of services that come to agents of this suite claimed, and those of services that leave them made
// as they were; backward is the other way round. On this node that is done here, on others by way of the cluster.
func (r *run) units(ctx context.Context, forward bool) error {
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{} // and with them their drop-ins
	for _, n := range status.Nodes {
		gone[n.Name] = !forward && !n.Online
	}
	does := unitActions()
	there := map[string][]string{}
	nodes := map[string]bool{}
	for _, c := range r.journal.Changes {
		if c.Unit == "" {
			continue
		}
		to := c.New
		if !forward {
			to = c.Old
		}
		what := becomes(to)
		r.swap.Say("%s: %s on %s is made %s's", c.ID, c.Unit, strings.Join(slices.Sorted(maps.Keys(c.Runs)), ", "), pacemaker.AgentOf(to))
		if _, here := c.Runs[r.journal.Node]; here {
			if err := does[what](ctx, c.Unit); err != nil {
				return fmt.Errorf("%s: %w", c.ID, err)
			}
		}
		for n := range c.Runs {
			if n != r.journal.Node && !gone[n] {
				nodes[n] = true
				there[what] = append(there[what], c.Unit)
			}
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	params := map[string]string{}
	for what, units := range there {
		slices.Sort(units)
		params[what] = strings.Join(slices.Compact(units), " ")
	}
	return r.reach(ctx, slices.Sorted(maps.Keys(nodes)), params)
}

// reach starts scouts on other nodes, to do there what start does.
func (r *run) reach(ctx context.Context, nodes []string, params map[string]string) error {
	err := r.start(ctx, unitsID, nodes, params)
	// The drop-ins stay when the scouts go.
	return errors.Join(err, r.apply(ctx, func(cib *pacemaker.Element) error {
		cib.Child("configuration").Remove(func(e *pacemaker.Element) bool { return strings.HasPrefix(e.Attr("id"), unitsID) })
		return nil
	}))
}

// start starts scouts on nodes, and waits until they have done what they are told by their parameters.
func (r *run) start(ctx context.Context, id string, nodes []string, params map[string]string) error {
	params["version"] = r.swap.Version
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { addStarted(cib, id, nodes, params); return nil }); err != nil {
		return err
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		missing := slices.Clone(nodes)
		for _, op := range pacemaker.History(cib, id) {
			switch {
			case op.Operation != ocf.Start || !op.Done:
			case op.Code != 0:
				return &final{fmt.Errorf("on %s: %s", op.Node, op.Reason)}
			default:
				missing = slices.DeleteFunc(missing, func(n string) bool { return n == op.Node })
			}
		}
		if err := present(cib, missing); err != nil {
			return &final{err}
		}
		if len(missing) > 0 {
			return fmt.Errorf("no answer from %s, where a resource %s was to be started", strings.Join(missing, ", "), id)
		}
		return nil
	})
}

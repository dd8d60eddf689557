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

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// dropIn takes a unit's power over its process away, until the next boot. Its name comes after Pacemaker's own.
func dropIn(unit string) string {
	return "/run/systemd/system/" + unit + ".d/60-openstack-ocf-swap.conf"
}

const letGo = `# Written by openstack-ocf swap: the cluster's agent ocf:openstack:* manages this service now, process and all.
# The unit neither restarts nor stops it any more.
[Service]
Restart=no
KillMode=none
ExecStop=
ExecStopPost=
WatchdogSec=0
# Nor does it remove what the service has under /run.
RuntimeDirectoryPreserve=yes
PIDFile=
`

// release has systemd let go of a unit's process, and makes sure that it did. A unit that is not active has none.
func release(ctx context.Context, unit string) error {
	props, err := pacemaker.UnitProperties(ctx, unit, "ActiveState")
	if err != nil || props["ActiveState"] != "active" {
		return err
	}
	path := dropIn(unit)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(letGo), 0o644); err != nil {
		return err
	}
	if err := pacemaker.ReloadUnits(ctx); err != nil {
		return err
	}
	if props, err = pacemaker.UnitProperties(ctx, unit, "Restart", "KillMode"); err != nil {
		return err
	}
	if props["Restart"] != "no" || props["KillMode"] != "none" {
		return fmt.Errorf("systemd goes on with Restart=%s, KillMode=%s for %s in spite of %s: another drop-in overrides it", props["Restart"], props["KillMode"], unit, path)
	}
	return nil
}

// retake gives the unit its power back. Under an agent that stops the service by its unit, a unit without it would be
// dangerous: stopped, but not its service.
func retake(ctx context.Context, unit string) error {
	if err := os.Remove(dropIn(unit)); err != nil && !os.IsNotExist(err) {
		return err
	}
	_ = os.Remove(filepath.Dir(dropIn(unit))) // if nothing else is in it
	if err := pacemaker.ReloadUnits(ctx); err != nil {
		return err
	}
	props, err := pacemaker.UnitProperties(ctx, unit, "KillMode")
	if err == nil && props["KillMode"] == "none" {
		err = fmt.Errorf("systemd would not stop the process of %s: KillMode is still none", unit)
	}
	return err
}

// units has systemd let go of the services that come to agents of this suite, and gives it back those that leave
// them; backward is the other way round. On this node that is done here, on others by way of the cluster.
func (r *run) units(ctx context.Context, forward bool) error {
	var let, take []string
	nodes := map[string]bool{}
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{} // and with them their drop-ins
	for _, n := range status.Nodes {
		gone[n.Name] = !forward && !n.Online
	}
	for _, c := range r.journal.Changes {
		if c.Unit == "" {
			continue
		}
		do, what := retake, "gets back"
		if (c.New.Attr("provider") == Provider) == forward {
			do, what = release, "lets go of"
		}
		r.swap.Say("%s: systemd %s %s on %s", c.ID, what, c.Unit, strings.Join(slices.Sorted(maps.Keys(c.Runs)), ", "))
		if _, here := c.Runs[r.journal.Node]; here {
			if err := do(ctx, c.Unit); err != nil {
				return fmt.Errorf("%s: %w", c.ID, err)
			}
		}
		for n := range c.Runs {
			if n == r.journal.Node || gone[n] {
				continue
			}
			nodes[n] = true
			if what == "gets back" {
				take = append(take, c.Unit)
			} else {
				let = append(let, c.Unit)
			}
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	return r.reach(ctx, slices.Sorted(maps.Keys(nodes)), let, take)
}

// reach starts scouts on other nodes, to do there what start does.
func (r *run) reach(ctx context.Context, nodes, let, take []string) error {
	err := r.start(ctx, unitsID, nodes, map[string]string{"let_go": strings.Join(let, " "), "retake": strings.Join(take, " ")})
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

// Package unheeded has Pacemaker act on a failure that it has passed over.
//
// From 1.1.20 and 2.0.1 on, its controller takes the first answer of a recurring monitor for the end of that monitor's part in the
// transition that began it (process_graph_event, "Event already confirmed"). A failure that the monitor finds later, while the transition
// still goes on with what stands behind the resource, is neither counted nor acted upon, and the executor tells of no second one that is
// the same. So the service stays dead until a deeper monitor looks, or for good.
package unheeded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// patience is how long Pacemaker has to act on a failure: it takes milliseconds, where nothing keeps it from that.
const patience = 5 * time.Second

// Counted is an agent whose recurring monitor, when it still finds the same failure after some seconds, looks whether Pacemaker has
// counted that, and does it in its place if not: a change of the fail count has the cluster look at the resource again.
func Counted(declare func() ocf.Agent) func() ocf.Agent {
	return func() ocf.Agent {
		a := declare()
		for i, act := range a.Actions {
			if act.Run == nil || act.Name == ocf.ValidateAll || act.Name == ocf.MetaData {
				continue
			}
			a.Actions[i].Run = func(ctx context.Context, r *ocf.Request) error {
				if act.Name != ocf.Monitor || r.Interval <= 0 { // Pacemaker begins anew
					forget(r)
					return act.Run(ctx, r)
				}
				err := act.Run(ctx, r)
				watch(ctx, r, err)
				return err
			}
		}
		return a
	}
}

// file is where a monitor keeps since when it has failed.
func file(r *ocf.Request, part string) string {
	return r.TempFile(".failed-" + part)
}

func forget(r *ocf.Request) {
	all, _ := filepath.Glob(file(r, "*")) // an instance's name has nothing that Glob takes for a pattern
	for _, f := range all {
		_ = os.Remove(f)
	}
}

// watch is told each answer of a recurring monitor.
func watch(ctx context.Context, r *ocf.Request, answer error) {
	switch ocf.CodeOf(answer) {
	case ocf.OK, ocf.RunningPromoted, ocf.Degraded, ocf.DegradedPromoted:
		_ = os.Remove(file(r, part(r)))
		return
	}
	now := time.Now()
	first := now
	if text, err := os.ReadFile(file(r, part(r))); err == nil {
		var began, last int64
		if n, _ := fmt.Sscan(string(text), &began, &last); n == 2 && now.Sub(time.Unix(last, 0)) < 3*r.Interval+r.Timeout {
			first = time.Unix(began, 0)
		}
	}
	_ = os.WriteFile(file(r, part(r)), fmt.Appendf(nil, "%d %d\n", first.Unix(), now.Unix()), 0o600)
	if now.Sub(first) < patience {
		return
	}
	if deadline, ok := ctx.Deadline(); ok { // the answer is what counts, and must get out
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	if err := count(ctx, r, first); err != nil {
		r.Log.Warn("it cannot be told whether Pacemaker has counted this failure", "error", err)
	}
}

// part names the monitor, also one in whose place another one asks.
func part(r *ocf.Request) string { return fmt.Sprintf("%d-%d", r.Interval.Milliseconds(), r.Level) }

// count counts a failure that has lasted since first, if that was not done: as the controller does, in two attributes of the node, by the
// resource and the operation (Pacemaker Explained, "Node Attributes"; controld_te_events.c, update_failcount). The controller that
// counts is the DC's, on its node's clock.
func count(ctx context.Context, r *ocf.Request, first time.Time) error {
	node := r.Meta("on_node")
	if node == "" || r.Meta("on_fail") == "ignore" || r.Meta("role") == "Stopped" || !r.RunBy(3, 0, 14) {
		return nil
	}
	operation := fmt.Sprintf("%s#monitor_%d", r.Instance, r.Interval.Milliseconds())
	last, err := pacemaker.Attributes(ctx, "last-failure-"+operation)
	if err != nil {
		return err
	}
	if at, _ := strconv.ParseInt(last[node], 10, 64); at+1 >= first.Unix() {
		return nil
	}
	r.Log.Warn("Pacemaker has passed over this failure, since its transition has not ended: it is counted in its place", "operation", operation)
	if err := pacemaker.SetAttribute(ctx, node, "fail-count-"+operation, "value++"); err != nil {
		return err
	}
	return pacemaker.SetAttribute(ctx, node, "last-failure-"+operation, strconv.FormatInt(time.Now().Unix(), 10))
}

package swap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// Recover ends a swap of this node that was cut off: undoes it, or finishes it if all had been found to be right. It
// returns what it did, "" if there was nothing to do. The caller holds the lock.
func (s *Swap) Recover(ctx context.Context) (string, error) {
	j, err := unfinished(s.Dir)
	if err != nil || j == nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, backwardTime)
	defer cancel()
	r := &run{Swap: s, journal: j}
	if err := r.hold(ctx); err != nil {
		s.Say("%v", err)
	}
	defer r.letGo()
	if j.Step == verified {
		s.Say("the swap of %s was cut off after all had been found to be right: finishing it", j.Began.Format(time.DateTime))
		if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
			return "", err
		}
		return "finished the swap that was cut off", j.at(swapped)
	}
	s.Say("the swap of %s was cut off: undoing it", j.Began.Format(time.DateTime))
	if j.Why == "" {
		j.Why = "it was cut off"
	}
	return "undid the swap that was cut off", r.back(ctx)
}

// back brings the old primitives back and ends the maintenance. What somebody else changed meanwhile stays.
func (r *run) back(ctx context.Context) error {
	r.expect = nil
	took := r.at(undoing) // a full disk must not keep us from it
	// A command of ours that is still on its way to the CIB fails from here on: it was made for an older one.
	restore := false
	r.Until = time.Now().Add(expiry)
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		restore = false
		for _, c := range r.Changes {
			now := cib.Child("configuration", "resources").Find("primitive", c.ID)
			restore = restore || now != nil && pacemaker.AgentOf(now) == c.To
		}
		unmark(cib)
		if restore {
			mark(cib, marked(cib, r.Changes, r.Still, r.journal.Whole), r.Until)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The units first: under the old agents, a stop of a unit that let go would not stop its service.
	if r.Released {
		if err := until(ctx, time.Minute, func(ctx context.Context) error { return r.units(ctx, false) }); err != nil {
			return fmt.Errorf("%s stay as they are, in maintenance until %s at the latest: %w", r.what(), r.Until.Format(time.TimeOnly), err)
		}
	}
	var doubt error
	if restore {
		doubt = r.restore(ctx)
	}
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return errors.Join(doubt, err)
	}
	doubt = errors.Join(doubt, until(ctx, time.Minute, func(ctx context.Context) error {
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		for _, c := range r.Changes {
			for _, i := range status.Instances(c.ID) {
				if !i.Managed {
					return fmt.Errorf("%s is not managed", c.ID)
				}
			}
		}
		return atRest(ctx, status)
	}))
	for _, h := range r.held {
		if h.process.Alive() {
			r.Say("%s: %s as before, %s was not restarted", h.change.ID, h.change.From, h.change.Process)
		}
	}
	return errors.Join(doubt, took, r.at(undone))
}

// restore puts the old primitives in and has all nodes that are there asked. What they answer is told, but the
// maintenance ends in any case: with the old agents the cluster goes by what it sees, as ever.
func (r *run) restore(ctx context.Context) error {
	for _, c := range r.Changes {
		r.Say("%s: %s comes back", c.ID, c.From)
	}
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		for _, c := range r.Changes {
			now := cib.Child("configuration", "resources").Find("primitive", c.ID)
			if now != nil && pacemaker.AgentOf(now) == c.To {
				put(cib, c.Old)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return err
	}
	online := map[string]bool{}
	for _, n := range status.Nodes {
		online[n.Name] = n.Online
	}
	err = r.ask(ctx, func(c *Change) (string, []string) {
		return c.From, slices.DeleteFunc(slices.Clone(c.Asked), func(n string) bool { return !online[n] })
	})
	if err != nil {
		return err
	}
	return r.calm(ctx, time.Minute)
}

package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// Recover ends a swap of this node that was cut off: undoes it, or finishes it if all had been found to be right, or if
// the maintenance has ended by itself and the new agents have started something since. It returns what it did, "" if
// there was nothing to do. The caller holds the lock. Ctrl-C does not end it.
func (s *Swap) Recover(ctx context.Context) (string, error) {
	j, err := unfinished(s.Dir)
	if err != nil || j == nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backwardTime)
	defer cancel()
	r := &run{Swap: s, journal: j}
	var cib *pacemaker.Element
	// A command of the dead swap that is still on its way to the CIB fails from here on: it was made for an older one.
	err = r.apply(ctx, func(now *pacemaker.Element) error { cib = now; return nil })
	if errors.Is(err, errOther) {
		cib, err = pacemaker.CIB(ctx)
	}
	if err != nil {
		return "", err
	}
	began := j.Began.Format(time.DateTime)
	if owner(cib) != r.owner() { // it had just ended, or another node ended it
		end := swapped
		for _, c := range j.Changes {
			if now := resource(cib, c.ID); now == nil || pacemaker.AgentOf(now) != c.To {
				end = undone
			}
		}
		return "", j.at(end)
	}
	why := ""
	switch op := startedBy(cib, j.Changes); {
	case j.Step == verified:
		why = "all had been found to be right"
	case op != nil:
		why = fmt.Sprintf("%s has started the service on %s since", op.Agent, op.Node)
	}
	if why != "" {
		s.Say("the swap of %s was cut off, but %s: finishing it", began, why)
		if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
			return "", err
		}
		return "finished the swap that was cut off", j.at(swapped)
	}
	if err := r.hold(ctx); err != nil {
		s.Say("%v", err)
	}
	defer r.letGo()
	s.Say("the swap of %s was cut off: undoing it", began)
	if j.Why == "" {
		j.Why = "it was cut off"
	}
	return "undid the swap that was cut off", r.back(ctx)
}

// startedBy is a start of one of the services by its new agent, nil if there was none.
func startedBy(cib *pacemaker.Element, changes []*Change) *pacemaker.Op {
	for _, c := range changes {
		for _, op := range pacemaker.History(cib, c.ID) {
			if op.Agent == c.To && op.Operation == ocf.Start && op.Done && op.Code == int(ocf.OK) {
				return &op
			}
		}
	}
	return nil
}

// Abandoned ends the maintenance that a swap left whose journal is out of reach, because its node is off or was made
// anew: the resources are then managed with the agents that they have, which all nodes have. It returns what it did, ""
// if there was nothing to do. The error is a *Refusal if that node is there. The caller holds the lock.
func (s *Swap) Abandoned(ctx context.Context) (string, error) {
	cib, err := pacemaker.CIB(ctx)
	if err != nil || !isMarked(cib) {
		return "", err
	}
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return "", err
	}
	here, err := pacemaker.LocalNode(ctx)
	if err != nil {
		return "", err
	}
	node, name, _ := strings.Cut(owner(cib), " ")
	if node != here && slices.ContainsFunc(status.Nodes, func(n pacemaker.Node) bool { return n.Name == node && n.Online }) {
		r := &Refusal{}
		r.underWay(cib)
		return "", r
	}
	var left []string
	for p := range cib.Child("configuration", "resources").All("primitive") {
		if !isMark(p) && slices.ContainsFunc(p.Children, isMark) {
			left = append(left, fmt.Sprintf("%s (%s)", p.Attr("id"), pacemaker.AgentOf(p)))
		}
	}
	r := &run{Swap: s, journal: &journal{Node: node, dir: name}}
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return "", err
	}
	did := fmt.Sprintf("ended the maintenance that a swap of %s left, whose journal is not to be had: the cluster manages %s again", cmp.Or(node, "an unknown node"), strings.Join(left, ", "))
	s.Say("%s", did)
	return did, nil
}

// back brings the old primitives back and ends the maintenance. What somebody else changed meanwhile stays.
func (r *run) back(ctx context.Context) error {
	r.expect = nil
	r.note(undoing)
	// A command of ours that is still on its way to the CIB fails from here on: it was made for an older one.
	restore := false
	r.Until = time.Now().Add(expiry)
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		restore = false
		for _, c := range r.Changes {
			now := resource(cib, c.ID)
			restore = restore || now != nil && pacemaker.AgentOf(now) == c.To
		}
		unmark(cib)
		if restore {
			mark(cib, marked(cib, r.Changes, r.Still, r.journal.Whole), r.Until)
		}
		return nil
	})
	if errors.Is(err, errOther) { // so that there is nothing of ours
		r.note(undone)
		return nil
	}
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
	r.note(undone)
	return doubt
}

// note takes down how far the undoing has come. A full disk must not keep us from it: what the CIB says counts more.
func (r *run) note(s step) {
	if err := r.at(s); err != nil {
		r.Say("%v", err)
	}
}

// restore puts the old primitives in and has all nodes that are there asked. What they answer is told, but the
// maintenance ends in any case: with the old agents the cluster goes by what it sees, as ever.
func (r *run) restore(ctx context.Context) error {
	for _, c := range r.Changes {
		r.Say("%s: %s comes back", c.ID, c.From)
	}
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		for _, c := range r.Changes {
			now := resource(cib, c.ID)
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

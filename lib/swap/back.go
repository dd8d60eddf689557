package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// What [Swap.Recover] did.
const (
	Undid    = "undid the swap that was cut off"
	Finished = "finished the swap that was cut off"
)

// Recover ends a swap of this node that was cut off: undoes it, or finishes it if all had been found to be right, or if
// the maintenance has ended by itself and the new agents have started something since. It returns what it did, "" if
// there was nothing to do; with an error too, if that is done and something is not as it should be all the same. The
// caller holds the lock. Ctrl-C does not end it.
func (s *Swap) Recover(ctx context.Context) (string, error) {
	j, err := unfinished(s.Dir)
	if err != nil || j == nil {
		return "", err
	}
	return s.resume(ctx, j)
}

// resume ends the swap of a journal.
func (s *Swap) resume(ctx context.Context, j *journal) (string, error) {
	j.Within = cmp.Or(j.Within, Within)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.Within)
	defer cancel()
	r := &run{swap: s, journal: j}
	var cib *pacemaker.Element
	// A command of the dead swap that is still on its way to the CIB fails from here on: it was made for an older one.
	err := r.apply(ctx, func(now *pacemaker.Element) error { cib = now; return nil })
	if errors.Is(err, errOther) {
		cib, err = pacemaker.CIB(ctx)
	}
	if err != nil {
		return "", err
	}
	if over, err := j.over(cib); over || err != nil {
		return "", err
	}
	began := j.Began.Format(time.DateTime)
	if why := j.right(cib); why != "" {
		s.Say("the swap of %s was cut off, but %s: finishing it", began, why)
		return r.finish(ctx)
	}
	if err := r.grasp(ctx); err != nil {
		s.Say("%v", err)
	}
	defer r.letGo()
	s.Say("the swap of %s was cut off: undoing it", began)
	j.Why = cmp.Or(j.Why, "it was cut off")
	err = r.back(ctx)
	if j.Step != undone {
		return "", err
	}
	return Undid, err
}

// over takes down how a swap ended that had just ended, or that another node ended. The error is that another node is at
// it, or that it cannot be taken down.
func (j *journal) over(cib *pacemaker.Element) (bool, error) {
	who := owner(cib)
	if who == j.owner() || who != "" && who == j.from {
		return false, nil
	}
	if node, name, _ := strings.Cut(who, " "); who != "" && name == filepath.Base(j.dir) {
		return false, fmt.Errorf("%s, which was asked to watch over it, is ending it: wait for that", node)
	}
	end := swapped
	for _, c := range j.Changes {
		if now := resource(cib, c.ID); now == nil || pacemaker.AgentOf(now) != c.To {
			end = undone
		}
	}
	return true, j.at(end)
}

// right is why a swap that was cut off is to be finished; "": it is to be undone.
func (j *journal) right(cib *pacemaker.Element) string {
	if j.Step == verified {
		return "all had been found to be right"
	}
	if op := startedBy(cib, j.Changes); op != nil {
		return fmt.Sprintf("%s has started the service on %s since", op.Agent, op.Node)
	}
	return ""
}

// finish ends the maintenance of a swap that was cut off.
func (r *run) finish(ctx context.Context) (string, error) {
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return "", err
	}
	_ = until(ctx, settling, func(ctx context.Context) error { // its monitors begin
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		return atRest(ctx, status)
	})
	return Finished, r.journal.at(swapped)
}

// Watch is what the guard does: it waits for the swap that is under way, and undoes it if it died. It goes on until
// that is done, by itself or by somebody else: between two tries it lets go of the lock.
func (s *Swap) Watch(ctx context.Context) error { return s.watch(ctx, s.Recover) }

// watch tries to end a swap until that is done.
func (s *Swap) watch(ctx context.Context, end func(context.Context) (string, error)) error {
	for pause, failed := time.Second, false; ; pause, failed = min(2*pause, 10*time.Minute), true {
		did, err := s.locked(ctx, end)
		switch {
		case err != nil && did != "":
			s.Say("%s, but look at the cluster (crm_mon -1rf): %v", did, err)
			return nil
		case did != "":
			s.Say("%s", did)
			return nil
		case err == nil && failed:
			s.Say("somebody else has ended the swap, or undone it")
			return nil
		case err == nil:
			return nil
		case ctx.Err() != nil:
			s.Say("told to end; if the swap was cut off, `openstack-ocf swap --undo` on this node undoes it")
			return err
		}
		s.Say("could not undo the swap that was cut off: %v; trying again in %s, or at once by `openstack-ocf swap --undo` on this node", err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (s *Swap) locked(ctx context.Context, end func(context.Context) (string, error)) (string, error) {
	release, err := s.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return end(ctx)
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
	if err := reacquaint(ctx, cib, status); err != nil {
		return "", err
	}
	r := &run{swap: s, journal: &journal{Node: node, dir: name}}
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return "", err
	}
	did := fmt.Sprintf("ended the maintenance that a swap of %s left, whose journal is not to be had: the cluster manages %s again", cmp.Or(node, "an unknown node"), strings.Join(left, ", "))
	s.Say("%s", did)
	return did, nil
}

// reacquaint has nodes asked anew that know a marked resource by another agent than it has: managed again, it would be
// restarted there.
func reacquaint(ctx context.Context, cib *pacemaker.Element, status *pacemaker.Status) error {
	online := online(status)
	asked := map[string]map[string]bool{}
	for p := range cib.Child("configuration", "resources").All("primitive") {
		if isMark(p) || !slices.ContainsFunc(p.Children, isMark) {
			continue
		}
		for _, op := range pacemaker.History(cib, p.Attr("id")) {
			if op.Agent == pacemaker.AgentOf(p) || !online[op.Node] || asked[p.Attr("id")][op.Node] {
				continue
			}
			if err := pacemaker.Refresh(ctx, p.Attr("id"), op.Node); err != nil {
				return fmt.Errorf("%s on %s cannot be asked anew: %w", p.Attr("id"), op.Node, err)
			}
			if asked[p.Attr("id")] == nil {
				asked[p.Attr("id")] = map[string]bool{}
			}
			asked[p.Attr("id")][op.Node] = true
			if !inClonedGroup(cib, p.Attr("id")) {
				continue
			}
			if err := until(ctx, time.Minute, func(ctx context.Context) error { return acquainted(ctx, p.Attr("id"), []string{op.Node}) }); err != nil { // see ask
				return err
			}
		}
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		for id, nodes := range asked {
			if err := acquainted(ctx, id, slices.Sorted(maps.Keys(nodes))); err != nil {
				return err
			}
		}
		return nil
	})
}

// acquainted is nil if these nodes know a resource by the agent that it has.
func acquainted(ctx context.Context, id string, nodes []string) error {
	cib, err := pacemaker.CIB(ctx)
	if err != nil {
		return err
	}
	if p := resource(cib, id); p != nil && !known(cib, id, pacemaker.AgentOf(p), nodes) {
		return fmt.Errorf("%s: no answer from %s", id, strings.Join(nodes, ", "))
	}
	return nil
}

// online are the nodes that are there.
func online(status *pacemaker.Status) map[string]bool {
	there := map[string]bool{}
	for _, n := range status.Nodes {
		if n.Online {
			there[n.Name] = true
		}
	}
	return there
}

// known tells whether the cluster knows a resource on all of these nodes by what that agent says, and by no other's
// word, nor by none: else it would restart the resource, or what depends on it, once it manages them.
func known(cib *pacemaker.Element, id, agent string, nodes []string) bool {
	by := map[string]bool{}
	for _, op := range pacemaker.History(cib, id) {
		if was, seen := by[op.Node]; op.Done {
			by[op.Node] = op.Agent == agent && (was || !seen)
		}
	}
	return !slices.ContainsFunc(nodes, func(n string) bool { return !by[n] })
}

// there are the nodes of a change that are there.
func (c *Change) there(status *pacemaker.Status) []string {
	online := online(status)
	return slices.DeleteFunc(slices.Clone(c.Asked), func(n string) bool { return !online[n] })
}

// back brings the old primitives back and ends the maintenance. What somebody else changed meanwhile stays, but for
// what they changed of these primitives: that is told.
func (r *run) back(ctx context.Context) error {
	r.expect = nil
	r.note(undoing)
	// A command of ours that is still on its way to the CIB fails from here on: it was made for an older one.
	var status *pacemaker.Status
	err := until(ctx, time.Minute, func(ctx context.Context) (err error) {
		status, err = pacemaker.ReadStatus(ctx)
		return err
	})
	if err != nil {
		return err
	}
	restore := false
	r.journal.Until = r.journal.hold()
	err = r.apply(ctx, func(cib *pacemaker.Element) error {
		restore = false
		for _, c := range r.journal.Changes {
			// They may be back already, by an undoing that was cut off itself, and the nodes not asked.
			now := resource(cib, c.ID)
			restore = restore || now != nil && (pacemaker.AgentOf(now) == c.To || !known(cib, c.ID, c.From, c.there(status)))
		}
		unmark(cib)
		if restore {
			mark(cib, marked(cib, r.journal.Changes, r.journal.Still, r.journal.Whole), r.journal.Until)
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
	// The units first: under the old agents, a stop of a unit of which an older version let go would not stop its service.
	if r.journal.Released {
		if err := until(ctx, time.Minute, func(ctx context.Context) error { return r.units(ctx, false) }); err != nil {
			return fmt.Errorf("%s stay as they are, in maintenance until %s at the latest: %w", r.what(), r.journal.Until.Format(time.TimeOnly), err)
		}
	}
	var doubt error
	if restore {
		if doubt, err = r.restore(ctx); err != nil {
			return fmt.Errorf("%s stay in maintenance until %s at the latest: %w", r.what(), r.journal.Until.Format(time.TimeOnly), err)
		}
	}
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return errors.Join(doubt, err)
	}
	doubt = errors.Join(doubt, until(ctx, time.Minute, func(ctx context.Context) error {
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		for _, c := range r.journal.Changes {
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
			r.swap.Say("%s: %s as before, %s was not restarted", h.change.ID, h.change.From, h.change.Process)
		}
	}
	r.note(undone)
	return doubt
}

// note takes down how far the undoing has come. A full disk must not keep us from it: what the CIB says counts more.
func (r *run) note(s step) {
	if err := r.journal.at(s); err != nil {
		r.swap.Say("%v", err)
	}
}

// restore puts the old primitives in and has all nodes that are there asked. The error is why the maintenance must not
// end yet. Doubt is what else is not as it should be; with the old agents the cluster goes by what it sees, as ever.
func (r *run) restore(ctx context.Context) (doubt, err error) {
	for _, c := range r.journal.Changes {
		r.swap.Say("%s: %s comes back", c.ID, c.From)
	}
	var theirs []string
	secrets := r.swap.secrets()
	err = r.apply(ctx, func(cib *pacemaker.Element) error {
		theirs = nil
		for _, c := range r.journal.Changes {
			now := resource(cib, c.ID)
			if now == nil || pacemaker.AgentOf(now) != c.To {
				continue
			}
			is := now.Clone()
			is.Remove(isMark)
			to, conflicts := pacemaker.TakeBack(c.Old, c.New, is, nil)
			if !is.Equal(c.New) {
				theirs = append(theirs, fmt.Sprintf("%s: somebody else changed it meanwhile, and that stays:\n%s", c.ID, strings.Join(Diff(c.New.Masked(secrets), is.Masked(secrets)), "\n")))
			}
			for _, line := range conflicts {
				theirs = append(theirs, c.ID+": "+line)
			}
			put(cib, to)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range theirs {
		r.swap.Say("%s", t)
	}
	if doubt = r.askAgain(ctx); doubt == nil {
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return nil, err
		}
		online := online(status)
		for _, c := range r.journal.Changes {
			for n := range c.Runs {
				if !online[n] {
					return nil, nil // the cluster has to act
				}
			}
		}
		return r.calm(ctx, time.Minute), nil
	}
	err = until(ctx, 20*time.Second, func(ctx context.Context) error {
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		for _, c := range r.journal.Changes {
			if nodes := c.there(status); resource(cib, c.ID) != nil && !known(cib, c.ID, c.From, nodes) {
				return fmt.Errorf("%s: not all of %s have answered %s, without which the cluster would restart it", c.ID, strings.Join(nodes, ", "), c.From)
			}
		}
		return nil
	})
	if err != nil {
		err = errors.Join(doubt, err)
	}
	return doubt, err
}

// askAgain asks the nodes that are there, by the old agents, and those that are left if one leaves meanwhile.
func (r *run) askAgain(ctx context.Context) error {
	for {
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		err = r.ask(ctx, func(c *Change) (string, []string) { return c.From, c.there(status) })
		if err == nil || ctx.Err() != nil {
			return err
		}
		now, nerr := pacemaker.ReadStatus(ctx)
		if nerr != nil || maps.Equal(online(status), online(now)) {
			return err
		}
	}
}

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
	"sync"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// ErrForeign says that somebody else changed the cluster's configuration while a swap was under way.
var ErrForeign = errors.New("somebody else has changed the cluster's configuration meanwhile")

// errOther says that what is in the CIB of a swap is of another one.
var errOther = errors.New("another swap has begun meanwhile")

// Lock keeps other swaps on this node away until release is called or this process dies. A nil error with a nil
// release does not occur.
func (s *Swap) Lock(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	return lock.Take(ctx, filepath.Join(s.Dir, "lock"))
}

// run is a swap under way.
type run struct {
	swap    *Swap
	journal *journal
	nodes   []string
	held    []held             // the services' processes
	expect  *pacemaker.Element // the configuration as we left it; nil: not looked at
	touched bool               // the CIB may be changed
}

// held is the process of a service, by its pidfd.
type held struct {
	change  *Change
	process *daemon.Process
}

// Run does what the plan says. The caller holds the lock. The error is a *RolledBack if the CIB was touched and is as
// before again, anything else if nothing was touched.
func (s *Swap) Run(ctx context.Context, p *Plan) (err error) {
	j, err := newJournal(s.Dir, journal{
		Step: begun, Node: p.Node, Began: time.Now(), Versions: s.Version, Undoes: p.Undoes, Still: p.Still, Whole: s.Whole,
		Within: s.Within, Until: time.Now().Add(s.Hold()), Changes: p.Changes,
	}, p.cib)
	if err != nil {
		return err
	}
	r := &run{swap: s, journal: j, nodes: p.Nodes, expect: configured(p.cib)}
	defer r.letGo()
	s.Say("saved the cluster's configuration in %s", filepath.Join(j.dir, savedCIB))
	if err := prune(s.Dir); err != nil {
		s.Say("what is kept of older swaps, passwords with it, cannot be removed: %v", err)
	}
	if err := r.grasp(ctx); err != nil {
		return errors.Join(err, j.at(undone))
	}
	if err := s.guard(ctx); err != nil {
		err = fmt.Errorf("cannot start the guard, which would undo what a dead swap began: %w", err)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return errors.Join(err, j.at(undone))
	}
	forward, cancel := context.WithTimeout(ctx, s.Within)
	err = r.forward(forward)
	cancel()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if !r.touched {
		return errors.Join(&Refusal{Reasons: []string{err.Error()}}, j.at(undone))
	}
	s.Say("giving up: %v", err)
	s.Say("putting the old state back (Ctrl-C does not stop that)")
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Within)
	defer cancel()
	r.journal.Why = err.Error()
	left := r.back(back)
	if left != nil && r.journal.Step != undone {
		left = fmt.Errorf("%w\nits guard goes on trying, and says so in %s", left, filepath.Join(s.Dir, guardLog))
	}
	return &RolledBack{Why: err, Left: left}
}

// guardLog is what the guards of this node say, in [Swap.Dir].
const guardLog = "guard.log"

// guard starts a process of its own session that undoes the swap if this one dies.
func (s *Swap) guard(ctx context.Context) error {
	p, err := daemon.Start(ctx, daemon.Command{Name: "guard", Path: s.Program, Args: s.Guard, Output: filepath.Join(s.Dir, guardLog)}, nil)
	if err != nil {
		return err
	}
	return p.Close()
}

// grasp takes hold of the services' processes.
func (r *run) grasp(ctx context.Context) error {
	for _, c := range r.journal.Changes {
		if c.PID == 0 { // on another node
			continue
		}
		p, err := daemon.Identity{
			Name: c.Process, Executables: []string{"*"}, PIDFile: "/", ReadPID: func(string) (int, error) { return c.PID, nil },
			Test: func(_ context.Context, p *daemon.Process) (bool, error) {
				return p.PID == c.PID && p.StartTime == c.Started, nil
			},
		}.Find(ctx)
		if err != nil {
			return err
		}
		if p == nil {
			return fmt.Errorf("%s: %s has ended meanwhile", c.ID, c.Process)
		}
		r.held = append(r.held, held{c, p})
	}
	return nil
}

func (r *run) letGo() {
	for _, h := range r.held {
		_ = h.process.Close()
	}
}

// alive is nil if all services run as before.
func (r *run) alive() error {
	for _, h := range r.held {
		if !h.process.Alive() {
			return &final{fmt.Errorf("%s: %s has ended meanwhile", h.change.ID, h.change.Process)}
		}
	}
	return nil
}

// forward is commit and verify.
func (r *run) forward(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.scout, r.second, r.maintain, r.replace, r.verify, r.lift} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// apply changes the CIB, if its configuration still is as we left it. Changes of its status only make us try again.
func (r *run) apply(ctx context.Context, edit func(cib *pacemaker.Element) error) error {
	return until(ctx, time.Minute, func(ctx context.Context) error {
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		if who := owner(cib); who != "" && who != r.journal.owner() && who != r.journal.from {
			return &final{fmt.Errorf("%w (%s)", errOther, who)}
		}
		if r.expect != nil && !configured(cib).Equal(r.expect) {
			return &final{ErrForeign}
		}
		to := cib.Clone()
		if err := edit(to); err != nil {
			return &final{err}
		}
		own(to, r.journal.owner())
		err = pacemaker.Patch(ctx, cib, to)
		// After another error it may have been done all the same.
		r.touched = r.touched || !errors.Is(err, pacemaker.ErrChanged)
		if err != nil {
			return err
		}
		if r.expect != nil {
			r.expect = configured(to)
		}
		return nil
	})
}

// configured is what people configure: without what the controllers write there themselves after a refresh.
func configured(cib *pacemaker.Element) *pacemaker.Element {
	c := cib.Child("configuration").Clone()
	c.Remove(func(e *pacemaker.Element) bool { return e.Name == "nvpair" && e.Attr("name") == "last-lrm-refresh" })
	return c
}

// agents are the types of this suite's agents that the changes need.
func (r *run) agents() []string {
	need := map[string]bool{}
	for _, c := range r.journal.Changes {
		if name, ok := strings.CutPrefix(c.To, "ocf:"+Provider+":"); ok {
			need[name] = true
		}
	}
	return slices.Sorted(maps.Keys(need))
}

// scout asks every node for the agents, in this version.
func (r *run) scout(ctx context.Context) error {
	if len(r.agents()) == 0 {
		return nil
	}
	since := time.Now()
	r.swap.Say("asking %s for the new agents in version %s", strings.Join(r.nodes, ", "), r.swap.Version)
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { addScout(cib, r.agents(), r.swap.Version); return nil }); err != nil {
		return err
	}
	if err := r.answers(ctx, []question{{id: scoutID, agent: "ocf:" + Provider + ":" + ScoutAgent, nodes: r.nodes}}, since); err != nil {
		var clock *clockError
		if errors.As(err, &clock) {
			return err
		}
		return fmt.Errorf("all nodes need the agents in this version, so install the same package on all of them: %w", err)
	}
	return nil
}

// question is what nodes are asked of one resource.
type question struct {
	id, agent string
	nodes     []string
	runs      map[string]ocf.Code // where it runs; everywhere else it must not
	before    map[string]int      // a node's calls before the question
}

// answers waits until all nodes have answered all questions, which were asked since then, as they should.
func (r *run) answers(ctx context.Context, questions []question, since time.Time) error {
	return until(ctx, 90*time.Second, func(ctx context.Context) error {
		if err := r.alive(); err != nil {
			return err
		}
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		var missing []error
		for _, q := range questions {
			if err := present(cib, q.nodes); err != nil {
				return &final{err}
			}
			left, err := q.answered(cib, since, r.journal.Step == undoing)
			if err != nil {
				return &final{err}
			}
			if len(left) > 0 {
				missing = append(missing, fmt.Errorf("%s: no answer from %s", strings.TrimPrefix(q.id, prefix), strings.Join(left, ", ")))
			}
		}
		return errors.Join(missing...)
	})
}

// answered are the nodes that have not answered. The error is an answer that was not expected.
func (q question) answered(cib *pacemaker.Element, since time.Time, anyClock bool) (left []string, err error) {
	got := map[string]bool{}
	for _, op := range pacemaker.History(cib, q.id) {
		if !op.Probe() || op.Agent != q.agent || !op.Done || op.CallID <= q.before[op.Node] {
			continue
		}
		got[op.Node] = true
		if err := clock(op, since, time.Now()); err != nil && !anyClock {
			return nil, err
		}
		want, active := q.runs[op.Node]
		if !active {
			want = ocf.NotRunning
		}
		if ocf.Code(op.Code) != want {
			return nil, fmt.Errorf("%s: on %s %s answers %d (%s), and %d (%s) was expected: %s", strings.TrimPrefix(q.id, prefix), op.Node, q.agent, op.Code, ocf.Code(op.Code), want, want, op.Reason)
		}
	}
	for _, n := range q.nodes {
		if !got[n] {
			left = append(left, n)
		}
	}
	return left, nil
}

// clockError says that a node's clock is wrong, by which the maintenance could end.
type clockError struct {
	node string
	by   time.Duration
}

func (e *clockError) Error() string {
	return fmt.Sprintf("the clock of %s is %s away from this node's, so that the maintenance would not end when it should: set the clocks right (chronyc tracking)", e.node, e.by)
}

// maxSkew is how far the clocks may be apart; the maintenance has a minute to spare.
const maxSkew = 30 * time.Second

// clock is nil if a node that ran the operation between then and now has the same time as this one.
func clock(op pacemaker.Op, since, now time.Time) error {
	at := time.Unix(op.At, 0)
	off := max(at.Sub(now), since.Sub(at))
	if op.At == 0 || off < maxSkew {
		return nil
	}
	return &clockError{op.Node, off.Round(time.Second)}
}

// present is nil if all nodes are members of the cluster.
func present(cib *pacemaker.Element, nodes []string) error {
	for state := range cib.Child("status").All("node_state") {
		if !slices.Contains(nodes, state.Attr("uname")) {
			continue
		}
		// Since Pacemaker 2.1.7 the time since when; before, true and online. A remote node has no such attributes.
		if in := state.Attr("in_ccm"); in == "false" || in == "0" || state.Attr("crmd") == "offline" || state.Attr("crmd") == "0" {
			return fmt.Errorf("node %s has left the cluster", state.Attr("uname"))
		}
	}
	return nil
}

// maintain has the cluster leave the resources alone.
func (r *run) maintain(ctx context.Context) error {
	r.swap.Say("maintenance for %s, until %s at the latest", r.what(), r.journal.Until.Format(time.TimeOnly))
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		unmark(cib)
		mark(cib, marked(cib, r.journal.Changes, r.journal.Still, r.journal.Whole), r.journal.Until)
		return nil
	})
	if err != nil {
		return err
	}
	return r.unmanaged(ctx)
}

func (r *run) what() string {
	if r.journal.Whole {
		return "all resources of the cluster"
	}
	var ids []string
	for _, c := range r.journal.Changes {
		ids = append(ids, c.ID)
	}
	return strings.Join(append(ids, r.journal.Still...), ", ") + " alone"
}

// unmanaged waits until the cluster is at rest and does not manage the resources.
func (r *run) unmanaged(ctx context.Context) error {
	return until(ctx, time.Minute, func(ctx context.Context) error {
		if err := r.alive(); err != nil {
			return err
		}
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		for _, c := range r.journal.Changes {
			for _, i := range status.Instances(c.ID) {
				if i.Active && i.Managed {
					return fmt.Errorf("the cluster still manages %s: is the clock of %s, which leads the cluster, right?", c.ID, status.DC)
				}
			}
		}
		return atRest(ctx, status)
	})
}

func atRest(ctx context.Context, status *pacemaker.Status) error {
	busy, err := pacemaker.Busy(ctx, status)
	if err == nil && busy != "" {
		err = errors.New(busy)
	}
	return err
}

// replace puts the new primitives in, in one change, and has all nodes asked.
func (r *run) replace(ctx context.Context) error {
	for _, c := range r.journal.Changes {
		r.swap.Say("%s: %s becomes %s", c.ID, c.From, c.To)
	}
	err := r.apply(ctx, func(cib *pacemaker.Element) error {
		for _, c := range r.journal.Changes {
			put(cib, c.New)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.ask(ctx, func(c *Change) (string, []string) { return c.To, c.Asked })
}

// ask has the nodes asked whether the resources run there, by the agents that they have now, and checks the answers.
func (r *run) ask(ctx context.Context, of func(*Change) (agent string, nodes []string)) error {
	cib, err := pacemaker.CIB(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	attended, stop := attend(ctx, r.nodesOf(of))
	defer stop()
	var calls []func() error
	var questions []question
	for _, c := range r.journal.Changes {
		q := question{id: c.ID, runs: c.Runs, before: map[string]int{}}
		for _, op := range pacemaker.History(cib, c.ID) {
			q.before[op.Node] = max(q.before[op.Node], op.CallID)
		}
		q.agent, q.nodes = of(c)
		questions = append(questions, q)
		r.swap.Say("%s: asking %s on %s", c.ID, q.agent, strings.Join(q.nodes, ", "))
		each := func(nodes []string) (failed error) {
			for _, n := range nodes {
				if err := pacemaker.Refresh(attended, c.ID, n); err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s: %w", c.ID, err))
				}
			}
			return failed
		}
		if inClonedGroup(cib, c.ID) {
			// crm_resource names the first instance by its number, which no node knows, once that one's node has forgotten it.
			calls = append(calls, func() (failed error) {
				for _, n := range q.nodes {
					one := q
					one.nodes = []string{n}
					err := each(one.nodes)
					if err == nil {
						err = r.answers(attended, []question{one}, since)
					}
					failed = errors.Join(failed, err)
				}
				return failed
			})
			continue
		}
		if isCloned(cib, c.ID) {
			for _, n := range q.nodes {
				calls = append(calls, func() error { return each([]string{n}) })
			}
			continue
		}
		calls = append(calls, func() error { // one call for all nodes: each reads the whole CIB
			if pacemaker.Refresh(attended, c.ID, "") == nil {
				return nil
			}
			return each(q.nodes)
		})
	}
	// One that fails must not keep the others from being asked: by the word of the other agent they would be restarted.
	if failed := errors.Join(together(calls)...); failed != nil {
		if left, ok := errors.AsType[*final](context.Cause(attended)); ok {
			failed = left.error
		}
		return failed
	}
	if err := r.answers(ctx, questions, since); err != nil {
		return err
	}
	for _, q := range questions {
		r.swap.Say("%s: runs on %s, and nowhere else, says %s", q.id, strings.Join(slices.Sorted(maps.Keys(q.runs)), ", "), q.agent)
	}
	return nil
}

// atOnce is how many of Pacemaker's tools run at a time: each holds the CIB, which may be large.
const atOnce = 2

// together makes calls, a few at a time, and returns what each said.
func together(calls []func() error) []error {
	errs := make([]error, len(calls))
	free := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, call := range calls {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			errs[i] = call()
		})
	}
	all.Wait()
	return errs
}

// both makes two calls at once.
func both(a, b func() error) error { return errors.Join(together([]func() error{a, b})...) }

// isCloned tells whether a primitive has several instances.
func isCloned(cib *pacemaker.Element, id string) bool {
	resources := cib.Child("configuration", "resources")
	return slices.ContainsFunc(resources.Path(resources.Find("primitive", id)), func(e *pacemaker.Element) bool {
		return e.Name == "clone" || e.Name == "master" || e.Name == "bundle"
	})
}

// inClonedGroup tells whether a primitive stands in a group that is cloned.
func inClonedGroup(cib *pacemaker.Element, id string) bool {
	resources := cib.Child("configuration", "resources")
	return isCloned(cib, id) && slices.ContainsFunc(resources.Path(resources.Find("primitive", id)), func(e *pacemaker.Element) bool { return e.Name == "group" })
}

// nodesOf are all nodes that are asked.
func (r *run) nodesOf(of func(*Change) (string, []string)) []string {
	all := map[string]bool{}
	for _, c := range r.journal.Changes {
		_, nodes := of(c)
		for _, n := range nodes {
			all[n] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// attend cancels what it returns, with the cause, when a node leaves the cluster: crm_resource waits a minute for it.
func attend(ctx context.Context, nodes []string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for wait := time.Second; ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			asked := time.Now()
			if cib, err := pacemaker.CIB(ctx); err == nil {
				if err := present(cib, nodes); err != nil {
					cancel(&final{err})
				}
			}
			wait = max(time.Second, 3*time.Since(asked)) // a large CIB is not read all the time
		}
	}()
	return ctx, func() { cancel(nil) }
}

// verify makes sure that the cluster would go on as if nothing had happened.
func (r *run) verify(ctx context.Context) error {
	if err := r.calm(ctx, 30*time.Second); err != nil {
		return err
	}
	if slices.ContainsFunc(r.journal.Changes, func(c *Change) bool { return c.Unit != "" }) {
		r.journal.Released = true
		if err := errors.Join(r.journal.write(), r.units(ctx, true)); err != nil {
			return err
		}
		if err := r.calm(ctx, 30*time.Second); err != nil {
			return err
		}
	}
	return r.journal.at(verified)
}

// calm waits until the cluster would do nothing but begin monitors if the maintenance ended.
func (r *run) calm(ctx context.Context, within time.Duration) error {
	return until(ctx, within, func(ctx context.Context) error {
		if err := r.alive(); err != nil {
			return err
		}
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		if r.expect != nil && !configured(cib).Equal(r.expect) {
			return &final{ErrForeign}
		}
		unmark(cib)
		var would []pacemaker.Action
		var status *pacemaker.Status
		if err := both(
			func() (err error) { would, err = pacemaker.Simulate(ctx, cib); return err },
			func() (err error) { status, err = pacemaker.ReadStatus(ctx); return err },
		); err != nil {
			return err
		}
		var more []string
		for _, a := range would {
			if !a.Recurring() {
				more = append(more, a.String())
			}
		}
		if len(more) > 0 {
			return fmt.Errorf("the cluster would do more than begin monitors if the maintenance ended now: %s", strings.Join(more, ", "))
		}
		return atRest(ctx, status)
	})
}

// lift ends the maintenance, and looks at all once more.
func (r *run) lift(ctx context.Context) error {
	r.swap.Say("all is right: ending the maintenance")
	if err := r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }); err != nil {
		return err
	}
	err := until(ctx, time.Minute, func(ctx context.Context) error {
		if err := r.alive(); err != nil {
			return err
		}
		status, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		if err := atRest(ctx, status); err != nil {
			return err
		}
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return err
		}
		for _, c := range r.journal.Changes {
			if err := c.settled(status, cib); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.journal.at(swapped); err != nil {
		return err
	}
	for _, c := range r.journal.Changes {
		here := ""
		if len(c.Runs) > 1 {
			here = " on this node"
		}
		r.swap.Say("%s: %s on %s, %s%s before and after: not restarted", c.ID, c.To, strings.Join(slices.Sorted(maps.Keys(c.Runs)), ", "), c.Process, here)
	}
	return nil
}

// expected is what a monitor answers on a node: where the resource does not run, one of the role Stopped looks too.
func (c *Change) expected(node string) ocf.Code {
	if code, runs := c.Runs[node]; runs {
		return code
	}
	return ocf.NotRunning
}

// settled is nil if the cluster manages the resource where it ran, has not started or stopped it, and its monitors
// found it well.
func (c *Change) settled(status *pacemaker.Status, cib *pacemaker.Element) error {
	on := map[string]bool{}
	for _, i := range status.Instances(c.ID) {
		if i.Failed || i.Blocked || i.Active && !i.Managed {
			return fmt.Errorf("%s: failed %v, blocked %v, managed %v", c.ID, i.Failed, i.Blocked, i.Managed)
		}
		for _, n := range i.Nodes {
			on[n] = on[n] || i.Active
		}
	}
	monitored := map[string]bool{}
	for _, op := range pacemaker.History(cib, c.ID) {
		switch {
		case op.Agent != c.To || !op.Done:
		case op.Operation == ocf.Start || op.Operation == ocf.Stop:
			return &final{fmt.Errorf("%s: the cluster ran %s on %s (%d)", c.ID, op.Operation, op.Node, op.Code)}
		case op.Operation == ocf.Monitor && !op.Probe():
			if want := c.expected(op.Node); ocf.Code(op.Code) != want {
				return &final{fmt.Errorf("%s: its monitor says %d (%s) on %s: %s", c.ID, op.Code, ocf.Code(op.Code), op.Node, op.Reason)}
			}
			monitored[op.Node] = true
		}
	}
	for n := range c.Runs {
		if !on[n] {
			return fmt.Errorf("%s does not run on %s any more", c.ID, n)
		}
		if hasMonitor(c.New) && !monitored[n] {
			return fmt.Errorf("%s: no monitor has looked at it on %s yet", c.ID, n)
		}
	}
	return nil
}

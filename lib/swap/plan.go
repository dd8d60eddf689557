package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// checkTime is how long a monitor may take that the plan runs on this node.
const checkTime = time.Minute

// Plan says what would be done. The error is a *Refusal if there is a reason not to.
func (s *Swap) Plan(ctx context.Context) (*Plan, error) {
	p, status, refused, err := s.survey(ctx)
	if err != nil {
		return nil, err
	}
	path := map[*pacemaker.Element][]*pacemaker.Element{}
	known := map[string]bool{}
	var primitives []*pacemaker.Element
	resources := p.cib.Child("configuration", "resources")
	for prim := range resources.All("primitive") {
		known[prim.Attr("id")] = true
		path[prim] = resources.Path(prim)
		if s.wanted(prim) {
			primitives = append(primitives, prim)
		}
	}
	for _, id := range s.Only {
		if !known[id] {
			refused.add("%s: there is no primitive resource of that name", id)
		}
	}
	general := len(refused.Reasons)
	var (
		changing []*pacemaker.Element
		changes  []*Change
		calls    []func() error
	)
	for _, prim := range primitives {
		to := s.successorOf(prim)
		if to == "" {
			refused.add("%s is %s, and no agent is known to follow: name one with --to", prim.Attr("id"), pacemaker.AgentOf(prim))
			continue
		}
		if pacemaker.AgentOf(prim) == "ocf:"+Provider+":"+to {
			continue
		}
		i := len(changing)
		changing = append(changing, prim)
		changes = append(changes, nil)
		calls = append(calls, func() (err error) {
			changes[i], err = s.change(ctx, p, status, prim, path[prim], to)
			return err
		})
	}
	for i, err := range together(calls) {
		if err != nil {
			refused.add("%s: %v", changing[i].Attr("id"), err)
			continue
		}
		p.Changes = append(p.Changes, changes[i])
	}
	if len(refused.Reasons) > general && len(s.Only) == 0 && len(p.Changes) > 0 {
		var ids []string
		for _, c := range p.Changes {
			ids = append(ids, c.ID)
		}
		refused.add("the others alone can be swapped: openstack-ocf swap %s", strings.Join(ids, " "))
	}
	if err := refused.err(); err != nil {
		return p, err
	}
	if len(p.Changes) == 0 {
		return p, nil
	}
	return p, s.foresee(ctx, p)
}

// PlanUndo says what would be done to take the last swap back.
func (s *Swap) PlanUndo(ctx context.Context) (*Plan, error) {
	j, err := undoable(s.Dir)
	if err != nil {
		return nil, err
	}
	if j == nil {
		r := &Refusal{}
		cib, err := pacemaker.CIB(ctx)
		if err == nil {
			r.underWay(cib)
			err = r.err()
		}
		return &Plan{}, err
	}
	p, status, refused, err := s.survey(ctx)
	if err != nil {
		return nil, err
	}
	p.Undoes = filepath.Base(j.dir)
	resources := p.cib.Child("configuration", "resources")
	for _, was := range j.Changes {
		now := resources.Find("primitive", was.ID)
		switch {
		case len(s.Only) > 0 && !slices.Contains(s.Only, was.ID):
			refused.add("%s was swapped in the same run: what was swapped together is taken back together", was.ID)
			continue
		case now == nil:
			refused.add("%s is no longer in the cluster's configuration", was.ID)
			continue
		case pacemaker.AgentOf(now) != was.To:
			refused.add("%s is %s now, and not %s any more: somebody changed it since", was.ID, pacemaker.AgentOf(now), was.To)
			continue
		}
		c, err := s.undo(ctx, p, status, now, was)
		if err != nil {
			refused.add("%s: %v", was.ID, err)
			continue
		}
		p.Changes = append(p.Changes, c)
	}
	if err := refused.err(); err != nil {
		return p, err
	}
	return p, s.foresee(ctx, p)
}

// Conflicts are what a person has to agree to: what others changed, and is given up.
func (p *Plan) Conflicts() []string {
	var all []string
	for _, c := range p.Changes {
		for _, line := range c.Conflict {
			all = append(all, c.ID+": "+line)
		}
	}
	return all
}

// settling is how long a plan waits for a cluster that is busy.
const settling = 2 * time.Second

// survey looks at the cluster as a whole: is it at rest, and all there?
func (s *Swap) survey(ctx context.Context) (*Plan, *pacemaker.Status, *Refusal, error) {
	r := &Refusal{}
	if os.Geteuid() != 0 {
		r.add("this takes root: the services' processes have to be looked at, and the cluster's configuration changed")
		return nil, nil, nil, r
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	cib, status, busy, err := rested(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	p := &Plan{cib: cib}
	if p.Node, err = pacemaker.LocalNode(ctx); err != nil {
		return nil, nil, nil, err
	}
	r.unfit(status, busy)
	r.underWay(cib)
	if len(r.Reasons) == 0 {
		if err := r.aboutToAct(ctx, cib); err != nil {
			return nil, nil, nil, err
		}
	}
	return p, status, r, nil
}

// rested reads a cluster that is at rest; busy is what it goes on doing otherwise. A transition of a moment, such as the
// operator's last command brings, is let pass.
func rested(ctx context.Context) (cib *pacemaker.Element, status *pacemaker.Status, busy string, err error) {
	err = until(ctx, settling, func(context.Context) (err error) {
		busy = ""
		if err := both(
			func() (err error) { cib, err = pacemaker.CIB(ctx); return err },
			func() (err error) { status, err = pacemaker.ReadStatus(ctx); return err },
		); err != nil {
			return &final{err}
		}
		if busy, err = pacemaker.Busy(ctx, status); err != nil {
			return &final{err}
		}
		if busy != "" {
			return errors.New(busy)
		}
		return nil
	})
	if busy != "" {
		err = nil
	}
	return cib, status, busy, err
}

// unfit refuses a cluster in which nothing could be verified.
func (r *Refusal) unfit(status *pacemaker.Status, busy string) {
	if !status.Quorum {
		r.add("the cluster has no quorum")
	}
	if status.Maintenance {
		r.add("the cluster is in maintenance mode: nothing could be verified; end it first (pcs property set maintenance-mode=false)")
	}
	if busy != "" {
		r.add("the cluster is busy: %s; wait until it is at rest (crm_resource --wait)", busy)
	}
	for _, n := range status.Nodes {
		switch {
		case n.Guest && !n.Online: // a bundle that is stopped
		case !n.Online:
			r.add("node %s is offline: it could not be asked; bring it back, or remove it from the cluster, first", n.Name)
		case n.Maintenance:
			r.add("node %s is in maintenance: end that first", n.Name)
		}
	}
}

// aboutToAct refuses a cluster that has something to do.
func (r *Refusal) aboutToAct(ctx context.Context, cib *pacemaker.Element) error {
	would, err := pacemaker.Simulate(ctx, cib)
	if err != nil {
		return err
	}
	for i, a := range would {
		if i == 5 {
			r.add("the cluster is about to act %d times more", len(would)-i)
			break
		}
		r.add("the cluster is about to act (%s): wait until it is at rest", a)
	}
	return nil
}

// underWay refuses while the marks of a swap are in the CIB.
func (r *Refusal) underWay(cib *pacemaker.Element) {
	if !isMarked(cib) {
		return
	}
	node, _, _ := strings.Cut(owner(cib), " ")
	ends := ""
	for d := range cib.Child("configuration", "resources").All("date_expression") {
		if isMark(d) {
			ends = "; its maintenance ends by itself at " + d.Attr("end")
		}
	}
	r.add("another swap is under way on %[1]s, or was cut off there: then `openstack-ocf swap --undo` on %[1]s undoes it, or ends its maintenance from here if %[1]s is off%[2]s", cmp.Or(node, "a node"), ends)
}

// wanted tells whether a primitive is one to swap, or to tell why not.
func (s *Swap) wanted(prim *pacemaker.Element) bool {
	if len(s.Only) > 0 {
		return slices.Contains(s.Only, prim.Attr("id"))
	}
	to := s.successorOf(prim)
	if s.To != "" && to != s.To {
		return false
	}
	if agent := s.Agents[to]; s.To == "" && agent.Kind != nil && agent.Kind().Named {
		return false
	}
	return to != "" && pacemaker.AgentOf(prim) != "ocf:"+Provider+":"+to
}

// successorOf is the agent that follows, "" if none is known. One of this suite, be it the older shell agent of the
// same name, has nobody to follow it but itself.
func (s *Swap) successorOf(prim *pacemaker.Element) string {
	class, provider, typ := prim.Attr("class"), prim.Attr("provider"), prim.Attr("type")
	ours := class == "ocf" && provider == Provider
	if _, same := s.Agents[typ]; ours && same {
		return typ
	}
	if s.To != "" && len(s.Only) > 0 && !ours {
		return s.To
	}
	for _, name := range slices.Sorted(maps.Keys(s.Agents)) {
		if s.Agents[name].Kind == nil {
			continue
		}
		kind := s.Agents[name].Kind()
		switch class {
		case "lsb", "systemd", "service", "upstart":
			if kind.Owns(typ) {
				return name
			}
		case "ocf":
			if slices.Contains(kind.OCF, provider+":"+typ) {
				return name
			}
		}
	}
	return ""
}

// change plans one resource.
func (s *Swap) change(ctx context.Context, p *Plan, status *pacemaker.Status, prim *pacemaker.Element, path []*pacemaker.Element, to string) (*Change, error) {
	successor, ok := s.Agents[to]
	if !ok {
		return nil, fmt.Errorf("there is no agent %s in this version; `openstack-ocf agents` lists them", to)
	}
	agent := successor.New()
	if err := plain(p.cib, prim, path); err != nil {
		return nil, err
	}
	if hasRoles(status.Instances(prim.Attr("id"))) {
		return nil, fmt.Errorf("it is promotable: its instances replicate and have roles, which the new agent cannot take over while they run; leave it as it is, or in a quiet hour delete it and create it anew (`openstack-ocf describe %s` has the commands)", to)
	}
	c := &Change{ID: prim.Attr("id"), From: pacemaker.AgentOf(prim), To: "ocf:" + Provider + ":" + to, Old: prim.Clone()}
	if err := c.where(p, status); err != nil {
		return nil, err
	}
	if at := c.elsewhere(p.Node); at != "" {
		return nil, fmt.Errorf("it runs on %[1]s, and how it runs is to be read there: run this command on %[1]s", at)
	}
	for name := range pacemaker.Parameters(prim) {
		if !takeover.Has(agent, name) {
			return nil, fmt.Errorf("it has a parameter %s, which %s does not know", name, c.To)
		}
	}
	if err := s.runsToday(ctx, c); err != nil {
		return nil, err
	}
	if successor.Kind == nil {
		return nil, fmt.Errorf("nothing is known of how %s's process is found", to)
	}
	kind := successor.Kind()
	process, err := c.read(ctx, kind, takeover.Has(agent, "unit"))
	if err != nil {
		return nil, err
	}
	if process != nil {
		defer process.Close()
	}
	c.New = replacement(p.cib, c.Old, to, c.Params)
	if s.Defaults {
		advised(p.cib, c.New, agent)
	} else if patient(p.cib, c.New, agent, usualTimes(p.cib), c.Old.Attr("class") != "ocf") {
		c.Notes = append(c.Notes, "its operations get more time: the new agent's start returns only once the service answers, for which scripts and systemd do not wait")
	}
	c.note(ctx, agent)
	if kind.Notes != nil {
		c.Notes = append(c.Notes, kind.Notes(process)...)
	}
	return c, s.tryOut(ctx, c, successor.New)
}

// plain refuses a primitive of which not all stands in itself, or not one process is it.
func plain(cib, prim *pacemaker.Element, path []*pacemaker.Element) error {
	if prim.Attr("template") != "" {
		return fmt.Errorf("it is made from the template %s: swap that by hand, or write the resource out", prim.Attr("template"))
	}
	if err := writtenOut(cib, prim); err != nil {
		return err
	}
	for _, e := range path {
		switch {
		case e.Name == "bundle":
			return errors.New("it runs in a container (bundle): its process is none of this node's")
		case e.Name == "clone" && isTrue(e, "globally-unique"):
			return errors.New("it is a clone whose instances differ (globally-unique): which of them a process is cannot be told; swap it by hand")
		}
	}
	return nil
}

// read finds the resource's process on this node, and takes down how it runs. The caller closes it. It is nil of what is
// no process.
func (c *Change) read(ctx context.Context, kind takeover.Kind, units bool) (*daemon.Process, error) {
	process, err := c.find(ctx, kind, pacemaker.Parameters(c.Old), unitName(c.Old))
	if process == nil {
		return nil, err
	}
	how, err := takeover.Look(ctx, process, pacemaker.Parameters(c.Old))
	if err == nil {
		err = c.ownUnit(ctx, kind)
	}
	if err == nil {
		if units && c.Unit != "" && !contradicts(pacemaker.Parameters(c.Old), kind.Direct) {
			how.Unit, c.RunBy = c.Unit, byUnit
		}
		c.Params, err = kind.Parameters(ctx, how)
	}
	if err != nil {
		_ = process.Close()
		return nil, err
	}
	return process, nil
}

// contradicts tells whether what is given says how the service is run, as its unit does.
func contradicts(given map[string]string, direct []string) bool {
	return slices.ContainsFunc(direct, func(name string) bool { return given[name] != "" })
}

// find finds what the resource is on this node, and takes it down. The caller closes the process, if it is one.
func (c *Change) find(ctx context.Context, kind takeover.Kind, given map[string]string, unit string) (*daemon.Process, error) {
	if kind.Lives != nil {
		what, err := kind.Lives(ctx, given)
		c.Process, c.RunBy = what, byKernel
		return nil, err
	}
	process, err := kind.Locate(ctx, given, unit)
	if err == nil {
		c.identify(process)
	}
	return process, err
}

// identify takes down which process it is.
func (c *Change) identify(p *daemon.Process) {
	c.PID, c.Started, c.Process, c.Unit, c.RunBy = p.PID, p.StartTime, p.String(), takeover.UnitOf(p.PID), byAgent
}

// ownUnit refuses a process in the unit of another service.
func (c *Change) ownUnit(ctx context.Context, kind takeover.Kind) error {
	named := unitName(c.Old)
	if c.Unit == "" || c.Unit == named || kind.Owns(c.Unit) {
		return nil
	}
	props, err := systemd.Show(ctx, cmp.Or(named, c.Unit), "Id")
	if err != nil {
		return err
	}
	if named == "" || props["Id"] != c.Unit {
		return fmt.Errorf("%s lives in the unit %s, which is not its own: whoever stops that unit stops it too; restart the resource first, in a quiet hour (pcs resource restart %s)", c.Process, c.Unit, c.ID)
	}
	return nil
}

// writtenOut refuses a primitive of which not all stands in itself, for all nodes alike.
func writtenOut(cib, prim *pacemaker.Element) error {
	refs := map[string]bool{}
	cib.Child("configuration").Any(func(e *pacemaker.Element) bool { refs[e.Attr("id-ref")] = true; return false })
	for _, set := range prim.Children {
		switch {
		case set.Name != "instance_attributes" && set.Name != "operations":
			continue
		case set.Attr("id") != "" && refs[set.Attr("id")]:
			return fmt.Errorf("its %s are those of another resource too (id-ref=%q there): write them out there first", set.Name, set.Attr("id"))
		case set.Attr("id-ref") != "":
			return fmt.Errorf("its %s are those of another resource (id-ref=%q): write them out first", set.Name, set.Attr("id-ref"))
		case set.Name == "instance_attributes" && set.Child("rule") != nil:
			return fmt.Errorf("a rule decides when its parameters %s apply, so that they may differ from node to node: swap it by hand", set.Attr("id"))
		}
		for _, e := range set.Children {
			if ref := e.Attr("id-ref"); ref != "" {
				what := map[string]string{"op": "operation", "nvpair": "parameter"}[e.Name]
				return fmt.Errorf("its %s %s is that of another resource (id-ref): write it out first", what, ref)
			}
			if e.Name == "op" && refs[e.Attr("id")] {
				return fmt.Errorf("its operation %s is that of another resource too (id-ref there): write it out there first", e.Attr("id"))
			}
		}
	}
	return nil
}

// isTrue tells whether an element has a meta attribute that is true.
func isTrue(e *pacemaker.Element, name string) bool {
	for _, set := range e.Children {
		for nv := range set.All("nvpair") {
			if on, _ := ocf.ParseBool(nv.Attr("value")); set.Name == "meta_attributes" && nv.Attr("name") == name && on {
				return true
			}
		}
	}
	return false
}

// hasRoles tells whether instances are promoted, or could be, however the configuration says that.
func hasRoles(instances []pacemaker.Resource) bool {
	return slices.ContainsFunc(instances, func(i pacemaker.Resource) bool {
		return slices.Contains([]string{"Promoted", "Unpromoted", "Master", "Slave"}, i.Role)
	})
}

// undo plans to take one change back.
func (s *Swap) undo(ctx context.Context, p *Plan, status *pacemaker.Status, now *pacemaker.Element, was *Change) (*Change, error) {
	c := &Change{ID: was.ID, From: was.To, To: was.From, Old: now.Clone()}
	c.New, c.Conflict = pacemaker.TakeBack(was.Old, was.New, now, nil)
	if !now.Equal(was.New) {
		c.Notes = append(c.Notes, "it was changed since it was swapped: what was changed stays, and only what the swap did is taken back")
	}
	if err := c.where(p, status); err != nil {
		return nil, err
	}
	if at := c.elsewhere(p.Node); at != "" {
		return nil, fmt.Errorf("it runs on %[1]s now: copy %[2]s to %[1]s, and run this command there", at, filepath.Join(s.Dir, p.Undoes))
	}
	if err := s.runsToday(ctx, c); err != nil {
		return nil, err
	}
	agent := s.Agents[strings.TrimPrefix(was.To, "ocf:"+Provider+":")]
	if agent.Kind == nil {
		return nil, fmt.Errorf("there is no agent %s in this version that takes services over", was.To)
	}
	process, err := c.find(ctx, agent.Kind(), pacemaker.Parameters(now), unitName(was.Old))
	if err != nil {
		return nil, err
	}
	if process != nil {
		defer process.Close()
	}
	if c.Unit != "" && unitName(was.Old) != "" {
		c.RunBy = byUnit
	}
	if was.Unit != "" && c.Unit != was.Unit {
		return nil, fmt.Errorf("%s was restarted since and does not run in the unit %s any more, so that %s would not know it: that takes a restart", c.Process, was.Unit, was.From)
	}
	return c, nil
}

// where takes down where the resource runs, and refuses what is not well.
func (c *Change) where(p *Plan, status *pacemaker.Status) error {
	instances := status.Instances(c.ID)
	c.Runs = map[string]ocf.Code{}
	for _, i := range instances {
		switch {
		case i.Failed:
			return errors.New("it has failed: repair it, and clean it up first")
		case i.Blocked:
			return errors.New("it is blocked: repair it, and clean it up first")
		case !i.Managed:
			return errors.New("the cluster does not manage it now (is-managed, maintenance): end that first")
		case i.Role == "Starting" || i.Role == "Stopping":
			return fmt.Errorf("it is %s", strings.ToLower(i.Role))
		}
		if !i.Active {
			continue
		}
		for _, n := range i.Nodes {
			c.Runs[n] = ocf.OK
			if i.Role == "Promoted" || i.Role == "Master" {
				c.Runs[n] = ocf.RunningPromoted
			}
		}
	}
	for _, f := range status.Failures {
		if f.Resource == c.ID {
			return fmt.Errorf("it has failed on %s (%s: %s): repair it if need be, and clean it up first (pcs resource cleanup %s)", f.Node, f.Operation, f.Reason, c.ID)
		}
	}
	if len(c.Runs) == 0 {
		return errors.New("it does not run: start it first, for how it runs is what the new agent's parameters come from")
	}
	asked := map[string]bool{}
	for _, op := range pacemaker.History(p.cib, c.ID) {
		// A node that was removed may have left its history.
		if !slices.ContainsFunc(status.Nodes, func(n pacemaker.Node) bool { return n.Name == op.Node }) {
			continue
		}
		asked[op.Node] = true
		if op.Probe() && op.Done && !slices.Contains([]int{0, 7, 8, 190, 191}, op.Code) {
			return fmt.Errorf("%s answered %d on %s (%s) when it was asked whether it runs there, which is neither yes nor no: after a rollback it would be taken for failed", op.Agent, op.Code, op.Node, op.Reason)
		}
	}
	c.Asked = slices.Sorted(maps.Keys(asked))
	return nil
}

// elsewhere is a node where it runs if it does not run on this one, else "".
func (c *Change) elsewhere(node string) string {
	if _, here := c.Runs[node]; here {
		return ""
	}
	return slices.Min(slices.Collect(maps.Keys(c.Runs)))
}

// runsToday asks the agent of today, on this node.
func (s *Swap) runsToday(ctx context.Context, c *Change) error {
	if c.Old.Attr("class") == "systemd" { // which crm_resource cannot check
		unit := unitName(c.Old)
		props, err := systemd.Show(ctx, unit, "ActiveState")
		if err == nil && props["ActiveState"] != "active" {
			err = fmt.Errorf("systemd says that %s is %s although it runs: it could not be gone back to", unit, props["ActiveState"])
		}
		return err
	}
	code, err := pacemaker.Check(ctx, c.ID, checkTime)
	if err != nil {
		return err
	}
	if ocf.Code(code) != ocf.OK && ocf.Code(code) != ocf.RunningPromoted {
		return fmt.Errorf("%s says %d (%s) of it here although it runs: it could not be gone back to", c.From, code, ocf.Code(code))
	}
	return nil
}

// unitName is the unit of a primitive of class systemd.
func unitName(prim *pacemaker.Element) string {
	if prim.Attr("class") != "systemd" && prim.Attr("class") != "service" && prim.Attr("class") != "lsb" {
		return ""
	}
	return strings.TrimSuffix(prim.Attr("type"), ".service") + ".service"
}

// tryOut has the new agent look at the parameters and at the service, on this node, as its first probe will.
func (s *Swap) tryOut(ctx context.Context, c *Change, newAgent func() ocf.Agent) error {
	running := slices.Collect(maps.Values(c.Runs))
	for _, as := range []struct {
		action, env string
		ok          []ocf.Code
	}{
		{ocf.ValidateAll, "OCF_CHECK_LEVEL=10", []ocf.Code{ocf.OK}}, // this node too: its programs and their versions
		{ocf.Monitor, "OCF_RESKEY_CRM_meta_interval=0", append(running, ocf.OK)},
	} {
		if said := ocf.Try(ctx, newAgent(), as.action, c.ID, pacemaker.Parameters(c.New), checkTime, as.env); !slices.Contains(as.ok, said.Code) {
			return fmt.Errorf("%s says to %s on this node: %d (%s): %s", c.To, as.action, int(said.Code), said.Code, said.Reason)
		}
	}
	return nil
}

// note says what an operator should know of the change.
func (c *Change) note(ctx context.Context, agent ocf.Agent) {
	if len(c.Params) == 0 && c.RunBy != byKernel {
		c.add("it runs as the new agent expects without any parameter")
	}
	c.noteUnit(ctx)
	for _, less := range Operations(c.New, agent) {
		c.add("%s (--defaults changes it)", less)
	}
}

// Operations says in which way the operations of a primitive are less than its agent advises.
func Operations(prim *pacemaker.Element, agent ocf.Agent) (less []string) {
	for op := range prim.All("op") {
		depth := 0
		for nv := range op.All("nvpair") {
			if nv.Attr("name") == "OCF_CHECK_LEVEL" {
				depth, _ = strconv.Atoi(nv.Attr("value"))
			}
		}
		for _, act := range agent.Actions {
			if act.Depth == depth && act.Role == "" && act.Name == op.Attr("name") {
				less = append(less, operation(op, act)...)
			}
		}
	}
	for _, act := range agent.Actions {
		if act.Name == ocf.Monitor && act.Depth == 0 && act.Role == "" && !hasMonitor(prim) {
			less = append(less, "it has no recurring monitor: nobody would notice that the service died")
		}
	}
	return less
}

func (c *Change) add(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (c *Change) noteUnit(ctx context.Context) {
	if c.Unit == "" {
		return
	}
	if c.RunBy == byAgent {
		c.add("its process stays in %s until it first ends, for its parameters say how it is run, and so does a unit; what the cluster starts then runs under Pacemaker", c.Unit)
	}
	switch props, err := systemd.Show(ctx, c.Unit, "UnitFileState"); {
	case err != nil:
	case props["UnitFileState"] == "enabled":
		c.add("%[1]s is enabled, so that at a boot systemd starts it behind the cluster's back: systemctl disable %[1]s, on all nodes", c.Unit)
	case props["UnitFileState"] == "generated":
		c.add("%s is made of an init script, which systemd 260 and later no longer does: give it a unit of its own before such an upgrade", c.Unit)
	}
}

// operation tells of one that has less time, or looks less often, than its action advises.
func operation(op *pacemaker.Element, act ocf.Action) (less []string) {
	name := act.Name
	if act.Depth > 0 {
		name = fmt.Sprintf("%s of level %d", name, act.Depth)
	}
	if t, err := ocf.ParseDuration(op.Attr("timeout")); err == nil && t < act.Timeout && act.Name != ocf.ValidateAll {
		less = append(less, fmt.Sprintf("its %s may take %s, and the agent advises %s", name, t, act.Timeout))
	}
	every, err := ocf.ParseDuration(op.Attr("interval"))
	if err == nil && every > 2*act.Interval && act.Name == ocf.Monitor && op.Attr("role") == "" {
		less = append(less, fmt.Sprintf("its %s looks every %s, and the agent advises every %s", name, every, act.Interval))
	}
	return less
}

// foresee has the cluster's own scheduler say what it will do between the replacement and the verification, while
// nothing is known of where the resources run: it must only ask. What it would stop then, because it depends on them,
// is put into maintenance too.
func (s *Swap) foresee(ctx context.Context, p *Plan) error {
	ids := map[string]bool{}
	// Where none of the resources may ever be, such as with resource-discovery=never, the new agents need not be.
	p.Nodes = nil
	for _, c := range p.Changes {
		ids[c.ID] = true
		p.Nodes = append(p.Nodes, c.Asked...)
	}
	slices.Sort(p.Nodes)
	p.Nodes = slices.Compact(p.Nodes)
	for {
		cib := p.cib.Clone()
		mark(cib, marked(cib, p.Changes, p.Still, s.Whole), time.Now().Add(s.Hold()))
		for _, c := range p.Changes {
			put(cib, c.New)
		}
		cib.Child("status").Remove(func(e *pacemaker.Element) bool {
			base, _, _ := strings.Cut(e.Attr("id"), ":")
			return e.Name == "lrm_resource" && ids[base]
		})
		would, err := pacemaker.Simulate(ctx, cib)
		if err != nil {
			return err
		}
		r := &Refusal{}
		more := false
		for _, a := range would {
			switch {
			case a.Probe() && ids[a.Resource]:
			case s.Whole || a.Resource == "" || ids[a.Resource] || slices.Contains(p.Still, a.Resource):
				// A resource that is left alone already has its monitors cancelled, which is no matter.
				if a.Operation != "cancel" {
					r.add("the cluster would do more than ask the nodes: %s", a)
				}
			case resource(cib, a.Resource) == nil:
				r.add("the cluster would do more than ask the nodes: %s", a)
			case !slices.Contains(p.Still, a.Resource):
				p.Still, more = append(p.Still, a.Resource), true
			}
		}
		if !more || len(r.Reasons) > 0 {
			return r.err()
		}
	}
}

func resource(cib *pacemaker.Element, id string) *pacemaker.Element {
	return cib.Child("configuration", "resources").Find("primitive", id)
}

// hasMonitor tells whether a primitive has a monitor that recurs.
func hasMonitor(p *pacemaker.Element) bool {
	for op := range p.All("op") {
		if d, err := ocf.ParseDuration(op.Attr("interval")); op.Attr("name") == ocf.Monitor && err == nil && d > 0 && op.Attr("enabled") != "false" && (op.Attr("role") == "" || op.Attr("role") == "Started") {
			return true
		}
	}
	return false
}

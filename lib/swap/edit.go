package swap

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/diff"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// prefix begins the ids of all that the swap puts into the CIB for a while.
const prefix = "openstack-ocf-swap-"

func isMark(e *pacemaker.Element) bool { return strings.HasPrefix(e.Attr("id"), prefix) }

// unmark removes all that the swap put there for a while.
func unmark(cib *pacemaker.Element) { cib.Child("configuration").Remove(isMark) }

// isMarked tells whether anything of a swap is in the CIB.
func isMarked(cib *pacemaker.Element) bool { return cib.Child("configuration").Any(isMark) }

const ownerID = prefix + "owner"

// own takes down in the CIB whose swap the marks belong to, as long as there are any.
func own(cib *pacemaker.Element, who string) {
	config := cib.Child("configuration")
	config.Remove(func(e *pacemaker.Element) bool { return e.Attr("id") == ownerID })
	if isMarked(cib) {
		config.Child("crm_config").Add(pacemaker.El("cluster_property_set", "id", ownerID).Add(
			pacemaker.El("nvpair", "id", ownerID+"-is", "name", ownerID, "value", who)))
	}
}

// owner is what own took down: the node and the journal's name; "" without a swap.
func owner(cib *pacemaker.Element) string {
	for nv := range cib.Child("configuration").Find("nvpair", ownerID+"-is").All("nvpair") {
		return nv.Attr("value")
	}
	return ""
}

// mark has the cluster leave resources alone until then at most: the maintenance ends by itself, whatever becomes of
// this program and this node (Pacemaker Explained, "Rules").
func mark(cib *pacemaker.Element, ids []string, until time.Time) {
	end := until.UTC().Format(markTime)
	for p := range cib.Child("configuration", "resources").All("primitive") {
		id := p.Attr("id")
		if !slices.Contains(ids, id) || strings.HasPrefix(id, prefix) {
			continue
		}
		p.Remove(isMark)
		of := prefix + "of-" + id // the resource may be called owner, or scout
		set := pacemaker.El("meta_attributes", "id", of).Add(
			pacemaker.El("rule", "id", of+"-rule", "score", "1").Add( // a score, for older schemas want one
				pacemaker.El("date_expression", "id", of+"-until", "operation", "lt", "end", end)),
			pacemaker.El("nvpair", "id", of+"-maintenance", "name", "maintenance", "value", "true"))
		p.Children = slices.Insert(p.Children, 0, set)
	}
}

// The resources of [ScoutAgent]: one that is only ever probed, and those that are started.
const (
	scoutID  = prefix + "scout"
	unitsID  = prefix + "units"
	secondID = prefix + "second"
)

func scout(id string, params map[string]string) *pacemaker.Element {
	set := pacemaker.El("instance_attributes", "id", id+"-params")
	for _, name := range slices.Sorted(maps.Keys(params)) {
		set.Add(pacemaker.El("nvpair", "id", id+"-"+name, "name", name, "value", params[name]))
	}
	return pacemaker.El("primitive", "id", id, "class", "ocf", "provider", Provider, "type", ScoutAgent).Add(set)
}

// addScout adds a resource that asks all nodes for the agents.
func addScout(cib *pacemaker.Element, agents []string, version string) {
	p := scout(scoutID, map[string]string{"version": version, "agents": strings.Join(agents, " ")})
	p.Add(pacemaker.El("meta_attributes", "id", scoutID+"-meta").Add(
		pacemaker.El("nvpair", "id", scoutID+"-maintenance", "name", "maintenance", "value", "true")))
	cib.Child("configuration", "resources").Add(p)
}

// addStarted adds scouts that are started on these nodes and no others, also where nothing may run that no constraint
// allows (symmetric-cluster=false).
func addStarted(cib *pacemaker.Element, id string, nodes []string, params map[string]string) {
	config := cib.Child("configuration")
	config.Child("resources").Add(pacemaker.El("clone", "id", id+"-clone").Add(scout(id, params)))
	at := 0
	on := func(node, score string) {
		config.Child("constraints").Add(pacemaker.El("rsc_location", "id", fmt.Sprintf("%s-on-%d", id, at), "rsc", id+"-clone", "node", node, "score", score))
		at++
	}
	for _, n := range nodes {
		on(n, "0")
	}
	for n := range config.Child("nodes").All("node") {
		if name := n.Attr("uname"); name != "" && !slices.Contains(nodes, name) {
			on(name, "-INFINITY")
		}
	}
}

// endOf is when the maintenance of a swap ends, the zero time if there is none.
func endOf(cib *pacemaker.Element) (end time.Time) {
	for d := range cib.Child("configuration", "resources").All("date_expression") {
		if isMark(d) {
			end, _ = time.Parse(markTime, d.Attr("end"))
		}
	}
	return end
}

const markTime = "2006-01-02 15:04:05Z"

// replacement is the primitive with another agent, and more parameters. All else stays.
func replacement(cib, old *pacemaker.Element, agent string, more map[string]string) *pacemaker.Element {
	p := old.Clone()
	p.Set("class", "ocf")
	p.Set("provider", Provider)
	p.Set("type", agent)
	if len(more) == 0 {
		return p
	}
	sets := pacemaker.AttributeSets(p)
	if len(sets) == 0 {
		sets = append(sets, pacemaker.El("instance_attributes", "id", freeID(cib, p, p.Attr("id")+"-instance_attributes")))
		p.Children = slices.Insert(p.Children, 0, sets[0])
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		sets[0].Add(pacemaker.El("nvpair", "id", freeID(cib, p, sets[0].Attr("id")+"-"+name), "name", name, "value", more[name]))
	}
	return p
}

// freeID is an id that nothing has in the configuration, nor in the primitive that is being made: the one that is
// wanted, or one like it.
func freeID(cib, p *pacemaker.Element, want string) string {
	taken := map[string]bool{}
	for _, e := range []*pacemaker.Element{cib.Child("configuration"), p} {
		e.Any(func(e *pacemaker.Element) bool { taken[e.Attr("id")] = true; return false })
	}
	id := want
	for n := 1; taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", want, n)
	}
	return id
}

// advised gives the primitive the operations that the agent advises, at level 0, in place of its own start, stop and
// monitor.
func advised(cib, p *pacemaker.Element, a ocf.Agent) {
	ops := p.Child("operations")
	if ops == nil {
		ops = pacemaker.El("operations")
		p.Add(ops)
	}
	ops.Children = slices.DeleteFunc(ops.Children, func(op *pacemaker.Element) bool { return advises(a, op.Attr("name")) })
	for _, act := range a.Actions {
		if act.Depth > 0 || act.Role != "" || !advises(a, act.Name) {
			continue
		}
		interval := seconds(act.Interval)
		id := freeID(cib, p, fmt.Sprintf("%s-%s-interval-%s", p.Attr("id"), act.Name, interval))
		ops.Add(pacemaker.El("op", "id", id, "name", act.Name, "interval", interval, "timeout", seconds(act.Timeout)))
	}
}

// times is how long operations may take that do not say it: always, and longest where a rule applies.
type times struct{ always, longest time.Duration }

// usualTimes are those of op_defaults, or Pacemaker's own.
func usualTimes(cib *pacemaker.Element) times {
	t := times{always: 20 * time.Second}
	given := false
	for set := range cib.Child("configuration", "op_defaults").All("meta_attributes") {
		for nv := range set.All("nvpair") {
			d, err := ocf.ParseDuration(nv.Attr("value"))
			if nv.Attr("name") != "timeout" || err != nil {
				continue
			}
			t.longest = max(t.longest, d)
			if set.Child("rule") == nil && !given {
				t.always, given = d, true
			}
		}
	}
	return t
}

// patient gives start and stop the time that the agent advises where the primitive does not say how long they may take,
// and if short also start, stop and monitor where they have less.
func patient(cib, p *pacemaker.Element, a ocf.Agent, usual times, short bool) (changed bool) {
	ops := p.Child("operations")
	if ops == nil {
		ops = pacemaker.El("operations")
		defer func() {
			if changed {
				p.Add(ops)
			}
		}()
	}
	for _, act := range a.Actions {
		if act.Depth > 0 || act.Role != "" || !advises(a, act.Name) {
			continue
		}
		has := act.Name == ocf.Monitor
		for op := range ops.All("op") {
			if op.Attr("name") != act.Name {
				continue
			}
			has = true
			t, advice := usual.always, max(act.Timeout, usual.longest)
			if given := op.Attr("timeout"); given != "" {
				var err error
				if t, err = ocf.ParseDuration(given); err != nil {
					continue
				}
				advice = act.Timeout
			}
			if short && t < act.Timeout {
				op.Set("timeout", seconds(advice))
				changed = true
			}
		}
		if !has && usual.always < act.Timeout {
			ops.Add(pacemaker.El("op", "id", freeID(cib, p, fmt.Sprintf("%s-%s-interval-0s", p.Attr("id"), act.Name)), "name", act.Name, "interval", "0s", "timeout", seconds(max(act.Timeout, usual.longest))))
			changed = true
		}
	}
	return changed
}

func advises(a ocf.Agent, action string) bool {
	return slices.Contains([]string{ocf.Start, ocf.Stop, ocf.Monitor}, action) &&
		slices.ContainsFunc(a.Actions, func(x ocf.Action) bool { return x.Name == action })
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d/time.Second)) + "s" }

// marked are the resources to put into maintenance: those that change, those that depend on them, or all.
func marked(cib *pacemaker.Element, changes []*Change, still []string, whole bool) []string {
	var ids []string
	for p := range cib.Child("configuration", "resources").All("primitive") {
		id := p.Attr("id")
		if whole || slices.Contains(still, id) || slices.ContainsFunc(changes, func(c *Change) bool { return c.ID == id }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// put replaces the primitive of the same id; the mark that it has stays.
func put(cib *pacemaker.Element, p *pacemaker.Element) {
	now := resource(cib, p.Attr("id"))
	if now == nil {
		return
	}
	var marks []*pacemaker.Element
	for _, c := range now.Children {
		if isMark(c) {
			marks = append(marks, c)
		}
	}
	*now = *p.Clone()
	now.Remove(isMark)
	now.Children = append(marks, now.Children...)
}

// Diff shows what becomes of a primitive, a line an element: with "-" what goes, with "+" what comes.
func Diff(old, new *pacemaker.Element) []string {
	return diff.Lines(old.String(), new.String())
}

package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/placement"
)

// Change is one difference between the plan and a cluster, and how to get rid of it.
type Change struct {
	What  string   // "create db", "update db"
	Diff  []string // lines with - and +
	Steps []Step
}

// Difference is all that a cluster's configuration lacks.
type Difference struct {
	Changes []Change
	// Refused are differences that no command of pcs can end without harm, and what to do.
	Refused []string
	// Left is what the file does not know: resources, and after its resource's name a parameter. It stays.
	Left []string
}

// Compare says what makes live, a CIB, what was built. Of live, only what the file describes is looked at: whole
// resources, but single properties.
func (b *Built) Compare(live *pacemaker.Element) *Difference {
	c := &comparer{want: b.CIB, live: live, diff: &Difference{}}
	planned := map[string]bool{}
	for _, s := range b.Steps {
		switch s.kind {
		case property:
			c.fencing(s)
		case defaults:
			c.single(s, "rsc_defaults")
		case resource:
			planned[s.Makes] = true
			c.resource(s)
		case constraint:
			c.constraint(s)
		}
	}
	for g := range b.CIB.All("group") {
		c.order(g)
	}
	for p := range live.Child("configuration", "resources").All("primitive") {
		if !planned[p.Attr("id")] {
			c.diff.Left = append(c.diff.Left, p.Attr("id"))
		}
	}
	return c.diff
}

type comparer struct {
	want, live *pacemaker.Element
	diff       *Difference
}

func (c *comparer) change(what string, diff []string, steps ...Step) {
	c.diff.Changes = append(c.diff.Changes, Change{what, diff, steps})
}

func (c *comparer) refuse(format string, args ...any) {
	c.diff.Refused = append(c.diff.Refused, fmt.Sprintf(format, args...))
}

// fencing compares whether nodes are fenced, by whatever name and spelling that was said.
func (c *comparer) fencing(s Step) {
	want, _, _ := pacemaker.Fencing(c.want) // made here
	have, option, err := pacemaker.Fencing(c.live)
	switch {
	case err != nil:
		c.refuse("it cannot be told whether the cluster fences nodes: %v", err)
	case want != have:
		option = cmp.Or(option, s.Makes)
		c.change("set "+option, changed(option, fmt.Sprint(have), fmt.Sprint(want)), setProperty(option, fmt.Sprint(want)))
	}
}

// single compares one default; of one that yields, any value is as good.
func (c *comparer) single(s Step, section string) {
	want, have := nvpairs(c.want.Child("configuration", section))[s.Makes], nvpairs(c.live.Child("configuration", section))[s.Makes]
	if want != have && (have == "" || !s.yield) {
		c.change("set "+s.Makes, changed(s.Makes, have, want), s)
	}
}

// nvpairs are the names and values at or below an element.
func nvpairs(e *pacemaker.Element) map[string]string {
	m := map[string]string{}
	for nv := range e.All("nvpair") {
		m[nv.Attr("name")] = nv.Attr("value")
	}
	return m
}

func changed(name, from, to string) []string {
	var lines []string
	if from != "" {
		lines = append(lines, "- "+shown(name+"="+from))
	}
	if to != "" {
		lines = append(lines, "+ "+shown(name+"="+to))
	}
	return lines
}

// place is the group or clone that a primitive is in.
func place(cib, primitive *pacemaker.Element) *pacemaker.Element {
	path := cib.Child("configuration", "resources").Path(primitive)
	if len(path) < 3 {
		return nil
	}
	return path[len(path)-2]
}

func describe(place *pacemaker.Element) string {
	if place == nil {
		return "by itself"
	}
	return "in the " + place.Name + " " + place.Attr("id")
}

func (c *comparer) resource(s Step) {
	want, have := c.want.Find("primitive", s.Makes), c.live.Find("primitive", s.Makes)
	if have == nil {
		c.change("create "+s.Makes, nil, c.positioned(s, want))
		return
	}
	switch w, h := pacemaker.AgentOf(want), pacemaker.AgentOf(have); {
	case w != h && h == s.made.usual: // what was made when that was the default stays as it is
		c.diff.Left = append(c.diff.Left, s.Makes+" "+h)
	case w != h:
		c.refuse("%s is %s in the cluster, and %s in the file: `openstack-ocf swap --to %s %s` changes that without a restart", s.Makes, h, w, w, s.Makes)
		return
	}
	in, was := place(c.want, want), place(c.live, have)
	if describe(in) != describe(was) {
		c.refuse("%s is %s in the cluster, and is to be %s: moving it stops it; do that by hand (pcs resource group, clone, unclone) when it may stop", s.Makes, describe(was), describe(in))
		return
	}
	tool := "resource"
	if want.Attr("class") == "stonith" {
		tool = "stonith"
	}
	lines, steps := c.settings("primitive", have, "instance_attributes", s.made.parameters, tool, "update")
	if in != nil && in.Name == "clone" {
		diff, meta := c.settings("clone", was, "meta_attributes", s.made.clone, "resource", "meta")
		lines, steps = append(lines, diff...), append(steps, meta...)
	}
	diff, ops := operationSteps(s.made, want, have)
	lines, steps = append(lines, diff...), append(steps, ops...)
	if len(steps) > 0 {
		c.change("update "+s.Makes, lines, steps...)
	}
}

// settings compares the attributes that the file has; what is there besides was put there by somebody else, and stays.
func (c *comparer) settings(element string, have *pacemaker.Element, kind string, want []placement.Setting, command ...string) (lines []string, steps []Step) {
	id := have.Attr("id")
	sets := slices.DeleteFunc(slices.Clone(have.Children), func(e *pacemaker.Element) bool { return e.Name != kind })
	values := map[string]string{}
	plain := len(sets) < 2
	for _, set := range sets {
		plain = plain && set.Attr("id-ref") == ""
		for _, nv := range set.Children {
			plain = plain && nv.Name == "nvpair" && nv.Attr("id-ref") == ""
			values[nv.Attr("name")] = nv.Attr("value")
		}
	}
	var differ []placement.Setting
	for _, s := range want {
		if values[s.Name] != s.Value {
			lines = append(lines, changed(s.Name, values[s.Name], s.Value)...)
			differ = append(differ, s)
		}
		delete(values, s.Name)
	}
	if others := slices.Sorted(maps.Keys(values)); len(others) > 0 {
		c.diff.Left = append(c.diff.Left, id+" "+strings.Join(others, " "))
	}
	if len(differ) == 0 {
		return nil, nil
	}
	if !plain {
		c.refuse("%s has more than one set of %s, or one with rules or references: set %s there by hand", id, strings.ReplaceAll(kind, "_", " "), strings.Join(assignments(differ), " "))
		return nil, nil
	}
	edit := func(e *editor) error {
		el := e.cib.Find(element, id)
		set := el.Child(kind)
		if set == nil {
			set = pacemaker.El(kind, "id", e.free(id+"-"+kind))
			el.Add(set)
		}
		for _, s := range differ {
			e.set(set, s.Name, s.Value)
		}
		return nil
	}
	return lines, []Step{{Args: slices.Concat(command, []string{id}, assignments(differ)), edit: edit}}
}

// operationSteps replace operations that differ. Of those of a name that the file has, it has all; others are the
// operator's, but for a monitor that is missing.
func operationSteps(want *primitive, made, have *pacemaker.Element) (lines []string, steps []Step) {
	had, elements := operationsOf(have)
	remove := func(i int) {
		id := elements[i].Attr("id")
		lines = append(lines, "- op "+had[i].String())
		steps = append(steps, Step{Args: []string{"resource", "op", "remove", id}, edit: func(e *editor) error {
			e.cib.Find("primitive", want.id).Child("operations").Remove(func(el *pacemaker.Element) bool { return el.Name == "op" && el.Attr("id") == id })
			delete(e.ids, id)
			return nil
		}})
	}
	add := func(op operation) {
		lines = append(lines, "+ op "+op.String())
		steps = append(steps, Step{Args: append([]string{"resource", "op", "add", want.id}, op.args()...), edit: func(e *editor) error {
			e.addOperation(e.cib.Find("primitive", want.id), op)
			return nil
		}})
	}
	var adds []operation
	kept := make([]bool, len(had))
	names := map[string]bool{}
	for _, op := range want.operations {
		names[op["name"]] = true
		i := slices.IndexFunc(had, op.same)
		if i >= 0 && op.within(had[i]) {
			kept[i] = true
			continue
		}
		if i >= 0 { // with what the file does not know of it
			op = maps.Clone(op)
			for name, value := range had[i] {
				op[name] = cmp.Or(op[name], value)
			}
		}
		adds = append(adds, op)
	}
	for i, op := range had {
		if names[op["name"]] && !kept[i] {
			remove(i)
		}
	}
	if isMonitor := func(op operation) bool { return op["name"] == "monitor" }; !slices.ContainsFunc(had, isMonitor) && !names["monitor"] {
		all, _ := operationsOf(made)
		adds = append(adds, slices.DeleteFunc(all, func(op operation) bool { return !isMonitor(op) })...)
	}
	for _, op := range adds {
		add(op)
	}
	return lines, steps
}

// positioned is the step that creates a resource, at its place in a group that has others already.
func (c *comparer) positioned(s Step, want *pacemaker.Element) Step {
	in := place(c.want, want)
	if in == nil || in.Name != "group" {
		return s
	}
	group := c.live.Find("group", in.Attr("id"))
	if group == nil {
		return s
	}
	i := slices.Index(in.Children, want)
	there := func(e *pacemaker.Element) bool { return group.Find("primitive", e.Attr("id")) != nil }
	if next := slices.IndexFunc(in.Children[i+1:], there); next >= 0 {
		p := *s.made
		p.before = in.Children[i+1+next].Attr("id")
		return create(&p)
	}
	return s
}

// order refuses a group whose members stand in another order.
func (c *comparer) order(want *pacemaker.Element) {
	have := c.live.Find("group", want.Attr("id"))
	if have == nil {
		return
	}
	var is, shall []string
	for _, m := range have.Children {
		if m.Name == "primitive" && want.Find("primitive", m.Attr("id")) != nil {
			is = append(is, m.Attr("id"))
		}
	}
	for _, m := range want.Children {
		if m.Name == "primitive" && slices.Contains(is, m.Attr("id")) {
			shall = append(shall, m.Attr("id"))
		}
	}
	if !slices.Equal(is, shall) {
		c.refuse("the group %s has the order %s, and is to have %s: changing it restarts services; do that by hand (pcs resource group add %s ID --after OTHER) when they may stop",
			want.Attr("id"), strings.Join(is, ", "), strings.Join(shall, ", "), want.Attr("id"))
	}
}

// constraint compares the one that a step makes, whatever its id.
func (c *comparer) constraint(s Step) {
	for have := range c.live.Child("configuration", "constraints").All(s.link.Name) {
		if constraintText(have) == constraintText(s.link) {
			return
		}
	}
	c.change("create a constraint", []string{"+ " + strings.Join(s.Args[1:], " ")}, s)
}

func constraintText(e *pacemaker.Element) string {
	var attrs []string
	for _, a := range e.Attrs {
		started := strings.HasSuffix(a.Name, "role") && a.Value == "Started" // what is without it, too
		if a.Name != "id" && !started {
			attrs = append(attrs, a.Name+"="+newRole(a.Value))
		}
	}
	slices.Sort(attrs)
	return strings.Join(attrs, " ")
}

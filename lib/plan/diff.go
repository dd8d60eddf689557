package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
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
	// Left are resources that the file does not know. They stay.
	Left []string
}

// Compare says what makes live, a CIB, what was built. Of live, only what the file describes is looked at: whole
// resources, but single properties.
func (b *Built) Compare(live *pacemaker.Element) *Difference {
	c := &comparer{want: b.CIB, live: live, diff: &Difference{}}
	planned := map[string]bool{}
	for i, s := range b.Steps {
		switch s.kind {
		case property:
			c.fencing(s)
		case defaults:
			c.single(s, "rsc_defaults")
		case resource:
			planned[s.Makes] = true
			c.resource(s)
		case constraint:
			c.constraints(s, b.made[i])
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
		s.Args = []string{"property", "set", fmt.Sprintf("%s=%v", option, want)}
		c.change("set "+option, changed(option, fmt.Sprint(have), fmt.Sprint(want)), s)
	}
}

// single compares one default.
func (c *comparer) single(s Step, section string) {
	want, have := nvpairs(c.want.Child("configuration", section))[s.Makes], nvpairs(c.live.Child("configuration", section))[s.Makes]
	if want != have {
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
		lines = append(lines, "- "+name+"="+from)
	}
	if to != "" {
		lines = append(lines, "+ "+name+"="+to)
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
	if w, h := pacemaker.AgentOf(want), pacemaker.AgentOf(have); w != h {
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
	lines, args := settings(nvpairs(want.Child("instance_attributes")), nvpairs(have.Child("instance_attributes")))
	var steps []Step
	if len(args) > 0 {
		steps = append(steps, Step{Args: append([]string{tool, "update", s.Makes}, args...)})
	}
	if in != nil && in.Name == "clone" {
		diff, args := settings(nvpairs(in.Child("meta_attributes")), nvpairs(was.Child("meta_attributes")))
		lines = append(lines, diff...)
		if len(args) > 0 {
			steps = append(steps, Step{Args: append([]string{"resource", "meta", in.Attr("id")}, args...)})
		}
	}
	if tool == "resource" { // the file says nothing of a device's operations
		diff, ops := operationSteps(s.Makes, want.Child("operations"), have.Child("operations"))
		lines, steps = append(lines, diff...), append(steps, ops...)
	}
	if len(steps) > 0 {
		c.change("update "+s.Makes, lines, steps...)
	}
}

// settings says which arguments `pcs resource update` needs. What is secret and not in the file was put there by
// somebody else, and stays.
func settings(want, have map[string]string) (lines, args []string) {
	all := maps.Clone(want)
	maps.Copy(all, have)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if isSecret(name) || want[name] == have[name] {
			continue
		}
		lines = append(lines, changed(name, have[name], want[name])...)
		args = append(args, name+"="+want[name]) // without a value it is removed
	}
	return lines, args
}

// operationSteps replaces operations that differ.
func operationSteps(id string, want, have *pacemaker.Element) (lines []string, steps []Step) {
	wanted, had := operationsOf(want), operationsOf(have)
	for _, text := range slices.Sorted(maps.Keys(had)) {
		if _, ok := wanted[text]; !ok {
			lines = append(lines, "- op "+text)
			steps = append(steps, Step{Args: []string{"resource", "op", "remove", had[text].Attr("id")}})
		}
	}
	for _, text := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := had[text]; !ok {
			lines = append(lines, "+ op "+text)
			steps = append(steps, Step{Args: append([]string{"resource", "op", "add", id}, strings.Fields(text)...)})
		}
	}
	return lines, steps
}

// operationsOf are operations by how they are written on pcs' command line.
func operationsOf(e *pacemaker.Element) map[string]*pacemaker.Element {
	m := map[string]*pacemaker.Element{}
	for op := range e.All("op") {
		var options []string
		for _, a := range op.Attrs {
			if a.Name != "id" && a.Name != "name" {
				options = append(options, a.Name+"="+a.Value)
			}
		}
		for name, value := range nvpairs(op) {
			options = append(options, name+"="+value)
		}
		slices.Sort(options)
		m[strings.Join(append([]string{op.Attr("name")}, options...), " ")] = op
	}
	return m
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
		s.Args = append(slices.Clone(s.Args), "--before", in.Children[i+1+next].Attr("id"))
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

// constraints compares those that a step makes, whatever their ids.
func (c *comparer) constraints(s Step, made []*pacemaker.Element) {
	live := c.live.Child("configuration", "constraints")
	for _, want := range made {
		found := false
		for have := range live.All(want.Name) {
			found = found || constraintText(have) == constraintText(want)
		}
		if !found {
			c.change("create a constraint", []string{"+ " + strings.Join(s.Args[1:], " ")}, s)
			return
		}
	}
}

func constraintText(e *pacemaker.Element) string {
	var attrs []string
	for _, a := range e.Attrs {
		started := strings.HasSuffix(a.Name, "role") && a.Value == "Started" // what is without it, too
		if a.Name != "id" && !started {
			attrs = append(attrs, a.Name+"="+a.Value)
		}
	}
	slices.Sort(attrs)
	return strings.Join(attrs, " ")
}

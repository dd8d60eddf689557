package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/placement"
)

// primitive is a resource that a step makes, and where it goes: into a group, into a clone of its own, or neither.
type primitive struct {
	id, agent     string
	usual         string // the agent that may have it as well, where it is there already
	parameters    []placement.Setting
	operations    []operation // that the file says
	group, before string
	clone         []placement.Setting // meta attributes of its clone; nil: it has none
}

// editor does to a CIB what pcs does when it runs a step (test/plan holds the two against each other), in no time and
// without pcs.
type editor struct {
	cib    *pacemaker.Element
	agents map[string]*pacemaker.Element // meta-data
	ids    map[string]bool
}

func newEditor(cib *pacemaker.Element, agents map[string]*pacemaker.Element) *editor {
	e := &editor{cib: cib, agents: agents, ids: map[string]bool{}}
	cib.Any(func(el *pacemaker.Element) bool { e.ids[el.Attr("id")] = true; return false })
	return e
}

// free is an id that nothing has yet.
func (e *editor) free(id string) string {
	try := id
	for i := 1; e.ids[try]; i++ {
		try = id + "-" + strconv.Itoa(i)
	}
	e.ids[try] = true
	return try
}

func (e *editor) section(name string) *pacemaker.Element {
	config := e.cib.Child("configuration")
	if config.Child(name) == nil {
		config.Add(pacemaker.El(name))
	}
	return config.Child(name)
}

// role is a role by the name that the CIB's schema has for it.
func (e *editor) role(role string) string {
	if pacemaker.SchemaAtLeast(e.cib, 3, 7) {
		return role
	}
	return oldRole(role)
}

// set sets a value in a set of attributes.
func (e *editor) set(set *pacemaker.Element, name, value string) {
	for _, nv := range set.Children {
		if nv.Attr("name") == name {
			nv.Set("value", value)
			return
		}
	}
	set.Add(pacemaker.El("nvpair", "id", e.free(set.Attr("id")+"-"+name), "name", name, "value", value))
}

// attributes is a set of a new element's attributes; nil without any.
func (e *editor) attributes(kind, id string, settings []placement.Setting) *pacemaker.Element {
	if len(settings) == 0 {
		return nil
	}
	set := pacemaker.El(kind, "id", e.free(id+"-"+kind))
	settings = slices.SortedStableFunc(slices.Values(settings), func(a, b placement.Setting) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range settings {
		e.set(set, s.Name, s.Value)
	}
	return set
}

// option sets a value in the first set of a section that has sets of that kind, or in one of that id.
func (e *editor) option(section, kind, id, name, value string) {
	s := e.section(section)
	for nv := range s.All("nvpair") {
		if nv.Attr("name") == name {
			nv.Set("value", value)
			return
		}
	}
	set := s.Child(kind)
	if set == nil {
		set = pacemaker.El(kind, "id", e.free(id))
		s.Add(set)
	}
	e.set(set, name, value)
}

// create makes a resource.
func (e *editor) create(p *primitive) error {
	ids := []string{p.id}
	if p.clone != nil {
		ids = append(ids, p.id+"-clone")
	}
	for _, id := range ids {
		if e.ids[id] {
			return fmt.Errorf("the id %s is taken in the cluster's configuration: say another `name:`", id)
		}
		e.ids[id] = true
	}
	meta := e.agents[p.agent]
	if err := fits(p, meta); err != nil {
		return err
	}
	el := pacemaker.El("primitive", "id", p.id)
	parts := strings.Split(p.agent, ":")
	el.Set("class", parts[0])
	if len(parts) == 3 {
		el.Set("provider", parts[1])
	}
	el.Set("type", parts[len(parts)-1])
	if set := e.attributes("instance_attributes", p.id, p.parameters); set != nil {
		el.Add(set)
	}
	el.Add(pacemaker.El("operations"))
	ops := slices.Concat(p.operations, advised(p, meta))
	slices.SortStableFunc(ops, func(a, b operation) int { return cmp.Compare(a["name"], b["name"]) })
	for _, op := range ops {
		e.addOperation(el, op)
	}
	resources := e.section("resources")
	switch {
	case p.group != "":
		group := resources.Find("group", p.group)
		if group == nil {
			if e.ids[p.group] {
				return fmt.Errorf("the id %s is taken in the cluster's configuration, and is no group: say another `group:`", p.group)
			}
			e.ids[p.group] = true
			group = pacemaker.El("group", "id", p.group)
			resources.Add(group)
		}
		at := slices.IndexFunc(group.Children, func(c *pacemaker.Element) bool { return p.before != "" && c.Attr("id") == p.before })
		if at < 0 { // behind the last member; attributes of the group may follow
			at = len(group.Children)
			for at > 0 && group.Children[at-1].Name != "primitive" {
				at--
			}
		}
		group.Children = slices.Insert(group.Children, at, el)
	case p.clone != nil:
		clone := pacemaker.El("clone", "id", p.id+"-clone").Add(el)
		resources.Add(clone.Add(e.attributes("meta_attributes", clone.Attr("id"), p.clone)))
	default:
		resources.Add(el)
	}
	return nil
}

// addOperation adds one to a resource.
func (e *editor) addOperation(primitive *pacemaker.Element, op operation) {
	el := pacemaker.El("op", "id", e.free(primitive.Attr("id")+"-"+op["name"]+"-interval-"+op["interval"]))
	var nested []placement.Setting
	for _, name := range slices.Sorted(maps.Keys(op)) {
		value := op[name]
		switch {
		case name == "role":
			el.Set(name, e.role(value))
		case name == checkLevel || !slices.Contains(options(), name) && name != "name":
			nested = append(nested, placement.Setting{Name: name, Value: value})
		default:
			el.Set(name, value)
		}
	}
	if set := e.attributes("instance_attributes", el.Attr("id"), nested); set != nil {
		el.Add(set)
	}
	ops := primitive.Child("operations")
	if ops == nil {
		ops = pacemaker.El("operations")
		primitive.Add(ops)
	}
	ops.Add(el)
}

// advised are the operations that the agent's meta-data has, but for those of a name that the file has. Of a fence agent
// only the monitor is for the cluster to run as one.
func advised(p *primitive, meta *pacemaker.Element) []operation {
	var list []operation
	monitored := false
	for a := range meta.All("action") {
		op := operation{"name": a.Attr("name")}
		for _, name := range []string{"interval", "timeout", "role", "start-delay"} {
			if v := a.Attr(name); v != "" {
				op[name] = v
			}
		}
		if d := a.Attr("depth"); d != "" && d != "0" {
			op[checkLevel] = d
		}
		if op["role"] != "" {
			op["role"] = newRole(op["role"])
		}
		if op["interval"] == "" {
			op["interval"] = defaultInterval(op["name"])
		}
		is := op["name"] == "monitor"
		monitored = monitored || is
		if !is && strings.HasPrefix(p.agent, "stonith:") || slices.Contains([]string{"meta-data", "status", "validate-all"}, op["name"]) {
			continue
		}
		for slices.ContainsFunc(list, func(o operation) bool { return o["name"] == op["name"] && sameTime(o["interval"], op["interval"]) }) {
			ms, _ := milliseconds(op["interval"])
			op["interval"] = strconv.Itoa(ms/1000 + 1)
		}
		list = append(list, op)
	}
	if !monitored {
		list = append(list, operation{"name": "monitor", "interval": defaultInterval("monitor")})
	}
	return slices.DeleteFunc(list, func(op operation) bool {
		return slices.ContainsFunc(p.operations, func(o operation) bool { return o["name"] == op["name"] })
	})
}

// fits checks a resource against its agent's meta-data.
func fits(p *primitive, meta *pacemaker.Element) error {
	fence := strings.HasPrefix(p.agent, "stonith:")
	given, known := map[string]bool{}, map[string]bool{}
	for param := range meta.All("parameter") {
		known[param.Attr("name")] = true
	}
	for _, s := range p.parameters {
		given[s.Name] = true
		if !known[s.Name] && (!fence || !strings.HasPrefix(s.Name, "pcmk_")) {
			return fmt.Errorf("%s: %s has no parameter %q: `pcs resource describe %s` lists them", p.id, p.agent, s.Name, p.agent)
		}
	}
	if fence { // the cluster gives them
		given["port"], given["action"] = true, true
	}
	if missing := required(meta, given); len(missing) > 0 {
		return fmt.Errorf("%s: %s needs %s", p.id, p.agent, strings.Join(missing, ", "))
	}
	promotes := func(e *pacemaker.Element) bool { return e.Name == "action" && e.Attr("name") == "promote" }
	if slices.Contains(p.clone, placement.Setting{Name: "promotable", Value: "true"}) && !meta.Any(promotes) {
		return fmt.Errorf("%s: %s cannot be promoted: `run: %s` is not for it", p.id, p.agent, asPromotable)
	}
	return nil
}

// required are the parameters that an agent needs and that are not given, by no name of theirs.
func required(meta *pacemaker.Element, given map[string]bool) []string {
	var missing []string
	for param := range meta.All("parameter") {
		name := param.Attr("name")
		deprecated := param.Attr("deprecated") == "1" || param.Child("deprecated") != nil
		if param.Attr("required") == "1" && !deprecated && !given[name] && !given[param.Attr("obsoletes")] && !replaced(meta, name, given) {
			missing = append(missing, name)
		}
	}
	return missing
}

// replaced tells whether a parameter is given by a deprecated name.
func replaced(meta *pacemaker.Element, name string, given map[string]bool) bool {
	for param := range meta.All("parameter") {
		for r := range param.All("replaced-with") {
			if r.Attr("name") == name && given[param.Attr("name")] {
				return true
			}
		}
	}
	return false
}

// link adds a constraint.
func (e *editor) link(want *pacemaker.Element) {
	el := want.Clone()
	for i, a := range el.Attrs {
		if strings.HasSuffix(a.Name, "role") {
			el.Attrs[i].Value = e.role(a.Value)
		}
	}
	el.Set("id", e.free(el.Attr("id")))
	e.section("constraints").Add(el)
}

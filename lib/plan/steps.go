package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/words"
)

// Step is one command of pcs.
type Step struct {
	Args []string // without "pcs"
	// Makes is what is there afterwards: a property, a default or a resource by its name; "" is a constraint.
	Makes string
	kind  kind
	made  *primitive         // the resource
	link  *pacemaker.Element // the constraint
	yield bool               // what the cluster has in its place is as good
	edit  func(*editor) error
}

type kind int

const (
	property kind = iota
	defaults
	resource
	constraint
)

// String is the command as it is typed into a shell. One with a password that the cluster has is only to be read: it
// stands there as (secret), which no shell takes.
func (s Step) String() string {
	line := []string{"pcs"}
	for _, a := range s.Args {
		if to := shown(a); to != a {
			line = append(line, to)
			continue
		}
		line = append(line, quote(a))
	}
	return strings.Join(line, " ")
}

// shown is a word NAME=VALUE as people may see it. The file has no passwords, but the cluster that it is compared with.
func shown(word string) string {
	if name, value, ok := strings.Cut(word, "="); ok && words.Secret(name, value) {
		return name + "=(secret)"
	}
	return word
}

// MarshalText is the same, for JSON.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_=./:,@+%", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func names(words []word) []string {
	var list []string
	for _, w := range words {
		list = append(list, w.s)
	}
	return list
}

// Setup are the commands that make the cluster itself, once.
func (cp *ControlPlane) Setup() []Step {
	var nodes []string
	for _, n := range cp.nodes {
		nodes = append(nodes, n.name.s, "addr="+n.value.s)
	}
	return []Step{
		{Args: append([]string{"host", "auth", "-u", "hacluster"}, nodes...)},
		{Args: append([]string{"cluster", "setup", cp.cluster.s}, nodes...)},
		{Args: []string{"cluster", "start", "--all", "--wait"}},
	}
}

// Steps are the commands that make the control plane in an empty cluster, in order.
func (cp *ControlPlane) Steps() []Step {
	var steps []Step
	for _, d := range cp.fencing {
		p := &primitive{id: d.id.s, agent: "stonith:" + d.agent.s, parameters: settings(d.parameters)}
		if len(d.nodes) > 0 {
			p.parameters = append(p.parameters, placement.Setting{Name: "pcmk_host_list", Value: strings.Join(names(d.nodes), ",")})
		}
		steps = append(steps, create(p))
	}
	steps = append(steps, setProperty("stonith-enabled", fmt.Sprint(!cp.unfenced)),
		// A service stays where it is when a node returns. Newer `pcs cluster setup` does this by itself.
		setDefault("resource-stickiness", "1"),
		fallback("failure-timeout", failureTimeout),
		create(cp.floating(cp.floatingIP.s, cp.group.s)))
	for _, s := range cp.storage {
		p := &primitive{id: s.id.s, agent: s.agent.s, usual: s.usual, group: cp.group.s}
		for _, pair := range []placement.Setting{{Name: "device", Value: s.device.s}, {Name: "directory", Value: s.directory.s}, {Name: "fstype", Value: s.fstype.s}, {Name: "options", Value: s.options.s}} {
			if pair.Value != "" {
				p.parameters = append(p.parameters, pair)
			}
		}
		steps = append(steps, create(p))
	}
	for _, s := range cp.services {
		steps = append(steps, cp.service(s)...)
	}
	return steps
}

// service are the steps that make one.
func (cp *ControlPlane) service(s service) []Step {
	p := &primitive{id: s.id.s, agent: s.agent.s, parameters: cp.parameters(s), operations: s.operations}
	clone := s.id.s + "-clone"
	interleave := placement.Setting{Name: "interleave", Value: "true"}
	var steps []Step
	switch s.run.s {
	case inGroup:
		p.group = cp.group.s
		steps = []Step{create(p)}
	case asClone:
		p.clone = []placement.Setting{interleave}
		steps = []Step{create(p)}
		if s.place != nil && s.place.Balancer != nil {
			steps = append(steps, colocate(cp.group.s, clone, ""))
		}
	case asPromotable:
		p.clone = []placement.Setting{{Name: "promotable", Value: "true"}, {Name: "promoted-max", Value: "1"}, interleave}
		steps = []Step{create(p)}
		if s.ip.s != "" {
			ip := cp.floating(s.ip.s, "")
			steps = append(steps, create(ip), colocate(ip.id, clone, "Promoted"), startAfterPromote(clone, ip.id))
		}
	}
	for _, n := range cp.nodes {
		if len(s.nodes) > 0 && !slices.Contains(names(s.nodes), n.name.s) {
			steps = append(steps, avoid(clone, n.name.s))
		}
	}
	return steps
}

// floating is a floating IP, with the length of its prefix maybe.
func (cp *ControlPlane) floating(text, group string) *primitive {
	addr, mask, ok := strings.Cut(text, "/")
	if ip, err := address(addr); err == nil {
		addr = ip.String()
	}
	p := &primitive{
		id:    "ip-" + strings.ReplaceAll(addr, ":", "-"), // no colon in an id of XML
		agent: cp.ipAgent.s, usual: cp.usualIP,
		parameters: []placement.Setting{{Name: "ip", Value: addr}}, group: group,
	}
	if ok {
		p.parameters = append(p.parameters, placement.Setting{Name: "cidr_netmask", Value: mask})
	}
	return p
}

// create makes a resource.
func create(p *primitive) Step {
	args := []string{"resource", "create", p.id, p.agent}
	if fence, ok := strings.CutPrefix(p.agent, "stonith:"); ok {
		args = []string{"stonith", "create", p.id, fence}
	}
	args = append(args, assignments(p.parameters)...)
	for _, op := range p.operations {
		args = append(append(args, "op"), op.args()...)
	}
	if p.group != "" {
		args = append(args, "--group", p.group)
	}
	if p.before != "" {
		args = append(args, "--before", p.before)
	}
	switch {
	case len(p.clone) > 1:
		args = append(append(args, "promotable"), assignments(p.clone[1:])...)
	case p.clone != nil:
		args = append(append(args, "clone"), assignments(p.clone)...)
	}
	return Step{Args: args, Makes: p.id, kind: resource, made: p, edit: func(e *editor) error { return e.create(p) }}
}

func setProperty(name, value string) Step {
	return Step{Args: []string{"property", "set", name + "=" + value}, Makes: name, kind: property, edit: func(e *editor) error {
		e.option("crm_config", "cluster_property_set", "cib-bootstrap-options", name, value)
		return nil
	}}
}

func setDefault(name, value string) Step {
	return Step{Args: []string{"resource", "defaults", "update", name + "=" + value}, Makes: name, kind: defaults, edit: func(e *editor) error {
		e.option("rsc_defaults", "meta_attributes", "rsc_defaults-meta_attributes", name, value)
		return nil
	}}
}

// failureTimeout is how long Pacemaker holds a failure against a node. Without it one start that failed keeps the service off
// the node until somebody comes, and three of them off all nodes, though what was wrong may have gone in a minute. What is
// still wrong fails anew after it, and so crm_mon goes on to show it.
const failureTimeout = "2min"

// fallback sets a default unless the cluster has one.
func fallback(name, value string) Step {
	s := setDefault(name, value)
	s.yield = true
	return s
}

func constrain(want *pacemaker.Element, args ...string) Step {
	return Step{Args: append([]string{"constraint"}, args...), kind: constraint, link: want, edit: func(e *editor) error { e.link(want); return nil }}
}

// colocate has a resource stand where a clone has an instance, in that role if one is given.
func colocate(id, clone, role string) Step {
	want := pacemaker.El("rsc_colocation", "id", "colocation-"+id+"-"+clone+"-INFINITY", "rsc", id, "with-rsc", clone, "score", "INFINITY")
	args := []string{"colocation", "add", id, "with", clone}
	if role != "" {
		want.Set("rsc-role", "Started")
		want.Set("with-rsc-role", role)
		args = slices.Insert(args, 4, role)
	}
	return constrain(want, args...)
}

func startAfterPromote(clone, id string) Step {
	return constrain(pacemaker.El("rsc_order", "id", "order-"+clone+"-"+id+"-mandatory", "first", clone, "then", id, "first-action", "promote", "then-action", "start"),
		"order", "promote", clone, "then", "start", id)
}

func avoid(id, node string) Step {
	return constrain(pacemaker.El("rsc_location", "id", "location-"+id+"-"+node+"--INFINITY", "rsc", id, "node", node, "score", "-INFINITY"),
		"location", id, "avoids", node)
}

func assignments(settings []placement.Setting) []string {
	var list []string
	for _, s := range settings {
		list = append(list, s.Name+"="+s.Value)
	}
	return list
}

func settings(params []pair) []placement.Setting {
	var list []placement.Setting
	for _, p := range params {
		list = append(list, placement.Setting{Name: p.name.s, Value: p.value.s})
	}
	return list
}

// parameters are those of the file, and what follows from the rest of it.
func (cp *ControlPlane) parameters(s service) []placement.Setting {
	params := settings(s.parameters)
	if s.place == nil || s.run.s != asPromotable || s.place.Promotable == nil {
		return params
	}
	var nodes []netip.Addr
	for _, n := range cp.nodes {
		if len(s.nodes) == 0 || slices.Contains(names(s.nodes), n.name.s) {
			ip, _ := address(n.value.s) // checked when it was read
			nodes = append(nodes, ip)
		}
	}
	for _, follows := range s.place.Promotable(nodes, s.parameter) {
		if s.parameter(follows.Name) == "" {
			params = append(params, follows)
		}
	}
	return params
}

// Notes are what an operator has to do or to know beside the commands, as comments and commands of a shell.
func (cp *ControlPlane) Notes() []string {
	var notes []string
	if cp.unfenced {
		notes = append(notes, "# No fencing: "+unfencedRisk+".")
	}
	if units := cp.units(); len(units) > 0 {
		notes = append(notes,
			"# On every node, before: the cluster starts and stops these units, and systemd must not at boot.",
			"systemctl disable --now "+strings.Join(units, " "))
	}
	if b := cp.balancer(); b != nil {
		why := "so that it can be checked where the floating IP is not"
		if b.run.s == asClone {
			why = "or it starts only where the floating IP is"
		}
		notes = append(notes,
			"# On every node, before: the load balancer's configuration, and the right to bind an address that is not there (by a file",
			"# in /etc/sysctl.d), "+why+". The API services bind the node's own address, not 0.0.0.0.",
			cp.writeBalancer(), "sysctl -w "+cp.nonlocalBind()+"=1",
			"# After a later change, where it runs: "+cp.reload())
		if before := cp.before(b); len(before) > 0 {
			notes = append(notes,
				"# A restart of "+strings.Join(before, ", ")+" stops "+b.id.s+" too, which stands behind in the group, and all APIs with it;",
				"# with `run: clone` it goes on.")
		}
	}
	return notes
}

// units are those that services are run by.
func (cp *ControlPlane) units() (units []string) {
	for _, s := range cp.services {
		if s.unit.s != "" && !slices.Contains(units, s.unit.s) {
			units = append(units, s.unit.s)
		}
	}
	return units
}

// before names the services that stand before one in the group.
func (cp *ControlPlane) before(s *service) (ids []string) {
	for i := range cp.services {
		other := &cp.services[i]
		if s.run.s != inGroup || other == s {
			return ids
		}
		if other.run.s == inGroup {
			ids = append(ids, other.id.s)
		}
	}
	return ids
}

// writeBalancer is the command that writes the load balancer's configuration on a node.
func (cp *ControlPlane) writeBalancer() string {
	return "openstack-ocf plan --haproxy " + quote(cp.BalancerFile()) + " " + quote(cp.file)
}

// reload is the command that has the load balancer take over its configuration without losing a connection.
func (cp *ControlPlane) reload() string {
	b := cp.balancer()
	env := ""
	for _, p := range b.parameters {
		env += "OCF_RESKEY_" + p.name.s + "=" + quote(p.value.s) + " "
	}
	return env + "openstack-ocf run " + strings.TrimPrefix(b.agent.s, provider) + " reload-agent"
}

func (cp *ControlPlane) nonlocalBind() string {
	if cp.ipAddress().Is6() {
		return "net.ipv6.ip_nonlocal_bind"
	}
	return "net.ipv4.ip_nonlocal_bind"
}

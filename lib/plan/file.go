package plan

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/lib/words"
	"github.com/openstack-ocf/agents/ocf"
)

// Unfenced is what the file has to say in place of fencing devices.
const Unfenced = "none-i-accept-the-risk"

// ControlPlane is what a file describes.
type ControlPlane struct {
	file       string
	cluster    word
	nodes      []pair // names in the cluster, and addresses
	floatingIP word
	ipAgent    word   // that floating IPs have
	usualIP    string // who has one in the cluster may keep it: the file names no agent
	group      word
	storage    []storage
	services   []service
	apis       []api
	fencing    []device
	unfenced   bool
}

type storage struct {
	line                                          int
	id, agent, device, directory, fstype, options word
	usual                                         string // who has it in the cluster may keep it: the file names no agent
}

// service is a resource of the cluster beside addresses and storage.
type service struct {
	id, agent  word             // agent: class:provider:type
	place      *placement.Place // of an agent of this suite, else nil
	run        word             // inGroup, asClone or asPromotable
	ip         word             // where whoever is promoted is reached
	unit       word             // that it is run by; also among the parameters
	parameters []pair
	operations []operation
	nodes      []word // where it may run; none: everywhere
}

const (
	inGroup      = "group"
	asClone      = "clone"
	asPromotable = "promotable"
)

type api struct {
	name    word
	port    int
	check   string
	healthy answer
	tunnel  bool
	nodes   []word
}

type device struct {
	id, agent  word
	nodes      []word // that it fences; none: it knows by itself
	parameters []pair
}

// Read reads a control plane from the text of a file, whose name is for errors. agents are this suite's, by name. The error
// joins all that is wrong with the file, each as FILE:LINE: what is expected.
func Read(file string, data []byte, agents map[string]placement.Agent) (*ControlPlane, error) {
	r := &reader{file: file}
	cp := &ControlPlane{file: file}
	top := r.parse(data)
	if top == nil {
		return nil, errors.Join(r.errs...)
	}
	v := &validator{reader: r, agents: agents, ids: map[string]int{}}
	seen := map[string]int{}
	field := func(name string, read func(ast.Node)) func(ast.Node) {
		return func(n ast.Node) { seen[name] = lineOf(n); read(n) }
	}
	fields := map[string]func(ast.Node){
		"cluster": r.into(&cp.cluster, "the cluster's name"),
		"nodes": func(n ast.Node) {
			cp.nodes = r.pairs(n, "the nodes' names and addresses", "the node's address, such as 192.168.122.3")
		},
		"floating_ip":       r.into(&cp.floatingIP, "an address, such as 192.168.122.203 or 192.168.122.203/24"),
		"floating_ip_agent": r.into(&cp.ipAgent, "the agent that holds floating IPs, such as "+holds),
		"group":             r.into(&cp.group, "the name of the group"),
		"storage":           func(n ast.Node) { r.oneOrMore(n, func(n ast.Node) { cp.storage = append(cp.storage, v.storage(n)) }) },
		"services": func(n ast.Node) {
			r.list(n, "services", func(n ast.Node) { cp.services = append(cp.services, v.service(n)) })
		},
		"apis":    func(n ast.Node) { r.list(n, "APIs", func(n ast.Node) { cp.apis = append(cp.apis, v.api(n)) }) },
		"fencing": func(n ast.Node) { v.fencing(n, cp) },
	}
	for name, read := range fields {
		fields[name] = field(name, read)
	}
	r.mapping(top, "a control plane", fields)
	cp.cluster.s = cmp.Or(cp.cluster.s, "openstack")
	cp.group.s = cmp.Or(cp.group.s, "control-plane")
	if cp.ipAgent.s == "" {
		cp.usualIP = holds
	}
	v.agentOf(&cp.ipAgent, v.usual(holds, func(p placement.Place) bool { return p.HoldsAddress }), holds, "holds no floating IP", "ip", "cidr_netmask")
	for _, need := range []struct{ name, like string }{
		{"nodes", "nodes: {node1: 192.168.122.3, node2: 192.168.122.7}"},
		{"floating_ip", "floating_ip: 192.168.122.203"},
		{"services", "services: [mysql]"},
	} {
		if seen[need.name] == 0 {
			r.errorf(1, "%s is missing, such as `%s`", need.name, need.like)
		}
	}
	if seen["fencing"] == 0 {
		r.errorf(1, "fencing is missing: %s. Name the devices, or write `fencing: %s`", unfencedRisk, Unfenced)
	}
	v.check(cp, seen)
	return cp, errors.Join(r.errs...)
}

const unfencedRisk = "without it a node that the others cannot reach may still have the storage mounted when they start the services again, and two servers on one disk destroy the data; a stop that fails blocks the service until somebody comes"

func (r *reader) oneOrMore(n ast.Node, read func(ast.Node)) {
	if _, ok := n.(*ast.SequenceNode); ok {
		r.list(n, "", read)
		return
	}
	read(n)
}

func (v *validator) storage(n ast.Node) storage {
	r := v.reader
	s := storage{line: lineOf(n)}
	r.mapping(n, "storage", map[string]func(ast.Node){
		"id":        r.into(&s.id, "the resource's id"),
		"agent":     r.into(&s.agent, "the agent that mounts it, such as "+mounts),
		"device":    r.into(&s.device, "a device, such as /dev/sdb1 or 192.168.122.1:/srv/mysql"),
		"directory": r.into(&s.directory, "the directory to mount it on"),
		"fstype":    r.into(&s.fstype, "the file system's type, such as ext4 or nfs"),
		"options":   r.into(&s.options, "mount options"),
	})
	for _, need := range []struct {
		name string
		word
	}{{"device", s.device}, {"directory", s.directory}, {"fstype", s.fstype}} {
		if need.s == "" {
			r.errorf(s.line, "storage needs a %s", need.name)
		}
	}
	if s.directory.s != "" && !filepath.IsAbs(s.directory.s) {
		r.errorf(s.directory.line, "directory %q: want an absolute path, such as /var/lib/mysql", s.directory.s)
	}
	if s.id.s == "" {
		s.id = word{"fs-" + filepath.Base(s.directory.s), s.line}
	}
	if s.agent.s == "" {
		s.usual = mounts
	}
	usual := v.usual(mounts, func(p placement.Place) bool { return p.MountsStorage != nil && p.MountsStorage(s.fstype.s) })
	v.agentOf(&s.agent, usual, mounts, "mounts no storage", "device", "directory", "fstype", "options")
	return s
}

// Who mounts storage, and who holds a floating IP, if the file names nobody and this suite has none for it.
const (
	mounts = "ocf:heartbeat:Filesystem"
	holds  = "ocf:heartbeat:IPaddr2"
)

// usual is this suite's agent that does something, else the other one.
func (v *validator) usual(other string, does func(placement.Place) bool) string {
	for _, name := range slices.Sorted(maps.Keys(v.agents)) {
		if does(v.agents[name].Place) {
			return provider + name
		}
	}
	return other
}

// agentOf finds the agent of what is no service: the usual one, or another in full, such as like, or one of this suite if it has
// the parameters for it; lacks is what one without them does not do.
func (v *validator) agentOf(at *word, usual, like, lacks string, parameters ...string) {
	if at.s == "" {
		at.s = usual
	}
	name := strings.TrimPrefix(at.s, provider)
	own, ok := v.agents[name]
	switch {
	case ok:
		a := own.New()
		for _, need := range parameters {
			if !slices.ContainsFunc(a.Parameters, func(p ocf.Parameter) bool { return p.Name == need }) {
				v.errorf(at.line, "%s %s: it has no parameter %s", name, lacks, need)
				return
			}
		}
		at.s = provider + name
	case !matches(isAgent, at.s) || strings.HasPrefix(at.s, provider):
		v.errorf(at.line, "no agent %q: want one of this suite for it, or another one in full, such as %s", at.s, like)
	}
}

// validator reads what is named after agents.
type validator struct {
	*reader
	agents map[string]placement.Agent
	ids    map[string]int // lines
	nodes  map[string]bool
}

func (v *validator) service(n ast.Node) service {
	s := service{run: word{inGroup, lineOf(n)}}
	if isPlain(n) {
		s.id = v.text(n, "a service")
	} else {
		v.mapping(n, "a service", map[string]func(ast.Node){
			"name":       v.into(&s.id, "the resource's id"),
			"agent":      v.into(&s.agent, "an agent"),
			"run":        v.into(&s.run, "group, clone or promotable"),
			"ip":         v.into(&s.ip, "an address"),
			"unit":       v.into(&s.unit, "the systemd unit that it is run by, such as haproxy.service"),
			"parameters": func(n ast.Node) { s.parameters = v.pairs(n, "parameters", "a value") },
			"operations": func(n ast.Node) { s.operations = v.operations(n) },
			"nodes":      func(n ast.Node) { s.nodes = v.words(n, "names of nodes") },
		})
	}
	if s.id.s == "" {
		v.errorf(lineOf(n), "a service needs a name")
		return s
	}
	if !slices.Contains([]string{inGroup, asClone, asPromotable}, s.run.s) {
		v.errorf(s.run.line, "run: %s: want %s (with the floating IP), %s (on every node) or %s", s.run.s, inGroup, asClone, asPromotable)
	}
	if s.ip.s != "" && s.run.s != asPromotable {
		v.errorf(s.ip.line, "an ip of its own has only a service with `run: %s`; others are reached at the floating IP", asPromotable)
	}
	if len(s.nodes) > 0 && s.run.s == inGroup {
		v.errorf(s.nodes[0].line, "a service in the group runs where the group runs: nodes are for `run: %s` and `run: %s`", asClone, asPromotable)
	}
	v.agent(&s)
	if s.place == nil {
		return s
	}
	switch {
	case s.run.s == asClone && s.place.Single != "":
		v.errorf(s.run.line, "%s cannot be a clone: %s", s.agent.s, s.place.Single)
	case s.run.s == asPromotable && s.place.Promotable == nil:
		v.errorf(s.run.line, "%s cannot be promotable: no instance of it is above another", s.agent.s)
	}
	return s
}

// operations are words such as `monitor interval=5s timeout=20s`.
func (v *validator) operations(n ast.Node) []operation {
	var list []operation
	for _, w := range v.words(n, "operations such as `monitor interval=5s timeout=20s`") {
		op, err := parseOperation(w.s)
		if err != nil {
			v.errorf(w.line, "operation %q: %w", w.s, err)
			continue
		}
		for _, other := range list {
			if other["name"] == op["name"] && sameTime(other["interval"], op["interval"]) {
				v.errorf(w.line, "operation %q: Pacemaker tells operations of one name apart by their interval, and another one has it too", w.s)
			}
		}
		list = append(list, op)
	}
	return list
}

// agent finds the service's agent and checks the parameters, if it is of this suite.
func (v *validator) agent(s *service) {
	at := s.agent
	if at.s == "" {
		at = s.id
	}
	name := strings.TrimPrefix(at.s, provider)
	for full, a := range v.agents {
		if slices.Contains(a.Names, name) {
			name = full
		}
	}
	own, ok := v.agents[name]
	if !ok {
		if matches(isAgent, at.s) && !strings.HasPrefix(at.s, provider) {
			s.agent = at
			v.secrets(s.parameters, nil)
			if s.unit.s != "" {
				v.errorf(s.unit.line, "a unit is for agents of this suite, which %s is not: for a service with no more than its unit say `agent: systemd:%s`", at.s, s.unit.s)
			}
			return
		}
		v.errorf(at.line, "no agent %q: want one of %s, or another one in full, such as ocf:heartbeat:rabbitmq-cluster; with another name, say `agent:`", at.s, strings.Join(slices.Sorted(maps.Keys(v.agents)), ", "))
		return
	}
	s.agent, s.place = word{provider + name, at.line}, &own.Place
	a := own.New()
	secret := map[string]bool{}
	v.unit(s)
	for _, p := range s.parameters {
		i := slices.IndexFunc(a.Parameters, func(x ocf.Parameter) bool { return x.Name == p.name.s })
		if i < 0 {
			v.errorf(p.name.line, "%s has no parameter %q: `openstack-ocf describe %s` lists them", name, p.name.s, name)
			continue
		}
		secret[p.name.s] = a.Parameters[i].Secret
		if err := a.Parameters[i].Value.Set(p.value.s); err != nil {
			v.errorf(p.value.line, "%s %q: %w", p.name.s, p.value.s, err)
		}
	}
	v.secrets(s.parameters, secret)
	if s.unit.s != "" {
		v.alone(s, own.New)
	}
}

// unit makes a parameter of the service's unit, by its full name, or finds the one that is there.
func (v *validator) unit(s *service) {
	i := slices.IndexFunc(s.parameters, func(p pair) bool { return p.name.s == unit })
	switch {
	case i >= 0 && s.unit.s != "":
		v.errorf(s.parameters[i].name.line, "the unit is said in line %d already: remove one of the two", s.unit.line)
		return
	case i >= 0:
		s.unit = s.parameters[i].value
	case s.unit.s != "":
		s.parameters = slices.Insert(s.parameters, 0, pair{word{unit, s.unit.line}, s.unit})
		i = 0
	default:
		return
	}
	if full, err := systemd.Name(s.unit.s); err == nil { // what is wrong with it the agent says
		s.unit.s = full
		s.parameters[i].value.s = full
	}
}

// unit is the parameter that the agents have for it.
const unit = "unit"

// alone refuses parameters that the agent does not take beside a unit, which says so as well: it does without the unit.
func (v *validator) alone(s *service, declare func() ocf.Agent) {
	refused := func(params ...pair) string {
		env := []string{"OCF_RESOURCE_INSTANCE=" + s.id.s}
		for _, p := range params {
			env = append(env, "OCF_RESKEY_"+p.name.s+"="+p.value.s)
		}
		var said strings.Builder
		if ocf.Run(context.Background(), declare(), ocf.Call{Args: []string{ocf.ValidateAll}, Env: env, Stdout: io.Discard, Stderr: &said}) == ocf.OK {
			return ""
		}
		_, reason, _ := strings.Cut(said.String(), "ocf-exit-reason:")
		reason, _, _ = strings.Cut(reason, "\n")
		return cmp.Or(reason, "it is not taken beside a unit")
	}
	own := pair{word{s: unit}, s.unit}
	for _, p := range s.parameters {
		if p.name.s == unit || refused(p) != "" {
			continue
		}
		if why := refused(p, own); why != "" {
			v.errorf(p.name.line, "%s", why)
		}
	}
}

// provider is of this suite.
const provider = "ocf:openstack:"

// isAgent is a resource agent in full, isFence a fence agent's name, isName one of a node or a parameter. They are
// compiled when they are asked for: this package is in the binary that every monitor starts.
const (
	isAgent = `^[a-z][a-z0-9]*(:[A-Za-z0-9_][-A-Za-z0-9_.@]*){1,2}$`
	isFence = `^[A-Za-z0-9_][-A-Za-z0-9_./]*$`
	isName  = `^[A-Za-z0-9_][-A-Za-z0-9_.]*$`
)

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// secrets refuses passwords: they would be seen on pcs' command line, in the plan, and by all who may read the CIB.
func (v *validator) secrets(params []pair, known map[string]bool) {
	for _, p := range params {
		if known[p.name.s] || words.Secret(p.name.s, p.value.s) {
			v.errorf(p.name.line, "%s does not belong here, where it would be read on pcs' command line: put it into a file that only root may read, and name that (%s), or set it by hand (pcs stonith update, pcs resource update), which apply leaves as it is", p.name.s, "password_script, test_defaults_file, credentials_file")
		}
	}
}

func (v *validator) api(n ast.Node) api {
	var a api
	var port, check word
	if isPlain(n) {
		a.name = v.text(n, "an API")
	} else {
		v.mapping(n, "an API", map[string]func(ast.Node){
			"name":  v.into(&a.name, "the API's name"),
			"port":  v.into(&port, "a port"),
			"check": v.into(&check, "a path such as /healthcheck"),
			"nodes": func(n ast.Node) { a.nodes = v.words(n, "names of nodes") },
		})
	}
	known, ok := apis()[a.name.s]
	a.port, a.check, a.healthy, a.tunnel = known.port, cmp.Or(known.check, "/"), cmp.Or(known.healthy, versions), known.tunnel
	switch {
	case a.name.s == "":
		v.errorf(lineOf(n), "an API needs a name")
	case !validID(a.name.s):
		v.errorf(a.name.line, "name %q: want letters, digits, - and _", a.name.s)
	case !ok && port.s == "":
		v.errorf(a.name.line, "%s is not one of the known APIs (%s): say its port, as `{name: %s, port: 1234}`", a.name.s, strings.Join(slices.Sorted(maps.Keys(apis())), ", "), a.name.s)
	}
	if port.s != "" {
		p, err := strconv.Atoi(port.s)
		if err != nil || p < 1 || p > 65535 {
			v.errorf(port.line, "port %q: want a number from 1 to 65535", port.s)
		}
		a.port = p
	}
	if check.s != "" {
		if !strings.HasPrefix(check.s, "/") || strings.ContainsAny(check.s, " \t\"'\\#") {
			v.errorf(check.line, "check %q: want a path such as /healthcheck", check.s)
		}
		// A path of the operator's own is one that answers as it should.
		a.check, a.healthy = check.s, page
	}
	return a
}

func (v *validator) fencing(n ast.Node, cp *ControlPlane) {
	if isPlain(n) {
		if w := v.text(n, "fencing devices"); w.s != Unfenced {
			v.errorf(w.line, "fencing: want a list of devices, or `%s`", Unfenced)
		}
		cp.unfenced = true
		return
	}
	v.list(n, "fencing devices", func(n ast.Node) {
		var d device
		v.mapping(n, "a fencing device", map[string]func(ast.Node){
			"name":       v.into(&d.id, "the resource's id"),
			"agent":      v.into(&d.agent, "a fence agent, such as fence_ipmilan"),
			"nodes":      func(n ast.Node) { d.nodes = v.words(n, "names of nodes") },
			"node":       func(n ast.Node) { d.nodes = []word{v.text(n, "the name of a node")} },
			"parameters": func(n ast.Node) { d.parameters = v.pairs(n, "parameters", "a value") },
		})
		if d.agent.s == "" {
			v.errorf(lineOf(n), "a fencing device needs an agent, such as fence_ipmilan")
		} else if !matches(isFence, d.agent.s) {
			v.errorf(d.agent.line, "agent %q: want the name of a fence agent, such as fence_ipmilan", d.agent.s)
		}
		if d.id.s == "" {
			d.id = word{"fence", lineOf(n)}
			if len(d.nodes) > 0 {
				d.id.s += "-" + d.nodes[0].s
			}
		}
		v.secrets(d.parameters, nil)
		cp.fencing = append(cp.fencing, d)
	})
}

// balancers are the agents that can stand before the APIs.
func (v *validator) balancers() string {
	var names []string
	for name, a := range v.agents {
		if a.Balancer != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// check is for what several parts of the file must agree on.
func (v *validator) check(cp *ControlPlane, seen map[string]int) {
	if !validID(cp.cluster.s) {
		v.errorf(cp.cluster.line, "cluster %q: want a name of letters, digits, - . and _", cp.cluster.s)
	}
	v.nodes = map[string]bool{}
	for _, n := range cp.nodes {
		v.nodes[n.name.s] = true
	}
	switch {
	case seen["nodes"] != 0 && len(cp.nodes) == 0:
		v.errorf(seen["nodes"], "nodes is empty: want names and addresses, such as `nodes: {node1: 192.168.122.3, node2: 192.168.122.7}`")
	case len(cp.nodes) == 1:
		v.errorf(cp.nodes[0].name.line, "one node cannot take over from another: want two or more")
	}
	v.addresses(cp)
	v.id(cp.group)
	for _, s := range cp.storage {
		v.id(s.id)
		v.secrets([]pair{{word{"device", s.device.line}, s.device}, {word{"options", s.options.line}, s.options}}, nil)
	}
	for _, s := range cp.services {
		v.id(s.id)
		v.known(s.nodes)
	}
	v.balanced(cp, seen)
	v.fenced(cp, seen)
}

// addresses are each of one node or service.
func (v *validator) addresses(cp *ControlPlane) {
	whose := map[netip.Addr]string{}
	take := func(ip netip.Addr, line int, who string) {
		if other, taken := whose[ip]; taken && ip.IsValid() {
			v.errorf(line, "address %s of %s is that of %s", ip, who, other)
		}
		whose[ip] = who
	}
	for _, n := range cp.nodes {
		ip, err := address(n.value.s)
		if err != nil {
			v.errorf(n.value.line, "address %q of %s: want one such as 192.168.122.3%s", n.value.s, n.name.s, zoned(n.value.s))
		}
		take(ip, n.value.line, n.name.s)
	}
	if cp.floatingIP.s != "" {
		take(v.address(cp.floatingIP), cp.floatingIP.line, "the floating IP, which must be one that no node has by itself")
	}
	for _, s := range cp.services {
		if s.ip.s != "" {
			take(v.address(s.ip), s.ip.line, s.id.s)
		}
	}
}

// balanced: the APIs have a balancer, each its name, and at the floating IP a port.
func (v *validator) balanced(cp *ControlPlane, seen map[string]int) {
	ports := map[int]string{}
	for _, s := range cp.services {
		if p := s.port(); p != 0 && s.run.s == inGroup { // where the floating IP is
			ports[p] = s.id.s
		}
	}
	lines := map[string]int{}
	for _, a := range cp.apis {
		v.known(a.nodes)
		if line, taken := lines[a.name.s]; taken {
			v.errorf(a.name.line, "%s is there already, in line %d", a.name.s, line)
			continue
		}
		lines[a.name.s] = a.name.line
		if other, taken := ports[a.port]; taken && a.port != 0 {
			v.errorf(a.name.line, "port %d of %s is that of %s", a.port, a.name.s, other)
		}
		ports[a.port] = a.name.s
	}
	switch balancer := cp.balancer(); {
	case len(cp.apis) > 0 && balancer == nil:
		v.errorf(seen["apis"], "nobody balances the apis: add one to the services, such as `- %s`", v.balancers())
	case len(cp.apis) == 0 && balancer != nil:
		v.errorf(balancer.id.line, "%s has nothing to balance: list the apis, such as `apis: [keystone, nova]`", balancer.id.s)
	}
}

// fenced: some device fences each node.
func (v *validator) fenced(cp *ControlPlane, seen map[string]int) {
	fenced := map[string]bool{}
	all := cp.unfenced
	for _, d := range cp.fencing {
		v.id(d.id)
		v.known(d.nodes)
		all = all || len(d.nodes) == 0
		for _, n := range d.nodes {
			fenced[n.s] = true
		}
	}
	for _, n := range cp.nodes {
		if seen["fencing"] != 0 && !all && !fenced[n.name.s] {
			v.errorf(seen["fencing"], "no device fences %s: %s", n.name.s, unfencedRisk)
		}
	}
}

// id notes a resource's id, which must be unique and fit for XML.
func (v *validator) id(w word) {
	if w.line == 0 { // not the operator's
		return
	}
	if !validID(w.s) {
		v.errorf(w.line, "name %q: want a letter first, and then letters, digits, - . and _", w.s)
	}
	if line, taken := v.ids[w.s]; taken {
		v.errorf(w.line, "the name %s is taken in line %d: say another `name:`", w.s, line)
	}
	v.ids[w.s] = w.line
}

func validID(s string) bool {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// address reads a floating IP, which may have the length of its prefix.
func (v *validator) address(w word) netip.Addr {
	addr, mask, ok := strings.Cut(w.s, "/")
	ip, err := address(addr)
	if bits, berr := strconv.Atoi(mask); err != nil || ok && (berr != nil || bits < 1 || bits > ip.BitLen()) {
		v.errorf(w.line, "address %q: want one such as 192.168.122.203 or 192.168.122.203/24%s", w.s, zoned(addr))
		return netip.Addr{}
	}
	return ip
}

// address reads an address that can be told to other nodes, in the spelling that all have in common.
func address(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err == nil && ip.Zone() != "" {
		err = errors.New("an address with a zone")
	}
	return ip.Unmap().WithZone(""), err
}

// zoned says what is wrong with an address that has a zone.
func zoned(s string) string {
	if strings.Contains(s, "%") {
		return ", without a zone (%...): a zone has a meaning on one node alone"
	}
	return ""
}

func (v *validator) known(nodes []word) {
	for _, n := range nodes {
		if !v.nodes[n.s] {
			v.errorf(n.line, "%q is not one of the nodes", n.s)
		}
	}
}

// ipAddress is the floating IP without the length of its prefix.
func (cp *ControlPlane) ipAddress() netip.Addr {
	addr, _, _ := strings.Cut(cp.floatingIP.s, "/")
	ip, _ := address(addr) // checked when it was read
	return ip
}

// balancer is the service that balances the APIs, nil without one.
func (cp *ControlPlane) balancer() *service {
	i := slices.IndexFunc(cp.services, func(s service) bool { return s.place != nil && s.place.Balancer != nil })
	if i < 0 {
		return nil
	}
	return &cp.services[i]
}

// port is where the service listens; 0: it is not known.
func (s *service) port() int {
	if s.place == nil {
		return 0
	}
	if p, err := strconv.Atoi(s.parameter(s.place.PortParameter)); err == nil && p != 0 {
		return p
	}
	return s.place.Port
}

// parameter is the value of a service's parameter, "" without it.
func (s *service) parameter(name string) string {
	for _, p := range s.parameters {
		if p.name.s == name {
			return p.value.s
		}
	}
	return ""
}

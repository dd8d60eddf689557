package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Step is one command of pcs.
type Step struct {
	Args []string // without "pcs"
	// Makes is what is there afterwards: a property, a default or a resource by its name; "" is a constraint.
	Makes string
	kind  kind
}

type kind int

const (
	property kind = iota
	defaults
	resource
	constraint
)

// String is the command as it is typed into a shell.
func (s Step) String() string {
	quoted := []string{"pcs"}
	for _, a := range s.Args {
		quoted = append(quoted, quote(a))
	}
	return strings.Join(quoted, " ")
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

func values(params []pair) []string {
	var list []string
	for _, p := range params {
		list = append(list, p.name.s+"="+p.value.s)
	}
	return list
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
	add := func(k kind, makes string, args ...[]string) {
		steps = append(steps, Step{Args: slices.Concat(args...), Makes: makes, kind: k})
	}
	for _, d := range cp.fencing {
		params := values(d.parameters)
		if len(d.nodes) > 0 {
			params = append(params, "pcmk_host_list="+strings.Join(names(d.nodes), ","))
		}
		add(resource, d.id.s, []string{"stonith", "create", d.id.s, d.agent.s}, params)
	}
	add(property, "stonith-enabled", []string{"property", "set", fmt.Sprintf("stonith-enabled=%v", !cp.unfenced)})
	// A service stays where it is when a node returns. Newer `pcs cluster setup` does this by itself.
	add(defaults, "resource-stickiness", []string{"resource", "defaults", "update", "resource-stickiness=1"})

	group := []string{"--group", cp.group.s}
	ip := func(address string) (id string, args []string) {
		addr, mask, ok := strings.Cut(address, "/")
		id = "ip-" + strings.ReplaceAll(addr, ":", "-") // no colon in an id of XML
		args = []string{"resource", "create", id, "ocf:heartbeat:IPaddr2", "ip=" + addr}
		if ok {
			args = append(args, "cidr_netmask="+mask)
		}
		return id, args
	}
	id, args := ip(cp.floatingIP.s)
	add(resource, id, args, group)
	for _, s := range cp.storage {
		args := []string{"device=" + s.device.s, "directory=" + s.directory.s, "fstype=" + s.fstype.s}
		if s.options.s != "" {
			args = append(args, "options="+s.options.s)
		}
		add(resource, s.id.s, []string{"resource", "create", s.id.s, "ocf:heartbeat:Filesystem"}, args, group)
	}
	for _, s := range cp.services {
		create := slices.Concat([]string{"resource", "create", s.id.s, s.agent.s}, values(cp.parameters(s)), operations(s.operations))
		clone := s.id.s + "-clone"
		switch s.run.s {
		case inGroup:
			add(resource, s.id.s, create, group)
		case asClone:
			add(resource, s.id.s, create, []string{"clone", "interleave=true"})
			if s.agent.s == "ocf:openstack:haproxy" {
				add(constraint, "", []string{"constraint", "colocation", "add", cp.group.s, "with", clone})
			}
		case asPromotable:
			add(resource, s.id.s, create, []string{"promotable", "promoted-max=1", "interleave=true"})
			if s.ip.s != "" {
				id, args := ip(s.ip.s)
				add(resource, id, args)
				add(constraint, "", []string{"constraint", "colocation", "add", id, "with", "Promoted", clone})
				add(constraint, "", []string{"constraint", "order", "promote", clone, "then", "start", id})
			}
		}
		if len(s.nodes) > 0 {
			for _, n := range cp.nodes {
				if !slices.Contains(names(s.nodes), n.name.s) {
					add(constraint, "", []string{"constraint", "location", clone, "avoids", n.name.s})
				}
			}
		}
	}
	return steps
}

// parameters are those of the file, and what follows from the rest of it.
func (cp *ControlPlane) parameters(s service) []pair {
	params := slices.Clone(s.parameters)
	need := func(name, value string) {
		if s.parameter(name) == "" {
			params = append(params, pair{word{s: name}, word{s: value}})
		}
	}
	if s.agent.s == "ocf:openstack:qpidd" && s.run.s == asPromotable {
		var brokers []string
		for _, n := range cp.nodes {
			if len(s.nodes) == 0 || slices.Contains(names(s.nodes), n.name.s) {
				brokers = append(brokers, n.value.s+":5672")
			}
		}
		need("ha_cluster", "true")
		need("ha_brokers_url", "amqp:"+strings.Join(brokers, ","))
	}
	return params
}

func operations(ops []word) []string {
	var args []string
	for _, op := range ops {
		args = append(args, "op")
		args = append(args, strings.Fields(op.s)...)
	}
	return args
}

// Notes are what an operator has to do or to know beside the commands, as comments and commands of a shell.
func (cp *ControlPlane) Notes() []string {
	var notes []string
	if cp.unfenced {
		notes = append(notes, "# No fencing: "+unfencedRisk+".")
	}
	if b := cp.balancer(); b != nil {
		why := "so that HAProxy can be checked where the floating IP is not"
		if b.run.s == asClone {
			why = "or HAProxy starts only where the floating IP is"
		}
		notes = append(notes,
			"# On every node, before: HAProxy's configuration, and the right to bind an address that is not there (by a file in",
			"# /etc/sysctl.d), "+why+". The API services bind the node's own address, not 0.0.0.0.",
			cp.writeHAProxy(), "sysctl -w "+cp.nonlocalBind()+"=1",
			"# After a later change, where HAProxy runs: "+cp.reload())
		if before := cp.before(b); len(before) > 0 {
			notes = append(notes,
				"# A restart of "+strings.Join(before, ", ")+" stops HAProxy too, which stands behind in the group, and all APIs with it;",
				"# with `run: clone` it goes on.")
		}
	}
	return notes
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

// writeHAProxy is the command that writes HAProxy's configuration on a node.
func (cp *ControlPlane) writeHAProxy() string {
	return "openstack-ocf plan --haproxy " + quote(cp.HAProxyFile()) + " " + quote(cp.file)
}

// reload is the command that has an HAProxy take over its configuration without losing a connection.
func (cp *ControlPlane) reload() string {
	env := ""
	for _, p := range cp.balancer().parameters {
		env += "OCF_RESKEY_" + p.name.s + "=" + quote(p.value.s) + " "
	}
	return env + "openstack-ocf run haproxy reload-agent"
}

func (cp *ControlPlane) nonlocalBind() string {
	if strings.Contains(cp.floatingIP.s, ":") {
		return "net.ipv6.ip_nonlocal_bind"
	}
	return "net.ipv4.ip_nonlocal_bind"
}

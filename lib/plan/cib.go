package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/systemd"
)

// Built is the CIB that steps lead to.
type Built struct {
	CIB   *pacemaker.Element
	Steps []Step
}

// Build does the steps to a copy of a CIB, and has crm_verify check what comes of it. agents is the meta-data of those
// that the steps need.
func Build(ctx context.Context, from *pacemaker.Element, steps []Step, agents map[string]*pacemaker.Element) (*Built, error) {
	b := &Built{CIB: from.Clone(), Steps: steps}
	e := newEditor(b.CIB, agents)
	for _, s := range steps {
		if err := s.edit(e); err != nil {
			return nil, err
		}
	}
	return b, pacemaker.VerifyCIB(ctx, b.CIB)
}

// metadata asks all agents for theirs, which must be installed on this node. Fence agents take a third of a second each.
func metadata(ctx context.Context, steps []Step) (map[string]*pacemaker.Element, error) {
	var names []string
	for _, s := range steps {
		if s.made != nil {
			names = append(names, s.made.agent)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	docs, errs := make([]*pacemaker.Element, len(names)), make([]error, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Add(1)
		go func() {
			defer asking.Done()
			docs[i], errs[i] = pacemaker.Metadata(ctx, name)
		}()
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: call this on a control node, where the agents are", err)
	}
	agents := map[string]*pacemaker.Element{}
	for i, name := range names {
		agents[name] = docs[i]
	}
	return agents, nil
}

// Plan is what becomes of a control plane in an empty cluster.
type Plan struct {
	Enabled  []string           `json:"enabled,omitempty"`  // units of the plan that systemd starts on this node at boot
	Confined []string           `json:"confined,omitempty"` // what SELinux or AppArmor would keep services from on this node
	Storage  []string           `json:"storage,omitempty"`  // who else mounts the storage on this node, or which device it would be is chance
	Setup    []Step             `json:"setup"`              // of the cluster itself, once
	Steps    []Step             `json:"commands"`           // in order
	Notes    []string           `json:"notes"`              // what else is to do, as lines of a shell script
	HAProxy  string             `json:"haproxy,omitempty"`  // haproxy.cfg, "" without API services
	CIB      *pacemaker.Element `json:"cib"`                // without nodes
	Starts   []string           `json:"simulated"`          // what the cluster starts with all nodes there, by crm_simulate
}

// Script is the plan as a shell script. Its commands change a copy of the CIB, which becomes the cluster's at once: a
// clone starts nowhere before it is said where it must not.
func (p *Plan) Script() string {
	var b strings.Builder
	if len(p.Enabled) > 0 {
		units := strings.Join(p.Enabled, " ")
		fmt.Fprintf(&b, "# On this node systemd starts %s at boot, behind the cluster's back: systemctl disable --now %s\n\n", units, units)
	}
	for _, c := range slices.Concat(p.Confined, p.Storage) {
		fmt.Fprintf(&b, "# On this node: %s\n\n", c)
	}
	fmt.Fprintf(&b, "# A new cluster, once:\n%s\n", join(p.Setup, "\n"))
	if len(p.Notes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(p.Notes, "\n"))
	}
	fmt.Fprintf(&b, "\n# The control plane, on one node. Nothing starts before the last line.\npcs cluster cib old.xml\ncp old.xml new.xml\n")
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s\n", Step{Args: append([]string{"-f", "new.xml"}, s.Args...)})
	}
	fmt.Fprintf(&b, "pcs cluster cib-push new.xml diff-against=old.xml\n")
	fmt.Fprintf(&b, "\n# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:\n#   %s\n", strings.Join(p.Starts, "\n#   "))
	return b.String()
}

// New makes the plan, and has everything checked by those who are to live with it: the agents, crm_verify, crm_simulate
// and the load balancer. No cluster is needed, and nothing is changed.
func New(ctx context.Context, cp *ControlPlane) (*Plan, error) {
	p := &Plan{Enabled: cp.enabled("/"), Confined: cp.confined(ctx, "/"), Storage: cp.disputed(ctx, "/"), Setup: cp.Setup(), Steps: cp.Steps(), Notes: cp.Notes(), HAProxy: cp.BalancerConfig()}
	if err := cp.checkBalancer(ctx); err != nil {
		return nil, err
	}
	built, _, err := cp.build(ctx)
	if err != nil {
		return nil, err
	}
	p.CIB = built.CIB
	p.Starts, err = cp.simulate(ctx, built.CIB)
	return p, err
}

// enabled are the services' units that systemd starts at boot on this node.
func (cp *ControlPlane) enabled(root string) []string {
	return slices.DeleteFunc(cp.units(), func(unit string) bool { return len(systemd.Enabled(root, systemd.Real(root, unit))) == 0 })
}

// confined is what SELinux or AppArmor would keep services from on this node.
func (cp *ControlPlane) confined(ctx context.Context, root string) (list []string) {
	for _, s := range cp.services {
		if s.place == nil {
			continue
		}
		var of []string
		if s.place.Confined != nil {
			of = append(of, s.place.Confined(root, s.parameter))
		}
		program := s.parameter("binary")
		if u, found := systemd.Read(root, systemd.Real(root, s.unit.s)); s.unit.s != "" && found {
			program = u.Exec[0]
		}
		for _, c := range append(of, daemon.Mislabelled(ctx, root, program)) {
			if c != "" && !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	return list
}

// disputed is what on this node else mounts the storage, and which other devices have its name. What cannot be looked at here is
// left to the agents.
func (cp *ControlPlane) disputed(ctx context.Context, root string) (list []string) {
	for _, s := range cp.storage {
		device, err := filesystem.ParseDevice(s.device.s)
		if err != nil || filesystem.Binds(s.options.s) {
			continue
		}
		atBoot, _ := filesystem.AtBoot(ctx, root, device, s.directory.s)
		list = append(list, atBoot...)
		twins, _ := filesystem.Twins(ctx, device)
		if why, _ := filesystem.Doubt(device, twins); why != "" {
			list = append(list, why)
		}
	}
	return list
}

func (cp *ControlPlane) build(ctx context.Context) (*Built, map[string]*pacemaker.Element, error) {
	empty, err := pacemaker.EmptyCIB(ctx)
	if err != nil {
		return nil, nil, err
	}
	agents, err := metadata(ctx, cp.Steps())
	if err != nil {
		return nil, nil, err
	}
	built, err := Build(ctx, empty, cp.Steps(), agents)
	return built, agents, err
}

// simulate has all nodes of the file come to a cluster with this CIB, and says what is started where. It is an error
// if something is not.
func (cp *ControlPlane) simulate(ctx context.Context, cib *pacemaker.Element) ([]string, error) {
	cib = cib.Clone()
	cib.Set("have-quorum", "1")
	cib.Set("dc-uuid", "1")
	for i, n := range cp.nodes {
		id := strconv.Itoa(i + 1)
		cib.Child("configuration", "nodes").Add(pacemaker.El("node", "id", id, "uname", n.name.s))
		scores := pacemaker.El("instance_attributes", "id", "status-"+id)
		for _, s := range cp.services {
			if s.run.s == asPromotable { // its agent will ask for promotion
				name := pacemaker.PromotionScore(s.id.s)
				scores.Add(pacemaker.El("nvpair", "id", scores.Attr("id")+"-"+name, "name", name, "value", "1"))
			}
		}
		cib.Child("status").Add(pacemaker.El("node_state", "id", id, "uname", n.name.s,
			"in_ccm", "true", "crmd", "online", "join", "member", "expected", "member").Add(
			pacemaker.El("lrm", "id", id).Add(pacemaker.El("lrm_resources")),
			pacemaker.El("transient_attributes", "id", id).Add(scores)))
	}
	actions, err := pacemaker.Simulate(ctx, cib)
	if err != nil {
		return nil, err
	}
	// In the order of the commands: crm_simulate's own differs from release to release.
	var list []string
	for _, s := range cp.Steps() {
		if s.kind != resource {
			continue
		}
		its := map[string][]string{} // by operation
		for _, a := range actions {
			if a.Resource == s.Makes {
				its[a.Operation] = append(its[a.Operation], a.String())
			}
		}
		if len(its["start"]) == 0 {
			return list, fmt.Errorf("crm_simulate: the cluster would not start %s", s.Makes)
		}
		list = slices.Concat(list, slices.Sorted(slices.Values(its["start"])), slices.Sorted(slices.Values(its["promote"])))
	}
	return list, nil
}

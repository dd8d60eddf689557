package plan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// Built is the CIB that steps lead to.
type Built struct {
	CIB   *pacemaker.Element
	Steps []Step
	made  [][]*pacemaker.Element // the constraints that each step made
}

// Build runs the steps with pcs on a copy of the CIB, and has crm_verify check what comes of it. The agents must be
// installed on this node. Files are put into dir meanwhile.
func Build(ctx context.Context, dir string, from *pacemaker.Element, steps []Step) (*Built, error) {
	file := filepath.Join(dir, "cib.xml")
	defer os.Remove(file)
	if err := os.WriteFile(file, []byte(from.String()), 0o600); err != nil {
		return nil, err
	}
	b := &Built{CIB: from, Steps: steps}
	for _, s := range steps {
		if err := pacemaker.PCS(ctx, file, s.Args...); err != nil {
			if strings.Contains(err.Error(), "is not installed") {
				err = fmt.Errorf("%w: call this on a control node, where the agents are", err)
			}
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		next, err := readCIB(file)
		if err != nil {
			return nil, err
		}
		b.made = append(b.made, added(b.CIB, next))
		b.CIB = next
	}
	if err := pacemaker.VerifyCIB(ctx, file); err != nil {
		return nil, err
	}
	return b, nil
}

func readCIB(file string) (*pacemaker.Element, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return pacemaker.ParseXML(f)
}

// added are the constraints that only the second has.
func added(before, after *pacemaker.Element) []*pacemaker.Element {
	var list []*pacemaker.Element
	if c := after.Child("configuration", "constraints"); c != nil {
		for _, e := range c.Children {
			if before.Find(e.Name, e.Attr("id")) == nil {
				list = append(list, e)
			}
		}
	}
	return list
}

// Plan is what becomes of a control plane in an empty cluster.
type Plan struct {
	Setup   []Step             `json:"setup"`             // of the cluster itself, once
	Steps   []Step             `json:"commands"`          // in order
	Notes   []string           `json:"notes"`             // what else is to do, as lines of a shell script
	HAProxy string             `json:"haproxy,omitempty"` // haproxy.cfg, "" without API services
	CIB     *pacemaker.Element `json:"cib"`               // without nodes
	Starts  []string           `json:"simulated"`         // what the cluster starts with all nodes there, by crm_simulate
}

// Script is the plan as a shell script.
func (p *Plan) Script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# A new cluster, once:\n%s\n", join(p.Setup, "\n"))
	if len(p.Notes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(p.Notes, "\n"))
	}
	fmt.Fprintf(&b, "\n# The control plane, on one node:\n%s\n", join(p.Steps, "\n"))
	fmt.Fprintf(&b, "\n# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:\n#   %s\n", strings.Join(p.Starts, "\n#   "))
	return b.String()
}

// New makes the plan, and has everything checked by those who are to live with it: pcs, crm_verify, crm_simulate and
// haproxy. No cluster is needed, and nothing is changed.
func New(ctx context.Context, cp *ControlPlane) (*Plan, error) {
	dir, err := os.MkdirTemp("", "plan")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &Plan{Setup: cp.Setup(), Steps: cp.Steps(), Notes: cp.Notes(), HAProxy: cp.HAProxy()}
	if err := checkHAProxy(ctx, dir, p.HAProxy); err != nil {
		return nil, err
	}
	built, err := cp.build(ctx, dir)
	if err != nil {
		return nil, err
	}
	p.CIB = built.CIB
	p.Starts, err = cp.simulate(ctx, built.CIB)
	return p, err
}

func (cp *ControlPlane) build(ctx context.Context, dir string) (*Built, error) {
	empty, err := pacemaker.EmptyCIB(ctx)
	if err != nil {
		return nil, err
	}
	return Build(ctx, dir, empty, cp.Steps())
}

func checkHAProxy(ctx context.Context, dir, config string) error {
	if config == "" {
		return nil
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	return pacemaker.CheckHAProxy(ctx, file)
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

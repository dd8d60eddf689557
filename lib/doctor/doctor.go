// Package doctor says what is wrong with this node and this cluster, or soon would be: all that the agents would complain of
// here (validate-all), that the cluster shows, and that stands in a swap's way, in one list. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/status"
	"github.com/openstack-ocf/agents/lib/swap"
	"github.com/openstack-ocf/agents/ocf"
)

// Format is the version of the JSON: it grows when a field goes away or changes its meaning.
const Format = 1

// How bad a finding is.
const (
	Error   = "error"   // a service is down, or would not come back
	Warning = "warning" // it is well now, and something is missing for when it is not
	Note    = "note"
)

// Finding is one thing to know.
type Finding struct {
	Level string `json:"level"`
	Where string `json:"where"` // cluster, a node, or a resource
	What  string `json:"what"`
	Do    string `json:"do,omitempty"`
}

// Doctor looks from this node.
type Doctor struct {
	Agents map[string]func() ocf.Agent // of this suite, by name
	Report *status.Report              // what [status.Read] said
	CIB    *pacemaker.Element
	Node   string // this one
	// Plan is what a swap of all resources that have a successor would do, [swap.Swap.Plan]; nil: it is not looked at.
	Plan func(context.Context) (*swap.Plan, error)
	Root bool // else the agents look at the parameters only: of a node they would see what this user may not, and call it wrong
}

// checkTime is what validate-all of one resource may take.
const checkTime = 20 * time.Second

// Examine returns what it found, the worst first.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	found := append([]Finding{}, d.cluster()...) // [] in JSON, not null
	found = append(found, d.resources()...)
	found = append(found, d.moved()...)
	for p := range d.CIB.Child("configuration", "resources").All("primitive") {
		if p.Attr("provider") == swap.Provider {
			found = append(found, d.primitive(ctx, p)...)
		}
	}
	if !d.Root {
		found = append(found, Finding{Note, d.Node, "whether the services could start on this node, and what could be swapped, was not looked at", "call doctor as root"})
	}
	found = append(found, d.swaps(ctx)...)
	order := []string{Error, Warning, Note}
	slices.SortStableFunc(found, func(a, b Finding) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	return found
}

func (d *Doctor) cluster() (found []Finding) {
	add := func(is bool, level, what, do string) {
		if is {
			found = append(found, Finding{level, "cluster", what, do})
		}
	}
	c := d.Report.Cluster
	for _, f := range c.Frozen {
		found = append(found, Finding{Error, d.Node, f + " is frozen, stopped by a signal: what the cluster shows here may be old, and nobody looks after this node", "find out who did that; kill -CONT"})
	}
	add(c.DC == "", Error, "no node decides (there is no DC)", "wait for an election, or look at corosync: pcs status corosync")
	add(!c.Quorum, Error, "it has no quorum, and brings nothing back", "bring the nodes back that are gone: pcs quorum status")
	add(c.Doubt != "", Error, "whether nodes are fenced cannot be told: "+c.Doubt, "set it anew: pcs property set stonith-enabled=true")
	add(c.Doubt == "" && !c.Fencing, Warning, "fencing is off: a node that nobody can reach may still write to the shared storage, and a stop that fails is final",
		"give it a fencing device, then: pcs property set stonith-enabled=true")
	add(c.Fencing && !d.fences(), Error, "fencing is on, and there is no fencing device: after a failure the cluster waits for ever", "pcs stonith create ...")
	add(c.Maintenance, Warning, "it is in maintenance: nothing is brought back", "pcs property set maintenance-mode=false")
	for _, n := range d.Report.Nodes {
		switch n.State {
		case "unclean":
			found = append(found, Finding{
				Error, n.Name, "the node is unclean: it is not fenced yet, and until then what ran there starts nowhere else",
				"see why: pcs stonith history; only if you have looked, and it is off: pcs stonith confirm " + n.Name,
			})
		case "offline":
			found = append(found, Finding{Error, n.Name, "the node is offline", "bring it back: the services have nowhere else to go when the next one fails"})
		case "standby", "maintenance":
			found = append(found, Finding{Warning, n.Name, "the node is in " + n.State, "pcs node un" + n.State + " " + n.Name})
		}
	}
	return found
}

// fences tells whether the cluster has a fencing device.
func (d *Doctor) fences() bool {
	for p := range d.CIB.Child("configuration", "resources").All("primitive") {
		if p.Attr("class") == "stonith" {
			return true
		}
	}
	return false
}

func (d *Doctor) resources() (found []Finding) {
	for _, r := range d.Report.Resources {
		if r.Down() {
			found = append(found, Finding{Error, r.ID, "it runs nowhere, although nobody stopped it", "crm_resource --why -r " + r.ID})
		}
		if !r.Managed && !d.Report.Cluster.Maintenance {
			found = append(found, Finding{Warning, r.ID, "the cluster does not manage it: nobody would bring it back", "pcs resource manage " + r.ID})
		}
		for _, i := range r.Instances {
			level := map[string]string{status.Blocked: Error, status.Failed: Error, status.Degraded: Warning}[i.State]
			if level != "" {
				found = append(found, Finding{level, on(r.ID, i.Node), fmt.Sprintf("it is %s: %s", i.State, i.Reason), i.Advice})
			}
		}
		for _, f := range r.Failures {
			if f.Banned {
				found = append(found, Finding{Warning, on(r.ID, f.Node), fmt.Sprintf("it may not run there since its %s failed (%d): %s", f.Operation, f.Code, f.Reason), "mend that, then: " + f.Clears})
			}
		}
	}
	return found
}

// moved are the constraints that a move or a ban by hand has left, for ever: with a lifetime they have a rule in place of a node.
func (d *Doctor) moved() (found []Finding) {
	for l := range d.CIB.Child("configuration").All("rsc_location") {
		id, node := l.Attr("id"), l.Attr("node")
		what := ""
		switch {
		case node == "":
		case strings.HasPrefix(id, "cli-ban-"):
			what = "somebody banned it from there by hand (" + id + "): it has one node less when the next one fails"
		case strings.HasPrefix(id, "cli-prefer-"):
			what = "somebody moved it there by hand (" + id + "): it goes back there, with an interruption, whenever that node comes back"
		}
		if what != "" {
			found = append(found, Finding{Warning, on(l.Attr("rsc"), node), what, "pcs resource clear " + l.Attr("rsc")})
		}
	}
	return found
}

func on(resource, node string) string {
	if node == "" {
		return resource
	}
	return resource + " on " + node
}

// primitive has the agent of a resource look at its parameters and at this node.
func (d *Doctor) primitive(ctx context.Context, p *pacemaker.Element) (found []Finding) {
	id, kind := p.Attr("id"), p.Attr("type")
	declare, known := d.Agents[kind]
	if !known {
		return []Finding{{Error, on(id, d.Node), "there is no agent " + pacemaker.AgentOf(p) + " in this version", "install the same version of openstack-ocf on all nodes"}}
	}
	for _, less := range swap.Operations(p, declare()) {
		found = append(found, Finding{Note, id, less, "pcs resource update " + id + " op ..."})
	}
	if d.banned(p) {
		return found
	}
	level := "OCF_CHECK_LEVEL=0"
	if d.Root {
		level = "OCF_CHECK_LEVEL=10" // this node as well
	}
	said := ocf.Try(ctx, declare(), ocf.ValidateAll, id, pacemaker.Parameters(p), checkTime, level)
	if said.Code != ocf.OK {
		found = append(found, Finding{Error, on(id, d.Node), fmt.Sprintf("it could not start here: %s (%d, %s)", said.Reason, int(said.Code), said.Code), ""})
	}
	for _, w := range said.Warnings {
		found = append(found, Finding{Warning, on(id, d.Node), w, ""})
	}
	return found
}

// banned tells whether a constraint keeps a resource, or what it is in, from this node for ever.
func (d *Doctor) banned(p *pacemaker.Element) bool {
	in := map[string]bool{}
	for _, e := range d.CIB.Child("configuration", "resources").Path(p) {
		in[e.Attr("id")] = true
	}
	for l := range d.CIB.Child("configuration").All("rsc_location") {
		if in[l.Attr("rsc")] && l.Attr("node") == d.Node && strings.EqualFold(l.Attr("score"), "-INFINITY") {
			return true
		}
	}
	return false
}

// swaps says which resources could have an agent of this suite, and what stands in the way.
func (d *Doctor) swaps(ctx context.Context) (found []Finding) {
	if d.Plan == nil {
		return nil
	}
	p, err := d.Plan(ctx)
	var refusal *swap.Refusal
	switch {
	case errors.As(err, &refusal):
		for _, why := range refusal.Reasons {
			found = append(found, Finding{Note, "swap", why, ""})
		}
	case err != nil:
		found = append(found, Finding{Warning, "swap", err.Error(), ""})
	}
	if p == nil {
		return found
	}
	for _, c := range p.Changes {
		found = append(found, Finding{Note, c.ID, fmt.Sprintf("%s knows only whether it runs: %s would know whether it serves", c.From, c.To), "openstack-ocf swap --dry-run " + c.ID})
		for _, n := range c.Notes {
			found = append(found, Finding{Note, c.ID, n, ""})
		}
	}
	return found
}

// Worst is the worst level of findings, "" if there are none.
func Worst(found []Finding) string {
	for _, level := range []string{Error, Warning, Note} {
		if slices.ContainsFunc(found, func(f Finding) bool { return f.Level == level }) {
			return level
		}
	}
	return ""
}

// WriteText writes findings for people; paint colours a level.
func WriteText(w io.Writer, found []Finding, paint func(level string) string) error {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s  %s: %s\n", paint(f.Level), f.Where, f.What)
		if f.Do != "" {
			fmt.Fprintf(&b, "    -> %s\n", f.Do)
		}
	}
	if len(found) == 0 {
		b.WriteString("nothing is wrong, as far as can be seen from here\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

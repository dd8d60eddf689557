package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// colourOf is a state's colour on a terminal, as ECMA-48 has them.
func colourOf(state string) string {
	switch state {
	case Blocked, Failed, "unclean", "offline":
		return "1;31"
	case Degraded, "standby", "maintenance":
		return "33"
	case Changing, "joining":
		return "36"
	case Stopped:
		return "2"
	}
	return "32"
}

// Troubled is the report without the nodes and resources of which there is nothing to say but that they are online and serve.
func (r *Report) Troubled() *Report {
	less := *r
	less.Resources = slices.DeleteFunc(slices.Clone(r.Resources), func(res Resource) bool {
		return res.State == Serving && res.Managed && len(res.Failures) == 0
	})
	less.Nodes = slices.DeleteFunc(slices.Clone(r.Nodes), func(n Node) bool { return n.State == "online" })
	less.left = fmt.Sprintf("%d nodes online, %d more resources serving", len(r.Nodes)-len(less.Nodes), len(r.Resources)-len(less.Resources))
	return &less
}

// WriteText writes the report for people: a line for each resource on each node, and below it why and what to do. Without
// its time, At, it says since when something is so, and not how long.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	paint := func(state string) string {
		if colour {
			return "\x1b[" + colourOf(state) + "m" + state + "\x1b[0m"
		}
		return state
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.headline())
	if frozen := r.Cluster.Frozen; len(frozen) > 0 {
		fmt.Fprintf(&b, "FROZEN on this node, stopped by a signal: %s; what follows may be old, and nobody looks after this node. Find out who did that\n", strings.Join(frozen, ", "))
	}
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "  %s %s\n", n.Name, paint(n.State))
	}
	ids, agents, nodes := widths(r)
	for _, res := range r.Resources {
		for _, i := range res.Instances {
			fmt.Fprintf(&b, "%-*s  %-*s  %-*s  %s%s\n", ids, res.ID, agents, res.Agent, nodes, i.Node, paint(i.State), i.more(res, r.At))
			for _, m := range i.reasons() {
				fmt.Fprintf(&b, "    %s\n", m)
			}
		}
		for _, f := range res.Failures {
			banned := ""
			if f.Banned {
				banned = ", and keeps it from this node"
			}
			fmt.Fprintf(&b, "    is over: %s on %s failed (%d) %s%s: %s\n", f.Operation, f.Node, f.Code, ago(r.At, f.At), banned, orNone(f.Reason))
			if f.Advice != "" {
				fmt.Fprintf(&b, "      -> %s\n", f.Advice)
			}
			fmt.Fprintf(&b, "      forgotten by: %s\n", f.Clears)
		}
	}
	if r.left != "" {
		fmt.Fprintln(&b, r.left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// headline is what holds for all of the cluster.
func (r *Report) headline() string {
	parts := []string{"DC " + r.Cluster.DC}
	add := func(is bool, yes, no string) {
		if !is {
			yes = no
		}
		if yes != "" {
			parts = append(parts, yes)
		}
	}
	add(r.Cluster.DC != "", "", "NOBODY DECIDES")
	add(r.Cluster.Quorum, "quorum", "NO QUORUM")
	add(r.Cluster.Fencing, "fencing on", "FENCING OFF")
	add(r.Cluster.Doubt == "", "", "fencing in doubt: "+r.Cluster.Doubt)
	add(r.Cluster.Maintenance, "MAINTENANCE: nothing is recovered", "")
	add(r.Cluster.Doing == "", "at rest", r.Cluster.Doing)
	return "cluster: " + strings.Join(parts, ", ")
}

func (i Instance) more(r Resource, now time.Time) string {
	s := ""
	if i.Role != "Started" && i.Role != "Stopped" {
		s += " " + strings.ToLower(i.Role)
	}
	if !i.Since.IsZero() {
		s += ", since " + ago(now, i.Since)
	}
	switch {
	case i.Node != "" || i.State != Stopped:
	case r.Disabled:
		s += ", by somebody: pcs resource enable " + r.ID
	default:
		s += ", THOUGH NOBODY STOPPED IT: crm_resource --why -r " + r.ID
	}
	if !r.Managed {
		s += ", UNMANAGED: the cluster does nothing about it"
	}
	return s
}

// reasons are the reason and what to do, and those of other levels of the monitor.
func (i Instance) reasons() []string {
	if i.Code == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%s (exit %d)", orNone(i.Reason), i.Code)}
	if i.Advice != "" {
		lines = append(lines, "  -> "+i.Advice)
	}
	for _, m := range i.Monitors {
		if m.Code != 0 && m.Reason != i.Reason && m.Reason != "" {
			lines = append(lines, fmt.Sprintf("also: %s (exit %d)", m.Reason, m.Code))
		}
	}
	return lines
}

func orNone(reason string) string {
	if reason == "" {
		return "it gave no reason"
	}
	return reason
}

// ago is a time of day and how long ago that is.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "an unknown time"
	}
	if now.IsZero() {
		return then.Local().Format("Jan 02 15:04:05")
	}
	d := now.Sub(then)
	span := fmt.Sprintf("%d days", int(d.Hours()/24))
	switch {
	case d < 2*time.Minute:
		span = fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		span = fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		span = fmt.Sprintf("%d h", int(d.Hours()))
	}
	layout := "15:04:05"
	if d > 20*time.Hour {
		layout = "2006-01-02 15:04"
	}
	return then.Local().Format(layout) + " (" + span + ")"
}

// widths are those of the columns.
func widths(r *Report) (ids, agents, nodes int) {
	for _, res := range r.Resources {
		ids, agents = max(ids, len(res.ID)), max(agents, len(res.Agent))
		for _, i := range res.Instances {
			nodes = max(nodes, len(i.Node))
		}
	}
	return ids, agents, nodes
}

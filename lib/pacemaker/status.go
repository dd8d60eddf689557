package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"strings"
	"time"
)

// Status is the cluster as Pacemaker sees it (crm_mon(8)).
type Status struct {
	DC          string // the node that decides; "" while there is none
	Quorum      bool
	Maintenance bool // the whole cluster
	Nodes       []Node
	Resources   []Resource
	Failures    []Failure
}

// Node is a node of the cluster.
type Node struct {
	Name                                           string
	Online, Standby, Maintenance, Pending, Unclean bool
	Guest                                          bool // it is a resource itself, such as the container of a bundle
	Remote                                         bool // it runs pacemaker_remote only
}

// Resource is a primitive, or one instance of a cloned one.
type Resource struct {
	ID                                         string // without the number of an instance
	Agent                                      string // class:provider:type
	Role                                       string // Started, Stopped, Promoted, Starting, ...
	Active, Orphaned, Blocked, Managed, Failed bool
	Disabled                                   bool // its target-role, or that of what it is in, is Stopped
	Nodes                                      []string
}

// Failure is an action that failed and was not cleaned up since.
type Failure struct {
	Resource  string // without the number of an instance
	Operation string // RESOURCE_ACTION_INTERVAL
	Node      string
	Reason    string
}

// ReadStatus asks for it.
func ReadStatus(ctx context.Context) (*Status, error) {
	// Without the history of fencing, for which it would ask the fencer, and hang with that.
	out, err := tool(ctx, cibTimeout, "", "crm_mon", "--one-shot", "--inactive", "--output-as=xml", "--fence-history=0")
	if e := (*ToolError)(nil); errors.As(err, &e) && e.Code == codeUsage { // before 2.0.3
		out, err = tool(ctx, cibTimeout, "", "crm_mon", "--one-shot", "--inactive", "--as-xml")
	}
	if err != nil {
		return nil, err
	}
	return parseStatus(out)
}

// StatusOf is what a CIB says, without asking any daemon: crm_mon hangs with one that hangs, pacemakerd or, in 3.0, the controller.
func StatusOf(ctx context.Context, cib *Element) (*Status, error) {
	f, err := memory(cib.String())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := toolWith(ctx, cibTimeout, []*os.File{f}, "", "env", "CIB_file=/dev/fd/3", "crm_mon", "--one-shot", "--inactive", "--output-as=xml", "--fence-history=0")
	if err != nil {
		return nil, err
	}
	return parseStatus(out)
}

func parseStatus(text string) (*Status, error) {
	doc, err := ParseXML(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("crm_mon: %w", err)
	}
	yes := func(e *Element, name string) bool { return e.Attr(name) == "true" }
	s := &Status{}
	for dc := range doc.All("current_dc") {
		s.DC, s.Quorum = dc.Attr("name"), yes(dc, "with_quorum")
	}
	for o := range doc.All("cluster_options") {
		s.Maintenance = yes(o, "maintenance-mode")
	}
	if nodes := doc.Child("nodes"); nodes != nil {
		for _, n := range nodes.Children {
			s.Nodes = append(s.Nodes, Node{
				Name: n.Attr("name"), Online: yes(n, "online"), Standby: yes(n, "standby"),
				Maintenance: yes(n, "maintenance"), Pending: yes(n, "pending"), Unclean: yes(n, "unclean"),
				Guest: n.Attr("id_as_resource") != "", Remote: n.Attr("type") == "remote",
			})
		}
	}
	if len(s.Nodes) == 0 {
		_, said, _ := strings.Cut(text, "<error>") // of 2.1.5, which exits with 0
		said, _, _ = strings.Cut(said, "</error>")
		return nil, fmt.Errorf("crm_mon names no nodes: %q", said)
	}
	for e := range doc.Child("resources").All("resource") {
		id, _, _ := strings.Cut(e.Attr("id"), ":")
		r := Resource{
			ID: id, Agent: strings.Replace(e.Attr("resource_agent"), "::", ":", 1), // "ocf::heartbeat:IPaddr2" before 2.1
			Role: e.Attr("role"), Active: yes(e, "active"), Orphaned: yes(e, "orphaned") || yes(e, "removed"),
			Blocked: yes(e, "blocked"), Managed: yes(e, "managed"), Failed: yes(e, "failed"),
			Disabled: strings.EqualFold(e.Attr("target_role"), "Stopped"),
		}
		for n := range e.All("node") {
			r.Nodes = append(r.Nodes, n.Attr("name"))
		}
		s.Resources = append(s.Resources, r)
	}
	for f := range doc.All("failure") {
		// An id may have an underscore, and so may an action (migrate_to).
		id, _, _ := strings.Cut(strings.TrimSuffix(f.Attr("op_key"), "_"+f.Attr("task")+"_"+f.Attr("interval")), ":")
		// Pacemaker 2.1 escapes reasons twice.
		s.Failures = append(s.Failures, Failure{id, f.Attr("op_key"), f.Attr("node"), html.UnescapeString(f.Attr("exitreason"))})
	}
	return s, nil
}

// Instances are those of a resource; more than one if it is cloned.
func (s *Status) Instances(id string) []Resource {
	var list []Resource
	for _, r := range s.Resources {
		if r.ID == id && !r.Orphaned {
			list = append(list, r)
		}
	}
	return list
}

// Busy says why the cluster is not at rest, "" if it is: a transition is under way, or a node comes or goes.
func Busy(ctx context.Context, s *Status) (string, error) {
	if s.DC == "" {
		return "no node leads the cluster (there is no DC)", nil
	}
	out, err := tool(ctx, cibTimeout, "", "crmadmin", "--status", s.DC) // --timeout means ms before 2.1
	if err != nil {
		return "", err
	}
	if !strings.Contains(out, "S_IDLE") {
		return "a transition is in progress: " + strings.TrimSpace(out), nil
	}
	for _, n := range s.Nodes {
		if n.Pending || n.Unclean {
			return fmt.Sprintf("node %s is joining or leaving (pending %v, unclean %v)", n.Name, n.Pending, n.Unclean), nil
		}
	}
	return "", nil
}

// RunsHere tells, without running anything, whether Pacemaker runs on this node: whether somebody listens where the CIB is asked for
// (libqb's sockets are abstract ones, or files). It is true if that cannot be told.
func RunsHere() bool {
	list, err := os.ReadFile("/proc/net/unix")
	return err != nil || strings.Contains(string(list), "cib_ro")
}

// LocalNode is this node's name in the cluster.
func LocalNode(ctx context.Context) (string, error) {
	out, err := tool(ctx, toolTimeout, "", "crm_node", "--name")
	return strings.TrimSpace(out), err
}

// refreshTimeout is how long the controller of a node may take to forget a resource.
const refreshTimeout = 90 * time.Second

// Refresh has a node forget what it knows of one resource, whatever group or clone it is in, so that it is probed
// anew there. It returns once the node has forgotten; the probe comes after. Without a node, "", all are meant that know
// it, up to the first that fails; but of a clone only the first instance.
func Refresh(ctx context.Context, id, node string) error {
	args := []string{"--refresh", "--force", "--resource", id}
	if node != "" {
		args = append(args, "--node", node)
	}
	_, err := tool(ctx, refreshTimeout, "", "crm_resource", args...)
	return err
}

// Check runs the monitor of a resource's agent on this node, behind the cluster's back, and returns its OCF exit
// code, to which a script's LSB code is mapped.
func Check(ctx context.Context, id string, within time.Duration) (int, error) {
	out, err := tool(ctx, within, "", "crm_resource", "--force-check", "--resource", id, "--output-as=xml")
	doc, perr := ParseXML(strings.NewReader(out))
	if perr == nil {
		for st := range doc.All("agent-status") {
			var code int
			if _, serr := fmt.Sscan(st.Attr("code"), &code); serr == nil {
				return code, nil
			}
		}
	}
	if err == nil {
		err = fmt.Errorf("crm_resource says nothing of the agent's status: %s", strings.Join(strings.Fields(out), " "))
	}
	return 0, err
}

package cluster

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"
)

// Status is what crm_mon says, on a node that is on and not cut.
type Status struct {
	DC        string // empty: none
	Quorum    bool
	Nodes     []NodeStatus
	Resources []ResourceStatus // primitives; the instances of a clone are one each
	Failures  []Failure
}

// NodeStatus is a node as Pacemaker sees it.
type NodeStatus struct {
	Name    string `xml:"name,attr"`
	Online  bool   `xml:"online,attr"`
	Standby bool   `xml:"standby,attr"`
	Pending bool   `xml:"pending,attr"`
	Unclean bool   `xml:"unclean,attr"`
	DC      bool   `xml:"is_dc,attr"`
}

// ResourceStatus is a primitive resource, or one instance of a cloned one.
type ResourceStatus struct {
	ID      string `xml:"id,attr"`
	Agent   string `xml:"resource_agent,attr"`
	Role    string `xml:"role,attr"` // Stopped, Starting, Started, Stopping, Promoted, ...
	Active  bool   `xml:"active,attr"`
	Failed  bool   `xml:"failed,attr"`
	Blocked bool   `xml:"blocked,attr"`
	Managed bool   `xml:"managed,attr"`
	Pending string `xml:"pending,attr"` // an action under way, as a role: Starting, Stopping, Monitoring, ...
	On      []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

// Nodes returns the names of the nodes the resource is active on.
func (r ResourceStatus) Nodes() []string {
	var names []string
	for _, n := range r.On {
		names = append(names, n.Name)
	}
	return names
}

// Failure is a failed action.
type Failure struct {
	Operation string `xml:"op_key,attr"` // RESOURCE_ACTION_INTERVAL
	Node      string `xml:"node,attr"`
	Code      int    `xml:"exitcode,attr"`
	Reason    string `xml:"exitreason,attr"` // the agent's ocf-exit-reason
	Changed   string `xml:"last-rc-change,attr"`
}

// Resource returns the instances of a primitive resource; none if there is no such resource.
func (s *Status) Resource(id string) []ResourceStatus {
	var all []ResourceStatus
	for _, r := range s.Resources {
		if base, _, _ := strings.Cut(r.ID, ":"); base == id || r.ID == id {
			all = append(all, r)
		}
	}
	return all
}

// Running returns the sorted names of the nodes a resource is active on, or is starting or stopping on.
func (s *Status) Running(id string) []string {
	var at []string
	for _, r := range s.Resource(id) {
		if r.Active {
			at = append(at, r.Nodes()...)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// Node returns a node's status, the zero value if Pacemaker does not know it.
func (s *Status) Node(name string) NodeStatus {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	return NodeStatus{}
}

// parseStatus reads the output of `crm_mon --output-as=xml` of Pacemaker 2.1 and 3.0.
func parseStatus(r io.Reader) (*Status, error) {
	s := &Status{}
	inNodes := false // elements called node are the nodes only inside of nodes
	dec := xml.NewDecoder(r)
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			if s.Nodes == nil {
				return nil, errors.New("crm_mon: no nodes in the output")
			}
			for i := range s.Failures { // Pacemaker 2.1 escapes reasons twice
				s.Failures[i].Reason = html.UnescapeString(s.Failures[i].Reason)
			}
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("crm_mon: %w", err)
		}
		if end, ok := tok.(xml.EndElement); ok && end.Name.Local == "nodes" {
			inNodes = false
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		switch {
		case el.Name.Local == "nodes":
			inNodes = true
		case el.Name.Local == "node" && inNodes:
			err = decodeInto(dec, el, &s.Nodes)
		case el.Name.Local == "resource":
			err = decodeInto(dec, el, &s.Resources)
		case el.Name.Local == "failure":
			err = decodeInto(dec, el, &s.Failures)
		case el.Name.Local == "current_dc":
			var dc struct {
				Name   string `xml:"name,attr"`
				Quorum bool   `xml:"with_quorum,attr"`
			}
			err = dec.DecodeElement(&dc, &el)
			s.DC, s.Quorum = dc.Name, dc.Quorum
		}
		if err != nil {
			return nil, fmt.Errorf("crm_mon: <%s>: %w", el.Name.Local, err)
		}
	}
}

func decodeInto[T any](dec *xml.Decoder, el xml.StartElement, list *[]T) error {
	var v T
	err := dec.DecodeElement(&v, &el)
	*list = append(*list, v)
	return err
}

// Avoid names the nodes that are not to be asked about the cluster though they are on and connected, such as one whose daemons
// are frozen; none ends that.
func (c *Cluster) Avoid(names ...string) {
	c.askMu.Lock()
	defer c.askMu.Unlock()
	c.avoided = names
}

// witnesses are the nodes that are on, not cut and not avoided, first the one that answered last.
func (c *Cluster) witnesses(ctx context.Context) ([]*Node, error) {
	states, err := c.States(ctx)
	if err != nil {
		return nil, err
	}
	c.askMu.Lock()
	defer c.askMu.Unlock()
	var list []*Node
	for _, s := range states {
		switch {
		case !s.On || s.Cut || slices.Contains(c.avoided, s.Name):
		case s.Name == c.answered:
			list = slices.Insert(list, 0, c.Node(s.Name))
		default:
			list = append(list, c.Node(s.Name))
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no node is on, has its network cable in, and is not avoided")
	}
	return list, nil
}

// OnAny runs argv on a node that is on, not cut and not avoided: the one that answered Status last, or the first.
func (c *Cluster) OnAny(ctx context.Context, argv ...string) (Result, error) {
	list, err := c.witnesses(ctx)
	if err != nil {
		return Result{Code: -1}, err
	}
	return list[0].Exec(ctx, argv...)
}

// answerTimeout is how long a node may take to answer before another one is asked. It takes about 20 ms.
const answerTimeout = 10 * time.Second

// Status asks crm_mon, on the first node that answers.
func (c *Cluster) Status(ctx context.Context) (*Status, error) {
	list, err := c.witnesses(ctx)
	for _, n := range list {
		var s *Status
		if s, err = n.status(ctx); err == nil {
			c.askMu.Lock()
			c.answered = n.Name
			c.askMu.Unlock()
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (n *Node) status(ctx context.Context) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	res, err := n.Exec(ctx, "crm_mon", "--one-shot", "--output-as=xml")
	if err != nil {
		return nil, err
	}
	return parseStatus(strings.NewReader(res.Stdout))
}

// CrmMon returns what `crm_mon -1rfA` prints for people.
func (c *Cluster) CrmMon(ctx context.Context) string {
	res, err := c.OnAny(ctx, "crm_mon", "-1rfA")
	if err != nil {
		return err.Error()
	}
	return res.Stdout
}

// CIB returns the part of the CIB that an XPath expression selects, as XML.
func (c *Cluster) CIB(ctx context.Context, xpath string) (string, error) {
	res, err := c.OnAny(ctx, "cibadmin", "--query", "--xpath", xpath)
	return res.Stdout, err
}

// Running returns the name of the node a resource is active on, or is starting or stopping on; empty if none, and an
// error if there are several.
func (c *Cluster) Running(ctx context.Context, id string) (string, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	switch at := s.Running(id); len(at) {
	case 0:
		return "", nil
	case 1:
		return at[0], nil
	default:
		return "", fmt.Errorf("%s is active on %s", id, strings.Join(at, " and "))
	}
}

// statusEvery is how often the waits below ask: crm_mon takes 20 to 60 ms of a processor, and many wait at once.
const statusEvery = 300 * time.Millisecond

// WaitFor returns when ok says nil about the status, or with what it said last when ctx ends. While crm_mon
// does not answer, ok is not asked.
func (c *Cluster) WaitFor(ctx context.Context, ok func(*Status) error) error {
	err := poll(ctx, statusEvery, func() error {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(len(c.nodes))*answerTimeout)
		defer cancel()
		s, err := c.Status(one)
		if err != nil {
			return err
		}
		return ok(s)
	})
	if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return fmt.Errorf("cluster %s: %w\n%s", c.name, err, c.CrmMon(last))
	}
	return nil
}

// WaitStable returns when there is a DC and quorum, all nodes that are on and not cut are online, and all others
// are neither online nor unclean: fenced if need be.
func (c *Cluster) WaitStable(ctx context.Context) error {
	return c.WaitFor(ctx, func(s *Status) error {
		states, err := c.States(ctx)
		if err != nil {
			return err
		}
		if s.DC == "" {
			return errors.New("there is no DC")
		}
		if !s.Quorum {
			return errors.New("there is no quorum")
		}
		for _, st := range states {
			n := s.Node(st.Name)
			if up := st.On && !st.Cut; n.Online != up || n.Unclean || n.Pending {
				return fmt.Errorf("%s: on and connected %v, but online %v, unclean %v, pending %v", st.Name, up, n.Online, n.Unclean, n.Pending)
			}
		}
		return nil
	})
}

// WaitIdle returns when Pacemaker has no action left to do (crm_resource --wait). What it has not noticed yet, such as a daemon
// that died since the last monitor, it does not wait for.
func (c *Cluster) WaitIdle(ctx context.Context) error {
	for {
		// The node that is asked may be frozen or cut, and another one has to be.
		if _, err := c.Status(ctx); err != nil {
			return err
		}
		one, cancel := context.WithTimeout(ctx, idleTimeout+answerTimeout)
		_, err := c.OnAny(one, "crm_resource", "--wait", fmt.Sprintf("--timeout=%.0fs", idleTimeout.Seconds()))
		late := one.Err() != nil
		cancel()
		var exit *ExitError
		if ctx.Err() == nil && (late || errors.As(err, &exit) && exit.Code == exitTimeout) {
			if c.onlyMonitors(ctx) {
				return nil
			}
			continue
		}
		return err
	}
}

// onlyMonitors tells whether the cluster is at rest but for monitors: Pacemaker 2.1.5 takes one whose first result is
// degraded (190) for one that is under way, for ever, and `crm_resource --wait` with it.
func (c *Cluster) onlyMonitors(ctx context.Context) bool {
	s, err := c.Idle(ctx)
	return err == nil && slices.ContainsFunc(s.Resources, func(r ResourceStatus) bool { return r.Pending == "Monitoring" })
}

// Idle is one look whether Pacemaker has an action left to do, other than monitors, and the status that it had before. It costs a
// tenth of `crm_resource --wait`, which looks every 2 s.
func (c *Cluster) Idle(ctx context.Context) (*Status, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	return s, c.IdleSince(ctx, s)
}

// IdleSince is the same look, of whom has the status already.
func (c *Cluster) IdleSince(ctx context.Context, s *Status) error {
	if s.DC == "" {
		return errors.New("there is no DC")
	}
	for _, r := range s.Resources {
		if r.Pending != "" && r.Pending != "Monitoring" {
			return fmt.Errorf("%s is %s", r.ID, strings.ToLower(r.Pending))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout) // a DC that has just died never answers
	defer cancel()
	res, err := c.OnAny(ctx, "crmadmin", "--status", s.DC)
	if err == nil && !strings.Contains(res.Stdout, "S_IDLE") {
		err = fmt.Errorf("the DC says %s", strings.TrimSpace(res.Stdout))
	}
	return err
}

const (
	idleTimeout = 30 * time.Second
	exitTimeout = 124 // of Pacemaker's commands
)

// WaitRunning returns the node a resource is active on as soon as it is: alone, started and not failed.
func (c *Cluster) WaitRunning(ctx context.Context, id string) (at string, err error) {
	err = c.WaitFor(ctx, func(s *Status) error {
		all := s.Resource(id)
		if len(all) == 0 {
			return fmt.Errorf("there is no resource %s", id)
		}
		nodes := s.Running(id)
		for _, r := range all {
			if r.Failed || r.Blocked {
				return fmt.Errorf("%s has failed on %v", id, nodes)
			}
			for _, doing := range []string{r.Role, r.Pending} {
				if doing == "Starting" || doing == "Stopping" {
					return fmt.Errorf("%s is %s on %v", id, strings.ToLower(doing), nodes)
				}
			}
		}
		if len(nodes) != 1 {
			return fmt.Errorf("%s is active on %v", id, nodes)
		}
		if n := s.Node(nodes[0]); !n.Online || n.Unclean {
			return fmt.Errorf("%s is active on %s, which is offline or unclean", id, n.Name)
		}
		at = nodes[0]
		return nil
	})
	return at, err
}

// waitBooted returns when systemd has nothing left to start on any node.
func (c *Cluster) waitBooted(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.WaitBooted(ctx); err != nil {
			return err
		}
	}
	return nil
}

// WaitBooted returns when the node's systemd has nothing left to start.
func (n *Node) WaitBooted(ctx context.Context) error {
	return poll(ctx, statusEvery, func() error {
		res, err := n.Exec(ctx, "systemctl", "is-system-running")
		switch state := strings.TrimSpace(res.Stdout); state {
		case "running", "degraded":
			return nil
		case "":
			return err
		default:
			return fmt.Errorf("%s: systemd is %s", n.Name, state)
		}
	})
}

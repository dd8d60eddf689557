package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// watch notes what is seen of the service's daemons and of its disk.
func watch(h *check.History, a *scenario.Actor) {
	a.Tell(scenario.Teller{
		Daemons: func(now []scenario.Daemon) {
			e := check.Event{Kind: check.Running, Who: a.ID}
			for _, d := range now {
				e.Daemons = append(e.Daemons, check.Daemon{Node: d.Node, PID: d.PID})
			}
			h.Add(e)
		},
		Mounted: func(nodes []string) { h.Add(check.Event{Kind: check.Mounted, Who: a.ID, Nodes: nodes}) },
		Blind:   func(err error) { h.Add(check.Event{Kind: check.Blind, Who: a.ID, Text: err.Error()}) },
	})
}

// watchAddress notes which nodes have an address, until ctx ends: that of a service, or "" of the group.
func watchAddress(ctx context.Context, c *cluster.Cluster, h *check.History, whose, address string) {
	const every, mostBlind = 50 * time.Millisecond, 50
	last, blind := []string{""}, 0
	for ; ctx.Err() == nil; sleep(ctx, every) {
		at, err := c.HeldBy(ctx, address)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if blind++; blind == mostBlind { // a node that dies while it is looked at is no news
				h.Add(check.Event{Kind: check.Blind, Who: "ip-" + address, Text: err.Error()})
			}
		case !slices.Equal(at, last):
			h.Add(check.Event{Kind: check.Held, Who: whose, Nodes: at})
			last, blind = at, 0
		default:
			blind = 0
		}
	}
}

// bootDelay is how long a node that was switched off stays so: as long as a small server's firmware takes at least.
const bootDelay = 10 * time.Second

// overseer looks at the cluster every second: it notes who was fenced and what failed, and switches nodes on again.
type overseer struct {
	cluster *cluster.Cluster
	history *check.History
	fenced  int                  // events of the BMC that were noted
	off     map[string]time.Time // nodes that are off, since when

	mu     sync.Mutex
	keep   map[string]int  // nodes that so many faults keep off
	failed map[string]bool // failures that were noted
	noted  time.Time       // when somebody has looked for them last
}

func newOverseer(c *cluster.Cluster, h *check.History) *overseer {
	return &overseer{cluster: c, history: h, failed: map[string]bool{}, off: map[string]time.Time{}, keep: map[string]int{}}
}

func (o *overseer) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		o.fencing(ctx)
		o.power(ctx)
		if !o.looked() { // else somebody else asks often enough
			if s, err := o.cluster.Status(ctx); err == nil {
				o.note(s)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (o *overseer) fencing(ctx context.Context) {
	events, err := o.cluster.Events(ctx)
	if err != nil {
		return
	}
	for _, e := range events[min(o.fenced, len(events)):] {
		if e.Action != "on" && e.Error == "" {
			o.history.AddAt(e.Time, check.Event{Kind: check.Fenced, Node: e.Node, Text: e.Action + " asked by " + e.From})
		}
	}
	o.fenced = len(events)
}

// power switches on what has been off for long enough.
func (o *overseer) power(ctx context.Context) {
	states, err := o.cluster.States(ctx)
	if err != nil {
		return
	}
	for _, s := range states {
		since, known := o.off[s.Name]
		switch {
		case s.On:
			delete(o.off, s.Name)
		case !known:
			o.off[s.Name] = time.Now()
		case time.Since(since) > bootDelay && !o.kept(s.Name):
			o.history.Add(check.Event{Kind: check.On, Node: s.Name})
			_ = o.cluster.Node(s.Name).PowerOn(ctx) // else the next time
		}
	}
}

// keeps has a node stay off until the function that it returns is called.
func (o *overseer) keeps(node string) func() {
	add := func(n int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.keep[node] += n
	}
	add(1)
	return func() { add(-1) }
}

func (o *overseer) kept(node string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keep[node] > 0
}

// looked says whether failures were looked for within the last second.
func (o *overseer) looked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.noted) < time.Second
}

// note notes the failures that are new.
func (o *overseer) note(s *cluster.Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noted = time.Now()
	for _, f := range s.Failures {
		key := fmt.Sprint(f)
		if o.failed[key] {
			continue
		}
		o.failed[key] = true
		who, action := f.Operation, ""
		if i := strings.LastIndex(who, "_"); i > 0 { // RESOURCE_ACTION_INTERVAL
			who = who[:i]
		}
		if i := strings.LastIndex(who, "_"); i > 0 {
			who, action = who[:i], who[i+1:]
		}
		o.history.Add(check.Event{Kind: check.Failed, Who: who, Node: f.Node, Action: action, Code: f.Code, Text: f.Reason})
	}
}

// promoted is Pacemaker's word for the role of the one instance that is above the others.
const promoted = "Promoted"

func (s *scene) well(st *cluster.Status) error {
	return well(st, len(s.cluster.Nodes()), s.services, s.clone)
}

// neglect is how long Pacemaker may be idle while it shows a failure of an agent of ours. It passes over some (lib/unheeded), and the
// agents' monitors have another five seconds, and an interval of ten.
const neglect = 15 * time.Second

// neglected notes such a failure, once.
func (s *scene) neglected(ctx context.Context, st *cluster.Status) {
	i := slices.IndexFunc(st.Resources, func(r cluster.ResourceStatus) bool {
		return r.Failed && r.Active && r.Managed && !r.Blocked && strings.Contains(r.Agent, ":openstack:")
	})
	if i < 0 || s.cluster.IdleSince(ctx, st) != nil {
		s.idle = time.Time{}
		return
	}
	if s.idle.IsZero() {
		s.idle = time.Now()
	}
	if long := time.Since(s.idle); long > neglect {
		s.history.Add(check.Event{Kind: check.Idle, Who: st.Resources[i].ID, Text: fmt.Sprintf("Pacemaker has been idle for %.0f s, and shows it as failed", long.Seconds()), Action: s.cluster.CrmMon(ctx)})
		s.idle = time.Now().Add(time.Hour)
	}
}

// well says what is not as it should be: all nodes online, all resources started once and managed, the services on one node, and
// the clone on all of them, promoted on one.
func well(s *cluster.Status, nodes int, services []string, clone string) error {
	if s.DC == "" || !s.Quorum || len(s.Nodes) != nodes {
		return fmt.Errorf("DC %q, quorum %v, %d nodes", s.DC, s.Quorum, len(s.Nodes))
	}
	for _, n := range s.Nodes {
		if !n.Online || n.Unclean || n.Pending || n.Standby {
			return fmt.Errorf("%s: online %v, unclean %v, pending %v, standby %v", n.Name, n.Online, n.Unclean, n.Pending, n.Standby)
		}
	}
	at, roles := "", map[string]int{}
	for _, r := range s.Resources {
		id, _, _ := strings.Cut(r.ID, ":")
		if id == clone {
			roles[r.Role]++
		}
		right := r.Role == "Started" || id == clone && (r.Role == promoted || r.Role == "Unpromoted")
		if r.Failed || r.Blocked || !r.Managed || !right || r.Pending != "" && r.Pending != "Monitoring" || len(r.On) != 1 {
			return fmt.Errorf("%s is %s on %v (pending %q, failed %v, blocked %v, managed %v)", r.ID, r.Role, r.Nodes(), r.Pending, r.Failed, r.Blocked, r.Managed)
		}
		if slices.Contains(services, r.ID) {
			if at == "" {
				at = r.On[0].Name
			}
			if r.On[0].Name != at {
				return fmt.Errorf("%s is on %s, and another service on %s", r.ID, r.On[0].Name, at)
			}
		}
	}
	if clone != "" && (roles[promoted] != 1 || roles["Unpromoted"]+roles["Started"] != nodes-1) {
		return fmt.Errorf("of %d instances of %s there are %v", nodes, clone, roles)
	}
	return nil
}

// Package status says how a cluster is, at a glance: what runs where and how it serves, since when, why not, and what to
// do about it. Pacemaker's crm_mon shows failures one at a time; an exporter shows none of their reasons, and a degraded
// service not at all.
package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// Format is the version of the JSON: it grows when a field goes away or changes its meaning.
const Format = 1

// Report is the cluster at one moment.
type Report struct {
	Format    int        `json:"format"`
	At        time.Time  `json:"at"`
	Cluster   Cluster    `json:"cluster"`
	Nodes     []Node     `json:"nodes"`
	Resources []Resource `json:"resources"`

	left string // of what is not shown
}

// Cluster is what holds for all of it.
type Cluster struct {
	DC          string `json:"dc"` // the node that decides; "" while there is none
	Quorum      bool   `json:"quorum"`
	Maintenance bool   `json:"maintenance"`
	Fencing     bool   `json:"fencing"`
	Doubt       string `json:"doubt,omitempty"` // why it cannot be told whether fencing is on
	Doing       string `json:"doing,omitempty"` // why it is not at rest; "" if it is
	// Frozen are its daemons on this node that a signal has stopped: the rest may be old then, and nobody looks after this node.
	Frozen []string `json:"frozen,omitempty"`
}

// Node is a node; its state is online, standby, maintenance, joining, offline or unclean, which is to be fenced.
type Node struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// The states of an instance, from bad to good.
const (
	Blocked  = "blocked" // the cluster does nothing more about it: a stop failed, and there is no fencing
	Failed   = "failed"
	Degraded = "degraded" // it serves, with a handicap
	Changing = "changing" // it starts, stops or changes its role
	Stopped  = "stopped"
	Serving  = "serving"
)

// Resource is a primitive, with all its instances.
type Resource struct {
	ID        string     `json:"id"`
	Agent     string     `json:"agent"` // class:provider:type
	Managed   bool       `json:"managed"`
	Disabled  bool       `json:"disabled"` // somebody has it stopped (target-role)
	State     string     `json:"state"`    // of the worst instance; a clone's that is stopped on some nodes does not count
	Instances []Instance `json:"instances"`
	Failures  []Failure  `json:"failures,omitempty"` // remembered ones, which are over
}

// Down tells whether it runs nowhere, although nobody stopped it.
func (r Resource) Down() bool { return r.State == Stopped && !r.Disabled }

// Instance is a resource on one node, or one that runs nowhere.
type Instance struct {
	Node     string    `json:"node,omitempty"`
	State    string    `json:"state"`
	Role     string    `json:"role"` // as crm_mon says: Started, Promoted, ...
	Since    time.Time `json:"since,omitzero"`
	Code     int       `json:"code"`             // of the last monitor, or of what failed
	Reason   string    `json:"reason,omitempty"` // Pacemaker keeps 128 bytes
	Advice   string    `json:"advice,omitempty"`
	Monitors []Monitor `json:"monitors,omitempty"`
}

// Monitor is a recurring one on a node.
type Monitor struct {
	Interval time.Duration `json:"interval_ns"`
	Code     int           `json:"code"`
	Since    time.Time     `json:"since,omitzero"` // it had this result first
	Took     time.Duration `json:"took_ns"`        // then; 0 where Pacemaker does not tell
	Reason   string        `json:"reason,omitempty"`
}

// Failure is an action that failed, and that the cluster has dealt with.
type Failure struct {
	Node      string    `json:"node"`
	Operation string    `json:"operation"`
	Code      int       `json:"code"`
	Reason    string    `json:"reason,omitempty"`
	Advice    string    `json:"advice,omitempty"`
	At        time.Time `json:"at,omitzero"`
	Count     int       `json:"count"`  // Pacemaker's fail count there
	Banned    bool      `json:"banned"` // the node does not get the resource until the count is gone
	Clears    string    `json:"clears"` // what takes it away
}

// infinity is Pacemaker's INFINITY, a fail count that bans from a node.
const infinity = 1000000

// Read asks Pacemaker. advice is what to do about a reason, "" if nothing is known.
func Read(ctx context.Context, advice func(reason string) string) (*Report, error) {
	// Before: one that is frozen may be replaced while it is waited for. And after, if there was none: on a busy node a signal
	// takes a moment to stop a process.
	frozen := Frozen("/proc")
	again := func() {
		if len(frozen) == 0 {
			frozen = Frozen("/proc")
		}
	}
	silent := func(err error) error {
		again()
		why := "does Pacemaker run on this node (systemctl status pacemaker)?"
		switch {
		case !pacemaker.MayAsk():
			why = "only root and members of the group haclient may ask it (usermod -aG haclient USER, then log in anew)."
		case len(frozen) > 0:
			why = "frozen on this node, stopped by a signal: " + strings.Join(frozen, ", ") + "; find out who did that."
		}
		return fmt.Errorf("the cluster does not answer: %s %w", why, err)
	}
	cib, err := pacemaker.CIB(ctx)
	if err != nil {
		return nil, silent(err)
	}
	var mon *pacemaker.Status
	doing := ""
	if len(frozen) > 0 {
		mon, err = pacemaker.StatusOf(ctx, cib)
		doing = "what it is doing is unknown"
	} else {
		mon, err = pacemaker.ReadStatus(ctx)
	}
	if err != nil {
		return nil, silent(err)
	}
	if doing == "" {
		asking, cancel := context.WithTimeout(ctx, atMost(ctx, 5*time.Second))
		defer cancel()
		if doing, err = pacemaker.Busy(asking, mon); err != nil {
			doing = "what it is doing is unknown: " + err.Error()
			again()
		}
	}
	r := compose(mon, cib, doing, advice, time.Now())
	r.Cluster.Frozen = frozen
	return r, nil
}

// atMost is so long, or half of the time that is left: a controller that hangs leaves time for who reads on.
func atMost(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end)/2)
	}
	return d
}

func compose(mon *pacemaker.Status, cib *pacemaker.Element, doing string, advice func(string) string, now time.Time) *Report {
	r := &Report{
		Format: Format, At: now, Cluster: Cluster{DC: mon.DC, Quorum: mon.Quorum, Maintenance: mon.Maintenance, Doing: doing},
		Nodes: []Node{}, Resources: []Resource{}, // [] in JSON, not null
	}
	fencing, _, err := pacemaker.Fencing(cib)
	if r.Cluster.Fencing = fencing; err != nil {
		r.Cluster.Doubt = err.Error()
	}
	for _, n := range mon.Nodes {
		r.Nodes = append(r.Nodes, Node{n.Name, nodeState(n)})
	}
	histories := pacemaker.Histories(cib)
	counts := failCounts(cib)
	var seen []string
	for _, instance := range mon.Resources {
		if instance.Orphaned || slices.Contains(seen, instance.ID) {
			continue
		}
		seen = append(seen, instance.ID)
		v := viewer{history: histories[instance.ID], advice: advice}
		all := mon.Instances(instance.ID)
		res := Resource{ID: instance.ID, Agent: instance.Agent, Managed: !slices.ContainsFunc(all, func(i pacemaker.Resource) bool { return !i.Managed })}
		for _, i := range all {
			res.Instances = append(res.Instances, v.instances(i)...)
		}
		res.sort()
		meta := metaOf(cib, res.ID)
		res.Disabled = strings.EqualFold(meta["target-role"], "Stopped")
		res.Failures = v.failures(res, meta, counts)
		r.Resources = append(r.Resources, res)
	}
	return r
}

func nodeState(n pacemaker.Node) string {
	switch {
	case n.Unclean:
		return "unclean"
	case n.Pending:
		return "joining"
	case !n.Online:
		return "offline"
	case n.Maintenance:
		return "maintenance"
	case n.Standby:
		return "standby"
	}
	return "online"
}

// sort puts the instances in the order of their nodes, the worst of a node first. Of those that run nowhere it leaves one,
// and none if another runs.
func (r *Resource) sort() {
	order := []string{Blocked, Failed, Degraded, Changing, Stopped, Serving}
	worse := func(a, b Instance) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	}
	slices.SortStableFunc(r.Instances, worse)
	nowhere := r.Instances[:1]
	if r.Instances = slices.DeleteFunc(slices.Clone(r.Instances), func(i Instance) bool { return i.Node == "" }); len(r.Instances) == 0 {
		r.Instances = nowhere
	}
	r.State = r.Instances[0].State
	slices.SortStableFunc(r.Instances, func(a, b Instance) int { return cmp.Compare(a.Node, b.Node) })
}

// viewer looks at one resource.
type viewer struct {
	history []pacemaker.Op
	advice  func(reason string) string
}

func (v viewer) instances(i pacemaker.Resource) []Instance {
	if len(i.Nodes) == 0 {
		state := Stopped
		if i.Blocked {
			state = Blocked
		}
		return []Instance{{State: state, Role: i.Role}}
	}
	var list []Instance
	for _, node := range i.Nodes {
		list = append(list, v.instance(i, node))
	}
	return list
}

func (v viewer) instance(i pacemaker.Resource, node string) Instance {
	in := Instance{Node: node, Role: i.Role, State: Serving}
	last := v.last(node)
	for _, op := range last {
		if op.Operation == "monitor" && !op.Probe() {
			in.Monitors = append(in.Monitors, Monitor{interval(op), op.Code, at(op), op.Took, op.Reason})
		}
		if op.Operation == "start" || op.Operation == "promote" || op.Probe() {
			if t := at(op); t.After(in.Since) {
				in.Since = t
			}
		}
	}
	slices.SortFunc(in.Monitors, func(a, b Monitor) int { return cmp.Compare(a.Interval, b.Interval) })
	bad := v.bad(last)
	switch {
	case i.Blocked:
		in.State = Blocked
	case i.Failed:
		in.State = Failed
	case !slices.Contains([]string{"Started", "Promoted", "Master", "Unpromoted", "Slave"}, i.Role):
		in.State = Changing
	case bad.Code == int(ocf.Degraded) || bad.Code == int(ocf.DegradedPromoted):
		in.State = Degraded
	default:
		return in
	}
	if bad.Code != 0 {
		in.Code, in.Reason, in.Since, in.Advice = bad.Code, bad.Reason, at(bad), v.advice(bad.Reason)
	}
	return in
}

// last is the newest entry of each operation on a node: beside what a monitor says now, Pacemaker keeps its last failure,
// a handicap among them, under another name.
func (v viewer) last(node string) []pacemaker.Op {
	newest := map[string]pacemaker.Op{}
	for _, op := range v.history {
		if op.Node != node || !op.Done {
			continue
		}
		key := op.Operation + op.Interval
		old, ok := newest[key]
		newer := cmp.Or(cmp.Compare(op.CallID, old.CallID), cmp.Compare(op.At, old.At))
		if !ok || newer > 0 || newer == 0 && op.Failure {
			newest[key] = op
		}
	}
	var list []pacemaker.Op
	for _, op := range newest {
		list = append(list, op)
	}
	slices.SortFunc(list, func(a, b pacemaker.Op) int { return cmp.Compare(b.CallID, a.CallID) })
	return list
}

// bad is what went wrong last and still is: a failure before a handicap.
func (v viewer) bad(last []pacemaker.Op) (worst pacemaker.Op) {
	for _, op := range last {
		switch code := ocf.Code(op.Code); {
		case code == ocf.OK || code == ocf.RunningPromoted || op.Probe() && code == ocf.NotRunning:
		case code == ocf.Degraded || code == ocf.DegradedPromoted:
			if worst.Code == 0 {
				worst = op
			}
		default:
			if worst.Code == 0 || worst.Code >= int(ocf.Degraded) {
				worst = op
			}
		}
	}
	return worst
}

// failures are those that are remembered, but for what an instance says already.
func (v viewer) failures(r Resource, meta map[string]string, counts map[string]int) []Failure {
	var list []Failure
	for _, op := range v.history {
		count := cmp.Or(counts[countKey(op.Node, r.ID, op.Operation, op.Interval)], counts[op.Node+" "+r.ID]) // one of all operations before 1.1.17
		if !op.Failure || count == 0 && op.Code >= int(ocf.Degraded) {
			continue
		}
		if slices.ContainsFunc(r.Instances, func(i Instance) bool {
			return i.Node == op.Node && i.Code == op.Code && i.Since.Equal(at(op))
		}) {
			continue
		}
		threshold := infinity
		if n, err := strconv.Atoi(meta["migration-threshold"]); err == nil && n > 0 {
			threshold = n
		}
		f := Failure{
			Node: op.Node, Operation: op.Operation, Code: op.Code, Reason: op.Reason, Advice: v.advice(op.Reason), At: at(op),
			Count: count, Banned: count >= threshold, Clears: "pcs resource cleanup " + r.ID,
		}
		if after := meta["failure-timeout"]; after != "" && after != "0" {
			f.Clears += ", or " + after + " without another (failure-timeout)"
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Failure) int { return b.At.Compare(a.At) })
	return list
}

// metaOf are the meta attributes that hold for a resource: its own, else those of the clone or group it is in, else the
// defaults. Rules are not looked at.
func metaOf(cib *pacemaker.Element, id string) map[string]string {
	meta := map[string]string{}
	conf := cib.Child("configuration")
	add := func(sets *pacemaker.Element, name string) {
		for _, set := range sets.Children {
			if set.Name != name {
				continue
			}
			for _, nv := range set.Children {
				if nv.Name == "nvpair" {
					meta[nv.Attr("name")] = nv.Attr("value")
				}
			}
		}
	}
	if defaults := conf.Child("rsc_defaults"); defaults != nil {
		add(defaults, "meta_attributes")
	}
	var down func(e *pacemaker.Element) bool
	down = func(e *pacemaker.Element) bool {
		if e.Find("primitive", id) == nil {
			return false
		}
		add(e, "meta_attributes")
		return slices.ContainsFunc(e.Children, down)
	}
	if resources := conf.Child("resources"); resources != nil {
		down(resources)
	}
	return meta
}

// failCounts are the fail counts of all nodes, by countKey.
func failCounts(cib *pacemaker.Element) map[string]int {
	counts := map[string]int{}
	for node := range cib.Child("status").All("node_state") {
		for nv := range node.All("nvpair") {
			what, ok := strings.CutPrefix(nv.Attr("name"), "fail-count-")
			if !ok {
				continue
			}
			n, err := strconv.Atoi(nv.Attr("value"))
			if err != nil { // INFINITY
				n = infinity
			}
			counts[node.Attr("uname")+" "+what] = n
		}
	}
	return counts
}

func countKey(node, id, operation, interval string) string {
	return node + " " + id + "#" + operation + "_" + interval
}

func at(op pacemaker.Op) time.Time {
	if op.At == 0 {
		return time.Time{}
	}
	return time.Unix(op.At, 0).UTC()
}

func interval(op pacemaker.Op) time.Duration {
	ms, _ := strconv.Atoi(op.Interval)
	return time.Duration(ms) * time.Millisecond
}

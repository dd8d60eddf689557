package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/status"
	"github.com/openstack-ocf/agents/lib/swap"
	"github.com/openstack-ocf/agents/ocf"
)

// agent is one that finds something wrong with the node, or warns, by its parameter.
func agent() ocf.Agent {
	act := func(name string) ocf.Action {
		return ocf.Action{Name: name, Timeout: time.Minute, Interval: 2 * time.Second, Run: func(context.Context, *ocf.Request) error { return nil }}
	}
	var is string
	return ocf.Agent{Name: "db", Parameters: []ocf.Parameter{{Name: "is", Value: ocf.String(&is)}}, Actions: []ocf.Action{
		act(ocf.Start), act(ocf.Stop), act(ocf.Monitor),
		{Name: ocf.ValidateAll, Timeout: time.Minute, Depth: 10, Run: func(_ context.Context, r *ocf.Request) error {
			switch {
			case is == "absent" && r.Level == 10: // it looks at the node
				return ocf.Errorf(ocf.NotInstalled, "there is no mysqld")
			case is == "enabled":
				r.Log.Warn("its unit is enabled")
			}
			return nil
		}},
	}}
}

func TestExamine(t *testing.T) {
	const (
		fences  = `<primitive id="f" class="stonith" type="fence_x"/>`
		monitor = `<operations><op id="o" name="monitor" interval="2s" timeout="60s"/></operations>`
	)
	db := func(is string) string {
		return fences + `<primitive id="db" class="ocf" provider="openstack" type="db"><instance_attributes id="a"><nvpair id="i" name="is" value="` + is + `"/></instance_attributes>` + monitor + `</primitive>`
	}
	serving := status.Resource{ID: "db", Managed: true, State: status.Serving, Instances: []status.Instance{{Node: "node1", State: status.Serving}}}
	well := status.Report{
		Cluster: status.Cluster{DC: "node1", Quorum: true, Fencing: true}, Nodes: []status.Node{{Name: "node1", State: "online"}},
		Resources: []status.Resource{serving},
	}
	for name, c := range map[string]struct {
		change    func(*status.Report)
		resources string
		plan      func(context.Context) (*swap.Plan, error)
		want      []string // all there is
		worst     string
	}{
		"well":              {resources: db("well")},
		"no fencing":        {change: func(r *status.Report) { r.Cluster.Fencing = false }, resources: db("well"), want: []string{"warning cluster: fencing is off"}, worst: Warning},
		"no device":         {resources: strings.Replace(db("well"), "stonith", "ocf", 1), want: []string{"error cluster: fencing is on, and there is no fencing device"}, worst: Error},
		"no quorum":         {change: func(r *status.Report) { r.Cluster.Quorum = false }, resources: db("well"), want: []string{"error cluster: it has no quorum"}, worst: Error},
		"a node is gone":    {change: func(r *status.Report) { r.Nodes[0].State = "offline" }, resources: db("well"), want: []string{"error node1: the node is offline"}, worst: Error},
		"a node unfenced":   {change: func(r *status.Report) { r.Nodes[0].State = "unclean" }, resources: db("well"), want: []string{"error node1: the node is unclean: it is not fenced yet"}, worst: Error},
		"not installed":     {resources: db("absent"), want: []string{"error db on node1: it could not start here: there is no mysqld (5, "}, worst: Error},
		"banned from it":    {resources: db("absent") + `</resources><constraints><rsc_location id="l" rsc="db" node="node1" score="-INFINITY"/></constraints><resources>`},
		"banned by hand":    {resources: db("well") + `</resources><constraints><rsc_location id="cli-ban-db-on-node2" rsc="db" node="node2" score="-INFINITY"/></constraints><resources>`, want: []string{"warning db on node2: somebody banned it from there by hand (cli-ban-db-on-node2)"}, worst: Warning},
		"moved by hand":     {resources: db("well") + `</resources><constraints><rsc_location id="cli-prefer-db" rsc="db" node="node2" score="INFINITY"/><rsc_location id="cli-prefer-x" rsc="x"/></constraints><resources>`, want: []string{"warning db on node2: somebody moved it there by hand"}, worst: Warning},
		"warns":             {resources: db("enabled"), want: []string{"warning db on node1: its unit is enabled"}, worst: Warning},
		"unknown agent":     {resources: strings.Replace(db("well"), `type="db"`, `type="new"`, 1), want: []string{"error db on node1: there is no agent ocf:openstack:new in this version"}, worst: Error},
		"no monitor":        {resources: strings.Replace(db("well"), monitor, "", 1), want: []string{"note db: it has no recurring monitor"}, worst: Note},
		"little time":       {resources: strings.Replace(db("well"), "60s", "5s", 1), want: []string{"note db: its monitor may take 5s, and the agent advises 1m0s"}, worst: Note},
		"unknown parameter": {resources: strings.Replace(db("well"), `name="is"`, `name="si"`, 1), want: []string{"warning db on node1: not a parameter of this agent, ignored"}, worst: Warning},
		"unmanaged":         {change: func(r *status.Report) { r.Resources[0].Managed = false }, resources: db("well"), want: []string{"warning db: the cluster does not manage it"}, worst: Warning},
		"down":              {change: func(r *status.Report) { r.Resources[0].State = status.Stopped }, resources: db("well"), want: []string{"error db: it runs nowhere"}, worst: Error},
		"degraded":          {change: func(r *status.Report) { r.Resources[0].Instances[0].State = status.Degraded }, resources: db("well"), want: []string{"warning db on node1: it is degraded: "}, worst: Warning},
		"failed":            {change: func(r *status.Report) { r.Resources[0].Instances[0].State = status.Failed }, resources: db("well"), want: []string{"error db on node1: it is failed: "}, worst: Error},
		"banned by count": {change: func(r *status.Report) {
			r.Resources[0].Failures = []status.Failure{{Node: "node2", Operation: "start", Code: 1, Reason: "why", Banned: true}}
		}, resources: db("well"), want: []string{"warning db on node2: it may not run there since its start failed (1): why"}, worst: Warning},
		"to be swapped": {
			resources: db("well"), worst: Note,
			plan: func(context.Context) (*swap.Plan, error) {
				return &swap.Plan{Changes: []*swap.Change{{ID: "lb", From: "lsb:haproxy", To: "ocf:openstack:haproxy", Notes: []string{"n"}}}}, nil
			},
			want: []string{"note lb: lsb:haproxy knows only whether it runs", "note lb: n"},
		},
		"refused": {
			resources: db("well"), worst: Note,
			plan: func(context.Context) (*swap.Plan, error) { return nil, &swap.Refusal{Reasons: []string{"lb: why not"}} },
			want: []string{"note swap: lb: why not"},
		},
		"cannot plan": {
			resources: db("well"), worst: Warning,
			plan: func(context.Context) (*swap.Plan, error) { return nil, errors.New("no answer") },
			want: []string{"warning swap: no answer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cib, err := pacemaker.ParseXML(strings.NewReader(`<cib><configuration><resources>` + c.resources + `</resources></configuration></cib>`))
			if err != nil {
				t.Fatal(err)
			}
			report := well
			report.Nodes = []status.Node{well.Nodes[0]}
			report.Resources = []status.Resource{serving}
			report.Resources[0].Instances = []status.Instance{serving.Instances[0]}
			if c.change != nil {
				c.change(&report)
			}
			d := &Doctor{Agents: map[string]func() ocf.Agent{"db": agent}, Report: &report, CIB: cib, Node: "node1", Plan: c.plan, Root: true}
			found := d.Examine(t.Context())
			if found == nil {
				t.Error("its JSON would be null, and not []")
			}
			if len(found) != len(c.want) || Worst(found) != c.worst {
				t.Fatalf("%+v, want %s", found, c.want)
			}
			for i, f := range found {
				if got := fmt.Sprintf("%s %s: %s", f.Level, f.Where, f.What); !strings.HasPrefix(got, c.want[i]) {
					t.Errorf("%s, want %s", got, c.want[i])
				}
			}
		})
	}
}

// A user who may not look at the node hears that, and not that the node lacks what he cannot see.
func TestNotRoot(t *testing.T) {
	cib, err := pacemaker.ParseXML(strings.NewReader(`<cib><configuration><resources><primitive id="f" class="stonith" type="fence_x"/><primitive id="db" class="ocf" provider="openstack" type="db">` +
		`<instance_attributes id="a"><nvpair id="i" name="is" value="absent"/></instance_attributes><operations><op id="o" name="monitor" interval="2s" timeout="60s"/></operations></primitive></resources></configuration></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	report := status.Report{Cluster: status.Cluster{DC: "node1", Quorum: true, Fencing: true, Frozen: []string{"corosync (pid 7)"}}}
	d := &Doctor{Agents: map[string]func() ocf.Agent{"db": agent}, Report: &report, CIB: cib, Node: "node1"}
	found := d.Examine(t.Context())
	if len(found) != 2 || found[0].Level != Error || !strings.HasPrefix(found[0].What, "corosync (pid 7) is frozen") || found[1].Level != Note || found[1].Do != "call doctor as root" {
		t.Errorf("%+v", found)
	}
}

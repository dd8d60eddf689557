// Package clusternova tests nova-consoleauth in the document's group: with the database and the broker that it
// needs, on three nodes.
package clusternova

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// stepTimeout is for one thing to happen, on a machine that is busy with other tests: Python starts more than once.
const stepTimeout = 4 * time.Minute

// step is a context for one thing to happen.
func step(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	t.Cleanup(cancel)
	return ctx
}

// TestGroup moves the group, and breaks what is in it: the service is back on the node of its database and its broker,
// never on two at once, and answers there.
func TestGroup(t *testing.T) {
	nova, kind, err := scenario.Consoleauth()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	t.Logf("nova-consoleauth: %s", kind)
	nova.Options = strings.Fields("op monitor interval=3s timeout=40s op monitor interval=10s timeout=60s OCF_CHECK_LEVEL=20")
	bus, broker, err := scenario.Broker()
	if err != nil {
		t.Skipf("SKIP: needs %v", err)
	}
	t.Logf("broker: %s", broker)
	cfg, err := scenario.Config(built.Binary(t), scenario.MySQL(), bus, nova)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cfg)
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Log(line) }, scenario.MySQL(), bus, nova)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	slices.Reverse(s.Actors) // the acts are the service's

	for _, act := range []scenario.Act{scenario.Kill, scenario.Freeze, scenario.Move, scenario.PowerCut} {
		if !t.Run(act.Name, func(t *testing.T) {
			var started []int
			for _, a := range s.Actors {
				started = append(started, a.Started())
			}
			r, err := s.Play(step(t), act)
			if err != nil {
				t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
			}
			for i, a := range s.Actors {
				now, ok := a.Now()
				if !ok || now.Node != r.To.Node {
					t.Errorf("%s: %v, and not on %s", a.ID, now, r.To.Node)
				}
				if again := a.Started() - started[i]; again != 0 && !act.Moves && i > 0 {
					t.Errorf("%s was restarted for a %s of %s", a.ID, act.Name, nova.ID)
				}
				t.Logf("%s: %s -> %s, %s not served for %s", a.ID, r.From.Node, now, a.Speaks, r.Outages[i])
			}
			status, err := c.Status(step(t))
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, f := range status.Failures {
				t.Logf("crm_mon: %s on %s: %d: %s", f.Operation, f.Node, f.Code, f.Reason)
				if act.Moves || !strings.HasPrefix(f.Operation, nova.ID+"_monitor") {
					t.Errorf("nothing was wrong with %s on %s", f.Operation, f.Node)
				}
				found++
			}
			if found == 0 && !act.Moves {
				t.Errorf("crm_mon does not show what befell %s", nova.ID)
			}
			if err := s.Restore(step(t)); err != nil {
				t.Fatal(err)
			}
		}) {
			return // what follows would fail for that
		}
	}
	for _, a := range s.Actors {
		if err := a.Watch.Err(); err != nil {
			t.Errorf("%s: %v", a.ID, err)
		}
	}
}

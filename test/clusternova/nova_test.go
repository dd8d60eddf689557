// Package clusternova tests what must run on one host at a time, nova-consoleauth, cinder-volume and manila-share by their
// units, and neutron's L2 agent, in the document's group: with the database and the broker that they need, on three nodes.
package clusternova

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// stepTimeout is for one thing to happen, on a machine that is busy with other tests: Python starts more than once.
const stepTimeout = 8 * time.Minute

// step is a context for one thing to happen.
func step(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	t.Cleanup(cancel)
	return ctx
}

// TestGroup moves the group, and breaks what is in it: each service is back on the node of its database and its broker,
// never on two at once, and answers there.
func TestGroup(t *testing.T) {
	needs.Turn(t, 0, 4)
	nova, kind, err := scenario.Consoleauth()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	t.Logf("nova-consoleauth: %s", kind)
	nova.Options = strings.Fields("op monitor interval=3s timeout=40s op monitor interval=10s timeout=60s OCF_CHECK_LEVEL=20")
	bus, broker, err := scenario.Broker()
	if err != nil {
		t.Skip("SKIP: needs qpidd, or python3-qpid-proton for the stand-in")
	}
	t.Logf("broker: %s", broker)
	server, l2 := neutron(t)
	volume, share := cinder(t), manila(t)
	services := []scenario.Service{scenario.MySQL(), bus, server, nova, volume, share, l2}
	cfg, err := scenario.Config(built.Binary(t), services...)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cfg)
	// Four databases are made, and each service starts for the first time.
	deploying, cancel := context.WithTimeout(t.Context(), 5*stepTimeout)
	defer cancel()
	s, err := scenario.Deploy(deploying, c, func(line string) { t.Log(line) }, services...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	acts := []scenario.Act{scenario.Move, scenario.RestartPacemaker, scenario.Shutdown, scenario.PowerCut, scenario.Kill.On(l2.ID), scenario.Freeze.On(nova.ID), scenario.Kill.On(volume.ID), scenario.Freeze.On(volume.ID), scenario.Kill.On(share.ID), scenario.Freeze.On(share.ID)}
	for _, act := range acts {
		if !t.Run(strings.TrimSpace(act.To+" "+act.Name), func(t *testing.T) {
			r, err := s.Play(step(t), act)
			if err != nil {
				t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
			}
			for i, a := range s.Actors {
				now, ok := a.Now()
				if !ok || now.Node != r.To.Node {
					t.Errorf("%s: %v, and not on %s", a.ID, now, r.To.Node)
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
				if act.Moves || !strings.HasPrefix(f.Operation, act.To+"_monitor") {
					t.Errorf("nothing was wrong with %s on %s", f.Operation, f.Node)
				}
				found++
			}
			if found == 0 && !act.Moves {
				t.Errorf("crm_mon does not show what befell %s", act.To)
			}
			endsWell(t, c.Node(r.To.Node), act, volume.ID, share.ID)
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

// endsWell wants that the services' units have ended each of them once, well, before its storage went and while Pacemaker was
// being stopped, where the act stops that.
func endsWell(t *testing.T, n *cluster.Node, act scenario.Act, units ...string) {
	t.Helper()
	lines, err := scenario.Ends(step(t), n)
	if err != nil {
		t.Fatal(err)
	}
	if act.Name != scenario.Shutdown.Name && act.Name != scenario.RestartPacemaker.Name {
		return
	}
	var want []string
	for _, unit := range units {
		want = append(want, unit+" success exited 0 on=ext4 pacemaker=deactivating")
	}
	slices.Sort(lines)
	if !slices.Equal(lines, want) {
		t.Errorf("the units say %q, want %q", lines, want)
	}
}

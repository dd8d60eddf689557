package clusterqpidd

import (
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestShared is the document's first deployment: one broker in the group, whose store is on a shared disk.
func TestShared(t *testing.T) {
	service, kind, err := scenario.Broker()
	if err != nil {
		t.Skip("SKIP: needs qpidd, or python3-qpid-proton for the stand-in")
	}
	t.Logf("broker: %s", kind)
	if kind == broker.Real {
		service.Options = append(service.Options, flushSoon)
	}
	service.Ledger = func(dial scenario.Dialer) (scenario.Ledger, error) {
		return NewQueue(dial, address, "shared", true), nil
	}
	cfg, err := scenario.Config(built.Binary(t), service)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cfg)
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Log(line) }, service)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, act := range []scenario.Act{scenario.Kill, scenario.Freeze, scenario.Move, scenario.PowerCut} {
		if !t.Run(act.Name, func(t *testing.T) {
			r, err := s.Play(step(t), act)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s -> %s: not served for %s", r.From, r.To, r.Outages[0])
			if err := s.Restore(step(t)); err != nil {
				t.Fatal(err)
			}
		}) {
			return // what follows would fail for that
		}
	}
	t.Run("audit", func(t *testing.T) {
		a := s.Actors[0]
		if err := a.Watch.Err(); err != nil {
			t.Error(err)
		}
		if kind != broker.Real {
			t.Skip("SKIP: needs qpidd (durability is not claimed for the stand-in)")
		}
		began := time.Now()
		a.Writer.Stop()
		audit, err := a.Audit(step(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d durable messages acknowledged, %d of them arrived, %d more than once; %d arrived unacknowledged (in %.1f s)",
			audit.Acknowledged, audit.Found, len(audit.Twice), audit.More, time.Since(began).Seconds())
		if audit.Acknowledged == 0 || len(audit.Lost)+len(audit.Stray) > 0 {
			t.Errorf("lost %v, never sent %v", some(audit.Lost), some(audit.Stray))
		}
	})
}

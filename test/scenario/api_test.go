package scenario_test

import (
	"context"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// row is an act, and the most that clients of the API may notice of it. The bounds are for a machine with much else to do;
// the figures are in the log.
type row struct {
	act    scenario.Act
	gap    time.Duration // without an answer
	failed int           // requests; -1: while nobody has the floating IP, all do
}

// TestAPI takes away what the API of the document's group runs on, piece by piece.
func TestAPI(t *testing.T) {
	needs.Turn(t, 0, 2)
	api, err := scenario.API()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	playAPI(
		t, api,
		row{scenario.KillAPI.On(api.ID), 5 * time.Second, 0},
		// One that the node had taken may never be answered.
		row{scenario.LoseAPINode.On(api.ID), 15 * time.Second, 1},
		row{scenario.Kill.On(api.ID), 20 * time.Second, -1},
		row{scenario.Move, 30 * time.Second, -1},
		row{scenario.PowerCut, 60 * time.Second, -1},
	)
}

// TestAPIOnClone does the like with HAProxy on every node, where the database's restart is none of the API's business.
func TestAPIOnClone(t *testing.T) {
	needs.Turn(t, 1, 2)
	api, err := scenario.APIOnClone()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	playAPI(
		t, api,
		row{scenario.Kill, 5 * time.Second, 0},
		row{scenario.Move, 30 * time.Second, -1},
		row{scenario.PowerCut, 60 * time.Second, -1},
	)
}

// playAPI has a control plane made by apply, and plays the acts on it.
func playAPI(t *testing.T, api scenario.Service, rows ...row) {
	db := scenario.MySQL()
	cfg, err := scenario.Config(built.Binary(t), db, api)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cfg)
	limited := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		return ctx
	}
	s, err := scenario.Apply(limited(), c, func(line string) { t.Log(line) }, db, api)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const sql, requests = 0, 1 // actors
	for _, row := range rows {
		if !t.Run(row.act.Name, func(t *testing.T) {
			r, err := s.Play(limited(), row.act)
			if err != nil {
				t.Fatal(err)
			}
			acknowledged, tries := s.Actors[requests].Acknowledged()
			t.Logf("%s to %s: SQL not served for %s, API for %s; %d requests failed (%d of %d were answered so far)",
				r.From, r.To, r.Outages[sql], r.Outages[requests], r.Failed[requests], acknowledged, tries)
			if gap := r.Outages[requests].Length(); gap > row.gap {
				t.Errorf("no request was answered for %s, want at most %s", gap, row.gap)
			}
			if row.failed >= 0 && r.Failed[requests] > row.failed {
				t.Errorf("%d requests failed, want at most %d; the last: %v", r.Failed[requests], row.failed, s.Actors[requests].LastError())
			}
			if err := s.Restore(limited()); err != nil {
				t.Fatal(err)
			}
		}) {
			return // what follows would fail for that
		}
	}
	audits, err := s.Audit(limited())
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d rows acknowledged, %d rows found", audits[sql].Acknowledged, audits[sql].Found)
}

package scenario_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// times is how often each figure is measured.
const times = 10

// patience is for one step.
const patience = 10 * time.Minute

// fine is a service whose client tries it every 5 ms: an outage is measured to that.
func fine(s scenario.Service) scenario.Service {
	s.Pause = 5 * time.Millisecond
	return s
}

// stage is the document's group on a cluster of its own.
func stage(b *testing.B) *scenario.Stage {
	ours, theirs := fine(scenario.MySQL()), fine(scenario.HeartbeatMySQL())
	cfg, err := scenario.Config(built.Binary(b), ours, theirs)
	if err != nil {
		b.Fatal(err)
	}
	c := cluster.New(b, cfg)
	s, err := scenario.Deploy(step(b), c, nil, ours)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

func step(b *testing.B) context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// play has the act happen n times and returns how long the client was without service each time.
func play(b *testing.B, s *scenario.Stage, act scenario.Act, n int) (outages []time.Duration) {
	b.Helper()
	for range n {
		// The monitor runs every 2 s: what happens at any time must not always happen at the same.
		select {
		case <-time.After(rand.N(2 * time.Second)):
		case <-b.Context().Done():
		}
		r, err := s.Play(step(b), act)
		if err == nil {
			err = s.Settled(step(b))
		}
		if err != nil {
			b.Fatal(err)
		}
		outages = append(outages, r.Outages[0].Length())
	}
	return outages
}

// report says minimum, median and maximum, and returns the median.
func report(b *testing.B, what, unit string, d []time.Duration) time.Duration {
	b.Helper()
	slices.Sort(d)
	median := (d[(len(d)-1)/2] + d[len(d)/2]) / 2
	b.Logf("%-42s %.2f / %.2f / %.2f s (min/median/max, n=%d)", what, d[0].Seconds(), median.Seconds(), d[len(d)-1].Seconds(), len(d))
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.Logf("load average of the machine: %s", strings.TrimSpace(string(load))) // others at work lengthen ours, theirs mostly sleeps
	}
	b.ReportMetric(0, "ns/op") // of several things together: says nothing
	b.ReportMetric(median.Seconds(), unit)
	return median
}

func audit(b *testing.B, s *scenario.Stage) {
	b.Helper()
	audits, err := s.Audit(step(b))
	if err != nil {
		b.Error(err)
	}
	b.Logf("%d rows acknowledged, %d rows found", audits[0].Acknowledged, audits[0].Found)
}

// BenchmarkRestartInPlace is a kill -9 of the server, with the monitor's advertised interval.
func BenchmarkRestartInPlace(b *testing.B) {
	s := stage(b)
	median := report(b, "mysql-shared-storage, kill -9, same node", "s", play(b, s, scenario.Kill, times))
	if median >= 2*time.Second {
		b.Errorf("median %v, want under 2 s", median)
	}
	audit(b, s)
}

// BenchmarkMove is a planned move, ours and that of ocf:heartbeat:mysql on the same cluster and the same data, by turns.
func BenchmarkMove(b *testing.B) {
	s := stage(b)
	var ours, theirs []time.Duration
	const turns = 5
	for turn := range turns {
		if turn > 0 {
			replace(b, s, fine(scenario.MySQL()))
		}
		ours = append(ours, play(b, s, scenario.Move, times/turns)...)
		replace(b, s, fine(scenario.HeartbeatMySQL()))
		theirs = append(theirs, play(b, s, scenario.Move, times/turns)...)
	}
	o := report(b, "mysql-shared-storage, planned move", "s", ours)
	t := report(b, "ocf:heartbeat:mysql, planned move", "s-theirs", theirs)
	b.ReportMetric(float64(t)/float64(o), "x")
	if o >= t/2 {
		b.Errorf("the client is without service for %v, want under half of %v", o, t)
	}
	audit(b, s)
}

// replace has another agent manage the service.
func replace(b *testing.B, s *scenario.Stage, service scenario.Service) {
	b.Helper()
	ctx := step(b)
	err := s.PCS(ctx, "resource", "delete", service.ID)
	if err == nil {
		err = s.Create(ctx, service)
	}
	if err == nil {
		err = s.Settled(ctx)
	}
	if err == nil {
		err = s.Actors[0].WaitServed(ctx, time.Now())
	}
	if err != nil {
		b.Fatal(err)
	}
}

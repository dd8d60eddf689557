//go:build linux

package main

import (
	"context"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/chaos"
)

// All clusters together play as many faults as were asked for, each campaign on the next seed; one that is ended begins none.
func TestPool(t *testing.T) {
	for name, value := range map[string]string{"SEED": "7", "FAULTS": "5", "CLUSTERS": "3", "MOST": "4", "GROUP": "native", "FROM": "", "TO": "", "KINDS": ""} {
		t.Setenv(name, value)
	}
	p, clusters, err := asked()
	if err != nil || clusters != 3 {
		t.Fatalf("%d clusters, %v", clusters, err)
	}
	ctx, enough := context.WithCancel(t.Context())
	p.cfg.Enough = ctx
	for want := 7; want < 9; want++ {
		cfg, ok := p.next()
		if !ok || cfg.Seed != want || cfg.From != 1 || cfg.To != steps || cfg.Most != 4 || cfg.Group != (chaos.Group{Native: true}) {
			t.Errorf("%v, %+v", ok, cfg)
		}
	}
	for i, want := range []bool{true, true, true, false} { // 2 and 2 of 5, and the last step may have more than are left
		if got := p.claim(2); got != want {
			t.Errorf("claim %d: %v", i+1, got)
		}
	}
	if _, ok := p.next(); ok {
		t.Error("all are played, and there is a campaign left")
	}
	p.left = 5
	enough()
	if _, ok := p.next(); ok {
		t.Error("it was ended, and there is a campaign left")
	}
}

// Steps that are played again are all there is.
func TestAgain(t *testing.T) {
	for name, value := range map[string]string{"SEED": "7", "FAULTS": "1", "CLUSTERS": "3", "FROM": "4", "TO": "6", "GROUP": "", "KINDS": "kill,freeze", "MOST": ""} {
		t.Setenv(name, value)
	}
	p, clusters, err := asked()
	if err != nil || clusters != 1 {
		t.Fatalf("%d clusters, %v", clusters, err)
	}
	p.cfg.Enough = t.Context()
	cfg, ok := p.next()
	if !ok || cfg.Seed != 7 || cfg.From != 4 || cfg.To != 6 || strings.Join(cfg.Kinds, " ") != "kill freeze" || cfg.Most != 2 || cfg.Group != chaos.GroupOf(7) {
		t.Errorf("%v, %+v", ok, cfg)
	}
	for range 3 {
		if !p.claim(2) {
			t.Error("a step is left out")
		}
	}
	if _, ok := p.next(); ok {
		t.Error("there is a second campaign")
	}
	t.Setenv("KINDS", "rain")
	if _, _, err := asked(); err == nil || !strings.Contains(err.Error(), `no "rain"`) {
		t.Error(err)
	}
}

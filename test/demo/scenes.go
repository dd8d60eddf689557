//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// services are what the group holds, beside address and storage.
func services(out *story) []scenario.Service {
	list := []scenario.Service{scenario.MySQL()}
	b, kind, err := scenario.Broker()
	if err != nil {
		out.say("No broker in the group: %v.", err)
		return list
	}
	if b.Forgets {
		out.say("The broker is a %s, which keeps no message over a restart: its messages are counted, but none is missed.", kind)
	} else {
		out.say("The broker is a real %s with linearstore, on a disk of its own.", kind)
	}
	return append(list, b)
}

// scene is an act, and what an operator wants to know of it beforehand.
type scene struct {
	scenario.Act
	about string
}

var scenes = []scene{
	{scenario.Kill, "The server dies, as after a bug or the kernel's OOM killer. The cluster finds it gone and starts it again, in place."},
	{scenario.Freeze, "The server is there, but answers nobody. A check of the process or its pid file would call it healthy for ever."},
	{scenario.Move, "Maintenance: everything stops here and starts there, in order."},
	{scenario.PowerCut, "The node is gone from one moment to the next. It is fenced before anything starts elsewhere: its data must not be written twice."},
}

// figure is what came of a scene.
type figure struct {
	scenario.Result
	crmMon string // what crm_mon has to say, in a line
}

// show plays a scene and puts everything back.
func (sc scene) show(ctx context.Context, out *story, number int, s *scenario.Stage) (f figure, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out.chapter(fmt.Sprintf("%d. %s", number, sc.Title))
	out.say("%s", sc.about)
	began := time.Now()
	if f.Result, err = s.Play(ctx, sc.Act); err != nil {
		return f, err
	}
	where := "again on " + f.To.Node
	if f.To.Node != f.From.Node {
		where = "on " + f.To.Node + " now"
	}
	for i, a := range s.Actors {
		out.result("%s answered again after %.2f s, %s.", a.Speaks, f.Outages[i].Length().Seconds(), where)
	}
	if err := s.Settled(ctx); err != nil {
		return f, err
	}
	out.crmMon(ctx, s.Cluster)
	if f.crmMon, err = verdict(ctx, s.Cluster, began); err != nil {
		return f, err
	}
	return f, s.Restore(ctx)
}

// verdict is what the cluster says happened since began: failures with their reasons, and who was fenced.
func verdict(ctx context.Context, c *cluster.Cluster, began time.Time) (string, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	for _, f := range status.Failures {
		said = append(said, fmt.Sprintf("%s on %s: %s", f.Operation, f.Node, f.Reason))
	}
	events, err := c.Events(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range slices.DeleteFunc(events, func(e cluster.Event) bool { return e.Time.Before(began) }) {
		said = append(said, fmt.Sprintf("%s fenced (%s)", e.Node, e.Action))
	}
	if len(said) == 0 {
		return "no failures", nil
	}
	return strings.Join(said, "; "), nil
}

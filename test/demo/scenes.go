//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// services are what the group holds, beside address and storage.
func services(out *story) []scenario.Service {
	out.say("What has a systemd unit is run by it (unit=): MySQL and HAProxy by Debian's, the broker by upstream's. nova-consoleauth, which")
	out.say("no distribution packages any more, has none: its agent starts it.")
	list := []scenario.Service{scenario.ByUnit(scenario.MySQL(), "mariadb.service")}
	if b, kind, err := scenario.BrokerByUnit(); err != nil {
		out.say("No broker in the group: %v.", err)
	} else {
		if b.Forgets {
			out.say("The broker is a %s, which keeps no message over a restart: its messages are counted, but none is missed.", kind)
		} else {
			out.say("The broker is a real %s with linearstore, on a disk of its own.", kind)
		}
		list = append(list, b)
	}
	if nova, kind, err := scenario.Consoleauth(); err != nil {
		out.say("No nova-consoleauth in the group: %v.", err)
	} else {
		out.say("nova-consoleauth is %s. It needs the database and the broker.", kind)
		list = append(list, nova)
	}
	if api, err := scenario.API(); err != nil {
		out.say("No HAProxy in the group, and no API behind it: %v.", err)
	} else {
		out.say("HAProxy balances OpenStack's Placement, a real API, which runs on every node and keeps its data in the group's database.")
		list = append(list, scenario.ByUnit(api, "haproxy.service"))
	}
	return list
}

// scene is an act, and what an operator wants to know of it beforehand.
type scene struct {
	scenario.Act
	about string
}

var scenes = []scene{
	{scenario.Kill.On("db").Called("MySQL killed (kill -9)"), "The server dies, as after a bug or the kernel's OOM killer. The cluster finds it gone and starts it again, in place."},
	{scenario.Freeze.On("db").Called("MySQL frozen (SIGSTOP)"), "The server is there, but answers nobody. A check of the process or its pid file would call it healthy for ever."},
	{scenario.Kill.On("qpidd").Called("broker killed (kill -9)"), "In the group only what stands behind the broker is restarted with it: the database is not."},
	{scenario.Freeze.On("consoleauth").Called("nova-consoleauth frozen (SIGSTOP)"), "The console proxies ask it for every token. Calls wait in the broker's queue, and the process is there."},
	{scenario.KillAPI.On("haproxy").Called("API killed on one node"), "The cluster knows nothing of the APIs. HAProxy gives the requests to the others."},
	{scenario.Kill.On("haproxy").Called("HAProxy killed (kill -9)"), "It stands at the group's end: nothing else is restarted."},
	{scenario.Move, "Maintenance: everything stops here and starts there, in order."},
	{scenario.PowerCut, "The node is gone from one moment to the next, its API with it. It is fenced before anything starts elsewhere: its data must not be written twice."},
}

// figure is what came of a scene.
type figure struct {
	scenario.Result
	seen string // what the cluster has to say, in a line
}

// show plays a scene and puts everything back.
func (sc scene) show(ctx context.Context, out *story, number int, s *scenario.Stage) (f figure, err error) {
	ctx, done := moving(ctx, stalled, out, seen(s.Cluster))
	defer func() { err = done(err) }()
	out.chapter(fmt.Sprintf("%d. %s", number, sc.Title))
	out.say("%s", sc.about)
	if f.Result, err = s.Play(ctx, sc.Act); err != nil {
		return f, err
	}
	where := "again on " + f.To.Node
	switch {
	case sc.Spares:
		where = "all the while on " + f.To.Node
	case sc.Moves:
		where = "on " + f.To.Node + " now"
	}
	var results []string
	for i, a := range s.Actors {
		results = append(results, fmt.Sprintf("%s %.2f s", a.Speaks, f.Outages[i].Length().Seconds()))
	}
	out.result("The longest time without an answer: %s; %s.", strings.Join(results, ", "), where)
	if err := s.Settled(ctx); err != nil {
		return f, err
	}
	out.crmMon(ctx, s.Cluster)
	if f.seen, err = verdict(ctx, s, f.Result); err != nil {
		return f, err
	}
	if sc.Spares { // what crm_mon does not say
		out.say("%s", f.seen)
	}
	return f, s.Restore(ctx)
}

// verdict is what there is to be seen of it: failures in crm_mon with their reasons, who was fenced, and what HAProxy says.
func verdict(ctx context.Context, s *scenario.Stage, r scenario.Result) (string, error) {
	status, err := s.Cluster.Status(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	for _, f := range status.Failures {
		said = append(said, f.Reason)
	}
	events, err := s.Cluster.Events(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range slices.DeleteFunc(events, func(e cluster.Event) bool { return e.Time.Before(r.Began) }) {
		said = append(said, fmt.Sprintf("%s fenced (%s)", e.Node, e.Action))
	}
	if r.Act.Spares {
		rows, err := s.Servers(ctx)
		if err != nil {
			return "", err
		}
		for _, row := range rows {
			if row.Status == "DOWN" {
				said = append(said, fmt.Sprintf("HAProxy: %s/%s is DOWN: %s", row.Proxy, row.Service, row.Check))
			}
		}
	}
	if len(said) == 0 {
		return "no failures", nil
	}
	return strings.Join(said, "; "), nil
}

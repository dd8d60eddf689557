//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
	"github.com/openstack-ocf/agents/test/timeline"
)

// least is the shortest time without an answer that is drawn: a durable message takes the broker's store half a second.
const least = 800 * time.Millisecond

// moments are when daemons came and went, as the watches saw it.
type moments struct {
	mu   sync.Mutex
	list []moment
}

type moment struct {
	at   time.Time
	text string
}

// follow notes from now on what the watches see.
func (m *moments) follow(s *scenario.Stage) {
	for _, a := range s.Actors {
		a.Tell(scenario.Teller{
			Daemons: func(now []scenario.Daemon) {
				m.mu.Lock()
				defer m.mu.Unlock()
				for _, d := range now {
					m.list = append(m.list, moment{time.Now(), fmt.Sprintf("%s is started on %s", called(a), d.Node)})
				}
			},
			Mounted: func([]string) {},
			Blind:   func(error) {},
		})
	}
}

// called is the service's name among people.
func called(a *scenario.Actor) string {
	if name, ok := map[string]string{"db": "MySQL", "qpidd": "broker", "consoleauth": "nova-consoleauth", "haproxy": "HAProxy"}[a.ID]; ok {
		return name
	}
	return a.ID
}

// within are those between two times.
func (m *moments) within(from, to time.Time) (list []moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.list), func(one moment) bool { return one.at.Before(from) || one.at.After(to) })
}

// line is who was served from one time to another, counted from zero.
func line(s *scenario.Stage, zero, from, to time.Time) timeline.Line {
	l := timeline.Line{From: from.Sub(zero), To: to.Sub(zero)}
	for _, a := range s.Actors {
		lane := timeline.Lane{Name: a.Speaks}
		for _, o := range a.Outages(from.Add(-time.Minute), least) {
			if o.Back.After(from) && o.Lost.Before(to) {
				lane.Gaps = append(lane.Gaps, timeline.Gap{From: o.Lost.Sub(zero), To: o.Back.Sub(zero)})
			}
		}
		l.Lanes = append(l.Lanes, lane)
	}
	return l
}

// report writes a page of all scenes.
func report(path string, s *scenario.Stage, figures []figure, audits []scenario.Audit) error {
	if len(figures) == 0 {
		return nil
	}
	const around = 3 * time.Second
	zero := figures[0].Began.Add(-around)
	p := timeline.Page{
		Title: "openstack-ocf: make demo",
		About: "The document's control plane on three nodes: what was done to it, and what its clients had of that.",
		Line:  line(s, zero, zero, figures[len(figures)-1].Over.Add(around)),
	}
	for _, f := range figures {
		p.Marks = append(p.Marks, timeline.Mark{At: f.Began.Sub(zero), Text: f.Act.Title, More: f.Act.Title + "\n" + f.seen})
	}
	lost, acknowledged := 0, 0
	for i, a := range audits {
		if !s.Actors[i].Forgets && !s.Actors[i].Diskless { // what keeps nothing can lose nothing
			lost += len(a.Lost)
		}
		acknowledged += a.Acknowledged
	}
	longest := time.Duration(0)
	for _, f := range figures {
		for _, o := range f.Outages {
			longest = max(longest, o.Length())
		}
	}
	p.Cards = []timeline.Card{
		{Figure: fmt.Sprint(len(figures)), About: "faults"},
		{Figure: fmt.Sprint(acknowledged), About: "acknowledged"},
		{Figure: fmt.Sprint(lost), About: "lost of them", Bad: lost > 0},
		{Figure: fmt.Sprintf("%.1f s", longest.Seconds()), About: "the longest outage"},
	}
	table := timeline.Table{Title: "Faults"}
	for i, row := range tabulate(s, figures, audits) {
		if i == 0 {
			table.Head = row
			continue
		}
		var cells []timeline.Cell
		for _, text := range row {
			cells = append(cells, timeline.Cell{Text: text})
		}
		for k, o := range figures[i-1].Outages {
			cells[2+k].Bar = o.Length()
		}
		table.Rows = append(table.Rows, cells)
	}
	p.Tables = []timeline.Table{table}
	return write(path, p.WriteHTML)
}

// picture draws the fail-over after a power cut.
func picture(ctx context.Context, path string, s *scenario.Stage, m *moments, figures []figure) error {
	i := slices.IndexFunc(figures, func(f figure) bool { return f.Act.Name == scenario.PowerCut.Name })
	if i < 0 {
		return errors.New("nothing to draw: there was no power cut")
	}
	f := figures[i]
	l := line(s, f.Began, f.Began.Add(-2*time.Second), f.Over.Add(2*time.Second))
	list := append(m.within(f.Began, f.Over), moment{f.Began, "power cut of " + f.From.Node})
	events, err := s.Cluster.Events(ctx)
	if err != nil {
		return err
	}
	for _, e := range slices.DeleteFunc(events, func(e cluster.Event) bool { return e.Time.Before(f.Began) || e.Time.After(f.Over) || e.Action == "on" }) {
		list = append(list, moment{e.Time, e.Node + " is fenced"})
	}
	slices.SortFunc(list, func(a, b moment) int { return a.at.Compare(b.at) })
	for _, one := range list {
		l.Marks = append(l.Marks, timeline.Mark{At: one.at.Sub(f.Began), Text: one.text})
	}
	return write(path, l.WriteSVG)
}

func write(path string, to func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(to(f), f.Close())
}

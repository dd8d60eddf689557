package chaos

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/timeline"
)

// shortest is the shortest time without an acknowledgement that is drawn, of a client that was acknowledged something at these
// times: well longer than one takes.
func shortest(served []time.Duration) time.Duration {
	const least, few = 500 * time.Millisecond, 20
	if len(served) < few {
		return least
	}
	var between []time.Duration
	for i, t := range served[1:] {
		between = append(between, t-served[i])
	}
	slices.Sort(between)
	return max(least, 3*between[len(between)/2])
}

// gaps are the times without an acknowledgement.
func gaps(served []time.Duration, end time.Duration) (list []timeline.Gap) {
	least := shortest(served)
	for i, t := range append(slices.Clone(served), end) {
		if i > 0 && t-served[i-1] > least {
			list = append(list, timeline.Gap{From: served[i-1], To: t})
		}
	}
	return list
}

// line is the history as it is drawn.
func line(events []check.Event, v *check.Verdict) (l timeline.Line) {
	served := map[string][]time.Duration{}
	for _, e := range events {
		switch e.Kind {
		case check.Setup:
			l.From = e.At
			for _, s := range e.Service {
				for _, c := range s.Clients {
					l.Lanes = append(l.Lanes, timeline.Lane{Name: c})
				}
			}
		case check.OK:
			served[e.Who] = append(served[e.Who], e.At)
		case check.Over:
			l.To = e.At
		}
	}
	if l.To == 0 && len(events) > 0 {
		l.To = events[len(events)-1].At
	}
	for i := range l.Lanes {
		one := &l.Lanes[i]
		one.Gaps = gaps(slices.DeleteFunc(served[one.Name], func(t time.Duration) bool { return t > l.To }), l.To)
	}
	for _, s := range v.Steps {
		m := timeline.Mark{At: s.From, Text: title(s), Bad: len(s.ProblemsOf) > 0}
		more := []string{m.Text}
		for _, f := range s.Failures {
			more = append(more, fmt.Sprintf("%s %s on %s (%d): %s", f.Who, f.Action, f.Node, f.Code, f.Reason))
		}
		for _, p := range s.ProblemsOf {
			more = append(more, p.String())
		}
		m.More = strings.Join(more, "\n")
		l.Marks = append(l.Marks, m)
	}
	return l
}

func title(s check.Result) string {
	var names []string
	for _, f := range s.Faults {
		names = append(names, strings.TrimSpace(f.Kind+" "+f.Target))
	}
	return fmt.Sprintf("%d: %s", s.N, strings.Join(names, " + "))
}

// page is the report of a campaign.
func page(name string, events []check.Event, v *check.Verdict) timeline.Page {
	p := timeline.Page{Title: "Chaos, " + name, About: "Random faults on a control plane on three nodes, and clients that used it all the while.", Line: line(events, v)}
	faults := 0
	for _, s := range v.Steps {
		faults += len(s.Faults)
	}
	promised := 0
	for _, t := range v.Tallies {
		promised += t.OK
	}
	card := func(n int, about string, bad bool) {
		p.Cards = append(p.Cards, timeline.Card{Figure: fmt.Sprint(n), About: about, Bad: bad && n > 0})
	}
	card(faults, fmt.Sprintf("faults in %d steps", len(v.Steps)), false)
	card(promised, "acknowledged", false)
	for _, c := range []struct {
		check.Class
		about string
	}{
		{check.Lost, "lost"},
		{check.Doubled, "doubled"},
		{check.TwoServers, "times two servers"},
		{check.NeedlessOff, "nodes needlessly fenced"},
		{check.TooLong, "outages over their bound"},
	} {
		card(v.Count(c.Class), c.about, true)
	}
	card(len(v.Problems), "problems", true)
	for _, problem := range v.Problems {
		p.Problems = append(p.Problems, problem.String())
	}
	table := timeline.Table{Title: "Faults", Head: []string{"fault", "count", "outage, median", "longest", "helped", "codes", "what crm_mon said"}}
	for _, r := range tabulate(v) {
		table.Rows = append(table.Rows, []timeline.Cell{
			{Text: r.kind},
			{Text: fmt.Sprint(r.count)},
			{Text: fmt.Sprintf("%.1f s", r.median().Seconds()), Bar: r.median()},
			{Text: fmt.Sprintf("%.1f s", r.most().Seconds()), Bar: r.most()},
			{Text: fmt.Sprint(r.helped)},
			{Text: strings.Join(counted(r.codes), "\n")},
			{Text: strings.Join(counted(r.reasons), "\n")},
		})
	}
	told := timeline.Table{Title: "What clients were told", Head: []string{"client", "acknowledged", "refused", "unknown", "came again"}}
	for _, l := range p.Lanes {
		t := v.Tallies[l.Name]
		told.Rows = append(told.Rows, []timeline.Cell{{Text: l.Name}, {Text: fmt.Sprint(t.OK)}, {Text: fmt.Sprint(t.Refused)}, {Text: fmt.Sprint(t.Unknown)}, {Text: fmt.Sprint(t.Again)}})
	}
	p.Tables = []timeline.Table{table, told}
	return p
}

// WriteReport writes a page with a timeline and tables.
func WriteReport(path, name string, events []check.Event, v *check.Verdict) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(page(name, events, v).WriteHTML(f), f.Close())
}

package chaos

import (
	"fmt"
	"html/template"
	"os"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
)

const (
	pixelsPerSecond = 4
	laneHeight      = 26
	// The steps' names stand in so many lines above the lanes, that they may be longer than their steps.
	nameLines, nameHeight = 5, 13
	lanesTop              = nameLines*nameHeight + 12
)

// lane is a client's availability: the times when it was not served.
type lane struct {
	Name string
	Y    int
	Gaps []span
}

type span struct {
	X, Width float64
	Title    string
}

// mark is a step on the timeline.
type mark struct {
	X     float64
	Y     int
	Title string
	Bad   bool
}

func pixels(t time.Duration) float64 { return t.Seconds() * pixelsPerSecond }

// lanes are the clients', with each time of more than shortest without an acknowledgement.
func lanes(events []check.Event) (list []*lane) {
	const shortest = 500 * time.Millisecond
	byName, last := map[string]*lane{}, map[string]time.Duration{}
	for _, e := range events {
		if e.Kind == check.Setup {
			for _, s := range e.Service {
				for _, c := range s.Clients {
					l := &lane{Name: c, Y: lanesTop + len(list)*laneHeight}
					byName[c] = l
					list = append(list, l)
				}
			}
		}
		l := byName[e.Who]
		if e.Kind != check.OK || l == nil {
			continue
		}
		if before, ok := last[e.Who]; ok && e.At-before > shortest {
			l.Gaps = append(l.Gaps, span{pixels(before), pixels(e.At - before), fmt.Sprintf("%s: not served for %.1f s", e.Who, (e.At - before).Seconds())})
		}
		last[e.Who] = e.At
	}
	return list
}

func title(s check.Result) string {
	var names []string
	for _, f := range s.Faults {
		names = append(names, strings.TrimSpace(f.Kind+" "+f.Target))
	}
	return fmt.Sprintf("%d: %s", s.N, strings.Join(names, " + "))
}

// WriteReport writes a page with a timeline and a table.
func WriteReport(path string, seed int, events []check.Event, v *check.Verdict) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var marks []mark
	for i, s := range v.Steps {
		marks = append(marks, mark{pixels(s.From), nameHeight * (1 + i%nameLines), title(s), len(s.ProblemsOf) > 0})
	}
	width := 0.0
	if len(events) > 0 {
		width = pixels(events[len(events)-1].At)
	}
	type line struct {
		Kind, Median, Most, Codes, Reasons string
		Count, Helped                      int
	}
	var table []line
	for _, r := range tabulate(v) {
		table = append(table, line{
			r.kind, fmt.Sprintf("%.1f s", r.median().Seconds()), fmt.Sprintf("%.1f s", r.most().Seconds()), counted(r.codes), counted(r.reasons), r.count, r.helped,
		})
	}
	all := lanes(events)
	page, err := template.New("").Parse(pageText)
	if err != nil {
		return err
	}
	return page.Execute(f, map[string]any{
		"Seed": seed, "Lanes": all, "Marks": marks, "Width": width + 20, "Bottom": lanesTop + len(all)*laneHeight, "Height": lanesTop + len(all)*laneHeight + nameHeight,
		"Table": table, "Problems": v.Problems, "Tallies": v.Tallies,
	})
}

const pageText = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Chaos, seed {{.Seed}}</title>
<style>
body { font: 14px sans-serif; margin: 2em }
table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: 2px 8px; text-align: left; vertical-align: top }
.timeline { overflow-x: auto; border: 1px solid #ccc } svg text { font: 11px sans-serif }
</style>
<h1>Chaos, seed {{.Seed}}</h1>
<p>{{range $name, $t := .Tallies}}{{$name}}: {{$t.OK}} acknowledged, {{$t.Refused}} refused, {{$t.Unknown}} unknown. {{end}}</p>
<h2>{{len .Problems}} problems</h2>
<ul>{{range .Problems}}<li>{{.}}</li>{{end}}</ul>
<h2>Timeline</h2>
<p>Green: served. Red: not. A line is a step, red if something was wrong in it; its name shows where the mouse rests.</p>
<div class="timeline"><svg width="{{.Width}}" height="{{.Height}}">
{{range .Lanes}}<rect x="0" y="{{.Y}}" width="{{$.Width}}" height="18" fill="#9c9"><title>{{.Name}}</title></rect>
{{$y := .Y}}{{range .Gaps}}<rect x="{{.X}}" y="{{$y}}" width="{{.Width}}" height="18" fill="#d33"><title>{{.Title}}</title></rect>{{end}}
<text x="4" y="{{.Y}}" dy="13">{{.Name}}</text>{{end}}
{{range .Marks}}<line x1="{{.X}}" x2="{{.X}}" y1="{{.Y}}" y2="{{$.Bottom}}" stroke="{{if .Bad}}red{{else}}#336{{end}}"><title>{{.Title}}</title></line>
<text x="{{.X}}" y="{{.Y}}" dx="3">{{.Title}}</text>{{end}}
</svg></div>
<h2>Faults</h2>
<table><tr><th>fault<th>count<th>outage, median<th>max<th>helped<th>codes<th>reasons</tr>
{{range .Table}}<tr><td>{{.Kind}}<td>{{.Count}}<td>{{.Median}}<td>{{.Most}}<td>{{.Helped}}<td>{{.Codes}}<td>{{.Reasons}}</tr>{{end}}
</table></html>
`

// Package timeline draws when which service was there, and above it what was done to them: as a page for a browser, and as a
// picture of a part of it.
package timeline

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

// Line is all of a time: who was served, and what happened.
type Line struct {
	From, To time.Duration
	Lanes    []Lane
	Marks    []Mark // in order of time
}

// Lane is a service's availability, as one client saw it.
type Lane struct {
	Name string
	Gaps []Gap // in which it was not there
}

// Gap is a time without an answer.
type Gap struct{ From, To time.Duration }

// Mark is something that happened.
type Mark struct {
	At   time.Duration
	Text string // above the lanes
	More string // where the mouse rests
	Bad  bool
}

// Page is a report.
type Page struct {
	Title, About string
	Cards        []Card
	Problems     []string
	Line
	Tables []Table
}

// Card is a figure that everything else explains.
type Card struct {
	Figure, About string
	Bad           bool
}

// Table is what stands below.
type Table struct {
	Title string
	Head  []string
	Rows  [][]Cell
}

// Cell is a text, with a bar before it that is as long as Bar.
type Cell struct {
	Text string
	Bar  time.Duration
}

// Pixels is how long the bar is drawn.
func (c Cell) Pixels() int { return min(int(c.Bar.Seconds()*3), 200) }

// away is how long there was no answer, and the longest of it.
func (l Lane) away(from, to time.Duration) (sum, longest time.Duration) {
	for _, g := range l.Gaps {
		d := min(g.To, to) - max(g.From, from)
		if d > 0 {
			sum += d
			longest = max(longest, d)
		}
	}
	return sum, longest
}

// The drawing's measures, in pixels.
const (
	width      = 1200.0
	laneLeft   = 92.0
	laneRight  = width - 12
	laneHeight = 22.0
	laneGap    = 5.0
	labelLine  = 15.0
	letter     = 6.0 // of the labels, about
	axis       = 22.0
)

// band is a part of a line that is drawn as wide as the page.
type band struct {
	Height, Top, Bottom float64
	Lanes               []laneDrawn
	Labels              []label
	Ticks               []tick
	Name                string
}

type laneDrawn struct {
	Name                string
	X, Y, Width, Height float64
	TextX, TextY        float64
	Gaps                []gapDrawn
}

type gapDrawn struct {
	X, Width, TextX float64
	Text, Title     string
}

type label struct {
	X, Y, TextX, TextY float64
	Anchor, Text, More string
	Bad                bool
}

type tick struct {
	X    float64
	Text string
}

// draw lays a part of the line out.
func (l Line) draw(from, to time.Duration) band {
	scale := (laneRight - laneLeft) / (to - from).Seconds()
	end := min(to, l.To)
	x := func(t time.Duration) float64 { return laneLeft + (min(max(t, from), end)-from).Seconds()*scale }
	b := band{Name: fmt.Sprintf("%s to %s", clock(from), clock(to))}
	rows := l.label(&b, from, to, x)
	b.Top = float64(rows)*labelLine + 8
	y := b.Top
	for _, lane := range l.Lanes {
		d := laneDrawn{Name: lane.Name, X: laneLeft, Y: y, Width: x(end) - laneLeft, Height: laneHeight, TextX: laneLeft - 8, TextY: y + laneHeight*0.7}
		for _, g := range lane.Gaps {
			if g.To <= from || g.From >= end {
				continue
			}
			one := gapDrawn{X: x(g.From), Width: max(x(g.To)-x(g.From), 1), Title: fmt.Sprintf("%s: no answer for %.1f s, from %s on", lane.Name, (g.To - g.From).Seconds(), clock(g.From))}
			one.TextX = one.X + one.Width/2
			if text := fmt.Sprintf("%.1f s", (g.To - g.From).Seconds()); one.Width > letter*float64(len(text))+4 {
				one.Text = text
			}
			d.Gaps = append(d.Gaps, one)
		}
		b.Lanes = append(b.Lanes, d)
		y += laneHeight + laneGap
	}
	b.Bottom = y
	b.Height = y + axis
	every := step(to - from)
	for t := from.Truncate(every); t <= end; t += every {
		text := clock(t)
		if l.To-l.From < time.Minute {
			text = fmt.Sprintf("%.0f s", t.Seconds())
		}
		if t >= from {
			b.Ticks = append(b.Ticks, tick{x(t), text})
		}
	}
	return b
}

// label puts the marks' texts above the lanes, in as many rows as it takes for none to cover another.
func (l Line) label(b *band, from, to time.Duration, x func(time.Duration) float64) (rows int) {
	var ends []float64
	for _, m := range l.Marks {
		if m.At < from || m.At >= to {
			continue
		}
		const most = 46
		text := m.Text
		if r := []rune(text); len(r) > most {
			text = string(r[:most-1]) + "…"
		}
		long := letter*float64(len([]rune(text))) + 10
		at := label{X: x(m.At), Text: text, More: m.More, Bad: m.Bad, Anchor: "start"}
		start := at.X
		at.TextX = at.X + 4
		if start+long > width { // to the left of its line, at the right margin
			start, at.TextX, at.Anchor = at.X-long, at.X-4, "end"
		}
		row := slices.IndexFunc(ends, func(end float64) bool { return end < start })
		if row < 0 {
			row = len(ends)
			ends = append(ends, 0)
		}
		ends[row] = start + long
		at.Y = float64(row) * labelLine
		at.TextY = at.Y + 11
		b.Labels = append(b.Labels, at)
	}
	return len(ends)
}

// step is the time between two ticks.
func step(whole time.Duration) time.Duration {
	for _, s := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second} {
		if whole/s <= 15 {
			return s
		}
	}
	return time.Minute
}

func clock(t time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(t.Minutes()), int(t.Seconds())%60)
}

// availability is what a lane comes to.
type availability struct{ Name, Share, Away, Longest string }

func (l Line) availability() (list []availability) {
	for _, lane := range l.Lanes {
		sum, longest := lane.away(l.From, l.To)
		share := 100 * (1 - sum.Seconds()/max((l.To-l.From).Seconds(), 1e-9))
		list = append(list, availability{lane.Name, fmt.Sprintf("%.1f %%", share), fmt.Sprintf("%.1f s", sum.Seconds()), fmt.Sprintf("%.1f s", longest.Seconds())})
	}
	return list
}

// WriteHTML writes the page, a document that needs nothing else.
func (p Page) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageText + drawing)
	if err != nil {
		return err
	}
	const short, long = time.Minute, 4 * time.Minute
	wide := short
	if p.To-p.From > 10*short {
		wide = long
	}
	var bands []band
	for from := p.From; from < p.To; from += wide {
		bands = append(bands, p.draw(from, from+wide))
	}
	return t.Execute(w, map[string]any{"Page": p, "Bands": bands, "Availability": p.availability()})
}

// WriteSVG writes a picture of the whole line.
func (l Line) WriteSVG(w io.Writer) error {
	t, err := template.New("picture").Parse(`{{template "band" .}}` + drawing)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, l.draw(l.From, l.To)); err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.TrimSpace(b.String())+"\n")
	return err
}

// drawing is an image by itself too: all its colours are in it.
const drawing = `{{define "band"}}<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 {{printf "%.0f" .Height}}" font-family="sans-serif" font-size="12" role="img">
<rect width="1200" height="{{printf "%.0f" .Height}}" fill="#fff"/>
{{range .Ticks}}<line x1="{{printf "%.1f" .X}}" x2="{{printf "%.1f" .X}}" y1="{{$.Top}}" y2="{{$.Bottom}}" stroke="#e3e6ea"/><text x="{{printf "%.1f" .X}}" y="{{printf "%.0f" $.Bottom}}" dy="13" text-anchor="middle" fill="#667" font-size="11">{{.Text}}</text>
{{end}}{{range .Lanes}}<text x="{{.TextX}}" y="{{printf "%.1f" .TextY}}" text-anchor="end" fill="#223" font-weight="bold">{{.Name}}</text><rect x="{{.X}}" y="{{.Y}}" width="{{printf "%.1f" .Width}}" height="{{.Height}}" rx="3" fill="#58b07c"/>
{{$lane := .}}{{range .Gaps}}<rect x="{{printf "%.1f" .X}}" y="{{$lane.Y}}" width="{{printf "%.1f" .Width}}" height="{{$lane.Height}}" fill="#d23c3c"><title>{{.Title}}</title></rect>{{if .Text}}<text x="{{printf "%.1f" .TextX}}" y="{{printf "%.1f" $lane.TextY}}" text-anchor="middle" fill="#fff" font-size="11" pointer-events="none">{{.Text}}</text>{{end}}
{{end}}{{end}}{{range .Labels}}<g><title>{{.More}}</title><line x1="{{printf "%.1f" .X}}" x2="{{printf "%.1f" .X}}" y1="{{.Y}}" y2="{{$.Bottom}}" stroke="{{if .Bad}}#b00020{{else}}#334e7a{{end}}" stroke-width="1.2"/><text x="{{printf "%.1f" .TextX}}" y="{{.TextY}}" text-anchor="{{.Anchor}}" font-size="11" fill="{{if .Bad}}#b00020{{else}}#223a63{{end}}">{{.Text}}</text></g>
{{end}}</svg>{{end}}`

const pageText = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{{.Page.Title}}</title>
<style>
body { font: 14px/1.45 sans-serif; margin: 2em auto; max-width: 1240px; padding: 0 1em; color: #223 }
h1 { margin-bottom: 0 } h2 { margin-top: 1.6em }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 1.2em 0 }
.card { border: 1px solid #d5dae1; border-top: 4px solid #58b07c; border-radius: 4px; padding: 8px 14px; min-width: 90px }
.card.bad { border-top-color: #d23c3c } .card b { font-size: 22px; display: block }
.card.bad b { color: #b00020 }
table { border-collapse: collapse; margin: .6em 0 } td, th { border-bottom: 1px solid #e3e6ea; padding: 4px 12px 4px 0; text-align: left; vertical-align: top; white-space: pre-line }
th { color: #667; font-weight: normal }
td.bars { white-space: nowrap }
.bar { display: inline-block; height: 10px; background: #d23c3c; margin-right: 6px; vertical-align: baseline }
svg { display: block; width: 100%; height: auto; margin: 0 0 14px } .problems li { color: #b00020 }
.key span { display: inline-block; width: 22px; height: 11px; margin: 0 5px 0 14px }
</style>
<h1>{{.Page.Title}}</h1>
<p>{{.Page.About}}</p>
<div class="cards">{{range .Page.Cards}}<div class="card{{if .Bad}} bad{{end}}"><b>{{.Figure}}</b>{{.About}}</div>{{end}}</div>
<h2>Who was served</h2>
<table><tr><th>client<th>answered<th>without an answer, all in all<th>longest</tr>
{{range .Availability}}<tr><td><b>{{.Name}}</b><td>{{.Share}}<td>{{.Away}}<td>{{.Longest}}</tr>{{end}}</table>
<p class="key">A line is something that was done; what it was stands above. <span style="background:#58b07c"></span>answered<span style="background:#d23c3c"></span>no answer. More where the mouse rests.</p>
{{range .Bands}}{{template "band" .}}
{{end}}{{if .Page.Problems}}<h2>What was wrong</h2><ul class="problems">{{range .Page.Problems}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{range .Page.Tables}}<h2>{{.Title}}</h2>
<table><tr>{{range .Head}}<th>{{.}}{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td{{if .Bar}} class="bars"{{end}}>{{if .Bar}}<span class="bar" style="width:{{.Pixels}}px"></span>{{end}}{{.Text}}{{end}}</tr>{{end}}</table>
{{end}}</html>
`

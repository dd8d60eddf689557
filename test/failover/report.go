package failover

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Run is one fail-over of a group.
type Run struct {
	Group, Fault string
	Began        time.Time
	Lost, Back   time.Time // the client's last answer before it, and the next
	DC           bool      // the node that was lost was the DC
	Parts        Parts
}

// Length is how long the client was without service.
func (r Run) Length() time.Duration { return r.Back.Sub(r.Lost) }

// Row is a group under a fault.
type Row struct {
	Group, Fault string
	Runs         []Run // by length
}

// Middle is the run with the median length, of an even number the shorter one.
func (r Row) Middle() Run { return r.Runs[(len(r.Runs)-1)/2] }

// Median is that of their lengths.
func (r Row) Median() time.Duration {
	return (r.Runs[(len(r.Runs)-1)/2].Length() + r.Runs[len(r.Runs)/2].Length()) / 2
}

// AfterFencing is the median of how long the client waits still once the fencing has ended, 0 if nobody was fenced.
func (r Row) AfterFencing() time.Duration {
	var waits []time.Duration
	for _, run := range r.Runs {
		if run.Parts[Fencing] == 0 {
			continue
		}
		var wait time.Duration
		for _, part := range run.Parts[Fencing+1:] {
			wait += part
		}
		waits = append(waits, wait)
	}
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	return (waits[(len(waits)-1)/2] + waits[len(waits)/2]) / 2
}

// Table puts runs together, faults and groups in the order in which they came first.
func Table(runs []Run) (rows []Row) {
	for _, r := range runs {
		i := slices.IndexFunc(rows, func(row Row) bool { return row.Fault == r.Fault && row.Group == r.Group })
		if i < 0 {
			// Behind the last one of its fault.
			i = len(rows)
			for j := range rows {
				if rows[j].Fault == r.Fault {
					i = j + 1
				}
			}
			rows = slices.Insert(rows, i, Row{Group: r.Group, Fault: r.Fault})
		}
		rows[i].Runs = append(rows[i].Runs, r)
	}
	for _, row := range rows {
		slices.SortFunc(row.Runs, func(a, b Run) int { return int(a.Length() - b.Length()) })
	}
	return rows
}

// find is the row of a group under a fault, nil if there is none.
func find(rows []Row, fault, group string) *Row {
	for i := range rows {
		if rows[i].Fault == fault && rows[i].Group == group {
			return &rows[i]
		}
	}
	return nil
}

// Ratio is how long one group took as a part of another, 0 if either was not measured.
func Ratio(rows []Row, fault, group, other string) float64 {
	a, b := find(rows, fault, group), find(rows, fault, other)
	if a == nil || b == nil {
		return 0
	}
	return a.Median().Seconds() / b.Median().Seconds()
}

// Text is the table for a terminal. Ratios are to the group named; the parts are of the run in the middle, and what comes after
// fencing is a median of its own.
func Text(rows []Row, to string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "fault\tgroup\tn\tmin\tmedian\tmax\tratio\tafter fencing\t")
	for p := range phases {
		fmt.Fprintf(w, "%s\t", p)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		ratio, after := "-", "-"
		if x := Ratio(rows, r.Fault, r.Group, to); x > 0 {
			ratio = fmt.Sprintf("%.2f", x)
		}
		if x := r.AfterFencing(); x > 0 {
			after = fmt.Sprintf("%.2f", x.Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%s\t%s\t", r.Fault, r.Group, len(r.Runs), r.Runs[0].Length().Seconds(), r.Median().Seconds(), r.Runs[len(r.Runs)-1].Length().Seconds(), ratio, after)
		for _, part := range r.Middle().Parts {
			fmt.Fprintf(w, "%.2f\t", part.Seconds())
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

const (
	labelWidth = 300
	plotWidth  = 900
	barHeight  = 20
	faultSpace = 14
	top        = 46
)

// SVG draws each row's run in the middle as a bar of its parts.
func SVG(rows []Row, title string) string {
	colours := [phases]string{"#bbbbbb", "#8888cc", "#444488", "#dd8855", "#66aa66", "#338833", "#3377bb", "#ddcc66", "#aa66aa", "#dd4444"}
	var longest time.Duration
	for _, r := range rows {
		longest = max(longest, r.Middle().Length())
	}
	scale := plotWidth / max(longest.Seconds(), 0.001)
	var b strings.Builder
	y, fault := top, ""
	for _, r := range rows {
		if r.Fault != fault && fault != "" {
			y += faultSpace
		}
		fault = r.Fault
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+14, html.EscapeString(r.Fault+", "+r.Group))
		x := float64(labelWidth)
		for p, part := range r.Middle().Parts {
			width := part.Seconds() * scale
			if part > 0 {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s: %.2f s</title></rect>`+"\n", x, y, width, barHeight-3, colours[p], Phase(p), part.Seconds())
			}
			x += width
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.2f s</text>`+"\n", x+4, y+14, r.Middle().Length().Seconds())
		y += barHeight
	}
	var head strings.Builder
	fmt.Fprintf(&head, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", labelWidth+plotWidth+80, y+10)
	fmt.Fprintf(&head, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="16">%s</text>`+"\n", html.EscapeString(title))
	x := 8
	for p := range phases {
		fmt.Fprintf(&head, `<rect x="%d" y="24" width="12" height="12" fill="%s"/><text x="%d" y="34">%s</text>`+"\n", x, colours[p], x+16, p)
		x += 40 + 7*len(p.String())
	}
	return head.String() + b.String() + "</svg>\n"
}

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
)

// row is what came of all faults of a kind.
type row struct {
	kind          string
	count, helped int
	outages       []time.Duration // the longest of each step
	codes         map[string]int
	reasons       map[string]int
}

// tabulate puts the steps together by their faults; several at once are a kind of their own.
func tabulate(v *check.Verdict) []*row {
	rows := map[string]*row{}
	for _, s := range v.Steps {
		kind := fmt.Sprintf("%d at once", len(s.Faults))
		if len(s.Faults) == 1 {
			kind = s.Faults[0].Kind
		}
		r := rows[kind]
		if r == nil {
			r = &row{kind: kind, codes: map[string]int{}, reasons: map[string]int{}}
			rows[kind] = r
		}
		r.count++
		if s.Helped {
			r.helped++
		}
		r.outages = append(r.outages, slices.Max(append(slices.Collect(maps.Values(s.Outages)), 0)))
		for _, f := range s.Failures {
			r.codes[fmt.Sprintf("%s %d", f.Action, f.Code)]++
			r.reasons[fmt.Sprintf("%s: %s", f.Who, f.Reason)]++
		}
	}
	var list []*row
	for _, kind := range slices.Sorted(maps.Keys(rows)) {
		slices.Sort(rows[kind].outages)
		list = append(list, rows[kind])
	}
	return list
}

func (r *row) median() time.Duration { return r.outages[len(r.outages)/2] }
func (r *row) most() time.Duration   { return r.outages[len(r.outages)-1] }

func counted(m map[string]int) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s ×%d", k, m[k]))
	}
	return list
}

// classes are those that are always told, found or not.
var classes = []check.Class{
	check.Lost, check.Doubled, check.Torn, check.Stray, check.ReadBack, check.TwoServers, check.TwoMounts, check.StrayMount, check.TwoHolders, check.StrayHolder, check.TooEarly, check.Restarted,
	check.Moved, check.NeedlessOff, check.NeedsHelp, check.TooLong, check.Unexcused, check.Wordless, check.Untold, check.Balks, check.Unheeded, check.NotBack, check.Unjudged,
}

// Text is the verdict for a terminal.
func Text(v *check.Verdict) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\tcount\toutage median\tmax\thelped\tcodes")
	for _, r := range tabulate(v) {
		fmt.Fprintf(w, "%s\t%d\t%.1f s\t%.1f s\t%d\t%s\n", r.kind, r.count, r.median().Seconds(), r.most().Seconds(), r.helped, strings.Join(counted(r.codes), ", "))
	}
	w.Flush()
	fmt.Fprintf(&b, "%d steps, %d faults\n", len(v.Steps), v.Faults())
	for _, client := range slices.Sorted(maps.Keys(v.Tallies)) {
		t := v.Tallies[client]
		fmt.Fprintf(&b, "%s: %d acknowledged, %d refused, %d unknown, %d came again\n", client, t.OK, t.Refused, t.Unknown, t.Again)
	}
	var counts []string
	for _, c := range classes {
		counts = append(counts, fmt.Sprintf("%s %d", c, v.Count(c)))
	}
	fmt.Fprintln(&b, strings.Join(counts, ", "))
	b.WriteString(problems(v))
	return b.String()
}

// Brief is the verdict in as few lines as it takes.
func Brief(v *check.Verdict) string {
	return fmt.Sprintf("%d steps, %d faults, %d problems\n%s", len(v.Steps), v.Faults(), len(v.Problems), problems(v))
}

func problems(v *check.Verdict) string {
	var b strings.Builder
	const most = 40
	for i, p := range v.Problems {
		if i == most {
			fmt.Fprintf(&b, "and %d more\n", len(v.Problems)-most)
			break
		}
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

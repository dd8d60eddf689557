//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// story is the commentary, for a reader who watches it grow.
type story struct {
	w     io.Writer
	begun time.Time
	shown []string     // by crm_mon the last time
	said  atomic.Int64 // lines
}

func newStory(w io.Writer) *story { return &story{w: w, begun: time.Now()} }

func (st *story) chapter(title string) {
	st.said.Add(1)
	fmt.Fprintf(st.w, "\n== %s  [%.0f s]\n\n", title, time.Since(st.begun).Seconds())
}

func (st *story) say(format string, args ...any) {
	st.said.Add(1)
	fmt.Fprintf(st.w, "   "+format+"\n", args...)
}

func (st *story) result(format string, args ...any) {
	fmt.Fprintf(st.w, "\n-> "+format+"\n\n", args...)
}

// command is a scenario.Commentary.
func (st *story) command(line string) { st.say("%s", line) }

// crmMon shows what crm_mon says, without its head, and without what it said the last time.
func (st *story) crmMon(ctx context.Context, c *cluster.Cluster) {
	res, err := c.OnAny(ctx, "crm_mon", "-1")
	if err != nil {
		st.say("crm_mon: %v", err)
		return
	}
	_, body, _ := strings.Cut(res.Stdout, "Node List:\n")
	lines := slices.DeleteFunc(strings.Split(body, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	fresh := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return slices.Contains(st.shown, l) })
	switch {
	case st.shown == nil:
		st.say("# crm_mon -1")
	case len(fresh) == 0:
		st.say("# crm_mon -1 says what it said before")
	default:
		st.say("# crm_mon -1, what is new in it:")
	}
	for _, line := range fresh {
		st.say("| %s", line)
	}
	st.shown = lines
	fmt.Fprintln(st.w)
}

// rows is a table, its head first.
type rows [][]string

// tabulate lists for each scene how long every client went without an answer, and what it lost.
func tabulate(s *scenario.Stage, figures []figure, audits []scenario.Audit) rows {
	head := []string{"fault", "node"}
	for _, a := range s.Actors {
		head = append(head, "s without "+a.Speaks)
	}
	for _, a := range s.Actors {
		lost := "lost "
		if a.Diskless {
			lost = "failed "
		}
		head = append(head, lost+a.Unit)
	}
	t := rows{append(head, "what was seen")}
	for n, f := range figures {
		node := f.From.Node
		if f.Act.Moves {
			node += " to " + f.To.Node
		}
		row := []string{f.Act.Title, node}
		for _, o := range f.Outages {
			row = append(row, fmt.Sprintf("%.2f", o.Length().Seconds()))
		}
		until := time.Now()
		if n+1 < len(figures) {
			until = figures[n+1].Began
		}
		for i, a := range s.Actors {
			switch {
			case a.Diskless:
				row = append(row, fmt.Sprint(f.Failed[i]))
			case a.Forgets:
				row = append(row, "-")
			default:
				row = append(row, fmt.Sprint(a.Between(audits[i].Lost, f.Began, until)))
			}
		}
		t = append(t, append(row, f.seen))
	}
	return t
}

func (st *story) table(t rows) {
	w := tabwriter.NewWriter(st.w, 0, 0, 2, ' ', 0)
	for _, row := range t {
		fmt.Fprintf(w, "   %s\n", strings.Join(row, "\t"))
	}
	w.Flush()
	fmt.Fprintln(st.w)
}

// markdown is the table as GitHub renders it.
func (t rows) markdown() string {
	var b strings.Builder
	for i, row := range t {
		for _, cell := range row {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("| --- ", len(row)) + "|\n")
		}
	}
	return b.String()
}

// lookAround says what to do with a cluster that stays.
func (st *story) lookAround() {
	st.chapter("The cluster stays up (KEEP)")
	for _, l := range [][2]string{
		{"status", "nodes, fencing, crm_mon"},
		{"exec node1 pcs status", "a command on a node"},
		{"exec node1 bash", "a shell on a node"},
		{fmt.Sprintf("client curl -i http://%s:8778/", scenario.FloatingIP), "an API, through HAProxy"},
		{"client mariadb -h " + scenario.FloatingIP + " -u " + scenario.SQLUser + " -p" + scenario.SQLPassword + " " + scenario.SQLSchema, "a client on the network"},
		{"cut node2", "pull its network cable; heal plugs it in"},
		{"off node2", "pull its mains plug; on plugs it in"},
		{"logs DIR", "all logs of all nodes"},
		{"down", "END THE CLUSTER"},
	} {
		st.say("%-72s # %s", command+" "+l[0], l[1])
	}
	st.say("")
	st.say("Nothing else ends it: not even the end of this terminal.")
}

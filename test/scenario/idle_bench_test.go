package scenario_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/scenario"
)

// BenchmarkIdle is what a group costs while nothing happens: the CPU of Pacemaker's executor on its node, and of all the agents
// that it has run, in so long that the deep monitors have had their turns. FAILOVER_GROUPS says which groups.
func BenchmarkIdle(b *testing.B) {
	const long = 3 * 62 * time.Second // three times as long as a monitor stays, and the interval after it
	groups := chosenGroups(b, append(compositions(), references()...))
	t := open(b, groups)
	var shells time.Duration
	for _, g := range groups {
		t.enact(b, g)
		d, _ := t.Actors[0].Now()
		executors := scenario.Processes(t.Cluster, "pacemaker-execd")
		i := slices.IndexFunc(executors, func(e scenario.Daemon) bool { return e.Node == d.Node })
		if i < 0 {
			b.Fatalf("no executor on %s", d.Node)
		}
		before := spent(b, executors[i])
		select {
		case <-time.After(long):
		case <-b.Context().Done():
			b.Fatal(b.Context().Err())
		}
		took := spent(b, executors[i]) - before
		if g.name == shell {
			shells = took
		}
		ratio := "-"
		if shells > 0 {
			ratio = fmt.Sprintf("%.2f", float64(took)/float64(shells))
		}
		b.Logf("%-12s  %5.2f ms of CPU a second, ratio to %q %s", g.name, took.Seconds()*1000/long.Seconds(), shell, ratio)
	}
	b.ReportMetric(0, "ns/op") // of several things one after the other: says nothing
}

// spent is the CPU time of a process and of all its children that have ended (proc_pid_stat(5)).
func spent(b *testing.B, d scenario.Daemon) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.HostPID()))
	if err != nil {
		b.Fatal(err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture of today
	f := strings.Fields(string(text)[strings.LastIndex(string(text), ")")+1:])
	var sum time.Duration
	for _, field := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

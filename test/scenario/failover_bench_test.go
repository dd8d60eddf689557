package scenario_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/failover"
	"github.com/openstack-ocf/agents/test/scenario"
)

// composition is who makes the group of address, storage and database.
type composition struct {
	name       string
	foundation scenario.Foundation
	database   scenario.Service
	rarely     bool   // monitored only as often, and only as deep, as shell agents are
	resources  string // of the cluster, as XML
}

const shell, mixed, native, rarely, least = "shell agents", "our database", "native", "native as rarely", "the least"

func compositions() []*composition {
	return []*composition{
		{name: shell, foundation: scenario.Scripts(), database: fine(scenario.HeartbeatMySQL())},
		{name: mixed, foundation: scenario.Scripts(), database: fine(scenario.MySQL())},
		{name: native, foundation: scenario.Native(), database: fine(scenario.MySQL())},
	}
}

// references are compositions that nobody would run.
func references() []*composition {
	return []*composition{
		{name: rarely, foundation: scenario.Native(), database: fine(scenario.MySQL()), rarely: true},
		{name: least, foundation: theLeast(), database: fine(scenario.MySQL())},
	}
}

// unnoticed is how long a frozen server is waited for that nobody will notice: ocf:heartbeat:mysql as it is advertised.
const unnoticed = 25 * time.Second

// acts are what happens, by tools that cost less than pcs. A kill takes mysqld_safe along, which would start the server anew
// behind the cluster's back.
func acts() []scenario.Act {
	exec := func(argv func(scenario.Daemon) []string) func(context.Context, *scenario.Stage, *scenario.Actor, scenario.Daemon) error {
		return func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
			_, err := s.Cluster.Node(d.Node).Exec(ctx, argv(d)...)
			return err
		}
	}
	kill, move, standby := scenario.Kill, scenario.Move, scenario.Standby
	kill.Title = "kill -9"
	kill.Do = func(ctx context.Context, s *scenario.Stage, a *scenario.Actor, d scenario.Daemon) error {
		for _, safe := range scenario.ScriptProcesses(s.Cluster, "mysqld_safe", "bash", "dash", "sh") {
			if err := safe.Signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
		return scenario.Kill.Do(ctx, s, a, d)
	}
	move.Do = exec(func(scenario.Daemon) []string {
		return []string{"crm_resource", "--move", "--resource", scenario.GroupID}
	})
	standby.Title = "standby"
	standby.Do = exec(func(d scenario.Daemon) []string { return []string{"crm_standby", "--node", d.Node, "--update", "on"} })
	return []scenario.Act{kill, scenario.Freeze.Called("frozen"), move, standby, scenario.PowerCut.Called("power cut"), scenario.CableCut.Called("cable cut")}
}

// theatre is a cluster on which groups take turns.
type theatre struct {
	*scenario.Stage
	runs []failover.Run
	bare []time.Duration // from exec to SQL, of a server that nobody manages, after a kill -9
	idle string          // the cluster's resources without any of the group
}

// open builds the cluster, and each group once, to have its resources as pcs makes them.
func open(b *testing.B, groups []*composition) *theatre {
	b.Helper()
	ours, theirs := fine(scenario.MySQL()), fine(scenario.HeartbeatMySQL())
	cfg, err := scenario.Config(built.Binary(b), ours, theirs)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Files = append(cfg.Files, leastFiles()...)
	cfg.Properties = map[string]string{}
	for property := range strings.FieldsFuncSeq(os.Getenv("FAILOVER_PROPERTIES"), func(r rune) bool { return r == ',' }) {
		name, value, _ := strings.Cut(property, "=")
		cfg.Properties[name] = value
	}
	c := cluster.New(b, cfg)
	t := &theatre{}
	if t.Stage, err = scenario.Deploy(step(b), c, nil, ours); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.Close)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(t.PCS(step(b), "resource", "delete", scenario.GroupID))
	resources := func(env ...string) string {
		r, err := t.node(b).Run(step(b), cluster.Cmd{Argv: []string{"cibadmin", "--query", "--scope", "resources"}, Env: env})
		must(err)
		return r.Stdout
	}
	t.idle = resources()
	for _, g := range groups {
		const file = "/root/group.xml"
		script := []string{"pcs cluster cib " + file}
		for _, r := range []struct{ args, every string }{
			{fmt.Sprintf("%s %s ip=%s", scenario.AddressID, g.foundation.Address, scenario.FloatingIP), "10s"},
			{fmt.Sprintf("%s %s device=%s directory=%s fstype=ext4", scenario.StorageID, g.foundation.Storage, t.Disk, scenario.DataDir), "20s"},
			{fmt.Sprintf("%s %s", g.database.ID, g.database.Agent), "20s"},
		} {
			if g.rarely {
				r.args += " op monitor timeout=40s interval=" + r.every
			}
			script = append(script, fmt.Sprintf("pcs -f %s resource create %s --group %s", file, r.args, scenario.GroupID))
		}
		_, err := t.node(b).Shell(step(b), "set -e\n"+strings.Join(script, "\n"))
		must(err)
		g.resources = resources("CIB_file=" + file)
	}
	return t
}

func (t *theatre) node(b *testing.B) *cluster.Node {
	b.Helper()
	s, err := t.Cluster.Status(step(b))
	if err != nil || s.DC == "" {
		b.Fatalf("no DC: %v", err)
	}
	return t.Cluster.Node(s.DC)
}

// enact has the cluster run another group.
func (t *theatre) enact(b *testing.B, g *composition) {
	b.Helper()
	// What is taken out of the configuration while it runs is stopped in no order.
	if _, err := t.node(b).Exec(step(b), "crm_resource", "--resource", scenario.GroupID, "--meta", "--set-parameter", "target-role", "--parameter-value", "Stopped"); err == nil {
		if err := t.Cluster.WaitIdle(step(b)); err != nil {
			b.Fatal(err)
		}
	}
	for _, xml := range []string{t.idle, g.resources} {
		n := t.node(b)
		err := n.WriteFile(step(b), "/root/resources.xml", []byte(xml), 0o600)
		if err == nil {
			_, err = n.Exec(step(b), "cibadmin", "--replace", "--scope", "resources", "--xml-file", "/root/resources.xml")
		}
		if err == nil {
			err = t.Cluster.WaitIdle(step(b))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	err := t.Settled(step(b))
	if err == nil {
		err = t.Actors[0].WaitServed(step(b), time.Now())
	}
	if err != nil {
		b.Fatal(err)
	}
}

// restore brings everything back, by cheaper tools than Stage.Restore does.
func (t *theatre) restore(b *testing.B, act scenario.Act, d scenario.Daemon) {
	b.Helper()
	if err := t.Cluster.WaitIdle(step(b)); err != nil { // a start may go on after the service is served
		b.Fatal(err)
	}
	var commands []string
	switch act.Name {
	case scenario.Move.Name:
		commands = append(commands, "crm_resource --clear --resource "+scenario.GroupID)
	case scenario.Standby.Name:
		commands = append(commands, "crm_standby --node "+d.Node+" --delete")
	case scenario.Kill.Name, scenario.Freeze.Name:
		commands = append(commands, "crm_resource --cleanup")
	}
	for _, c := range commands {
		if _, err := t.node(b).Shell(step(b), c); err != nil {
			b.Fatal(err)
		}
	}
	if err := t.Restore(step(b)); err != nil {
		b.Logf("after %s: %v", act.Title, err) // a machine with too much to do may have restarted something
		if err := t.Settled(step(b)); err != nil {
			b.Fatal(err)
		}
	}
}

// play has the act happen to the group that runs, and notes what came of it.
func (t *theatre) play(b *testing.B, g *composition, act scenario.Act) {
	b.Helper()
	a := t.Actors[0]
	if act.Name == scenario.Freeze.Name && g.name == shell {
		t.freezeUnnoticed(b, g, act)
		return
	}
	// Monitors run every 2 s, or every 20: what happens at any time must not always happen at the same.
	select {
	case <-time.After(rand.N(2 * time.Second)):
	case <-b.Context().Done():
	}
	status, err := t.Cluster.Status(step(b))
	if err != nil {
		b.Fatal(err)
	}
	d, _ := a.Now()
	r, err := t.Play(step(b), act)
	if err != nil {
		b.Fatal(err)
	}
	o := r.Outages[0]
	t.runs = append(t.runs, failover.Run{Group: g.name, Fault: act.Title, Began: r.Began, Lost: o.Lost, Back: o.Back, DC: status.DC == d.Node})
	t.restore(b, act, d)
}

// freezeUnnoticed sees once that a frozen server goes unnoticed.
func (t *theatre) freezeUnnoticed(b *testing.B, g *composition, act scenario.Act) {
	b.Helper()
	if slices.ContainsFunc(t.runs, func(r failover.Run) bool { return r.Group == g.name && r.Fault == act.Title }) {
		return
	}
	a := t.Actors[0]
	d, _ := a.Now()
	began := time.Now()
	if err := d.Signal(syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	soon, cancel := context.WithTimeout(b.Context(), unnoticed)
	defer cancel()
	noticed, err := a.WaitOther(soon, d)
	if err == nil {
		b.Errorf("%s: the frozen server was replaced by %v: measure it", g.name, noticed)
	}
	if err := d.Signal(syscall.SIGCONT); err != nil {
		b.Fatal(err)
	}
	if err := a.WaitServed(step(b), time.Now()); err != nil {
		b.Fatal(err)
	}
	o := a.Outage(began)
	t.runs = append(t.runs, failover.Run{Group: g.name, Fault: act.Title, Began: began, Lost: o.Lost, Back: o.Back})
	b.Logf("%s: a frozen server was not noticed in %v, and then thawed by hand", g.name, unnoticed)
}

// measureBare has the server start as anybody would by hand, after a kill -9, on the data and the node of the group.
func (t *theatre) measureBare(b *testing.B) {
	b.Helper()
	a := t.Actors[0]
	maintenance := func(on string) {
		b.Helper()
		if _, err := t.node(b).Exec(step(b), "crm_attribute", "--name", "maintenance-mode", "--update", on); err != nil {
			b.Fatal(err)
		}
		if err := t.Cluster.WaitIdle(step(b)); err != nil {
			b.Fatal(err)
		}
	}
	maintenance("true")
	d, _ := a.Now()
	for range 2 {
		if err := d.Signal(syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		waitGone(b, a, d)
		began := time.Now()
		if _, err := t.Cluster.Node(d.Node).Shell(step(b), "setsid mariadbd --user=mysql >/dev/null 2>&1 </dev/null &"); err != nil {
			b.Fatal(err)
		}
		var err error
		if d, err = a.WaitOther(step(b), d); err == nil {
			err = a.WaitServed(step(b), began)
		}
		if err != nil {
			b.Fatal(err)
		}
		t.bare = append(t.bare, a.Outage(began).Back.Sub(began))
	}
	maintenance("false")
	if err := t.Settled(step(b)); err != nil {
		b.Fatal(err)
	}
}

func waitGone(b *testing.B, a *scenario.Actor, d scenario.Daemon) {
	b.Helper()
	for {
		if now, ok := a.Now(); !ok || now != d {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-step(b).Done():
			b.Fatalf("%v does not end", d)
		}
	}
}

// chosen are those that are named, separated by commas, all if none is.
func chosen[T any](b *testing.B, named string, all []T, name func(T) string) (list []T) {
	b.Helper()
	if named == "" {
		return all
	}
	for want := range strings.SplitSeq(named, ",") {
		i := slices.IndexFunc(all, func(v T) bool { return name(v) == strings.TrimSpace(want) })
		if i < 0 {
			b.Fatalf("there is no %q", want)
		}
		list = append(list, all[i])
	}
	return list
}

// chosenGroups are those that FAILOVER_GROUPS names, the usual ones if it names none.
func chosenGroups(b *testing.B, usual []*composition) []*composition {
	b.Helper()
	named := os.Getenv("FAILOVER_GROUPS")
	if named == "" {
		return usual
	}
	return chosen(b, named, append(compositions(), references()...), func(g *composition) string { return g.name })
}

// hog takes a processor each, until the end of the benchmark.
func hog(b *testing.B, n int) {
	for range n {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		started, ended := make(chan error), make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread() // the death signal comes when the thread ends that started it: this goroutine keeps it to itself
			err := cmd.Start()
			if started <- err; err == nil {
				_ = cmd.Wait()
			}
		}()
		if err := <-started; err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			select {
			case <-ended:
				b.Error("a hog has ended before the benchmark")
			default:
			}
			_ = cmd.Process.Kill()
			<-ended
		})
	}
}

// BenchmarkFailover is every fault that a fail-over is for, on one cluster and the same data, by groups that take turns:
// the address, the storage and the database by shell agents, by ours, and the database alone by ours. FAILOVER_N says how many
// turns (3), FAILOVER_FAULTS and FAILOVER_GROUPS which ("native as rarely" and "the least" only where named), FAILOVER_PROPERTIES
// what the cluster's properties are besides (node-action-limit=16), separated by commas, FAILOVER_SVG the file for the picture.
func BenchmarkFailover(b *testing.B) {
	b.Run("quiet", func(b *testing.B) { benchmarkFailover(b, "", "bin/failover.svg") })
	b.Run("two hogs", func(b *testing.B) {
		hog(b, 2)
		benchmarkFailover(b, scenario.Move.Name, "bin/failover-hogs.svg")
	})
}

// benchmarkFailover is it with the usual faults, "" for all, unless others are chosen.
func benchmarkFailover(b *testing.B, usual, picture string) {
	times, err := strconv.Atoi(cmp.Or(os.Getenv("FAILOVER_N"), "3"))
	if err != nil {
		b.Fatal(err)
	}
	faults := chosen(b, cmp.Or(os.Getenv("FAILOVER_FAULTS"), usual), acts(), func(a scenario.Act) string { return a.Name })
	groups := chosenGroups(b, compositions())
	t := open(b, groups)
	defer t.tell(b, picture) // also of what was measured until something went wrong
	for range times {
		for _, g := range groups {
			t.enact(b, g)
			for _, act := range faults {
				t.play(b, g, act)
			}
			if g.name == native && slices.ContainsFunc(faults, func(a scenario.Act) bool { return a.Name == scenario.Kill.Name }) {
				t.measureBare(b)
			}
		}
	}
	audit(b, t.Stage)
}

// account finds out where the time went.
func (t *theatre) account(b *testing.B) {
	b.Helper()
	dir := b.TempDir()
	err := t.Cluster.Logs(step(b), dir)
	var logs failover.Logs
	if err == nil {
		logs, err = failover.ReadLogs(dir, time.Now())
	}
	if err != nil {
		b.Error(err)
		return
	}
	for i := range t.runs {
		r := &t.runs[i]
		r.Parts = logs.Account(r.Began, r.Lost, r.Back, failover.Resources{Address: scenario.AddressID, Storage: scenario.StorageID, Service: scenario.MySQL().ID})
	}
}

// tell prints what came of it, on standard output: of a benchmark's log go test shows ten lines.
func (t *theatre) tell(b *testing.B, picture string) {
	b.Helper()
	t.account(b)
	load, _ := os.ReadFile("/proc/loadavg")
	rows := failover.Table(t.runs)
	fmt.Printf("\nseconds without SQL; ratios to %q; parts of the run in the middle; load average %s\n%s\n", shell, strings.TrimSpace(string(load)), failover.Text(rows, shell))
	for _, r := range rows {
		if x := failover.Ratio(rows, r.Fault, native, mixed); r.Group == native && x > 0 {
			fmt.Printf("%s: native takes %.2f of %q\n", r.Fault, x, mixed)
		}
	}
	if len(t.bare) > 0 {
		slices.Sort(t.bare)
		fmt.Printf("a bare server, from exec to SQL after a kill -9: %.2f s (median of %d)\n", t.bare[len(t.bare)/2].Seconds(), len(t.bare))
	}
	b.ReportMetric(0, "ns/op") // of several things together: says nothing
	file := cmp.Or(os.Getenv("FAILOVER_SVG"), "../../"+picture)
	if err := os.WriteFile(file, []byte(failover.SVG(rows, "Where the time of a fail-over goes: seconds without SQL, medians")), 0o644); err != nil {
		b.Error(err)
	}
	b.Logf("drawn in %s", strings.TrimPrefix(file, "../../"))
}

package chaos

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/clusterqpidd"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestChaos plays a few faults of a fixed seed: that the campaign itself works, and what it found once stays mended; then one that
// leaves a service no node for a while, which comes back by itself all the same; and a few of a seed that is new each time.
// `make chaos` is for more.
func TestChaos(t *testing.T) {
	const fixed, everywhere, last = 4, 5, 7
	fresh := 1 + rand.IntN(1_000_000)
	group := Group{Native: true, Consoleauth: true}
	t.Logf("steps %d to %d again: make chaos SEED=%d FROM=%[1]d TO=%[2]d GROUP=%[4]v", everywhere+1, last, fresh, group)
	play(t, Config{From: 1, To: last, Most: 2, Group: group, of: func(step int) (int, []string) {
		switch {
		case step <= fixed:
			return 194, []string{"kill", "freeze", "power cut", "move"}
		case step == everywhere:
			return 1, []string{"break the configuration everywhere"}
		}
		return fresh, nil
	}})
}

// play plays a campaign and fails for all that was wrong in it.
func play(t *testing.T, cfg Config) {
	t.Helper()
	for _, p := range verdict(t, cfg).Problems {
		t.Error(p)
	}
}

// verdict plays a campaign and has it judged.
func verdict(t *testing.T, cfg Config) *check.Verdict {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: needs minutes")
	}
	if err := cluster.Missing(""); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	needs.File(t, "/usr/sbin/mariadbd", "mariadb-server")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	began := time.Now()
	cfg.Binary, cfg.slack = built.Binary(t), 3 // other packages' tests run beside it; a campaign is held to the bounds themselves
	cfg.Say = func(line string) { t.Logf("%6.1f s  %s", time.Since(began).Seconds(), line) }
	events, last, err := Run(ctx, cfg)
	if err != nil {
		t.Errorf("up to step %d: %v", last, err)
	}
	v := check.Judge(events)
	t.Log("\n" + Text(v))
	return v
}

// What the judge finds in a history must get into it: the damage is real here.
func TestSabotageIsFound(t *testing.T) {
	v := verdict(t, Config{Seed: 1, From: 1, To: 1, sabotage: []fault{{"sabotage", 1, sabotage}}})
	found := map[check.Class]string{}
	for _, p := range v.Problems {
		found[p.Class] += p.Text + "\n"
	}
	for class, want := range map[check.Class]string{
		check.Lost: "rows: 5 ", check.Doubled: "rows: 9 ", check.Torn: "pairs: of 7 ", check.TwoServers: "2 of db at once", check.TwoMounts: "disk of db",
		check.StrayMount: "disk of db", check.NeedlessOff: "was fenced", check.TwoHolders: "the address is on",
	} {
		if !strings.Contains(found[class], want) {
			t.Errorf("%s: want %q, found %q", class, want, found[class])
		}
	}
	// The stand-in keeps no message over a restart, so that a lost one is not held against it.
	if _, kind, err := scenario.Broker(); err == nil && kind == broker.Real && !strings.Contains(found[check.Lost], "messages: ") {
		t.Error("a message was taken away, and is not missed")
	}
}

// replicates skips where there is no broker that does.
func replicates(t *testing.T) {
	t.Helper()
	if _, err := scenario.ReplicatedBroker(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
}

// TestReplicatedBroker plays faults of a broker beside the group.
func TestReplicatedBroker(t *testing.T) {
	replicates(t)
	play(t, Config{From: 1, To: 3, Most: 1, Group: Group{Native: true, Replicated: true}, of: func(step int) (int, []string) {
		return 1, [][]string{{"kill all brokers"}, {"cut a backup's link"}, {"kill"}}[step-1]
	}})
}

// What the judge finds of a replicated broker must get into the history: one more is promoted, and a message taken away.
func TestSabotageOfBrokersIsFound(t *testing.T) {
	replicates(t)
	v := verdict(t, Config{Seed: 1, From: 1, To: 1, Group: Group{Replicated: true}, sabotage: []fault{{"sabotage", 1, func(s *scene, _ *rand.Rand, at where) act {
		a := act{Fault: check.Fault{Kind: "sabotage", Restart: []string{s.clone}, Bound: time.Minute}}
		a.do = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			err := s.steal(ctx, s.kept)
			backup := s.nodes()[0]
			if backup == at.promoted {
				backup = s.nodes()[1]
			}
			console, done, cerr := clusterqpidd.Console(ctx, s.cluster, s.cluster.Node(backup))
			if cerr != nil {
				return errors.Join(err, cerr)
			}
			defer done()
			return errors.Join(err, console.Promote(ctx))
		}
		return a
	}}}})
	if v.Count(check.TwoServers) == 0 || !slices.ContainsFunc(v.Problems, func(p check.Problem) bool {
		return p.Class == check.TwoServers && strings.Contains(p.Text, "is promoted on")
	}) {
		t.Errorf("two brokers were promoted, and nobody says so: %v", v.Problems)
	}
	if !slices.ContainsFunc(v.Problems, func(p check.Problem) bool { return p.Class == check.Lost && strings.HasPrefix(p.Text, keptName+": ") }) {
		t.Errorf("a message was taken away, and is not missed: %v", v.Problems)
	}
}

// sabotage does what no cluster may let happen.
func sabotage(s *scene, _ *rand.Rand, at where) act {
	a := act{Fault: check.Fault{Kind: "sabotage", Bound: time.Minute}}
	a.do = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := s.atLeast(ctx, 10); err != nil {
			return err
		}
		d, err := openDatabase(s.cluster.Dial, time.Minute)
		if err != nil {
			return err
		}
		defer d.close()
		var errs []error
		for _, statement := range []string{
			"DELETE FROM chaos_rows WHERE n = 5", "INSERT INTO chaos_rows (n) VALUES (9)", "DELETE FROM chaos_second WHERE n = 7",
		} {
			_, err := d.db.ExecContext(ctx, statement)
			errs = append(errs, err)
		}
		if s.queue != nil && !s.actor("qpidd").Forgets { // the stand-in has nothing to take away
			errs = append(errs, s.steal(ctx, s.queue))
		}
		// The shared disk on a second node, and on it what looks like a server.
		errs = append(errs, s.shell(ctx, at.passive[0], "mount -o ro,noload "+s.stage.Disk+" /mnt && cp /bin/sleep /tmp/mariadbd && cd /mnt && /tmp/mariadbd 2"))
		errs = append(errs, s.shell(ctx, at.passive[0], fmt.Sprintf("ip addr add %[1]s/32 dev lo && sleep 1 && ip addr del %[1]s/32 dev lo", scenario.FloatingIP)))
		errs = append(errs, s.shell(ctx, at.active, "fence_rack -o off -n "+at.passive[1]))
		return errors.Join(errs...)
	}
	return a
}

// atLeast returns when each client has asked so often.
func (s *scene) atLeast(ctx context.Context, n int) error {
	for {
		events, err := s.history.Events()
		if err != nil {
			return err
		}
		counts := map[string]int{}
		for _, e := range events {
			if e.Kind == check.OK {
				counts[e.Who]++
			}
		}
		if counts["rows"] >= n && counts["pairs"] >= n {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

// steal takes a message that is somebody else's.
func (s *scene) steal(ctx context.Context, from *queue) error {
	conn, session, err := scenario.DialAMQP(ctx, from.dial, from.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := session.NewReceiver(ctx, from.name, &amqp.ReceiverOptions{Credit: 5})
	if err != nil {
		return err
	}
	m, err := r.Receive(ctx, nil)
	if err != nil {
		return err
	}
	return r.AcceptMessage(ctx, m)
}

// A step is the same each time, whatever was played before it.
func TestDraw(t *testing.T) {
	at := where{active: "node2", dc: "node1", passive: []string{"node1", "node3"}}
	most := 2
	drawn := func(seed, step int) (list []check.Fault, gaps []time.Duration) {
		s := &scene{Config: Config{Seed: seed, Most: most}, services: []string{"db", "qpidd", "haproxy"}, cluster: &cluster.Cluster{}}
		acts, gaps := s.draw(step, at)
		for _, a := range acts {
			list = append(list, a.Fault)
		}
		return list, gaps
	}
	kinds, pairs := map[string]bool{}, 0
	for step := range 1000 {
		list, gaps := drawn(7, step)
		again, gapsAgain := drawn(7, step)
		if !reflect.DeepEqual(list, again) || !reflect.DeepEqual(gaps, gapsAgain) {
			t.Fatalf("step %d: %v, and then %v", step, list, again)
		}
		if len(list) > 1 {
			pairs++
		}
		for _, f := range list {
			kinds[f.Kind] = true
			if f.Bound == 0 {
				t.Errorf("%s has no bound", f.Kind)
			}
		}
	}
	if len(kinds) != len(faults) || pairs < 200 || pairs > 500 {
		t.Errorf("of 1000 steps: %d kinds of %d, %d of two", len(kinds), len(faults), pairs)
	}
	most = 4
	counts := map[int]int{}
	for step := range 1000 {
		list, gaps := drawn(7, step)
		if len(gaps) < len(list) {
			t.Fatalf("step %d: %d gaps for %v", step, len(gaps), list)
		}
		counts[len(list)]++
	}
	if len(counts) != 3 || min(counts[2], counts[3], counts[4]) < 250 {
		t.Errorf("storms of four: %v", counts)
	}
	most = 1
	for step := range 100 {
		if list, _ := drawn(7, step); len(list) != 1 {
			t.Fatalf("step %d: %v", step, list)
		}
	}
	other, _ := drawn(8, 1)
	same, _ := drawn(7, 1)
	if reflect.DeepEqual(other, same) {
		t.Error("another seed draws the same")
	}
}

// What is aimed at a broker beside the group leaves the group alone, and what is aimed at the group leaves the broker alone.
func TestDrawReplicated(t *testing.T) {
	at := where{active: "node2", dc: "node1", passive: []string{"node1", "node3"}, promoted: "node3"}
	s := &scene{Config: Config{Seed: 7, Most: 1}, services: []string{"db", "haproxy"}, clone: "qpidd", cluster: &cluster.Cluster{}}
	struck := map[string]int{} // by node
	for step := range 2000 {
		acts, _ := s.draw(step, at)
		f := acts[0].Fault
		brokers := slices.ContainsFunc(f.Restart, func(id string) bool { return strings.HasPrefix(id, "qpidd") })
		group := slices.ContainsFunc(f.Restart, s.has)
		if f.Target != "qpidd" {
			if brokers && len(f.Fence) == 0 && !slices.Contains([]string{"standby", "kill an agent", "restart Pacemaker", "stop the cluster", "stop all resources", "restart the switch"}, f.Kind) {
				t.Errorf("%+v restarts a broker", f)
			}
			continue
		}
		struck[f.Node]++
		if f.Kind == "cut a backup's link" && f.Node == at.promoted {
			t.Errorf("%+v: it is the promoted one's", f)
		}
		if group || f.Move || f.Node == "" || !brokers && len(f.Handicapped) == 0 && f.Bound != check.Spared {
			t.Errorf("%+v", f)
		}
		for _, n := range f.Fence {
			if !slices.Contains(f.Restart, check.Instance("qpidd", n)) {
				t.Errorf("%+v does not excuse the broker of %s", f, n)
			}
		}
	}
	if backups := struck["node1"] + struck["node2"]; struck["node3"] < 100 || backups < 50 || struck["node3"] < backups {
		t.Errorf("of 2000 faults so many are aimed at the promoted broker of node3 and at the others: %v", struck)
	}
}

// The broker is replicated where that is asked for, and by a seed only where it can be.
func TestGroups(t *testing.T) {
	g, err := ParseGroup("units,replicated")
	if err != nil || g != (Group{Units: true, Replicated: true}) || g.String() != "units,replicated" {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := ParseGroup("twice"); err == nil {
		t.Error("twice is a group")
	}
	_, missing := scenario.ReplicatedBroker()
	count := 0
	for seed := range 24 {
		if GroupOf(seed).Replicated {
			count++
		}
	}
	if (missing == nil) != (count > 0) || count > 12 {
		t.Errorf("%d of 24 campaigns have a replicated broker, though: %v", count, missing)
	}
}

// Faults that overlap may excuse more than each of them.
func TestTogether(t *testing.T) {
	s := &scene{services: []string{"db", "qpidd", "haproxy"}}
	kill := act{Fault: check.Fault{Kind: "kill", Restart: []string{"haproxy"}}}
	cut := func(node string) act {
		return act{Fault: check.Fault{Kind: "power cut", Fence: []string{node}}}
	}
	broken := act{Fault: check.Fault{Kind: "break and mend the configuration", Handicapped: []string{"haproxy"}}}
	for _, c := range []struct {
		acts  []act
		moves bool
	}{
		{[]act{kill}, false},
		{[]act{kill, cut("node2")}, false},
		{[]act{kill, kill}, true},
		{[]act{kill, broken}, true},
		{[]act{broken, broken}, false},
		{[]act{cut("node2"), kill, kill}, true},
		{[]act{cut("node2"), cut("node2")}, false},
		{[]act{cut("node2"), cut("node3")}, true},
	} {
		s.together(c.acts)
		moves := slices.ContainsFunc(c.acts, func(a act) bool { return a.Move && slices.Equal(a.Restart, s.services) })
		if moves != c.moves {
			t.Errorf("%+v: all may move: %v, want %v", c.acts, moves, c.moves)
		}
	}
}

// What overlaps in the group excuses nothing of the brokers beside it, nor the other way round.
func TestTogetherReplicated(t *testing.T) {
	s := &scene{services: []string{"db", "haproxy"}, clone: "qpidd"}
	db := act{Fault: check.Fault{Kind: "kill", Restart: s.behind("db")}}
	api := act{Fault: check.Fault{Kind: "kill", Restart: s.behind("haproxy")}}
	broker := func(node string) act {
		return act{Fault: check.Fault{Kind: "kill", Restart: []string{check.Instance("qpidd", node)}}}
	}
	cut := func(node string) act {
		a := act{Fault: check.Fault{Kind: "power cut", Fence: []string{node}}}
		s.beside(&a)
		return a
	}
	for _, c := range []struct {
		acts         []act
		moves, whole bool
	}{
		{[]act{db, broker("node1")}, false, false},
		{[]act{db, api, broker("node1")}, true, false},
		{[]act{broker("node1"), broker("node2")}, false, true},
		{[]act{broker("node1"), cut("node2")}, false, true},
		{[]act{db, cut("node2")}, false, false},
		{[]act{cut("node1"), cut("node2")}, true, true},
	} {
		s.together(c.acts)
		moves := slices.ContainsFunc(c.acts, func(a act) bool { return a.Move })
		whole := slices.ContainsFunc(c.acts, func(a act) bool { return slices.Contains(a.Restart, "qpidd") })
		if moves != c.moves || whole != c.whole {
			t.Errorf("%+v: all of the group may move: %v, want %v; all brokers may be restarted: %v, want %v", c.acts, moves, c.moves, whole, c.whole)
		}
	}
}

// What is not well is told, one thing at a time.
func TestWell(t *testing.T) {
	made := func(change func(*cluster.Status)) *cluster.Status {
		s := cluster.Status{DC: "node1", Quorum: true, Nodes: []cluster.NodeStatus{{Name: "node1", Online: true}, {Name: "node2", Online: true}}}
		for _, id := range []string{"db", "qpidd"} {
			r := cluster.ResourceStatus{ID: id, Role: "Started", Active: true, Managed: true}
			r.On = append(r.On, struct {
				Name string `xml:"name,attr"`
			}{"node1"})
			s.Resources = append(s.Resources, r)
		}
		change(&s)
		return &s
	}
	instance := func(node, role string) cluster.ResourceStatus {
		r := cluster.ResourceStatus{ID: "broker", Role: role, Active: true, Managed: true}
		r.On = append(r.On, struct {
			Name string `xml:"name,attr"`
		}{node})
		return r
	}
	for want, roles := range map[string][]string{
		"":                   {"Promoted", "Unpromoted"},
		"of 2 instances":     {"Promoted"},
		"map[Unpromoted:2]":  {"Unpromoted", "Unpromoted"},
		"map[Promoted:2]":    {"Promoted", "Promoted"},
		"broker is Stopping": {"Promoted", "Stopping"},
	} {
		err := well(made(func(s *cluster.Status) {
			for i, role := range roles {
				s.Resources = append(s.Resources, instance(s.Nodes[i].Name, role))
			}
		}), 2, []string{"db", "qpidd"}, "broker")
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%v: %s, want %q", roles, got, want)
		}
	}
	services := []string{"db", "qpidd"}
	if err := well(made(func(*cluster.Status) {}), 2, services, ""); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*cluster.Status){
		"quorum false":     func(s *cluster.Status) { s.Quorum = false },
		`DC ""`:            func(s *cluster.Status) { s.DC = "" },
		"1 nodes":          func(s *cluster.Status) { s.Nodes = s.Nodes[:1] },
		"online false":     func(s *cluster.Status) { s.Nodes[1].Online = false },
		"standby true":     func(s *cluster.Status) { s.Nodes[0].Standby = true },
		"qpidd is Stopped": func(s *cluster.Status) { s.Resources[1].Role = "Stopped" },
		"failed true":      func(s *cluster.Status) { s.Resources[0].Failed = true },
		"managed false":    func(s *cluster.Status) { s.Resources[0].Managed = false },
		"is on node2":      func(s *cluster.Status) { s.Resources[1].On[0].Name = "node2" },
	} {
		if err := well(made(change), 2, services, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A failure is noted once, and again when it has happened again.
func TestFailuresAreNoted(t *testing.T) {
	h := check.NewHistory(nil)
	o := newOverseer(&cluster.Cluster{}, h)
	f := cluster.Failure{Operation: "ip-10.76.0.100_monitor_10000", Node: "node1", Code: 7, Reason: "gone", Changed: "1"}
	s := &cluster.Status{Failures: []cluster.Failure{f}}
	o.note(s)
	o.note(s)
	s.Failures[0].Changed = "2"
	o.note(s)
	events, _ := h.Events()
	if len(events) != 2 || events[0].Who != "ip-10.76.0.100" || events[0].Action != "monitor" || events[0].Code != 7 || events[0].Text != "gone" {
		t.Errorf("%+v", events)
	}
}

// The page is a document that parses, and shows what was out.
func TestReport(t *testing.T) {
	h := check.NewHistory(nil)
	h.Add(check.Event{Kind: check.Setup, Service: []check.Service{{ID: "db", Clients: []string{"rows"}}}})
	h.Add(check.Event{Kind: check.OK, Who: "rows", N: 1})
	h.Add(check.Event{Kind: check.Step, N: 1, Faults: []check.Fault{{Kind: "kill", Target: "db", Bound: time.Second}}})
	h.Add(check.Event{Kind: check.Failed, Who: "db", Action: "monitor", Code: 7, Text: "<killed>"})
	h.Add(check.Event{Kind: check.OK, Who: "rows", N: 2})
	events, err := h.Events()
	if err != nil {
		t.Fatal(err)
	}
	events[len(events)-1].At += 3 * time.Second
	v := check.Judge(events)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := WriteReport(path, "seed 7", events, v); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rows: no answer for 3.0 s", "1: kill db", "db: &lt;killed&gt;", "monitor 7"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	text := string(page)
	drawing := text[strings.Index(text, "<svg"):strings.Index(text, "</svg>")] + "</svg>"
	for d := xml.NewDecoder(strings.NewReader(drawing)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the timeline: %v", err)
		}
	}
	for _, want := range []string{"kill ", "1 steps, 1 faults", "rows: 2 acknowledged", fmt.Sprintf("outage %d", v.Count(check.TooLong))} {
		if !strings.Contains(Text(v), want) {
			t.Errorf("the text does not say %q:\n%s", want, Text(v))
		}
	}
}

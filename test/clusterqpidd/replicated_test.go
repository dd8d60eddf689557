package clusterqpidd

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// flushSoon has a real broker write a page to its store 10 ms after the last message in it, and not 500 ms: only then
// is a durable message acknowledged.
const flushSoon = "additional_parameters=--journal-flush-timeout=10ms"

// configure is a cluster on whose nodes the broker can be run, and the agent's options for that.
func configure(t *testing.T) (cfg cluster.Config, options string, kind broker.Kind) {
	t.Helper()
	path, kind := broker.Binary(t)
	t.Logf("broker: %s", kind)
	cfg, err := scenario.Config(built.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Files = append(cfg.Files, cluster.File{Path: "/etc/qpid/qpidd.conf", Content: "auth=no\n"})
	options = "user=daemon binary=" + path
	if kind == broker.Real {
		return cfg, options + " store=linearstore " + flushSoon, kind
	}
	cfg.Files = append(cfg.Files, cluster.File{Path: "/usr/sbin/qpidd", From: path, Mode: 0o755})
	return cfg, "user=daemon", kind
}

// replicated is the deployment that loses no message: a broker on every node, one of them promoted.
func replicated(t *testing.T) *stage {
	t.Helper()
	cfg, options, kind := configure(t)
	s := &stage{Cluster: cluster.New(t, cfg), kind: kind}
	s.watch = NewWatch(s.Cluster)
	t.Cleanup(s.watch.Stop)

	began := time.Now()
	var urls []string
	for _, n := range s.names() {
		urls = append(urls, n+":5672")
	}
	s.pcs(t, "resource create "+resource+" ocf:openstack:qpidd "+options+" data_dir="+dataDir+" ha_cluster=true cold_start_timeout=10s"+
		" ha_brokers_url=amqp:"+strings.Join(urls, ",")+" promotable --disabled")
	s.pcs(t, "resource create ip ocf:heartbeat:IPaddr2 ip="+scenario.FloatingIP+" op monitor interval=10s --disabled")
	s.pcs(t, "constraint colocation add ip with promoted "+resource+"-clone INFINITY")
	s.pcs(t, "constraint order promote "+resource+"-clone then start ip")
	s.pcs(t, "resource enable ip "+resource+"-clone")
	s.load(t, false).Stop()
	t.Logf("served %.1f s after the first command", time.Since(began).Seconds())
	s.steady(t)
	return s
}

// TestReplicated is that deployment, through one thing after the other.
func TestReplicated(t *testing.T) {
	s := replicated(t)
	for _, row := range []struct {
		name string
		test func(*testing.T, *stage)
	}{
		{"kill -9 of the primary", func(t *testing.T, s *stage) {
			s.failover(t, func(ctx context.Context, n *cluster.Node) error { return signal(ctx, n, "KILL") }, dead)
		}},
		{"primary frozen", func(t *testing.T, s *stage) {
			s.failover(t, func(ctx context.Context, n *cluster.Node) error { return signal(ctx, n, "STOP") }, "frozen")
		}},
		{"power cut of the primary's node", func(t *testing.T, s *stage) { s.failover(t, powerCut, "") }},
		{"network cable of the primary's node pulled", func(t *testing.T, s *stage) {
			if testing.Short() {
				t.Skip("SKIP: needs time: without SHORT=1")
			}
			s.failover(t, cableCut, "")
		}},
		{"all nodes through standby", rolling},
		{"a backup dies", backupDies},
		{"a backup rejoins with 50,000 messages", rejoin},
		{"a second primary behind the cluster's back", secondPrimary},
		{"a backup without a connection to the primary", adrift},
		{"a backup out of step is refreshed", outOfStep(refresh)},
		{"Pacemaker is restarted where a backup is out of step", outOfStep(restartPacemaker)},
		{"Pacemaker is restarted where a backup is in step", inStep},
		{"the primary dies before it tells who is out of step", goneOn},
		{"the primary dies while a backup catches up", diesInCatchUp},
		{"all brokers killed", allKilled},
		{"all nodes lose power", allCut},
		{"a torn journal, and not all nodes come back", tornTail},
		{"the store is not in the data directory", storeElsewhere},
		{"what Pacemaker's tools say", tools},
	} {
		if !t.Run(row.name, func(t *testing.T) {
			row.test(t, s)
			s.steady(t)
			s.cleanup(t)
		}) {
			t.Logf("brokers: %s\n%s", s.watch.Story(), s.CrmMon(t.Context()))
			return // what follows would fail for that
		}
	}
}

// dead is what the agent says of a broker that was killed, the second if it was asking it.
const dead = "no broker runs on " + dataDir + "|has just died"

// signal sends the node's broker a signal; the agent's processes have its name, but not its command line.
func signal(ctx context.Context, n *cluster.Node, name string) error {
	_, err := n.Exec(ctx, "pkill", "-"+name, "-f", "--", "--data-dir "+dataDir)
	return err
}

func powerCut(ctx context.Context, n *cluster.Node) error { return n.PowerOff(ctx) }
func cableCut(ctx context.Context, n *cluster.Node) error { return n.Cut(ctx) }

// restore brings all nodes back.
func (s *stage) restore(t *testing.T) {
	t.Helper()
	ctx := step(t)
	if err := s.WaitStable(ctx); err != nil { // and fenced
		t.Fatal(err)
	}
	states, err := s.States(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range states {
		if st.Cut {
			err = s.Node(st.Name).Heal(ctx)
		}
		if err == nil && !st.On {
			err = s.Node(st.Name).PowerOn(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WaitStable(ctx); err != nil {
		t.Fatal(err)
	}
}

// failover does something to the primary under load: another takes over, and the node's own broker joins again.
func (s *stage) failover(t *testing.T, do func(context.Context, *cluster.Node) error, reason string) {
	primary := s.steady(t)
	l := s.load(t, false)
	began := time.Now()
	if err := do(step(t), s.Node(primary)); err != nil {
		t.Fatal(err)
	}
	next := s.otherPrimary(t, primary)
	t.Logf("%s -> %s: not served for %s", primary, next, l.served(t, began))
	if reason != "" { // else the node is gone, and its failures with it
		s.failure(t, primary, reason)
	}
	s.restore(t)
	if at := s.steady(t); at != next {
		t.Errorf("promoted on %s, and moved to %s without need", next, at)
	}
	t.Logf("all as before after %.1f s", time.Since(began).Seconds())
	l.audit(t)
}

// rolling is what an operator does for updates.
func rolling(t *testing.T, s *stage) {
	l := s.load(t, false)
	for _, n := range s.names() {
		primary := s.steady(t)
		began := time.Now()
		s.pcs(t, "node standby "+n)
		left := s.others(n)
		if n == primary {
			s.otherPrimary(t, n)
		}
		s.steady(t, left...)
		t.Logf("%s (promoted: %t) in standby: not served for %s", n, n == primary, l.served(t, began))
		s.pcs(t, "node unstandby "+n)
	}
	s.steady(t)
	l.audit(t)
}

// backupDies: the primary must not wait for it.
func backupDies(t *testing.T, s *stage) {
	primary := s.steady(t)
	backup := s.others(primary)[0]
	for _, name := range []string{"KILL", "STOP"} {
		l := s.load(t, false)
		began := time.Now()
		if err := signal(step(t), s.Node(backup), name); err != nil {
			t.Fatal(err)
		}
		s.failure(t, backup, dead+"|frozen|did not end")
		if at := s.steady(t); at != primary {
			t.Errorf("the primary moved to %s", at)
		}
		t.Logf("SIG%s of the backup on %s: not served for %s, all as before after %.1f s", name, backup, l.served(t, began), time.Since(began).Seconds())
		l.audit(t)
		s.forget(t)
	}
}

const backlog = 50_000

// rejoin: a backup comes back to a primary with a long queue, and is then worth as much as it.
func rejoin(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	long := &Queue{dial: s.Dial, addr: address, name: "long"}
	began := time.Now()
	if err := long.Fill(step(t), backlog); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages sent in %.1f s", backlog, time.Since(began).Seconds())
	l := s.load(t, false)
	backups := s.others(primary)
	began = time.Now()
	if err := signal(step(t), s.Node(backups[0]), "KILL"); err != nil {
		t.Fatal(err)
	}
	s.failure(t, backups[0], dead)
	s.steady(t)
	t.Logf("rejoined %.1f s after its death; not served for %s", time.Since(began).Seconds(), l.Outage(began))
	s.pcs(t, "node standby "+backups[1])
	s.steady(t, s.others(backups[1])...)
	began = time.Now()
	if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
		t.Fatal(err)
	}
	if at := s.otherPrimary(t, primary); at != backups[0] {
		t.Fatalf("%s was promoted, and should be in standby", at)
	}
	t.Logf("failover with the long queue: not served for %s", l.served(t, began))
	if n := s.depth(t, backups[0], "long"); n != backlog {
		t.Errorf("%d messages arrived on the backup, and %d were sent", n, backlog)
	}
	s.pcs(t, "node unstandby "+backups[1])
	s.steady(t)
	l.audit(t)
	s.remove(t, "long")
}

// remove deletes a queue.
func (s *stage) remove(t *testing.T, queue string) {
	t.Helper()
	c := s.console(t, s.steady(t))
	if _, err := c.Call(step(t), qmf.BrokerName, "delete", map[string]any{"type": "queue", "name": queue}); err != nil {
		t.Fatal(err)
	}
}

// secondPrimary: somebody promotes a backup by hand.
func secondPrimary(t *testing.T, s *stage) {
	primary := s.steady(t)
	second := s.others(primary)[0]
	l := s.load(t, false)
	// By the agent it cannot be had, and by the broker's own interface it can.
	res, err := s.Node(second).Exec(step(t), "crm_resource", "--force", "--force-promote", "--resource", resource)
	if want := "the cluster has " + resource + " on " + primary + ": "; err == nil || !strings.Contains(res.Stdout+res.Stderr, want) {
		t.Errorf("promoted by hand on %s: %v, want %q\n%s%s", second, err, want, res.Stdout, res.Stderr)
	}
	began := time.Now()
	if err := s.console(t, second).Promote(step(t)); err != nil {
		t.Fatal(err)
	}
	if f := s.failure(t, second, "TWO PRIMARIES.*Pacemaker did not promote it"); f.Code != 9 {
		t.Errorf("exit code %d", f.Code)
	}
	if at := s.steady(t); at != primary {
		t.Errorf("the primary is on %s now, and was on %s", at, primary)
	}
	t.Logf("all as before after %.1f s; not served for %s", time.Since(began).Seconds(), l.Outage(began))
	if err := s.watch.Err(); err == nil {
		t.Error("the watch has not seen two primaries")
	}
	l.audit(t)
}

// adrift: a backup that says it is ready has lost the primary, which goes on without it. It must not be promoted
// when the primary dies, although there is no other.
func adrift(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	backups := s.others(primary)
	s.pcs(t, "node standby "+backups[1])
	s.steady(t, s.others(backups[1])...)
	s.cut(t, primary, backups[0])
	s.unfit(t, backups[0])
	s.durable(t, "adrift", 500)
	began := time.Now()
	if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
		t.Fatal(err)
	}
	s.failure(t, backups[0], "the primary is gone.*ready.*joins anew")
	at := s.steady(t, s.others(backups[1])...)
	t.Logf("%s is primary %.1f s after the primary's death", at, time.Since(began).Seconds())
	s.holds(t, at, "adrift", 500)
	s.pcs(t, "node unstandby "+backups[1])
	s.steady(t)
	s.remove(t, "adrift")
}

// cut has a backup lose its connection to the primary for good, or until its URL is what it was.
func (s *stage) cut(t *testing.T, primary, backup string) (was string) {
	t.Helper()
	ha, err := s.console(t, backup).HA(step(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.console(t, backup).SetBrokersURL(step(t), "amqp:tcp:127.0.0.1:9"); err != nil {
		t.Fatal(err)
	}
	if err := Sever(step(t), s.Cluster, s.Node(primary), s.Node(backup)); err != nil {
		t.Fatal(err)
	}
	return ha.BrokersURL
}

// durable puts count durable messages into a queue of that name.
func (s *stage) durable(t *testing.T, name string, count int) {
	t.Helper()
	q := &Queue{dial: s.Dial, addr: address, name: name, durable: true}
	if err := q.Fill(step(t), count); err != nil {
		t.Fatal(err)
	}
}

// holds fails the test unless the primary has that many messages in the queue.
func (s *stage) holds(t *testing.T, primary, queue string, count int64) {
	t.Helper()
	if n := s.depth(t, primary, queue); n != count {
		t.Errorf("%d durable messages are left of %d", n, count)
	}
}

// diesInCatchUp: nobody has everything but the store of the one that died, and the broker that was catching up has the
// newest store, with next to nothing in it.
func diesInCatchUp(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	backups := s.others(primary)
	s.pcs(t, "node standby "+backups[1])
	s.steady(t, s.others(backups[1])...)
	const count = 20_000
	s.durable(t, "catch-up", count)
	began := time.Now()
	if err := signal(step(t), s.Node(backups[0]), "KILL"); err != nil {
		t.Fatal(err)
	}
	if err := s.watch.Wait(step(t), "never seen catching up", func(now map[string]qmf.HAStatus) bool { return now[backups[0]] == qmf.CatchUp }); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
		t.Fatal(err)
	}
	s.failure(t, backups[0], "the primary is gone.*catchup.*joins anew")
	at := s.steady(t, s.others(backups[1])...)
	t.Logf("%s is primary again %.1f s after its death (%.1f s after the backup's)", at, time.Since(died).Seconds(), time.Since(began).Seconds())
	if at != primary {
		t.Errorf("the broker that was catching up was promoted")
	}
	s.holds(t, at, "catch-up", count)
	s.pcs(t, "node unstandby "+backups[1])
	s.steady(t)
	s.remove(t, "catch-up")
}

// allKilled: a cold start of the brokers, with Pacemaker up all the while.
func allKilled(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	s.durable(t, "killed", 1000)
	began := time.Now()
	for _, n := range append(s.others(primary), primary) {
		if err := signal(step(t), s.Node(n), "KILL"); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range s.names() {
		s.failure(t, n, dead)
	}
	at := s.steady(t)
	t.Logf("%s is primary %.1f s after all were killed", at, time.Since(began).Seconds())
	s.holds(t, at, "killed", 1000)
	s.remove(t, "killed")
}

// allCut: a cold start of everything, where one node has an old store.
func allCut(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	old := s.others(primary)[0]
	s.durable(t, "cut", 500)
	s.pcs(t, "node standby "+old)
	s.steady(t, s.others(old)...)
	s.durable(t, "cut", 500)
	began := time.Now()
	s.powerCycle(t)
	t.Logf("cluster up after %.1f s", time.Since(began).Seconds())
	s.pcs(t, "node unstandby "+old)
	at := s.steady(t)
	t.Logf("%s is primary %.1f s after the power came back", at, time.Since(began).Seconds())
	if at == old {
		t.Errorf("%s was promoted, whose store is the oldest", old)
	}
	s.holds(t, at, "cut", 1000)
	s.remove(t, "cut")
}

// tools: the agent is readable for all that read agents.
func tools(t *testing.T, s *stage) {
	const agent = "ocf:openstack:qpidd"
	for _, row := range []struct {
		argv  []string
		words []string
	}{
		{[]string{"crm_resource", "--show-metadata", agent}, []string{`<resource-agent name="qpidd"`, `name="ha_brokers_url"`, `role="Promoted"`}},
		{[]string{"pcs", "resource", "describe", agent}, []string{"ha_brokers_url", "cold_start_timeout", "Default operations:", "promote"}},
		{[]string{"crm", "ra", "info", agent}, []string{"ha_brokers_url", "demote", "role=Promoted"}},
		{[]string{"pcs", "resource", "config", resource + "-clone"}, []string{"promotable=true", "OCF_CHECK_LEVEL=20"}},
	} {
		t.Run(strings.Join(row.argv, " "), func(t *testing.T) {
			out := s.in(t, s.names()[0], row.argv...)
			for _, w := range row.words {
				if !strings.Contains(out, w) {
					t.Errorf("%q is not in:\n%s", w, out)
				}
			}
		})
	}
	t.Run("crm_mon", func(t *testing.T) {
		out := s.CrmMon(t.Context())
		primary := s.steady(t)
		for _, w := range []string{"Promoted: [ " + primary + " ]", "master-" + resource, "qpidd-state-" + resource} {
			if !strings.Contains(out, w) {
				t.Errorf("%q is not in:\n%s", w, out)
			}
		}
		if n := strings.Count(out, ": ready"); n != 2 {
			t.Errorf("%d are ready in:\n%s", n, out)
		}
	})
}

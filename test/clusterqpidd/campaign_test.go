package clusterqpidd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// number is an environment variable, or else a number.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestCampaign strikes the cluster with faults, one to six at a time, while clients put durable and transient
// messages, and then reads all back. FAULTS says how many in all (without: 8), SEED which; ROUND plays one round of them
// alone. No acknowledged message may be lost: a durable one never, a transient one not as long as a broker lives that
// had it; and no broker may be promoted behind a better one.
func TestCampaign(t *testing.T) {
	s := replicated(t)
	s.replicates(t)
	held := NewHeld()
	ctx, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	for _, n := range s.Nodes() {
		looking.Go(func() { held.Look(ctx, s.Cluster, n) })
	}
	defer looking.Wait()
	defer stop()
	c := &campaign{stage: s, held: held, seed: number(t, "SEED", 1)}
	faults, only := number(t, "FAULTS", 8), number(t, "ROUND", 0)
	for round := 1; c.faults < faults; round++ {
		if only != 0 {
			round = only
		}
		if !t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) { c.round(t, round, faults-c.faults) }) {
			t.Logf("again: SEED=%d ROUND=%d; brokers: %s; %s\n%s", c.seed, round, s.watch.Story(), held, s.CrmMon(t.Context()))
			if c.unmended {
				return
			}
		}
		if only != 0 {
			break
		}
	}
	t.Logf("%d faults: %d durable and %d transient messages acknowledged, %d and %d lost, the latter where every broker that had them was struck",
		c.faults, c.acked[0], c.acked[1], c.lost[0], c.lost[1])
}

type campaign struct {
	*stage
	held   *Held
	seed   int
	faults int
	// The last round has left a cluster that does not mend.
	unmended bool

	acked [2]int // durable, transient
	lost  [2]int
}

// fault is something that befalls the cluster. It is given the node it strikes, and may leave it to be mended.
type fault struct {
	name   string
	weight int
	strike func(*campaign, context.Context, *testing.T, *rand.Rand, string) error
}

// whom a fault strikes is drawn before, so that the same seed strikes the same role.
var faults = []fault{
	{"kill -9", 6, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, node string) error {
		c.held.Hit(node)
		return c.signalled(ctx, node, "KILL")
	}},
	{"freeze", 3, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, node string) error {
		c.held.Hit(node)
		return c.signalled(ctx, node, "STOP")
	}},
	{"freeze for a moment", 2, func(c *campaign, ctx context.Context, t *testing.T, rng *rand.Rand, node string) error {
		c.held.Hit(node)
		err := c.signalled(ctx, node, "STOP")
		pause(ctx, rng, 2*time.Second)
		return errors.Join(err, c.signalled(ctx, node, "CONT"))
	}},
	{"link cut", 5, func(c *campaign, ctx context.Context, t *testing.T, rng *rand.Rand, node string) error {
		return c.linkCut(ctx, rng, node)
	}},
	{"power cut", 3, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, node string) error {
		return c.powerOff(ctx, node)
	}},
	{"power cut of two", 2, func(c *campaign, ctx context.Context, t *testing.T, rng *rand.Rand, node string) error {
		others := c.others(node)
		return c.powerOff(ctx, node, others[rng.IntN(2)])
	}},
	{"power cut of all", 2, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, _ string) error {
		return c.powerOff(ctx, c.names()...)
	}},
	{"cable pulled", 1, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, node string) error {
		return c.away(ctx, c.Node(node), (*cluster.Node).Cut)
	}},
	{"refresh", 3, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, node string) error {
		c.tool(ctx, "crm_resource", "--refresh", "--resource", resource, "--node", node)
		return nil
	}},
	{"cleanup", 2, func(c *campaign, ctx context.Context, t *testing.T, _ *rand.Rand, _ string) error {
		c.tool(ctx, "pcs", "resource", "cleanup")
		return nil
	}},
	{"restart of Pacemaker", 2, func(c *campaign, ctx context.Context, t *testing.T, rng *rand.Rand, node string) error {
		c.tool(ctx, "pcs", "property", "set", "maintenance-mode=true")
		c.tool(ctx, "crm_resource", "--wait", "--timeout=10s")
		_, err := c.Node(node).Exec(ctx, "systemctl", "restart", "pacemaker")
		var exit *cluster.ExitError
		if errors.As(err, &exit) || errors.Is(err, cluster.ErrOff) {
			err = nil
		}
		pause(ctx, rng, 5*time.Second)
		c.tool(ctx, "pcs", "property", "set", "maintenance-mode=false")
		return err
	}},
}

// pause is a random time.
func pause(ctx context.Context, rng *rand.Rand, most time.Duration) {
	select {
	case <-time.After(time.Duration(rng.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}

// tool runs a command of the cluster's on any node. That a fault before has made it impossible is no matter.
func (c *campaign) tool(ctx context.Context, argv ...string) {
	one, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, _ = c.OnAny(one, argv...)
}

// signalled sends a signal to a broker, if there is one.
func (c *campaign) signalled(ctx context.Context, node, name string) error {
	err := signal(ctx, c.Node(node), name)
	var exit *cluster.ExitError
	if errors.As(err, &exit) || errors.Is(err, cluster.ErrOff) {
		return nil
	}
	return err
}

func (c *campaign) powerOff(ctx context.Context, nodes ...string) error {
	for _, n := range nodes {
		if err := c.away(ctx, c.Node(n), (*cluster.Node).PowerOff); err != nil {
			return err
		}
	}
	return nil
}

// away takes a node away. Where a majority is, Pacemaker stops what runs on the others.
func (c *campaign) away(ctx context.Context, n *cluster.Node, take func(*cluster.Node, context.Context) error) error {
	c.held.Hit(n.Name)
	if err := take(n, ctx); err != nil {
		return err
	}
	states, err := c.States(ctx)
	states = slices.DeleteFunc(states, func(st cluster.NodeState) bool { return st.On && !st.Cut })
	if len(states) > 1 {
		for _, n := range c.names() {
			c.held.Hit(n)
		}
	}
	return err
}

// linkCut has a backup, the next one if the node's is none, lose the primary for a while, and find it again.
func (c *campaign) linkCut(ctx context.Context, rng *rand.Rand, node string) error {
	long := time.Duration(rng.Int64N(int64(12 * time.Second)))
	if c.watch.Now()[node].Primary() {
		node = c.others(node)[0]
	}
	mend := func(context.Context) error { return nil }
	for other, status := range c.watch.Now() {
		if status.Primary() && other != node {
			if back, _ := Part(ctx, c.Cluster, c.Node(other), c.Node(node)); back != nil { // else there was nothing to cut
				mend = back
			}
		}
	}
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
	_ = mend(ctx)
	return nil
}

// draw draws a fault and the node it strikes: every other time the primary's.
func (c *campaign) draw(rng *rand.Rand) (fault, func() string) {
	sum := 0
	for _, f := range faults {
		sum += f.weight
	}
	n, half, which := rng.IntN(sum), rng.IntN(2) == 0, rng.IntN(3)
	i := 0
	for ; n >= faults[i].weight; i++ {
		n -= faults[i].weight
	}
	return faults[i], func() string {
		for node, status := range c.watch.Now() {
			if half && status.Primary() {
				return node
			}
		}
		return c.names()[which]
	}
}

// round is a load, some faults, and the reckoning.
func (c *campaign) round(t *testing.T, round, most int) {
	rng := rand.New(rand.NewPCG(uint64(c.seed), uint64(round)))
	c.unmended = true
	loads := []*load{c.hoard(t, true, 1<<rng.IntN(14)), c.hoard(t, false, 0)}
	for _, l := range loads {
		c.held.Expect(l.queue.name, func() int { n, _ := l.Acknowledged(); return n })
	}
	count := min(1+rng.IntN(6), most)
	pause(t.Context(), rng, 3*time.Second)
	began := time.Now()
	for range count {
		f, whom := c.draw(rng)
		node := whom()
		t.Logf("%5.1f s: %s on %s; brokers: %v", time.Since(began).Seconds(), f.name, node, c.watch.Now())
		if err := f.strike(c, step(t), t, rng, node); err != nil {
			t.Fatal(err)
		}
		c.faults++
		pause(t.Context(), rng, 5*time.Second)
	}
	c.mend(t)
	at := c.steady(t)
	c.unmended = false
	var outages []scenario.Outage
	for _, l := range loads {
		outages = append(outages, l.served(t, began))
	}
	t.Logf("%5.1f s: %s is primary; not served for %s (durable), %s (transient)", time.Since(began).Seconds(), at, outages[0], outages[1])
	gone := c.held.Gone()
	for i, l := range loads {
		l.Stop()
		c.held.Expect(l.queue.name, nil)
		a, err := l.Audit(step(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.queue.Close()
		t.Logf("durable %t: %d acknowledged, %d found, %d lost, %d more than once", l.queue.durable, a.Acknowledged, a.Found, len(a.Lost), len(a.Twice))
		c.acked[i] += a.Acknowledged
		c.lost[i] += len(a.Lost)
		if len(a.Stray) > 0 {
			t.Errorf("%s: never sent: %v", l.queue.name, some(a.Stray))
		}
		if len(a.Lost) > 0 && (l.queue.durable || len(gone) > 0) {
			t.Errorf("%s: lost %d of %d: %v; %v", l.queue.name, len(a.Lost), a.Acknowledged, some(a.Lost), gone)
		}
		c.remove(t, l.queue.name)
	}
	if err := c.held.Err(); err != nil {
		t.Error(err)
	}
	if err := c.watch.Err(); err != nil {
		t.Error(err)
	}
	c.forget(t)
	if t.Failed() {
		return
	}
	c.watch.Story()
}

// mend brings back what faults have left. One node is given back once it was fenced; more are given back at once, for
// without them there is nobody to fence any.
func (c *campaign) mend(t *testing.T) {
	t.Helper()
	for {
		states, err := c.States(step(t))
		if err != nil {
			t.Fatal(err)
		}
		away := slices.DeleteFunc(states, func(st cluster.NodeState) bool { return st.On && !st.Cut })
		if len(away) == 1 {
			c.restore(t)
			continue
		}
		for _, st := range away {
			if st.Cut {
				err = c.Node(st.Name).Heal(step(t))
			}
			if err == nil && !st.On {
				err = c.Node(st.Name).PowerOn(step(t))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.WaitStable(step(t)); err != nil {
			t.Fatal(err)
		}
		if len(away) == 0 {
			break
		}
	}
	c.pcs(t, "property set maintenance-mode=false")
	c.pcs(t, "resource cleanup") // bans by failed starts
}

// TestCampaignFinds makes mistakes in place of the agent, which the campaign must find.
func TestCampaignFinds(t *testing.T) {
	s := replicated(t)
	s.replicates(t)
	held := NewHeld()
	ctx, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	for _, n := range s.Nodes() {
		looking.Go(func() { held.Look(ctx, s.Cluster, n) })
	}
	defer looking.Wait()
	defer stop()
	primary := s.steady(t)
	l := s.hoard(t, true, 0)
	held.Expect(l.queue.name, func() int { n, _ := l.Acknowledged(); return n })

	t.Run("a promotion behind a better one", func(t *testing.T) {
		s.pcs(t, "property set maintenance-mode=true")
		s.idle(t)
		behind := s.others(primary)[0]
		s.cut(t, primary, behind)
		l.served(t, time.Now())
		time.Sleep(2 * time.Second) // of messages that it lacks
		if err := held.Err(); err != nil {
			t.Fatalf("before: %v", err)
		}
		if err := s.console(t, behind).Promote(step(t)); err != nil {
			t.Fatal(err)
		}
		if err := s.watch.Wait(step(t), "not promoted", func(now map[string]qmf.HAStatus) bool { return now[behind].Primary() }); err != nil {
			t.Fatal(err)
		}
		var err error
		for end := time.Now().Add(stepTimeout); err == nil && time.Now().Before(end); time.Sleep(askEvery) {
			err = held.Err()
		}
		t.Log(err)
		if err == nil {
			t.Errorf("not found; %s", held)
		}
		if err := signal(step(t), s.Node(behind), "KILL"); err != nil {
			t.Fatal(err)
		}
		s.pcs(t, "property set maintenance-mode=false")
		s.forget(t)
		s.steady(t)
	})
	t.Run("a lost message", func(t *testing.T) {
		l.served(t, time.Now())
		c := s.console(t, s.steady(t))
		if _, err := c.Call(step(t), "org.apache.qpid.broker:queue:"+l.queue.name, "purge", map[string]any{"request": uint32(1), "filter": map[string]any{}}); err != nil {
			t.Fatal(err)
		}
		l.Stop()
		a, err := l.Audit(step(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("lost %d of %d: %v", len(a.Lost), a.Acknowledged, some(a.Lost))
		if !slices.Contains(a.Lost, 1) {
			t.Errorf("of %d acknowledged %d are lost: %v", a.Acknowledged, len(a.Lost), some(a.Lost))
		}
	})
}

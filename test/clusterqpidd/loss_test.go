package clusterqpidd

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/cluster"
)

// outOfStep is a backup that lost the primary, which went on without it and with the other: whatever makes Pacemaker
// look at it anew, it must not be promoted before it has found a primary and caught up.
func outOfStep(anew func(*testing.T, *stage, string)) func(*testing.T, *stage) {
	return func(t *testing.T, s *stage) {
		s.replicates(t)
		primary := s.steady(t)
		backups := s.others(primary)
		behind, whole := backups[0], backups[1]
		was := s.cut(t, primary, behind)
		s.unfit(t, behind)
		s.durable(t, "out-of-step", 500)
		anew(t, s, behind)
		for range 20 { // its own monitor has been, and the primary's twice
			if scores, err := s.scores(t.Context()); err != nil || scores[behind] != "" {
				t.Fatalf("the promotion scores are %v, %v: %s has not everything", scores, err, behind)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
			t.Fatal(err)
		}
		if at := s.otherPrimary(t, primary); at != whole {
			t.Errorf("%s was promoted, which lacks 500 messages", at)
		}
		if err := s.console(t, behind).SetBrokersURL(step(t), was); err != nil {
			t.Fatal(err)
		}
		for _, n := range s.names() {
			at := s.steady(t)
			s.holds(t, at, "out-of-step", 500)
			if n != at { // all have everything in the end
				if d := s.depth(t, n, "out-of-step"); d != 500 {
					t.Errorf("%s has %d messages", n, d)
				}
			}
		}
		s.remove(t, "out-of-step")
	}
}

// goneOn: the primary dies before it could tell the cluster that it has gone on without a backup, which Pacemaker then
// wants to promote. The other backup knows.
func goneOn(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	backups := s.others(primary)
	behind, whole := backups[0], backups[1]
	s.cut(t, primary, behind)
	s.unfit(t, behind)
	s.durable(t, "gone-on", 500)
	s.pcs(t, "property set maintenance-mode=true")
	s.idle(t)
	s.in(t, behind, "attrd_updater", "--name", "master-"+resource, "--update", "150")
	if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
		t.Fatal(err)
	}
	s.pcs(t, "property set maintenance-mode=false")
	if at := s.otherPrimary(t, primary); at != whole {
		t.Errorf("%s was promoted, which lacks 500 messages", at)
	}
	s.failure(t, behind, "gone on without this broker.*"+whole)
	s.holds(t, s.steady(t), "gone-on", 500)
	s.remove(t, "gone-on")
}

// unfit returns once the node's broker has no promotion score.
func (s *stage) unfit(t *testing.T, node string) {
	t.Helper()
	began := time.Now()
	err := s.WaitFor(step(t), func(*cluster.Status) error {
		scores, err := s.scores(t.Context())
		if err == nil && scores[node] != "" {
			err = fmt.Errorf("the promotion scores are %v", scores)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the backup lost its promotion score after %.1f s; it says it is %s", time.Since(began).Seconds(), s.watch.Now()[node])
}

func refresh(t *testing.T, s *stage, node string) {
	s.in(t, node, "crm_resource", "--refresh", "--resource", resource, "--node", node)
	s.idle(t)
}

// restartPacemaker is what an update of Pacemaker does, in maintenance mode.
func restartPacemaker(t *testing.T, s *stage, node string) {
	s.pcs(t, "property set maintenance-mode=true")
	s.idle(t)
	s.in(t, node, "systemctl", "restart", "pacemaker")
	if err := s.WaitStable(step(t)); err != nil {
		t.Fatal(err)
	}
	s.pcs(t, "property set maintenance-mode=false")
	s.idle(t)
}

func (s *stage) idle(t *testing.T) {
	t.Helper()
	if err := s.WaitIdle(step(t)); err != nil {
		t.Fatal(err)
	}
}

// inStep is a restart of Pacemaker where the backup has everything: the primary gives it its score back.
func inStep(t *testing.T, s *stage) {
	primary := s.steady(t)
	restartPacemaker(t, s, s.others(primary)[0])
	if at := s.steady(t); at != primary {
		t.Errorf("the primary moved to %s", at)
	}
}

var joining = regexp.MustCompile(`host="([^"]*)" value="joining (?:[^ "]* )?(\d+)"`)

// tear takes away the end of an idle queue's journal from within a record on, as if that had been half written. The record is
// one that shares a block of 4 kB with an earlier one, so that what recovery keeps ends within a block, which it then fills:
// it writes. The exit status is 3 if there is none.
const tear = `
import glob, os, sys
path = max(glob.glob("` + dataDir + `/qls/jrnl2/sacrifice/*.jrnl"))
with open(path, "r+b") as f:
    data, st = f.read(), os.fstat(f.fileno())
    at = len(data)
    while at % 4096 == 0:
        at = data.rfind(b"QLSe", 0, at)
        if at < 0:
            sys.exit(3)
    f.seek(at + 64)
    f.write(bytes(len(data) - at - 64))
os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
`

// tornTail: the primary's journal ends in half a record, all lose power, and only its node and one with an old store come
// back.
func tornTail(t *testing.T, s *stage) {
	s.replicates(t)
	primary := s.steady(t)
	backups := s.others(primary)
	old, away := backups[0], backups[1]
	s.durable(t, "torn", 50)
	s.pcs(t, "node standby "+old)
	s.steady(t, s.others(old)...)
	s.durable(t, "torn", 500)
	ctx := step(t)
	for torn := false; !torn; {
		s.durable(t, "sacrifice", 20)
		res, err := s.Node(primary).Exec(ctx, "/usr/bin/python3", "-c", tear)
		if torn = err == nil; !torn && (res.Code != 3 || ctx.Err() != nil) {
			t.Fatalf("no record shares a block with another: %v", err)
		}
	}
	for _, n := range s.Nodes() {
		if err := n.PowerOff(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{old, primary} {
		if err := s.Node(n).PowerOn(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WaitStable(step(t)); err != nil {
		t.Fatal(err)
	}
	s.pcs(t, "node unstandby "+old)
	stamps := map[string]int64{}
	err := s.watch.Wait(step(t), "nothing was promoted", func(now map[string]qmf.HAStatus) bool {
		if res, err := s.OnAny(ctx, "attrd_updater", "--name", "qpidd-state-"+resource, "--all", "--query"); err == nil {
			for _, m := range joining.FindAllStringSubmatch(res.Stdout, -1) {
				stamps[m[1]], _ = strconv.ParseInt(m[2], 10, 64)
			}
		}
		return now[old].Primary() || now[primary].Primary()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("what the stores are worth: %v", stamps)
	if stamps[primary] <= stamps[old] {
		t.Errorf("the store of the last primary, %s, is worth %d, and the old one %d", primary, stamps[primary], stamps[old])
	}
	if log := s.in(t, primary, "cat", "/var/log/qpidd.log"); !strings.Contains(log, "filler record") {
		t.Errorf("recovery found nothing torn:\n%s", log)
	}
	if err := s.Node(away).PowerOn(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitStable(step(t)); err != nil {
		t.Fatal(err)
	}
	at := s.steady(t)
	s.holds(t, at, "torn", 550)
	s.remove(t, "torn")
	s.remove(t, "sacrifice")
}

// storeElsewhere: the store is not in the data directory, and the node with the lowest name has an old one.
func storeElsewhere(t *testing.T, s *stage) {
	s.replicates(t)
	const store = "/srv/qpid"
	s.steady(t)
	if _, err := s.OnAny(t.Context(), "pcs", "resource", "update", resource, flushSoon+" --store-dir="+store); err != nil {
		t.Fatal(err)
	}
	s.idle(t)
	primary := s.steady(t)
	old := s.names()[0]
	if primary == old {
		s.pcs(t, "resource move "+resource+"-clone --promoted "+s.names()[1])
		s.idle(t)
		s.pcs(t, "resource clear "+resource+"-clone")
		s.steady(t)
	}
	s.durable(t, "elsewhere", 50)
	s.pcs(t, "node standby "+old)
	s.steady(t, s.others(old)...)
	s.durable(t, "elsewhere", 500)
	for _, n := range s.others(old) {
		s.in(t, n, "test", "-d", store+"/qls")
	}
	s.powerCycle(t)
	s.pcs(t, "node unstandby "+old)
	at := s.steady(t)
	if at == old {
		t.Errorf("%s was promoted, whose store is the oldest", old)
	}
	s.holds(t, at, "elsewhere", 550)
	s.remove(t, "elsewhere")
}

// powerCycle cuts the power of all nodes, and gives it back.
func (s *stage) powerCycle(t *testing.T) {
	t.Helper()
	ctx := step(t)
	for _, do := range []func(*cluster.Node, context.Context) error{(*cluster.Node).PowerOff, (*cluster.Node).PowerOn} {
		for _, n := range s.Nodes() {
			if err := do(n, ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.WaitStable(ctx); err != nil {
		t.Fatal(err)
	}
}

package swap

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

func TestUndoes(t *testing.T) {
	b := newBench(t)
	b.begin()
	b.as(false, true)
	if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
		t.Fatalf("%q, %v", did, err)
	}
	b.as(true, false)
}

// What somebody else changed of the resource itself stays.
func TestKeepsWhatOthersChanged(t *testing.T) {
	b := newBench(t)
	b.begin()
	cib := b.cib()
	theirs := cib.Clone()
	resource(theirs, "db").Add(pacemaker.El("utilization", "id", "u").Add(pacemaker.El("nvpair", "id", "u-cpu", "name", "cpu", "value", "2")))
	if err := pacemaker.Patch(t.Context(), cib, theirs); err != nil {
		t.Fatal(err)
	}
	if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
		t.Fatalf("%q, %v", did, err)
	}
	b.says(`+     <nvpair id="u-cpu" name="cpu" value="2"/>`)
	db := resource(b.cib(), "db")
	if db.Find("nvpair", "u-cpu") == nil {
		t.Errorf("their change is lost: %s", db)
	}
	now := b.cib()
	back := now.Clone()
	resource(back, "db").Remove(func(e *pacemaker.Element) bool { return e.Attr("id") == "u" })
	if err := pacemaker.Patch(t.Context(), now, back); err != nil {
		t.Fatal(err)
	}
	b.as(true, false)
}

// A node that joins in the middle of a swap has not been asked for the agents: the controllers enter it in the
// configuration, and the swap is undone. In standby, for the rest of the cluster would start api there.
func TestNodeJoinsMeanwhile(t *testing.T) {
	b := newBench(t)
	r := b.begin()
	cib := b.cib()
	joined := cib.Clone()
	joined.Child("configuration", "nodes").Add(pacemaker.El("node", "id", "4", "uname", "node4").Add(
		pacemaker.El("instance_attributes", "id", "n4").Add(pacemaker.El("nvpair", "id", "n4-standby", "name", "standby", "value", "on"))))
	joined.Child("status").Add(parse(t, strings.ReplaceAll(benchNode(4, 7), `rc-code="0"`, `rc-code="7"`)))
	if err := pacemaker.Patch(t.Context(), cib, joined); err != nil {
		t.Fatal(err)
	}
	if err := r.verify(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("the swap goes on: %v", err)
	}
	if err := r.lift(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("the maintenance is ended: %v", err)
	}
	if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
		t.Fatalf("%q, %v", did, err)
	}
	now := b.cib()
	if now.Find("node", "4") == nil {
		t.Error("the node is gone")
	}
	left := now.Clone()
	left.Remove(func(e *pacemaker.Element) bool { return e.Attr("uname") == "node4" })
	if err := pacemaker.Patch(t.Context(), now, left); err != nil {
		t.Fatal(err)
	}
	b.as(true, false)
}

// What cannot be put back now must not be managed, and not be taken for undone.
func TestMaintenanceStaysWhileTheOldAgentsAreNotBack(t *testing.T) {
	b := newBench(t)
	r := b.begin()
	b.file("deny", `value="heartbeat"`)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := r.back(ctx); err == nil {
		t.Error("no error")
	}
	b.as(false, true)
	if j, err := unfinished(b.swap.Dir); j == nil || err != nil {
		t.Errorf("it counts as ended: %v, %v", j, err)
	}
	_ = os.Remove(filepath.Join(b.dir, "deny"))
	if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
		t.Fatalf("%q, %v", did, err)
	}
	b.as(true, false)
}

// An undoing that was killed itself, between the return of the old agents and their answers.
func TestUndoesAnUndoingThatWasCutOff(t *testing.T) {
	for _, name := range []string{"before the nodes were asked", "before they answered"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r := b.begin()
			// The new agents have been asked.
			if err := r.ask(t.Context(), func(c *Change) (string, []string) { return c.To, c.Asked }); err != nil {
				t.Fatal(err)
			}
			if err := r.journal.at(undoing); err != nil {
				t.Fatal(err)
			}
			if err := r.apply(t.Context(), func(cib *pacemaker.Element) error {
				for _, c := range r.journal.Changes {
					put(cib, c.Old)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if name == "before they answered" {
				was := b.cib()
				forgot := was.Clone()
				forgot.Child("status").Remove(func(e *pacemaker.Element) bool {
					return e.Name == "lrm_rsc_op" && strings.HasPrefix(e.Attr("id"), "api")
				})
				for h := range forgot.All("lrm_resource") {
					if h.Attr("id") == "api" { // our crm_resource begins from the last answer
						h.Add(parse(t, strings.ReplaceAll(history("api", "", "", "", 99, 0), `op-status="0"`, `op-status="-1"`)).Child("lrm_rsc_op"))
					}
				}
				if err := pacemaker.Patch(t.Context(), was, forgot); err != nil {
					t.Fatal(err)
				}
			}
			if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
				t.Fatalf("%q, %v", did, err)
			}
			b.as(true, false)
		})
	}
}

// One node that cannot be asked of one resource must not keep the others from being asked.
func TestAsksAllEvenIfOneFails(t *testing.T) {
	b := newBench(t)
	r := b.begin()
	if err := r.ask(t.Context(), func(c *Change) (string, []string) { return c.To, c.Asked }); err != nil {
		t.Fatal(err)
	}
	b.file("db-node2", "")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	err := r.back(ctx)
	if err == nil || !strings.Contains(err.Error(), "node2 does not hear") {
		t.Error(err)
	}
	b.as(true, true)
	if !known(b.cib(), "api", "ocf:heartbeat:haproxy", []string{"node1", "node2", "node3"}) {
		t.Error("api was not asked anew")
	}
	_ = os.Remove(filepath.Join(b.dir, "db-node2"))
	if did, err := b.swap.Recover(t.Context()); did != Undid || err != nil {
		t.Fatalf("%q, %v", did, err)
	}
	b.as(true, false)
}

// The node of the swap is gone, and the nodes that are left have not been asked by the new agents yet.
func TestEndsTheMaintenanceOfANodeThatIsGone(t *testing.T) {
	b := newBench(t)
	b.beginOn("node9")
	if err := os.RemoveAll(b.swap.Dir); err != nil {
		t.Fatal(err)
	}
	did, err := b.swap.Abandoned(t.Context())
	if err != nil || !strings.Contains(did, "a swap of node9 left") {
		t.Fatalf("%q, %v", did, err)
	}
	b.as(false, false)
}

// The guard goes on until it can, and lets others have the lock between its tries.
func TestGuardIsPatient(t *testing.T) {
	b := newBench(t)
	b.begin()
	cib := filepath.Join(b.dir, "cib.xml")
	if err := os.Rename(cib, cib+".away"); err != nil { // the cluster is down here
		t.Fatal(err)
	}
	said := make(chan string, 100)
	b.swap.Say = func(format string, args ...any) {
		b.said = append(b.said, format)
		said <- format
	}
	ended := make(chan error, 1)
	go func() { ended <- b.swap.watch(t.Context(), b.within(10*time.Second)) }()
	for failed := false; !failed; {
		select {
		case line := <-said:
			failed = strings.HasPrefix(line, "could not undo")
		case err := <-ended:
			t.Fatalf("the guard has ended: %v", err)
		}
	}
	if err := os.Rename(cib+".away", cib); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.as(true, false)
}

func TestGuardEndsWhenSomebodyElseHasUndone(t *testing.T) {
	b := newBench(t)
	b.begin()
	b.file("deny", `<`) // nothing can be changed
	release, err := b.swap.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	once := make(chan struct{}, 100)
	b.swap.Say = func(format string, args ...any) {
		b.said = append(b.said, format)
		if strings.HasPrefix(format, "could not undo") {
			once <- struct{}{}
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- b.swap.watch(t.Context(), b.within(300*time.Millisecond)) }()
	release()
	<-once
	release, err = b.swap.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(b.dir, "deny"))
	if _, err := (&Swap{Dir: b.swap.Dir, Say: func(string, ...any) {}}).Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.says("somebody else has ended")
	b.as(true, false)
}

func TestGuardCanBeToldToEnd(t *testing.T) {
	b := newBench(t)
	release, err := b.swap.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.swap.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

package swap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// watching is the second node's part, on this one, of a swap of another node.
func (b *bench) watching(node string, until time.Time) string {
	b.t.Helper()
	r := b.beginOn(node)
	words, err := r.packed()
	if err != nil {
		b.t.Fatal(err)
	}
	w, err := unpack(words)
	if err != nil {
		b.t.Fatal(err)
	}
	if c := w.Journal.Changes[0]; c.PID != 0 || !c.Old.Equal(r.journal.Changes[0].Old) {
		b.t.Errorf("%+v", c)
	}
	if err := os.RemoveAll(r.journal.dir); err != nil {
		b.t.Fatal(err)
	}
	w.Journal.dir = filepath.Join(b.swap.Dir, secondDir, w.Name)
	if err := os.MkdirAll(w.Journal.dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := w.Journal.write(); err != nil {
		b.t.Fatal(err)
	}
	now := b.cib()
	to := now.Clone()
	mark(to, []string{"db", "api"}, until)
	if err := pacemaker.Patch(b.t.Context(), now, to); err != nil {
		b.t.Fatal(err)
	}
	return w.Name
}

// The node of the swap is gone, or the swap and its guard are, between the replacement and the answers.
func TestTheSecondNodeUndoes(t *testing.T) {
	for name, c := range map[string]struct {
		node  string
		until time.Duration
		words string
	}{
		"gone":          {"node9", time.Hour, "its node is gone"},
		"near the end":  {"node2", 40 * time.Second, "its maintenance ends in"},
		"after the end": {"node2", -time.Second, "its maintenance ends in"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.watching(c.node, time.Now().Add(c.until))
			if err := b.swap.Relieve(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			b.says(c.words)
			b.says(Undid)
			b.as(true, false)
			if left, _ := filepath.Glob(filepath.Join(b.swap.Dir, secondDir, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestTheSecondNodeLeavesASwapAlone(t *testing.T) {
	b := newBench(t)
	id := b.watching("node2", time.Now().Add(time.Hour))
	ended := make(chan error, 1)
	go func() { ended <- b.swap.Relieve(t.Context(), id) }()
	select {
	case err := <-ended:
		t.Fatalf("it has ended: %v", err)
	case <-time.After(5 * time.Second): // longer than it takes to look twice
	}
	b.as(false, true)
	now := b.cib()
	to := now.Clone()
	unmark(to)
	if err := pacemaker.Patch(t.Context(), now, to); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(b.said, "\n"); strings.Contains(said, "ending") {
		t.Error(said)
	}
}

// What the first node still does after the second has taken over fails; and its guard waits until the second is done.
func TestTheFirstNodeGivesWay(t *testing.T) {
	b := newBench(t)
	r := b.beginOn("node1")
	second := *r.journal
	second.from, second.Node = r.journal.owner(), "node2"
	if err := (&run{swap: b.swap, journal: &second}).apply(t.Context(), func(*pacemaker.Element) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(t.Context(), func(*pacemaker.Element) error { return nil }); err == nil || !strings.Contains(err.Error(), "another swap") {
		t.Error(err)
	}
	if did, err := b.swap.Recover(t.Context()); did != "" || err == nil || !strings.Contains(err.Error(), "node2, which was asked to watch over it, is ending it") {
		t.Errorf("%q, %v", did, err)
	}
}

package clusterqpidd

import (
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
)

// TestHeld is the judge of the campaign before it judges.
func TestHeld(t *testing.T) {
	const acked = 10
	began := time.Now()
	type said struct {
		node   string
		after  time.Duration
		id     string // "": no answer
		status qmf.HAStatus
		depth  int
	}
	for _, row := range []struct {
		name  string
		hit   string
		said  []said
		wrong string
		gone  string
	}{
		{name: "the first of all", said: []said{{"node1", 0, "a", qmf.Active, 0}}},
		{name: "everything", hit: "node1", said: []said{{"node2", 0, "b", qmf.Ready, acked}, {"node3", 0, "c", qmf.Ready, acked}, {"node2", 1, "b", qmf.Active, acked}}},
		{name: "as good as any", said: []said{{"node2", 0, "b", qmf.Joining, 5}, {"node3", 0, "c", qmf.Joining, 5}, {"node2", 1, "b", qmf.Active, 5}}},
		{name: "behind a ready one", said: []said{{"node2", 0, "b", qmf.Ready, 5}, {"node3", 0, "c", qmf.Ready, acked}, {"node2", 1, "b", qmf.Recovering, 5}}, wrong: "node2 was promoted with 5 of 10 acknowledged messages of q, and node3 (ready) has 10"},
		{name: "behind a joining one with a better store", said: []said{{"node3", 0, "c", qmf.Joining, 9}, {"node2", 1, "b", qmf.Active, 5}}, wrong: "node3 (joining) has 9"},
		{name: "started again and promoted at once", said: []said{{"node2", 0, "b", qmf.Active, acked}, {"node3", 0, "c", qmf.Ready, acked}, {"node2", 1, "d", qmf.Active, 0}}, wrong: "node3", gone: "node2"},
		{name: "unacknowledged ones do not count", said: []said{{"node2", 0, "b", qmf.Ready, acked}, {"node3", 0, "c", qmf.Ready, acked + 1}, {"node2", 1, "b", qmf.Active, acked}}},
		{name: "it died before", said: []said{{"node3", 0, "c", qmf.Ready, 9}, {"node3", 1, "", "", 0}, {"node2", 2, "b", qmf.Active, 5}}},
		{name: "it has not answered for long", said: []said{{"node3", 0, "c", qmf.Ready, 9}, {"node2", stale + 1, "b", qmf.Active, 5}}},
		{name: "it was struck", hit: "node3", said: []said{{"node3", 0, "c", qmf.Ready, 9}, {"node2", 1, "b", qmf.Active, 5}}},
		{name: "a fault ended one that held all", hit: "node3", said: []said{{"node3", 0, "c", qmf.Ready, acked}, {"node3", 1, "", "", 0}, {"node3", 2, "d", qmf.Joining, 0}}},
		{name: "it did not answer once", said: []said{{"node3", 0, "c", qmf.Ready, acked}, {"node3", 1, "", "", 0}, {"node3", 2, "c", qmf.Ready, acked}}},
		{name: "no fault ended one that held all", said: []said{{"node3", 0, "c", qmf.Ready, acked}, {"node3", 1, "", "", 0}, {"node3", 2, "d", qmf.Joining, 0}}, gone: "node3 held all of q"},
		{name: "no fault ended one that did not", said: []said{{"node3", 0, "c", qmf.Ready, 9}, {"node3", 1, "d", qmf.Joining, 0}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := NewHeld()
			h.Expect("q", func() int { return acked })
			if row.hit != "" {
				h.hits[row.hit] = began.Add(1)
			}
			for _, s := range row.said {
				var a *Answer
				if s.id != "" {
					a = &Answer{began.Add(s.after), s.id, s.status, map[string]int{"q": s.depth}}
				}
				h.Heard(s.node, h.Acknowledged(), a)
			}
			wrong, gone := h.Err(), strings.Join(h.Gone(), ", ")
			if wrong == nil != (row.wrong == "") || wrong != nil && !strings.Contains(wrong.Error(), row.wrong) {
				t.Errorf("wrong: %v, want %q", wrong, row.wrong)
			}
			if !strings.Contains(gone, row.gone) || gone != "" && row.gone == "" {
				t.Errorf("gone: %s, want %q", gone, row.gone)
			}
			if h.Err() != nil || h.Gone() != nil {
				t.Error("told twice")
			}
		})
	}
}

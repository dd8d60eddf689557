package clusterqpidd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/cluster"
)

// Held judges promotions by what each broker held. It is told what was acknowledged and what the brokers answer, and
// knows nothing of Pacemaker or of the agent.
type Held struct {
	mu     sync.Mutex
	queues map[string]func() int // the number of acknowledged messages, none of which was taken out yet
	nodes  map[string]*holder
	hits   map[string]time.Time // when a fault last struck the node
	wrong  []error
	gone   []string // brokers that held everything and were ended by no fault
}

// holder is a node's broker as it last answered.
type holder struct {
	Answer
	since  time.Time       // when this process answered first
	silent bool            // it does not answer now
	full   map[string]bool // it held all that was acknowledged
}

// Answer is what a broker says of itself.
type Answer struct {
	At     time.Time
	ID     string // of the process
	Status qmf.HAStatus
	Depth  map[string]int // messages by queue
}

// stale is how old an answer may be to say what a broker holds now.
const stale = 2 * time.Second

// NewHeld knows nothing yet.
func NewHeld() *Held {
	return &Held{queues: map[string]func() int{}, nodes: map[string]*holder{}, hits: map[string]time.Time{}}
}

// Expect has the queue judged from now on, or no longer without a function that counts what was acknowledged.
func (h *Held) Expect(queue string, acknowledged func() int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = nil
	if h.queues[queue] = acknowledged; acknowledged == nil {
		delete(h.queues, queue)
	}
}

// Hit says that a fault strikes the node, which may end the broker that it has now, or have Pacemaker end it.
func (h *Held) Hit(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hits[node] = time.Now()
}

// Acknowledged is what was so far. It is asked for before the broker is, so that a broker that has everything has as much.
func (h *Held) Acknowledged() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	acked := map[string]int{}
	for q, count := range h.queues {
		acked[q] = count()
	}
	return acked
}

// Heard takes a broker's answer; nil is none, which does not say that the broker is gone.
func (h *Held) Heard(node string, acked map[string]int, a *Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.nodes[node]
	if a == nil {
		if before != nil {
			before.silent = true
		}
		return
	}
	now := &holder{Answer: *a, since: a.At, full: map[string]bool{}}
	switch {
	case before == nil:
	case before.ID == a.ID:
		now.since = before.since
	case h.hits[node].Before(before.since):
		for q, full := range before.full {
			if full && h.queues[q] != nil {
				h.gone = append(h.gone, fmt.Sprintf("%s held all of %s, was struck by no fault, and was ended as %s", node, q, before.Status))
			}
		}
	}
	for q, n := range acked {
		now.full[q] = n > 0 && a.Depth[q] >= n
	}
	if a.Status.Primary() && (before == nil || !before.Status.Primary() || before.ID != a.ID) {
		h.promoted(node, acked, a)
	}
	h.nodes[node] = now
}

// promoted judges a promotion that was just seen: no broker that lives may hold more of what was acknowledged.
func (h *Held) promoted(node string, acked map[string]int, a *Answer) {
	for q, n := range acked {
		for other, o := range h.nodes {
			if other == node || o.silent || a.At.Sub(o.At) > stale || h.hits[other].After(o.At) || a.Depth[q] >= n || o.Depth[q] <= a.Depth[q] {
				continue
			}
			h.wrong = append(h.wrong, fmt.Errorf("%s was promoted with %d of %d acknowledged messages of %s, and %s (%s) has %d", node, a.Depth[q], n, q, other, o.Status, o.Depth[q]))
		}
	}
}

// Err is what was wrong since the last call, nil if nothing was.
func (h *Held) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := errors.Join(h.wrong...)
	h.wrong = nil
	return err
}

// Gone are the brokers that held everything of a queue that is expected, and were ended by no fault. With them may be gone what
// is in no store.
func (h *Held) Gone() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := h.gone
	h.gone = nil
	return slices.Compact(gone)
}

// String is what each broker holds.
func (h *Held) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for node, b := range h.nodes {
		held := map[string]int{}
		for q := range h.queues {
			held[q] = b.Depth[q]
		}
		all = append(all, fmt.Sprintf("%s %s %v", node, b.Status, held))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Look asks the node's broker for ever, on a connection for as long as that lasts.
func (h *Held) Look(ctx context.Context, c *cluster.Cluster, n *cluster.Node) {
	tick := time.NewTicker(3 * askEvery) // for the queues are many
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = h.ask(ctx, tick.C, c, n)
		h.Heard(n.Name, nil, nil)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (h *Held) ask(ctx context.Context, tick <-chan time.Time, c *cluster.Cluster, n *cluster.Node) error {
	console, done, err := Console(ctx, c, n)
	if err != nil {
		return err
	}
	defer done()
	for {
		one, cancel := context.WithTimeout(ctx, answerTimeout)
		acked, a := h.Acknowledged(), Answer{Depth: map[string]int{}}
		queues, err := console.Queues(one)
		var ha qmf.HA
		if err == nil { // the status last: what a broker holds that is primary now, it held when it was promoted
			ha, err = console.HA(one)
		}
		cancel()
		if err != nil {
			return err
		}
		for _, q := range queues {
			a.Depth[q.Name] = int(q.Messages)
		}
		a.At, a.ID, a.Status = time.Now(), ha.SystemID, ha.Status
		h.Heard(n.Name, acked, &a)
		select {
		case <-tick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

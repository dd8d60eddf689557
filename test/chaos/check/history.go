// Package check judges a campaign of faults by its history alone. It knows no cluster: what clients asked and were told, what
// was seen from outside, and what each fault excuses are events in a file, a line of JSON each, and may be judged again at
// any time.
package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Kind says what an event is.
type Kind string

const (
	// What a client does. Each number is asked for once, and the answer is one of three.
	Invoke  Kind = "invoke"
	OK      Kind = "ok"      // acknowledged
	Refused Kind = "refused" // surely not done: the client never got as far as asking for the last thing that counts
	Unknown Kind = "unknown" // done or not

	Read     Kind = "read"     // a client looked for what was acknowledged to it; Count says how often it is there
	Received Kind = "received" // a consumer got the message N
	Dropped  Kind = "dropped"  // a consumer lost its connection: what it had not settled comes again
	Final    Kind = "final"    // what a service holds in the end: Numbers, and of pairs their second halves in Others

	// What is seen from outside of all nodes, whatever Pacemaker believes.
	Running  Kind = "running"  // the daemons of a service, at each change
	Promoted Kind = "promoted" // the nodes whose instance of a replicated service says that it is the one, at each change
	Mounted  Kind = "mounted"  // the nodes that have a service's disk mounted, at each change
	Held     Kind = "held"     // the nodes that have the group's address, or that of a replicated service, at each change
	Blind    Kind = "blind"    // what could not be looked at
	Fenced   Kind = "fenced"   // Node was switched off by the cluster
	Failed   Kind = "failed"   // Pacemaker's line of a failed action
	Off      Kind = "off"      // Node is about to lose its power by a fault: the cluster does not know
	On       Kind = "on"       // Node is about to boot, and knows itself that nothing runs there

	// What the campaign does.
	Setup   Kind = "setup"   // Services: what there is to be judged
	Step    Kind = "step"    // Faults begin to strike
	Over    Kind = "over"    // the last step is
	Vouched Kind = "vouched" // somebody has told the cluster that Node is off
	Cleaned Kind = "cleaned" // the cluster did not come back without somebody's help
	Settled Kind = "settled" // all is well, and nothing is left to do
	Stuck   Kind = "stuck"   // it did not, with help neither
	Cut     Kind = "cut"     // the step was cut short by who ran it, and is not judged
	Remark  Kind = "remark"  // for people
	Balked  Kind = "balked"  // a command of the fault Who did not do what it is for
	Idle    Kind = "idle"    // Pacemaker shows Who as failed, and has had nothing to do for long
)

// Event is a line of the history. Which fields it has depends on its kind.
type Event struct {
	At      time.Duration `json:"at"` // since the beginning
	Kind    Kind          `json:"kind"`
	Who     string        `json:"who,omitempty"` // a client, or a resource
	Node    string        `json:"node,omitempty"`
	N       int           `json:"n,omitempty"` // a client's number, or a step's
	Count   int           `json:"count,omitempty"`
	Code    int           `json:"code,omitempty"`
	Text    string        `json:"text,omitempty"`
	Action  string        `json:"action,omitempty"`
	Nodes   []string      `json:"nodes,omitempty"`
	Daemons []Daemon      `json:"daemons,omitempty"`
	Numbers []int         `json:"numbers,omitempty"`
	Others  []int         `json:"others,omitempty"`
	Faults  []Fault       `json:"faults,omitempty"`
	Load    float64       `json:"load,omitempty"` // of the machine, as a step begins
	// Slack is how many times its bound an outage of the step may last, where the machine has other things to do; 0: once.
	Slack   int       `json:"slack,omitempty"`
	Service []Service `json:"service,omitempty"`
}

// Daemon is a process.
type Daemon struct {
	Node string `json:"node"`
	PID  int    `json:"pid"`
}

// Service is a resource with its daemon and its clients.
type Service struct {
	ID      string   `json:"id"`
	Clients []string `json:"clients"`
	// Disk says that it works on a disk that one node may have mounted.
	Disk bool `json:"disk,omitempty"`
	// Forgets says that what it was given is gone after a restart.
	Forgets bool `json:"forgets,omitempty"`
	// Everywhere are the nodes that each have an instance of it, one of which is promoted: it is beside the group, and has an address
	// of its own. Of what is in the group there is one instance.
	Everywhere []string `json:"everywhere,omitempty"`
}

// Instance is a replicated service's instance on a node, in what a fault excuses.
func Instance(id, node string) string { return id + "@" + node }

// Fault is what was done, and what it excuses. All else is held against the cluster.
type Fault struct {
	Kind   string `json:"kind"`
	Target string `json:"target,omitempty"` // a resource, or a node
	Node   string `json:"node,omitempty"`   // that it was done on
	// Restart are the services that may be restarted; of a replicated one all of its instances, or one (see [Instance]). Where the
	// promoted one may be, another one may be promoted; all else that is somewhere else than before needs Move.
	Restart []string `json:"restart,omitempty"`
	Move    bool     `json:"move,omitempty"`
	Fence   []string `json:"fence,omitempty"` // these nodes may be fenced
	Cleanup bool     `json:"cleanup,omitempty"`
	// Handicapped are services that may be degraded, and their clients without an answer, all the while not restarted.
	Handicapped []string `json:"handicapped,omitempty"`
	// Bound is how long a client of what may be restarted or handicapped may be without an answer.
	Bound time.Duration `json:"bound"`
	// Words are regular expressions: an exit reason has to match one of the step's. Told says that there has to be one.
	Words []string `json:"words,omitempty"`
	Told  bool     `json:"told,omitempty"`
	// Lacks are the same as Words for what is degraded, and for the start of what no fault has struck: it may say what it lacks, too.
	Lacks []string `json:"lacks,omitempty"`
	// Mute says that a failure may have no reason: whoever would give it was struck.
	Mute bool `json:"mute,omitempty"`
}

// History is written by many at once.
type History struct {
	began time.Time
	mu    sync.Mutex
	all   []Event
	out   *json.Encoder
	err   error
}

// NewHistory keeps all events, and writes them to w if that is not nil.
func NewHistory(w io.Writer) *History {
	h := &History{began: time.Now()}
	if w != nil {
		h.out = json.NewEncoder(w)
	}
	return h
}

// Add notes an event, now.
func (h *History) Add(e Event) { h.AddAt(time.Now(), e) }

// AddAt notes an event that was a moment ago.
func (h *History) AddAt(t time.Time, e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.At = t.Sub(h.began).Round(time.Microsecond)
	h.all = append(h.all, e)
	if h.out != nil && h.err == nil {
		h.err = h.out.Encode(e)
	}
}

// Events are those so far, and what kept them from being written.
func (h *History) Events() ([]Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all), h.err
}

// ReadHistory reads what a History has written.
func ReadHistory(r io.Reader) (all []Event, err error) {
	dec := json.NewDecoder(bufio.NewReader(r))
	for {
		var e Event
		if err := dec.Decode(&e); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("event %d: %w", len(all)+1, err)
		}
		all = append(all, e)
	}
}

// Package swap puts the agents of this suite in the place of those that resources of a running cluster have today,
// without a restart of any service: plan, commit, verify, and roll back on any doubt.
//
//   - [Swap.Plan] reads the cluster and this node, and changes nothing. A resource is swapped from the node where it
//     runs: how its process was started, which becomes the new agent's parameters, is read there. Of a clone it is
//     enough that one instance runs here.
//   - [Swap.Run] commits. Scouts, resources that are only probed, first ask every node whether it has the agents in
//     this version. Then the resources, and no others, are put into maintenance, their primitives are replaced in one
//     change that fails if anybody else changed the CIB, and all nodes are asked anew. Only if the nodes where a
//     resource ran answer that it runs, and all others that it does not, if the process is still the same one, and if
//     the cluster would do nothing but begin its monitors, is the maintenance lifted. After that all is looked at again.
//   - On any doubt, on Ctrl-C and when the terminal is lost, the old primitives are put back in the same way.
//
// # If the swap itself dies
//
// What it does is in a journal on disk, and who does it in the CIB; four things undo what a dead swap began. A second
// process, the guard, waits for the lock that the first holds, gets it from the kernel when that dies, and undoes; if it
// cannot, it lets go of the lock and tries again after a while, until somebody has ended the swap. The next call on this
// node does the same. For the case that the whole node dies, or both processes, a scout leaves a guard on a second node
// ([Swap.Relieve]), with the journal: it undoes the swap when its node is gone, or before the maintenance ends. That end
// the cluster itself keeps (a rule with a date); it must not come while nodes know a resource by the word of another agent
// than it has, for then the cluster would restart it. [Swap.Abandoned] is for a person on another node. A swap that died
// after all had been found to be right, or whose new agents have begun to manage since, is finished instead.
//
// # Services that run in a systemd unit
//
// A systemd: resource, and an lsb: one where scripts are redirected to units, runs in a unit of its own. There it stays:
// the new agent has the parameter unit, and starts and stops the service by it. Only where the unit would restart a
// service that died, behind the cluster's back, a drop-in in /run keeps it from that; a systemd: resource has such a
// drop-in of Pacemaker's already.
package swap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Provider is the suite's name in the cluster.
const Provider = "openstack"

// Swap is how swaps are made.
type Swap struct {
	Agents  map[string]takeover.Agent
	Version string   // of this program, which all nodes must have
	Program string   // the path of this program
	Guard   []string // its arguments with which it waits as the guard

	Only     []string      // the ids of the resources; none: all that have a successor
	To       string        // the agent; "": the one that is known to follow
	Defaults bool          // also put the operations that the new agents advise in place of the old ones
	Whole    bool          // maintenance for all of the cluster's resources meanwhile
	Within   time.Duration // at most, forth, and back once more

	Dir string // see [Dir]
	Say func(format string, args ...any)
}

// Change is what becomes of one resource.
type Change struct {
	ID       string              `json:"id"`
	From     string              `json:"from"`
	To       string              `json:"to"`
	Runs     map[string]ocf.Code `json:"runs"`  // on which nodes, and as what: ocf.OK, or ocf.RunningPromoted
	Asked    []string            `json:"asked"` // nodes that are to answer a probe
	PID      int                 `json:"pid,omitempty"`
	Started  uint64              `json:"started,omitempty"` // in ticks since boot; with PID the process's identity
	Process  string              `json:"process"`
	Unit     string              `json:"unit,omitempty"`   // the systemd unit that it runs in
	RunBy    string              `json:"run_by,omitempty"` // who starts and stops it from then on: byUnit, byAgent or byKernel
	Params   map[string]string   `json:"-"`                // that were derived
	Notes    []string            `json:"notes,omitempty"`
	Conflict []string            `json:"conflict,omitempty"` // what others changed, and is given up: a person has to agree
	Old, New *pacemaker.Element  `json:",omitempty"`
}

// Who starts and stops a service.
const (
	byUnit   = "unit"
	byAgent  = "agent"
	byKernel = "kernel"
)

// Way says in a line who runs the service from then on.
func (c *Change) Way() string {
	switch {
	case c.RunBy == byUnit:
		return fmt.Sprintf("run by its unit %s, in which its process stays", c.Unit)
	case c.RunBy == byKernel:
		return "it is the kernel's, and stays there"
	case c.Unit != "":
		return fmt.Sprintf("run by %s itself; its process stays in %s until it first ends", c.To, c.Unit)
	}
	return fmt.Sprintf("run by %s itself, for its process lives in no unit", c.To)
}

// Diff is what becomes of the primitive, with secrets left out.
func (s *Swap) Diff(c *Change) []string {
	secrets := s.secrets()
	return Diff(c.Old.Masked(secrets), c.New.Masked(secrets))
}

// Masked is the plan to be shown, with secrets left out.
func (s *Swap) Masked(p *Plan) *Plan {
	secrets := s.secrets()
	m := *p
	m.Changes = nil
	for _, c := range p.Changes {
		shown := *c
		shown.Old, shown.New = c.Old.Masked(secrets), c.New.Masked(secrets)
		m.Changes = append(m.Changes, &shown)
	}
	return &m
}

// secrets are the names of the parameters that the agents call secret.
func (s *Swap) secrets() map[string]bool {
	names := map[string]bool{}
	for _, a := range s.Agents {
		for _, p := range a.New().Parameters {
			names[p.Name] = names[p.Name] || p.Secret
		}
	}
	return names
}

// Plan is what a swap will do.
type Plan struct {
	Node    string    `json:"node"`            // this one
	Nodes   []string  `json:"nodes"`           // that are asked
	Changes []*Change `json:"changes"`         // none: nothing is left to do
	Still   []string  `json:"still,omitempty"` // resources that depend on them, and are in maintenance meanwhile too
	Undoes  string    `json:"undoes,omitempty"`

	cib *pacemaker.Element
}

// Refusal is why nothing was done: a line a reason.
type Refusal struct{ Reasons []string }

func (r *Refusal) Error() string { return strings.Join(r.Reasons, "\n") }

func (r *Refusal) add(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// err is the refusal if there is a reason for one.
func (r *Refusal) err() error {
	if len(r.Reasons) == 0 {
		return nil
	}
	return r
}

// RolledBack is why a swap was given up. The cluster is as it was before, unless Left says that it could not be made so.
type RolledBack struct{ Why, Left error }

func (e *RolledBack) Error() string {
	if e.Left != nil {
		return fmt.Sprintf("%v\nand the old state could not be brought back in full: %v", e.Why, e.Left)
	}
	return e.Why.Error()
}

func (e *RolledBack) Unwrap() []error { return []error{e.Why, e.Left} }

// Within is how long a swap takes at most, and its rollback once more, if nothing else is said.
const Within = 3 * time.Minute // also, with what [spare] makes of it, in the command's help and manual

// spare is for how much longer the maintenance holds, which the rollback begins anew: so long before its end the second
// node's guard undoes what nobody else has.
func spare(within time.Duration) time.Duration { return within / 3 }

// Hold is for how long the maintenance holds at most.
func (s *Swap) Hold() time.Duration { return s.Within + spare(s.Within) }

const pace = 200 * time.Millisecond // of questions to the cluster

// until asks again and again until the answer is nil; an error that is final ends it at once. It gives up when the answer
// has been the same for so long: a large cluster takes its time. Where a question takes long, it asks less often.
func until(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(within, func() { cancel(context.DeadlineExceeded) })
	defer patience.Stop()
	var last error
	for {
		asked := time.Now()
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[*final](err); ok {
			return f.error
		}
		if last == nil || ctx.Err() == nil { // a question that was cut short says less than the answer before it
			if last == nil || last.Error() != err.Error() {
				patience.Reset(within)
			}
			last = err
		}
		select {
		case <-time.After(max(pace, time.Since(asked))):
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return fmt.Errorf("not within %s: %w", time.Since(began).Round(time.Second), last)
		}
	}
}

// final is an error that waiting does not change.
type final struct{ error }

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/clusterqpidd"
)

// saysBehind is what the promoted broker says of others that are away, or not yet back.
const saysBehind = `brokers are in step`

// electing is how much longer clients wait where the promoted instance was struck: Pacemaker promotes another one when that has been
// started again, and not before.
const electing = 15 * time.Second

// strikingInstance is a fault that befalls one instance of the clone: every other time the one that is promoted.
func (s *scene) strikingInstance(rng *rand.Rand, at where, kind string, bound time.Duration, words ...string) act {
	half, which := rng.IntN(2) == 0, rng.IntN(3)
	node := at.promoted
	if nodes := at.nodes(); !half {
		node = nodes[which%len(nodes)]
	}
	if node == at.promoted {
		bound += electing
	}
	return act{Fault: check.Fault{Kind: kind, Target: s.clone, Node: node, Restart: []string{check.Instance(s.clone, node)}, Bound: bound, Words: words}}
}

// nodes are all of them, in their order.
func (at where) nodes() []string {
	return slices.Sorted(slices.Values(slices.Concat([]string{at.active}, at.passive)))
}

// whole says that what strikes one instance of the clone strikes all of them.
func (s *scene) whole(a *act) {
	if a.Target == s.clone && s.clone != "" {
		a.Restart = []string{s.clone}
	}
}

// cloneToo says that what strikes the group strikes all instances of the clone.
func (s *scene) cloneToo(a *act) {
	if s.clone != "" {
		a.Restart = slices.Concat(a.Restart, []string{s.clone})
	}
}

// What befalls a service of which every node has an instance.
var replicatedFaults = []fault{
	{"kill all brokers", 3, func(s *scene, rng *rand.Rand, at where) act {
		a := s.strikingInstance(rng, at, "kill all brokers", 90*time.Second, saysKilled, `the primary is gone`)
		s.whole(&a)
		gap := between(rng, time.Millisecond, 500*time.Millisecond)
		a.do = func(ctx context.Context) (err error) {
			for _, n := range s.nodes() {
				f := a.Fault
				f.Node = n
				err = errors.Join(err, s.signal(f, syscall.SIGKILL))
				sleep(ctx, gap)
			}
			return err
		}
		return a
	}},
	{"cut a backup's link", 4, func(s *scene, rng *rand.Rand, at where) act {
		a := s.strikingInstance(rng, at, "cut a backup's link", 30*time.Second, `joins anew`)
		for _, n := range at.nodes() { // the next one, if it is no backup
			if a.Node == at.promoted && n != at.promoted {
				a.Node, a.Restart = n, []string{check.Instance(s.clone, n)}
			}
		}
		long := between(rng, time.Millisecond, 12*time.Second)
		a.do = func(ctx context.Context) error {
			one, cancel := context.WithTimeout(ctx, toolTimeout)
			defer cancel()
			mend, err := clusterqpidd.Part(one, s.cluster, s.cluster.Node(at.promoted), s.cluster.Node(a.Node))
			sleep(ctx, long)
			if mend != nil {
				_ = mend(one) // it may have been started anew by now
			}
			return err
		}
		return a
	}},
	// What is known of the others is in attributes that are forgotten with it.
	{"restart Pacemaker under maintenance", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 0, 5*time.Second)
		a := act{Fault: check.Fault{Kind: "restart Pacemaker under maintenance", Target: node, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "property", "set", "maintenance-mode=true")
			if err == nil { // where a monitor has failed meanwhile, Pacemaker 2.1.5 never ends cancelling it
				idle, cancel := context.WithTimeout(ctx, toolTimeout)
				err = s.cluster.WaitIdle(idle)
				cancel()
			}
			if err == nil {
				_, err = s.cluster.Node(node).Exec(ctx, "systemctl", "restart", "pacemaker")
			}
			sleep(ctx, long)
			return errors.Join(err, s.takeBack(ctx, "pcs", "property", "set", "maintenance-mode=false"))
		}
		return a
	}},
}

func replicatedKinds() (names []string) {
	for _, f := range replicatedFaults {
		names = append(names, f.kind)
	}
	return names
}

package clusterqpidd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	resource = "qpidd"
	dataDir  = "/var/lib/qpidd"
	address  = scenario.FloatingIP + ":5672"
	// stepTimeout is for one thing to happen, on a machine that is busy with other tests.
	stepTimeout = 10 * time.Minute
)

// stage is a replicated broker on three nodes.
type stage struct {
	*cluster.Cluster
	watch *Watch
	kind  broker.Kind
	loads int
}

func (s *stage) pcs(t *testing.T, args string) {
	t.Helper()
	if _, err := s.OnAny(t.Context(), append([]string{"pcs"}, strings.Fields(args)...)...); err != nil {
		t.Fatal(err)
	}
}

// replicates skips what only a broker that replicates can pass.
func (s *stage) replicates(t *testing.T) {
	t.Helper()
	if s.kind != broker.Real {
		t.Skip("SKIP: needs qpidd (replication is not claimed for the stand-in)")
	}
}

// step is a context for one thing to happen.
func step(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	t.Cleanup(cancel)
	return ctx
}

var score = regexp.MustCompile(`host="([^"]*)" value="([^"]*)"`)

// scores are the promotion scores, by node.
func (s *stage) scores(ctx context.Context) (map[string]string, error) {
	res, err := s.OnAny(ctx, "attrd_updater", "--name", "master-"+resource, "--all", "--query")
	var exit *cluster.ExitError
	if err != nil && !(errors.As(err, &exit) && strings.Contains(exit.Stderr, "does not exist")) {
		return nil, err
	}
	all := map[string]string{}
	for _, m := range score.FindAllStringSubmatch(res.Stdout, -1) {
		if m[2] != "" {
			all[m[1]] = m[2]
		}
	}
	return all, nil
}

// steady returns once everything is as it should be on these nodes, and says which is the primary's.
func (s *stage) steady(t *testing.T, nodes ...string) (primary string) {
	t.Helper()
	ctx := step(t)
	if len(nodes) == 0 {
		nodes = s.names()
	}
	err := s.WaitFor(ctx, func(st *cluster.Status) error {
		primary = ""
		for _, r := range st.Resource(resource) {
			switch {
			case r.Failed || r.Blocked:
				return fmt.Errorf("%s has failed on %v", r.ID, r.Nodes())
			case r.Role == "Promoted" && primary != "":
				return fmt.Errorf("promoted on %s and %v", primary, r.Nodes())
			case r.Role == "Promoted":
				primary = r.Nodes()[0]
			}
		}
		wantScores, wantStates := map[string]string{}, map[string]qmf.HAStatus{}
		for _, n := range nodes {
			wantScores[n], wantStates[n] = "100", qmf.Ready
		}
		wantScores[primary], wantStates[primary] = "1000", qmf.Active
		scores, err := s.scores(ctx)
		if err != nil {
			return err
		}
		switch {
		case primary == "":
			return errors.New("nothing is promoted")
		case !slices.Equal(st.Running(resource), nodes):
			return fmt.Errorf("brokers run on %v, and not on %v", st.Running(resource), nodes)
		case !slices.Equal(st.Running("ip"), []string{primary}):
			return fmt.Errorf("promoted on %s, and the address is on %v", primary, st.Running("ip"))
		case !maps.Equal(scores, wantScores):
			return fmt.Errorf("the promotion scores are %v, and not %v", scores, wantScores)
		case !maps.Equal(s.watch.Now(), wantStates):
			return fmt.Errorf("the brokers are %v, and not %v", s.watch.Now(), wantStates)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return primary
}

func (s *stage) names() []string {
	var names []string
	for _, n := range s.Nodes() {
		names = append(names, n.Name)
	}
	return names
}

// others are the nodes but these.
func (s *stage) others(not ...string) []string {
	return slices.DeleteFunc(s.names(), func(n string) bool { return slices.Contains(not, n) })
}

// load is a client of the broker for as long as a test runs.
type load struct {
	*scenario.Writer
	queue *Queue
	s     *stage
}

// load starts a client with a queue of its own, and returns once it is served.
func (s *stage) load(t *testing.T, durable bool) *load {
	t.Helper()
	return s.write(t, &Queue{durable: durable}, true)
}

// hoard is like load, of messages of up to that size that stay in the queue until the audit.
func (s *stage) hoard(t *testing.T, durable bool, size int) *load {
	t.Helper()
	return s.write(t, &Queue{durable: durable, size: size}, false)
}

func (s *stage) write(t *testing.T, q *Queue, consume bool) *load {
	t.Helper()
	s.loads++
	q.dial, q.addr, q.name = s.Dial, address, fmt.Sprintf("numbers-%d", s.loads)
	if consume {
		q.drain()
	}
	l := &load{Writer: scenario.Write(q, 0), queue: q, s: s}
	t.Cleanup(func() {
		l.Stop()
		_ = q.Close()
	})
	if err := l.WaitServed(step(t), time.Now()); err != nil {
		t.Fatal(err)
	}
	return l
}

// served returns once the client is served again, and says how long it was not.
func (l *load) served(t *testing.T, began time.Time) scenario.Outage {
	t.Helper()
	if err := l.WaitServed(step(t), time.Now()); err != nil {
		t.Fatal(err)
	}
	return l.Outage(began)
}

// audit ends the client, and fails the test if a message was lost.
func (l *load) audit(t *testing.T) {
	t.Helper()
	l.Stop()
	if l.s.kind != broker.Real {
		return
	}
	a, err := l.Audit(step(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages acknowledged, %d of them arrived, %d more than once; %d arrived unacknowledged", a.Acknowledged, a.Found, len(a.Twice), a.More)
	if len(a.Lost)+len(a.Stray) > 0 {
		t.Errorf("lost %v, never sent %v", some(a.Lost), some(a.Stray))
	}
}

// otherPrimary returns once a broker that is not on the node is primary, and says on which.
func (s *stage) otherPrimary(t *testing.T, than string) (node string) {
	t.Helper()
	err := s.watch.Wait(step(t), "no other broker became primary", func(now map[string]qmf.HAStatus) bool {
		for n, status := range now {
			if n != than && status.Primary() {
				node = n
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.CrmMon(t.Context()))
	}
	return node
}

// failure is the failed action on the node whose reason matches.
func (s *stage) failure(t *testing.T, node, reason string) cluster.Failure {
	t.Helper()
	matches := regexp.MustCompile(reason).MatchString
	var found cluster.Failure
	err := s.WaitFor(step(t), func(st *cluster.Status) error {
		for _, f := range st.Failures {
			if f.Node == node && matches(f.Reason) {
				found = f
				return nil
			}
		}
		return fmt.Errorf("no failure on %s says %q; there are %+v", node, reason, st.Failures)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("crm_mon: %s on %s: %d: %s", found.Operation, found.Node, found.Code, found.Reason)
	return found
}

// in runs a command on a node.
func (s *stage) in(t *testing.T, node string, argv ...string) string {
	t.Helper()
	return s.Node(node).MustExec(t.Context(), t, argv...)
}

// console is the management of a node's broker until the test ends.
func (s *stage) console(t *testing.T, node string) *qmf.Client {
	t.Helper()
	c, done, err := Console(t.Context(), s.Cluster, s.Node(node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return c
}

// depth is how many messages a queue of a node's broker has, -1 without the queue.
func (s *stage) depth(t *testing.T, node, queue string) int64 {
	t.Helper()
	c, done, err := Console(t.Context(), s.Cluster, s.Node(node))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	queues, err := c.Queues(step(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		if q.Name == queue {
			return q.Messages
		}
	}
	return -1
}

// cleanup forgets failures, and fails the test if there were two primaries.
func (s *stage) cleanup(t *testing.T) {
	t.Helper()
	t.Logf("brokers: %s", s.watch.Story())
	if err := s.watch.Err(); err != nil {
		t.Error(err)
	}
	s.forget(t)
}

// forget forgets failures. Pacemaker looks at all anew then, two seconds later, and restarts the address when it was the
// primary that had failed.
func (s *stage) forget(t *testing.T) {
	t.Helper()
	s.pcs(t, "resource cleanup")
	if err := s.WaitIdle(step(t)); err != nil {
		t.Fatal(err)
	}
}

// some are the first of many numbers.
func some(numbers []int) []int { return numbers[:min(20, len(numbers))] }

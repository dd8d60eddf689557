package clusterqpidd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/cluster"
)

// askEvery is how often a Watch asks each broker; an answer takes 2 ms.
const askEvery = 50 * time.Millisecond

// Watch asks the brokers of all nodes what they are, whatever Pacemaker takes them for.
type Watch struct {
	cluster *cluster.Cluster
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	began   time.Time

	mu      sync.Mutex
	now     map[string]qmf.HAStatus // by node; without those that do not answer
	primary map[string]reign        // by node
	story   []string
	wrong   []error
	told    []string // the primaries that were told last
	tell    func(nodes []string)
	changed chan struct{}
}

// reign is the time for which a broker surely was primary: from the first answer that said so to the last question
// that was answered so.
type reign struct {
	id         string // of the broker's process
	from, till time.Time
}

// NewWatch starts to watch. Stop ends it.
func NewWatch(c *cluster.Cluster) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{
		cluster: c, cancel: cancel, began: time.Now(),
		now: map[string]qmf.HAStatus{}, primary: map[string]reign{}, changed: make(chan struct{}),
	}
	for _, n := range c.Nodes() {
		w.wait.Go(func() { w.look(ctx, n) })
	}
	return w
}

// look asks one node's broker for ever.
func (w *Watch) look(ctx context.Context, n *cluster.Node) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := w.ask(ctx, n)
		w.forget(n.Name, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// ask asks on one connection until that fails.
func (w *Watch) ask(ctx context.Context, n *cluster.Node) error {
	c, closeIt, err := Console(ctx, w.cluster, n)
	if err != nil {
		return err
	}
	defer closeIt()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, answerTimeout)
		asked := time.Now()
		ha, err := c.HA(one)
		cancel()
		if err != nil {
			return err
		}
		w.heard(n.Name, ha, asked, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Console is the management of a node's broker, also of a backup. The function ends it, and so does ctx.
func Console(ctx context.Context, c *cluster.Cluster, n *cluster.Node) (*qmf.Client, func(), error) {
	conn, ans := amqp.Connect(ctx, amqp.Target{Address: net.JoinHostPort(n.Addr, "5672"), Admin: true, Dial: c.Dial})
	if conn == nil {
		return nil, nil, errors.New(ans.Reason())
	}
	one, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	console, err := qmf.New(one, conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return console, func() { _, _ = console.Close(ctx), conn.Close() }, nil
}

// Part has a backup lose its primary, and find no other one until mend is called.
func Part(ctx context.Context, c *cluster.Cluster, primary, backup *cluster.Node) (mend func(context.Context) error, err error) {
	console, done, err := Console(ctx, c, backup)
	if err != nil {
		return nil, err
	}
	defer done()
	ha, err := console.HA(ctx)
	if err != nil {
		return nil, err
	}
	if ha.Status.Primary() {
		return nil, fmt.Errorf("the broker of %s is no backup", backup.Name)
	}
	mend = func(ctx context.Context) error { // one that was started anew has its own
		console, done, err := Console(ctx, c, backup)
		if err != nil {
			return err
		}
		defer done()
		return console.SetBrokersURL(ctx, ha.BrokersURL)
	}
	if err := console.SetBrokersURL(ctx, "amqp:tcp:127.0.0.1:9"); err != nil {
		return mend, err
	}
	return mend, Sever(ctx, c, primary, backup)
}

// Sever closes the connection that a backup has to the primary.
func Sever(ctx context.Context, cl *cluster.Cluster, primary, backup *cluster.Node) error {
	c, done, err := Console(ctx, cl, primary)
	if err != nil {
		return err
	}
	defer done()
	conns, err := c.Query(ctx, "org.apache.qpid.broker", "connection")
	if err != nil {
		return err
	}
	for _, conn := range conns {
		if strings.Contains(conn.Name, "-"+backup.Addr+":") {
			_, err := c.Call(ctx, conn.Name, "close", nil)
			return err
		}
	}
	return fmt.Errorf("no connection is %s's: %v", backup.Name, conns)
}

func (w *Watch) heard(node string, ha qmf.HA, asked, answered time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(node, ha.Status)
	if !ha.Status.Primary() {
		delete(w.primary, node)
		w.announce()
		return
	}
	r, ok := w.primary[node]
	if !ok || r.id != ha.SystemID {
		r = reign{id: ha.SystemID, from: answered, till: answered}
	}
	r.till = asked
	w.primary[node] = r
	for other, o := range w.primary {
		if other != node && o.overlaps(r) {
			w.wrong = append(w.wrong, fmt.Errorf("%s: the brokers of %s and %s are both primary", w.clock(), node, other))
		}
	}
	w.announce()
}

func (r reign) overlaps(o reign) bool { return o.from.Before(r.till) && r.from.Before(o.till) }

// Tell has somebody told from now on which nodes' brokers are primary, at each change, and at once which are now. They are several
// only if they surely were at the same time: one that has stopped answering meanwhile is none once another one is.
func (w *Watch) Tell(tell func(nodes []string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell, w.told = tell, nil
	tell(nil)
	w.announce()
}

func (w *Watch) announce() {
	if w.tell == nil {
		return
	}
	if now := w.primaries(); !slices.Equal(now, w.told) {
		w.told = now
		w.tell(now)
	}
}

// primaries are the node whose broker was heard last as primary, and those whose were so at the same time.
func (w *Watch) primaries() (nodes []string) {
	var last reign
	for _, r := range w.primary {
		if r.till.After(last.till) {
			last = r
		}
	}
	for node, r := range w.primary {
		if r == last || r.overlaps(last) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

func (w *Watch) forget(node string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.now[node]; ok && err != nil {
		w.set(node, "")
	}
	delete(w.primary, node)
	w.announce()
}

func (w *Watch) set(node string, status qmf.HAStatus) {
	if w.now[node] == status {
		return
	}
	w.now[node] = status
	if status == "" {
		delete(w.now, node)
		status = "-"
	}
	w.story = append(w.story, fmt.Sprintf("%s %s %s", w.clock(), node, status))
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Watch) clock() string { return fmt.Sprintf("%.2f", time.Since(w.began).Seconds()) }

// Now is what every node's broker says it is; without those that do not answer.
func (w *Watch) Now() map[string]qmf.HAStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.now)
}

// Wait returns when ok, which is asked at every change.
func (w *Watch) Wait(ctx context.Context, what string, ok func(map[string]qmf.HAStatus) bool) error {
	for {
		w.mu.Lock()
		now, changed := maps.Clone(w.now), w.changed
		w.mu.Unlock()
		if ok(now) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the brokers are %v", what, ctx.Err(), now)
		}
	}
}

// Story is all that changed since the last call, in seconds since the watch began.
func (w *Watch) Story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.story, ", ")
	w.story = nil
	return s
}

// Err is nil if no two brokers were primary at once since the last call.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := errors.Join(w.wrong...)
	w.wrong = nil
	return err
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.cancel()
	w.wait.Wait()
}

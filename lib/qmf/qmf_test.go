package qmf_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/broker"
)

const timeout = 20 * time.Second

// console opens a console on the broker for the length of the test.
func console(t testing.TB, b *broker.Broker) (*qmf.Client, *goamqp.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	c, conn := open(t, ctx, amqp.Target{Address: b.Addr()})
	return c, conn, ctx
}

func open(t testing.TB, ctx context.Context, target amqp.Target) (*qmf.Client, *goamqp.Conn) {
	t.Helper()
	conn, a := amqp.Connect(ctx, target)
	if conn == nil {
		t.Fatal(a.Reason())
	}
	t.Cleanup(func() { conn.Close() })
	c, err := qmf.New(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	return c, conn
}

func create(t testing.TB, ctx context.Context, c *qmf.Client, name string, properties map[string]any) {
	t.Helper()
	if properties == nil {
		properties = map[string]any{}
	}
	_, err := c.Call(ctx, qmf.BrokerName, "create", map[string]any{"type": "queue", "name": name, "properties": properties, "strict": true})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBroker(t *testing.T) {
	b := broker.Start(t, broker.Options{Args: []string{"--max-connections", "17"}})
	t.Log("kind:", b.Kind())
	c, _, ctx := console(t, b)
	got, err := c.Broker(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got.Port != b.Port || got.DataDir != b.DataDir || got.MaxConnections != 17 || got.Version == "" || got.Queues < 1 {
		t.Errorf("got %+v", got)
	}
	stores, err := c.Stores(ctx)
	if want := []qmf.Store{{Kind: "linearstore", Dir: b.DataDir}}; err != nil || !reflect.DeepEqual(stores, want) {
		t.Errorf("stores: %+v, %v; want %+v", stores, err, want)
	}
	if _, err := c.HA(ctx); !errors.Is(err, qmf.ErrNoObject) {
		t.Errorf("HA on a broker without: %v, want ErrNoObject", err)
	}
}

func TestQueues(t *testing.T) {
	c, conn, ctx := console(t, broker.Start(t, broker.Options{}))
	create(t, ctx, c, "plain", nil)
	create(t, ctx, c, "limited", map[string]any{"qpid.max_size": int64(10_000), "qpid.max_count": int64(10), "qpid.policy_type": "ring"})
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.NewSender(ctx, "plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := out.Send(ctx, goamqp.NewMessage([]byte("hello")), nil); err != nil {
			t.Fatal(err)
		}
	}
	queues, err := c.Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]qmf.Queue{}
	for _, q := range queues {
		byName[q.Name] = q
	}
	if len(byName) != 3 {
		t.Errorf("%d queues, want 2 and the console's own subscription", len(byName))
	}
	if q := byName["plain"]; q.Messages != 3 || q.Bytes < 15 || q.MaxBytes != 0 || q.FlowStopped || q.Durable || q.AutoDelete || q.Exclusive || q.Consumers != 0 {
		t.Errorf("plain: %+v", q)
	}
	if q := byName["limited"]; q.Messages != 0 || q.MaxBytes != 10_000 || q.MaxMessages != 10 || q.Policy != "ring" {
		t.Errorf("limited: %+v", q)
	}
	o, err := c.Get(ctx, "org.apache.qpid.broker:queue:plain")
	if err != nil || o.Package != "org.apache.qpid.broker" || o.Class != "queue" || o.Values["name"] != "plain" {
		t.Errorf("Get: %+v, %v", o, err)
	}
}

// qpidd stops senders when a queue with the default policy is 80 % full.
func TestFlowStopped(t *testing.T) {
	c, conn, ctx := console(t, broker.Start(t, broker.Options{}))
	create(t, ctx, c, "small", map[string]any{"qpid.max_count": int64(10)})
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.NewSender(ctx, "small", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		sendCtx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err = out.Send(sendCtx, goamqp.NewMessage(nil), nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	queues, err := c.Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(queues, func(q qmf.Queue) bool { return q.Name == "small" })
	if i < 0 || !queues[i].FlowStopped {
		t.Errorf("not flow-stopped: %+v", queues)
	}
}

// An answer of more than 100 objects comes in parts.
func TestPartialAnswers(t *testing.T) {
	c, _, ctx := console(t, broker.Start(t, broker.Options{}))
	const n = 250
	for i := range n {
		create(t, ctx, c, fmt.Sprintf("q%03d", i), nil)
	}
	for range 2 {
		objs, err := c.Query(ctx, "org.apache.qpid.broker", "queue")
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, o := range objs {
			if name, ok := o.Values["name"].(string); ok && strings.HasPrefix(name, "q") {
				names[name] = true
			}
		}
		if len(objs) != n+1 || len(names) < n {
			t.Errorf("%d objects, %d names; want %d and the console's own", len(objs), len(names), n)
		}
	}
}

func TestCall(t *testing.T) {
	c, _, ctx := console(t, broker.Start(t, broker.Options{}))
	out, err := c.Call(ctx, qmf.BrokerName, "echo", map[string]any{"sequence": uint32(7), "body": "hi"})
	if err != nil || out["body"] != "hi" || fmt.Sprint(out["sequence"]) != "7" {
		t.Errorf("echo: %v, %v", out, err)
	}
	create(t, ctx, c, "twice", nil)
	for _, tc := range []struct {
		name, object, method string
		args                 map[string]any
		want                 qmf.Error
	}{
		{"no such object", "org.apache.qpid.broker:queue:none", "purge", nil, qmf.Error{Code: 1, Text: "No object found"}},
		{"no such method", qmf.BrokerName, "fly", nil, qmf.Error{Code: 2, Text: "UnknownMethod"}},
		{"exists", qmf.BrokerName, "create", map[string]any{"type": "queue", "name": "twice", "properties": map[string]any{}}, qmf.Error{Code: 7, Text: "object already exists: twice"}},
		{"wrong type", qmf.BrokerName, "echo", map[string]any{"sequence": "x", "body": ""}, qmf.Error{Code: 7, Text: "Cannot convert x"}},
		{"not there", qmf.BrokerName, "delete", map[string]any{"type": "queue", "name": "none", "options": map[string]any{}}, qmf.Error{Code: 7, Text: "No such queue: none"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.Call(ctx, tc.object, tc.method, tc.args)
			var e *qmf.Error
			if !errors.As(err, &e) || e.Code != tc.want.Code || !strings.Contains(e.Text, tc.want.Text) {
				t.Errorf("got %v, want %v", err, &tc.want)
			}
			if e != nil && strings.Contains(e.Text, ".cpp") {
				t.Errorf("the broker's source line is in %q", e.Text)
			}
		})
	}
	if _, err := c.Get(ctx, "org.apache.qpid.broker:queue:none"); !errors.Is(err, qmf.ErrNoObject) {
		t.Errorf("Get of nothing: %v", err)
	}
	if objs, err := c.Query(ctx, "org.example", "nothing"); err != nil || len(objs) != 0 {
		t.Errorf("Query of an unknown class: %v, %v", objs, err)
	}
}

func TestConcurrent(t *testing.T) {
	c, _, ctx := console(t, broker.Start(t, broker.Options{}))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			out, err := c.Call(ctx, qmf.BrokerName, "echo", map[string]any{"sequence": uint32(i), "body": ""})
			if err != nil || fmt.Sprint(out["sequence"]) != fmt.Sprint(i) {
				t.Errorf("echo %d: %v, %v", i, out, err)
			}
		})
	}
	wg.Wait()
}

// A request ends with its context, and its late answer is not taken for that
// to the next request.
func TestStopped(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	c, _, ctx := console(t, b)
	b.Signal(syscall.SIGSTOP)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Broker(short)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("%v after %s, want deadline exceeded after 200 ms", err, took)
	}
	b.Signal(syscall.SIGCONT)
	out, err := c.Call(ctx, qmf.BrokerName, "echo", map[string]any{"sequence": uint32(1), "body": "late"})
	if err != nil || out["body"] != "late" {
		t.Errorf("after the broker went on: %v, %v", out, err)
	}
	b.Kill()
	if _, err := c.Broker(ctx); err == nil {
		t.Error("no error from a dead broker")
	}
}

// slow is a connection that, once it was told to hold, keeps what it reads until
// release is closed, and counts what it gave out since.
type slow struct {
	net.Conn
	hold    atomic.Bool
	release chan struct{}
	late    atomic.Int64 // bytes
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.hold.Load() {
		<-s.release
		s.late.Add(int64(n))
	}
	return n, err
}

// slowConsole is a console on such a connection.
func slowConsole(t *testing.T, ctx context.Context) (*qmf.Client, *goamqp.Conn, *slow) {
	t.Helper()
	b := broker.Start(t, broker.Options{})
	raw := &slow{release: make(chan struct{})}
	c, conn := open(t, ctx, amqp.Target{Address: b.Addr(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		raw.Conn = nc
		return raw, err
	}})
	return c, conn, raw
}

// An answer that is owed when the context ends is taken before the connection goes.
func TestAnswerOwed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, conn, raw := slowConsole(t, ctx)
	raw.hold.Store(true)
	context.AfterFunc(ctx, func() { time.AfterFunc(amqp.Linger/10, func() { close(raw.release) }) })
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := c.Broker(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	if n := raw.late.Load(); n < 500 {
		t.Errorf("%d bytes were taken after the context had ended, want the whole answer", n)
	}
	select {
	case <-conn.Done():
	case <-time.After(timeout):
		t.Error("the connection outlives its context for good")
	}
}

// A console leaves with one more answer, also when its time is over.
func TestClose(t *testing.T) {
	for _, over := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c, _, raw := slowConsole(t, ctx)
		if _, err := c.Broker(ctx); err != nil {
			t.Fatal(err)
		}
		close(raw.release)
		raw.hold.Store(true)
		if over {
			cancel()
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		if n := raw.late.Load(); n < 100 {
			t.Errorf("%d bytes were taken by Close, want an answer", n)
		}
	}
}

// A real broker survives consoles that leave just after their answers, on a
// machine that is busy. It died after 20 to 40 seconds of this when they closed
// their connections at once.
func TestManyConsoles(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	if b.Kind() != broker.Real {
		t.Skip("SKIP: needs qpidd")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range runtime.NumCPU() {
		busy := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cancel(); _ = busy.Wait() }()
	}
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				conn, a := amqp.Connect(t.Context(), amqp.Target{Address: b.Addr()})
				if conn == nil {
					t.Error(a.Reason())
					return
				}
				c, err := qmf.New(t.Context(), conn)
				if err == nil {
					_, err = c.Broker(t.Context())
					_ = c.Close(t.Context())
				}
				conn.Close()
				if err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	wg.Wait()
	t.Log(asked.Load(), "questions")
	if asked.Load() == 0 {
		t.Error("nothing was asked")
	}
}

func TestManagementOff(t *testing.T) {
	b := broker.Start(t, broker.Options{Args: []string{"--mgmt-enable", "no"}})
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	conn, a := amqp.Connect(ctx, amqp.Target{Address: b.Addr()})
	if conn == nil {
		t.Fatal(a.Reason())
	}
	defer conn.Close()
	if _, err := qmf.New(ctx, conn); !errors.Is(err, qmf.ErrDisabled) {
		t.Errorf("got %v, want ErrDisabled", err)
	}
}

// Neither pings nor consoles leave anything behind in the broker.
func TestNothingLeft(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	c, _, ctx := console(t, b)
	count := func() int {
		queues, err := c.Queues(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(queues)
	}
	before := count()
	for range 20 {
		if a := amqp.RoundTrip(ctx, amqp.Target{Address: b.Addr()}); a.Health() != amqp.Healthy {
			t.Fatal(a.Reason())
		}
		if after := count(); after != before { // at once: the subscription is closed before the answer
			t.Fatalf("%d queues before a round trip, %d after", before, after)
		}
		other, conn, _ := console(t, b)
		if err := other.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if after := count(); after != before {
			t.Fatalf("%d queues before a console, %d after", before, after)
		}
		conn.Close()
	}
}

// cluster returns a function that starts the i-th of n brokers that know each other.
func cluster(t *testing.T, n int) (start func(i int) *broker.Broker) {
	t.Helper()
	ports := freePorts(t, n)
	var url []string
	for _, p := range ports {
		url = append(url, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return func(i int) *broker.Broker {
		return broker.Start(t, broker.Options{Port: ports[i], Args: []string{
			"--ha-cluster", "yes", "--ha-brokers-url", strings.Join(url, ","), "--ha-replicate", "all",
		}})
	}
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func reach(t *testing.T, ctx context.Context, c *qmf.Client, want qmf.HAStatus) {
	t.Helper()
	var ha qmf.HA
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ha, err = c.HA(ctx); err != nil || ha.Status == want {
			break
		}
	}
	if err != nil || ha.Status != want {
		t.Fatalf("status %q, %v; want %q", ha.Status, err, want)
	}
}

func TestHA(t *testing.T) {
	start := cluster(t, 3)
	a := start(0)
	t.Log("kind:", a.Kind())
	ca, _, ctx := console(t, a)
	reach(t, ctx, ca, qmf.Joining)
	if err := ca.Promote(ctx); err != nil {
		t.Fatalf("promoting a joining broker that is alone: %v", err)
	}
	reach(t, ctx, ca, qmf.Active)
	if err := ca.Promote(ctx); err != nil {
		t.Errorf("promoting a primary: %v", err)
	}

	b := start(1)
	cb, _, _ := console(t, b)
	reach(t, ctx, cb, qmf.Ready)
	if ping := amqp.Ping(ctx, amqp.Target{Address: b.Addr()}); ping.Kind != amqp.Standby {
		t.Errorf("a plain client at a backup: %s", ping.Reason())
	}
	if trip := amqp.RoundTrip(ctx, amqp.Target{Address: b.Addr()}); trip.Kind != amqp.Standby {
		t.Errorf("a round trip at a backup: %s", trip.Reason())
	}

	ha, err := cb.HA(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ha.ReplicateDefault != "all" || !strings.Contains(ha.BrokersURL, b.Addr()) || ha.SystemID == "" || ha.Status.Primary() {
		t.Errorf("got %+v", ha)
	}
	if i := slices.IndexFunc(ha.Members, func(m qmf.Member) bool { return m.SystemID == ha.SystemID }); i < 0 || ha.Members[i].Status != qmf.Ready {
		t.Errorf("members of %s: %+v", ha.SystemID, ha.Members)
	}

	// The primary dies: the backup just stays ready, until it is promoted.
	a.Kill()
	reach(t, ctx, cb, qmf.Ready)

	// Whoever joins now is behind the ready one.
	cc, _, _ := console(t, start(2))
	var e *qmf.Error
	if err := cc.Promote(ctx); !errors.As(err, &e) || e.Code != 7 || e.Text != "Joining active cluster, cannot be promoted." {
		t.Errorf("promoting a joining broker while another is ready: %v", err)
	}
	reach(t, ctx, cc, qmf.Joining)

	if err := cb.Promote(ctx); err != nil {
		t.Fatalf("promoting a ready backup: %v", err)
	}
	reach(t, ctx, cb, qmf.Active)
	if trip := amqp.RoundTrip(ctx, amqp.Target{Address: b.Addr()}); trip.Kind != amqp.OK {
		t.Errorf("a plain client at the new primary: %s", trip.Reason())
	}
	reach(t, ctx, cc, qmf.Ready)
}

func TestHAURLs(t *testing.T) {
	c, _, ctx := console(t, broker.Start(t, broker.Options{Args: []string{"--ha-cluster", "yes"}}))
	if err := c.SetPublicURL(ctx, "amqp:tcp:192.0.2.1:5672"); err != nil {
		t.Error(err)
	}
	if err := c.SetBrokersURL(ctx, "127.0.0.1:1"); err != nil {
		t.Error(err)
	}
	ha, err := c.HA(ctx)
	if err != nil || ha.PublicURL != "amqp:tcp:192.0.2.1:5672" || ha.BrokersURL != "amqp:tcp:127.0.0.1:1" {
		t.Errorf("got %+v, %v", ha, err)
	}
	var e *qmf.Error
	if err := c.SetPublicURL(ctx, ""); !errors.As(err, &e) {
		t.Errorf("an empty URL: %v, want a qmf.Error", err)
	}
	if err := c.Replicate(ctx, "amqp:tcp:127.0.0.1:1", "none"); !errors.As(err, &e) {
		t.Errorf("replicating a queue that is not here: %v, want a qmf.Error", err)
	}
}

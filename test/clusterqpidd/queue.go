package clusterqpidd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/scenario"
)

// A client gives up on a connection attempt after dialTimeout, on an answer after answerTimeout, and looks for a better
// connection when it has received nothing for idleTimeout.
const (
	dialTimeout   = 200 * time.Millisecond
	answerTimeout = 2 * time.Second
	idleTimeout   = time.Second
)

// Queue keeps numbers as messages of a queue: a producer, and a consumer with a connection of its own. It is a
// scenario.Ledger; what it "keeps" is what was consumed.
type Queue struct {
	dial       scenario.Dialer
	addr, name string
	durable    bool
	size       int // of the largest messages, in bytes; 0: they are as long as their number
	cancel     context.CancelFunc
	done       chan struct{}

	conn *goamqp.Conn // the producer's; nil: not connected
	out  *goamqp.Sender

	mu   sync.Mutex
	seen []int
	idle chan struct{} // closed and replaced whenever the consumer was connected and had nothing to receive
}

var _ scenario.Ledger = (*Queue)(nil)

// NewQueue is a queue of the broker at addr, whose messages are taken out at once. Close ends its clients; the queue stays.
func NewQueue(dial scenario.Dialer, addr, name string, durable bool) *Queue {
	q := &Queue{dial: dial, addr: addr, name: name, durable: durable}
	q.drain()
	return q
}

// drain starts the consumer, once.
func (q *Queue) drain() {
	if q.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, q.cancel = context.WithCancel(context.Background())
	q.done, q.idle = make(chan struct{}), make(chan struct{})
	go q.consume(ctx)
}

// connect opens a connection that ends with ctx.
func connect(ctx context.Context, dial scenario.Dialer, addr string) (*goamqp.Conn, error) {
	conn, ans := amqp.Connect(ctx, amqp.Target{Address: addr, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}})
	if conn == nil {
		return nil, errors.New(ans.Reason())
	}
	return conn, nil
}

// sender makes the queue if need be.
func (q *Queue) sender(ctx context.Context, conn *goamqp.Conn) (*goamqp.Sender, error) {
	c, err := qmf.New(ctx, conn)
	if err != nil {
		return nil, err
	}
	_, err = c.Call(ctx, qmf.BrokerName, "create", map[string]any{
		"type": "queue", "name": q.name, "strict": false,
		"properties": map[string]any{"durable": q.durable},
	})
	if err := errors.Join(exists(err), c.Close(ctx)); err != nil {
		return nil, err
	}
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	return s.NewSender(ctx, q.name, nil)
}

// exists is nil for the refusal to make what is there.
func exists(err error) error {
	var refused *qmf.Error
	if errors.As(err, &refused) && refused.Code == 7 {
		return nil
	}
	return err
}

// Put sends n, and returns nil if the broker accepted it.
func (q *Queue) Put(ctx context.Context, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	defer func() {
		if err != nil && q.conn != nil {
			_ = q.conn.Close()
			q.conn = nil
		}
	}()
	if q.conn == nil {
		// The connection outlives this call.
		if q.conn, err = connect(context.Background(), q.dial, q.addr); err != nil {
			return err
		}
		if q.out, err = q.sender(ctx, q.conn); err != nil {
			return err
		}
	}
	receipt, err := q.out.SendWithReceipt(ctx, q.message(n), nil)
	if err != nil {
		return err
	}
	return accepted(ctx, receipt)
}

func (q *Queue) message(n int) *goamqp.Message {
	m := goamqp.NewMessage(fmt.Appendf(nil, "%-*d", n*7919%max(q.size, 1), n))
	m.Header = &goamqp.MessageHeader{Durable: q.durable}
	return m
}

func accepted(ctx context.Context, r goamqp.SendReceipt) error {
	state, err := r.Wait(ctx)
	if err != nil {
		return err
	}
	if _, ok := state.(*goamqp.StateAccepted); !ok {
		return fmt.Errorf("not accepted: %#v", state)
	}
	return nil
}

// Fill puts count messages without waiting for each, and returns once all were accepted.
func (q *Queue) Fill(ctx context.Context, count int) error {
	conn, err := connect(ctx, q.dial, q.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	out, err := q.sender(ctx, conn)
	if err != nil {
		return err
	}
	receipts := make(chan goamqp.SendReceipt, 1000)
	sent := make(chan error, 1)
	go func() {
		defer close(receipts)
		for n := range count {
			r, err := out.SendWithReceipt(ctx, q.message(n), nil)
			if err != nil {
				sent <- err
				return
			}
			receipts <- r
		}
		sent <- nil
	}()
	for r := range receipts {
		err = errors.Join(err, accepted(ctx, r))
	}
	return errors.Join(err, <-sent)
}

// consume takes messages out until ctx ends.
func (q *Queue) consume(ctx context.Context) {
	defer close(q.done)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		_ = q.receive(ctx)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// receive is one connection's worth of messages.
func (q *Queue) receive(ctx context.Context) error {
	conn, err := connect(ctx, q.dial, q.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	one, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s, err := conn.NewSession(one, nil)
	if err != nil {
		return err
	}
	in, err := s.NewReceiver(one, q.name, &goamqp.ReceiverOptions{Credit: 100})
	if err != nil {
		return err
	}
	for {
		m, err := q.next(ctx, in)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(m.GetData())))
		if err != nil {
			return fmt.Errorf("a strange message: %w", err)
		}
		q.mu.Lock()
		q.seen = append(q.seen, n)
		q.mu.Unlock()
		if err := in.AcceptMessage(ctx, m); err != nil {
			return err
		}
	}
}

func (q *Queue) next(ctx context.Context, in *goamqp.Receiver) (*goamqp.Message, error) {
	one, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	m, err := in.Receive(one, nil)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		q.mu.Lock()
		close(q.idle)
		q.idle = make(chan struct{})
		q.mu.Unlock()
	}
	return m, err
}

// Numbers returns what was consumed, once there is nothing left to consume.
func (q *Queue) Numbers(ctx context.Context) ([]int, error) {
	q.drain()
	for range 2 { // the first may be of a connection that has just died
		q.mu.Lock()
		idle := q.idle
		q.mu.Unlock()
		select {
		case <-idle:
		case <-q.done:
			return nil, errors.New("the consumer was stopped")
		case <-ctx.Done():
			return nil, fmt.Errorf("the queue %s never was empty: %w", q.name, ctx.Err())
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]int(nil), q.seen...), nil
}

// Close ends both clients.
func (q *Queue) Close() error {
	if q.cancel != nil {
		q.cancel()
		<-q.done
	}
	if q.conn != nil {
		return q.conn.Close()
	}
	return nil
}

// Package qmf is a console for QMF2, the management protocol of Apache Qpid
// C++ brokers (qpidd), spoken over AMQP 1.0 by way of
// [github.com/Azure/go-amqp].
//
// Objects are instances of a class in a package, have a name and a map of
// values, and may have methods:
//
//	c, err := qmf.New(ctx, conn)
//	defer c.Close(ctx)
//	queues, err := c.Query(ctx, "org.apache.qpid.broker", "queue")
//	broker, err := c.Get(ctx, "org.apache.qpid.broker:broker:amqp-broker")
//	out, err := c.Call(ctx, broker.Name, "echo", map[string]any{"sequence": uint32(1), "body": "hi"})
//
// For the objects everybody wants there are typed calls: [Client.Broker],
// [Client.Queues], [Client.Stores], [Client.HA].
//
// Replies come through a subscription to an exchange, never a queue of their
// own, so nothing is replicated or left behind, and all of it works on an HA
// backup too when the connection was opened with the property qpid.ha-admin.
//
// The protocol is described in "QMF Map Message Protocol" of the Qpid wiki;
// where that is silent, this package follows what qpidd 1.40 does.
package qmf

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	amqp "github.com/Azure/go-amqp"

	ocfamqp "github.com/openstack-ocf/agents/lib/amqp"
)

// The exchange that requests go to and replies come from, and the subject the
// broker's own agent listens to.
const (
	exchange = "qmf.default.direct"
	agent    = "broker"
)

// ErrNoObject says that the broker has no object of that name. For
// [Client.HA] that means: HA is not on.
var ErrNoObject = errors.New("no such object")

// ErrDisabled says that the broker has no management (mgmt-enable=no).
var ErrDisabled = errors.New("management is off in this broker (mgmt-enable=no)")

// Error is the broker's own word for what went wrong with a request.
type Error struct {
	Code int64 // 1 unknown object, 2 unknown method, 4 invalid parameter, 6 forbidden, 7 exception...
	Text string
}

// Forbidden is the Code of what the broker's ACL forbids.
const Forbidden = 6

func (e *Error) Error() string { return fmt.Sprintf("qmf error %d: %s", e.Code, e.Text) }

// Object is a managed object. Strings that qpidd sends as binary are strings.
type Object struct {
	Name    string // "org.apache.qpid.broker:queue:NAME"
	Package string
	Class   string
	Values  map[string]any
}

// Client is a console. It may be used from several goroutines; requests queue up.
type Client struct {
	session *amqp.Session
	in      *amqp.Receiver
	out     *amqp.Sender
	replyTo string

	mu      sync.Mutex
	n       uint64 // requests so far: the correlation id
	invited bool   // the broker may send one message
	owing   bool   // the last answer has not come
}

// New opens a console on conn. The connection stays the caller's, who closes
// the console before it, see [Client.Close].
func New(ctx context.Context, conn *amqp.Conn) (*Client, error) {
	key := "qmf." + rand.Text()
	c := &Client{replyTo: exchange + "/" + key}
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("qmf: opening a session: %w", err)
	}
	c.session = s
	c.in, err = s.NewReceiver(ctx, exchange, &amqp.ReceiverOptions{
		Credit:  -1, // given by hand: see take
		Filters: []amqp.LinkFilter{ocfamqp.DirectBinding(key)},
	})
	if err == nil {
		c.out, err = s.NewSender(ctx, exchange, nil)
	}
	if err != nil {
		_ = s.Close(ctx)
		if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Condition == amqp.ErrCondNotFound {
			return nil, fmt.Errorf("qmf: %w", ErrDisabled)
		}
		return nil, fmt.Errorf("qmf: subscribing to %s: %w", exchange, err)
	}
	return c, nil
}

// Close ends the console's session and leaves the connection open. It takes
// twice [ocfamqp.Linger] at most, also when ctx has ended.
//
// A connection that is closed without it, just after an answer, can end the
// broker (SIGSEGV in OutgoingFromQueue::notify, qpidd 1.40): its management has
// a thread that puts each answer into the console's queue, and then wakes the
// consumer. When that thread is held up in between, the thread of the connection
// finds the answer first, and the consumer that is woken later writes to a
// connection that is no more. The management's thread does one thing after the
// other, so one more answer shows that it is through with the last.
func (c *Client) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ocfamqp.Linger)
	defer cancel()
	c.mu.Lock()
	asked, owing := c.n > 0, c.owing
	c.mu.Unlock()
	switch {
	case owing: // it was waited for already
		cancel()
	case asked:
		_, _ = c.Get(ctx, "none")
	}
	return c.session.Close(ctx)
}

// Query returns all objects of a class, for example "queue" in
// "org.apache.qpid.broker"; case does not matter. A class without objects, or
// that does not exist, is no error.
func (c *Client) Query(ctx context.Context, pkg, class string) ([]Object, error) {
	return c.query(ctx, map[string]any{"_what": "OBJECT", "_schema_id": map[string]any{
		"_package_name": pkg, "_class_name": class,
	}})
}

// Get returns one object by its name, "PACKAGE:CLASS:KEY". The error is
// [ErrNoObject] if there is none.
func (c *Client) Get(ctx context.Context, name string) (Object, error) {
	objs, err := c.query(ctx, map[string]any{"_what": "OBJECT", "_object_id": map[string]any{"_object_name": name}})
	if err != nil {
		return Object{}, err
	}
	if len(objs) == 0 {
		return Object{}, fmt.Errorf("qmf: %s: %w", name, ErrNoObject)
	}
	return objs[0], nil
}

// Call calls a method of an object and returns its output arguments. Integers
// in args should have the width the method's schema asks for.
func (c *Client) Call(ctx context.Context, name, method string, args map[string]any) (map[string]any, error) {
	if args == nil {
		args = map[string]any{}
	}
	var out map[string]any
	err := c.request(ctx, "_method", map[string]any{
		"_object_id":   map[string]any{"_object_name": name},
		"_method_name": method,
		"_arguments":   args,
	}, func(body any) error {
		m, ok := body.(map[string]any)
		if !ok {
			return fmt.Errorf("a %T where a map was expected", body)
		}
		out, _ = m["_arguments"].(map[string]any)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("qmf: calling %s of %s: %w", method, name, err)
	}
	return out, nil
}

func (c *Client) query(ctx context.Context, what map[string]any) (objs []Object, err error) {
	err = c.request(ctx, "_query", what, func(body any) error {
		list, ok := body.([]any)
		if !ok {
			return fmt.Errorf("a %T where a list was expected", body)
		}
		for _, item := range list {
			m, ok := item.(map[string]any)
			if !ok {
				return fmt.Errorf("a %T in a list of objects", item)
			}
			objs = append(objs, object(m))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("qmf: query: %w", err)
	}
	return objs, nil
}

// request sends body with opcode op+"_request" and gives the normalised body of
// every message of the answer to each. When ctx ends before the answer is there,
// the answer is still waited for, for [ocfamqp.Linger], and forgotten.
func (c *Client) request(ctx context.Context, op string, body map[string]any, each func(any) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	id := strconv.FormatUint(c.n, 10)
	to := agent
	err := ocfamqp.Send(ctx, c.out, &amqp.Message{
		Properties: &amqp.MessageProperties{Subject: &to, ReplyTo: &c.replyTo, CorrelationID: id},
		ApplicationProperties: map[string]any{
			"x-amqp-0-10.app-id": "qmf2",
			"qmf.opcode":         op + "_request",
			"method":             "request",
		},
		Value: body,
	})
	if err != nil {
		err = fmt.Errorf("sending: %w", err)
	} else {
		err = c.answer(ctx, id, op, each)
	}
	if c.owing = err != nil && ctx.Err() != nil; c.owing {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), ocfamqp.Linger)
		defer cancel()
		_ = c.answer(late, id, op, func(any) error { return nil })
		c.owing = late.Err() != nil
	}
	return err
}

// take waits for one message. The broker may send it only now, and no second
// one: a consumer that may take nothing is not woken, see [Client.Close].
func (c *Client) take(ctx context.Context) (*amqp.Message, error) {
	if !c.invited {
		if err := c.in.IssueCredit(1); err != nil {
			return nil, err
		}
		c.invited = true
	}
	msg, err := c.in.Receive(ctx, nil)
	if err != nil {
		return nil, err
	}
	c.invited = false
	return msg, c.in.AcceptMessage(context.WithoutCancel(ctx), msg)
}

// answer takes the answer to the request id, and what is late of earlier ones.
func (c *Client) answer(ctx context.Context, id, op string, each func(any) error) error {
	for {
		msg, err := c.take(ctx)
		if err != nil {
			return fmt.Errorf("waiting for the answer: %w", err)
		}
		if msg.Properties == nil || str(msg.Properties.CorrelationID) != id {
			continue
		}
		reply := normal(msg.Value)
		switch opcode := str(msg.ApplicationProperties["qmf.opcode"]); opcode {
		case op + "_response":
		case "_exception":
			return exception(reply)
		default:
			return fmt.Errorf("answered with opcode %q", opcode)
		}
		if err := each(reply); err != nil {
			return fmt.Errorf("answer not understood: %w", err)
		}
		if _, more := msg.ApplicationProperties["partial"]; !more {
			return nil
		}
	}
}

func exception(body any) error {
	m, _ := body.(map[string]any)
	v, ok := m["_values"].(map[string]any)
	if !ok {
		return fmt.Errorf("an exception without values: %v", body)
	}
	text, _, _ := strings.Cut(str(v["error_text"]), " (/") // without the line of its source
	return &Error{Code: integer(v["error_code"]), Text: text}
}

// object reads one element of an answer; what is missing stays empty.
func object(m map[string]any) Object {
	id, _ := m["_object_id"].(map[string]any)
	schema, _ := m["_schema_id"].(map[string]any)
	o := Object{
		Name:    str(id["_object_name"]),
		Package: str(schema["_package_name"]),
		Class:   str(schema["_class_name"]),
	}
	o.Values, _ = m["_values"].(map[string]any)
	return o
}

package rpcping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/qmf"
)

// wire is one attempt's connection to an AMQP 1.0 broker. It is cut when the
// broker's share of the time is over, or, once the broker has the request,
// when the caller's context ends.
type wire struct {
	*goamqp.Conn
	*goamqp.Session
	step  context.Context // the broker's share
	spare func() bool     // from being cut at the end of the share
	told  bool            // the broker told us that the service is subscribed
	end   func()

	management *qmf.Client // once it was opened
}

func (w *wire) close() {
	if w.management != nil {
		_ = w.management.Close(w.step)
	}
	w.Conn.Close()
	w.end()
}

// connect logs in and begins a session. On nil the answer is set.
func (c *call) connect(ctx context.Context, a *Answer) *wire {
	target := amqp.Target{
		Address: c.broker.Address(), User: c.broker.User, Password: c.broker.Password.Reveal(),
		Dial: c.opt.Dial,
	}
	if c.bus.Driver == oslo.AMQP1 && !c.bus.Addressing.PseudoVHost {
		target.Hostname = c.bus.VHost
	}
	if c.bus.TLS != nil {
		cfg, err := c.bus.TLS.Config(c.broker.Host)
		if err != nil {
			a.is(Refused, err)
			return nil
		}
		target.TLS = cfg
	}
	step, endStep := context.WithTimeout(ctx, c.share)
	life, endLife := context.WithCancel(ctx)
	w := &wire{step: step, spare: context.AfterFunc(step, endLife), end: func() { endStep(); endLife() }}
	conn, found := amqp.Connect(life, target)
	if conn != nil && found.Kind == amqp.Standby {
		conn.Close() // an HA backup lets administrators in, not services
	}
	if found.Kind != amqp.OK {
		a.broker(ctx, step, found)
		w.end()
		return nil
	}
	session, err := conn.NewSession(step, nil)
	if err != nil {
		a.link(step, err)
		conn.Close()
		w.end()
		return nil
	}
	w.Conn, w.Session = conn, session
	return w
}

// broker says why a connection was not to be had.
func (a *Answer) broker(ctx, step context.Context, found amqp.Answer) {
	// The end of the broker's share may be that of all the time.
	if found.Kind == amqp.Cancelled && !errors.Is(ctx.Err(), context.Canceled) && step.Err() != nil {
		a.is(BrokerHung, errors.New("no answer in time"))
		return
	}
	a.is(BrokerUnreachable, found.Err)
	switch found.Health() {
	case amqp.Hung:
		a.State = BrokerHung
	case amqp.Degraded, amqp.Healthy: // healthy: the HA backup
		a.State = Refused
	case amqp.Doubt:
		if found.Kind == amqp.Cancelled {
			a.State = Doubt
		}
	}
	a.bus = found.Reason()
}

// link says why a session or link was not to be had, or was lost.
func (a *Answer) link(step context.Context, err error) {
	var remote *goamqp.Error
	switch {
	case errors.As(err, &remote):
		a.is(Refused, fmt.Errorf("%s: %s", remote.Condition, remote.Description))
		if remote.Condition == goamqp.ErrCondUnauthorizedAccess {
			a.advice = "allow this user in the broker's ACL file"
		}
	case errors.Is(step.Err(), context.Canceled):
		a.is(Doubt, err)
	case step.Err() != nil:
		a.is(BrokerHung, errors.New("no answer in time"))
	default:
		a.is(BrokerUnreachable, err)
	}
}

// ask sends msg to target, and gives each message that comes to in to settled
// until that says it was the reply. When half of the time is over without one,
// doubt, if there is one, may set the answer by saying false.
func (w *wire) ask(ctx context.Context, a *Answer, target string, msg *goamqp.Message, in *goamqp.Receiver, settled func(*goamqp.Message) bool, doubt func() bool) {
	deadline, _ := ctx.Deadline()
	// What the service did not take before we gave up, it shall never see.
	msg.Header = &goamqp.MessageHeader{TTL: max(time.Until(deadline), time.Millisecond)}
	out, err := w.NewSender(w.step, target, nil)
	if err == nil {
		err = amqp.Send(w.step, out, msg)
	}
	if err != nil {
		a.link(w.step, err)
		if isNotFound(err) {
			a.State = NoRoute
		}
		return
	}
	w.spare()
	wait := ctx
	if doubt != nil {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	for {
		msg, err := in.Receive(wait, nil)
		switch {
		case err == nil:
			_ = in.AcceptMessage(ctx, msg)
			if settled(msg) {
				return
			}
		case ctx.Err() != nil:
			a.is(Silent, errMute)
			if !w.told {
				a.Err = errUnknown
			}
			return
		case wait.Err() != nil:
			if !doubt() {
				return
			}
			wait = ctx
		default:
			a.link(ctx, err)
			return
		}
	}
}

func isNotFound(err error) bool {
	var remote *goamqp.Error
	return errors.As(err, &remote) && remote.Condition == goamqp.ErrCondNotFound
}

// amqp1 calls as oslo_messaging/_drivers/impl_amqp1.py does.
func amqp1(ctx context.Context, c *call, a *Answer) {
	w := c.connect(ctx, a)
	if w == nil {
		return
	}
	defer w.close()
	product, _ := w.Conn.Properties()["product"].(string)
	address := c.address(product)
	reply := &goamqp.ReceiverOptions{DynamicAddress: true, Credit: 10}
	var (
		replyTo string
		console *qmf.Client
		ok      bool
	)
	if product == amqp.QpidProduct {
		// Not dynamic: the service keeps a link to each reply address for ten
		// minutes, and that link keeps the node. Like the service's own queue it
		// is made on demand, and is gone when neither side is linked to it.
		replyTo, reply.DynamicAddress = c.bus.Addressing.LegacyPrefix+"."+c.opt.ReplyTo, false
		if console, ok = w.console(w.step, a); !ok {
			return
		}
		if replyTo, ok = a.free(w.step, console, replyTo); !ok {
			return
		}
	}
	in, err := w.NewReceiver(w.step, replyTo, reply)
	if err != nil {
		a.link(w.step, err)
		if isNotFound(err) && product == amqp.QpidProduct {
			a.bus = "the message bus at " + a.Broker + " lacks --queue-patterns exclusive --queue-patterns unicast --topic-patterns broadcast: start qpidd with them, or no service can subscribe"
		}
		return
	}
	if console != nil && !w.subscribed(w.step, console, address, a) {
		return
	}
	body, err := c.amqp1Body()
	if err != nil {
		a.Err = err
		return
	}
	replyTo = in.Address()
	w.ask(ctx, a, address, &goamqp.Message{
		Properties: &goamqp.MessageProperties{MessageID: c.id, ReplyTo: &replyTo},
		Value:      body,
	}, in, func(msg *goamqp.Message) bool { return c.amqp1Settle(msg, a) }, nil)
}

// address is the driver's name for one server (amqp1_driver/addressing.py):
// legacy on qpidd and unknown products, routable on others.
func (c *call) address(product string) string {
	o := c.bus.Addressing
	vhost := ""
	if o.PseudoVHost {
		vhost = c.bus.VHost
	}
	first, sep := o.LegacyPrefix, "."
	legacy := o.Mode == "legacy" || o.Mode != "routable" && (product == "" || product == amqp.QpidProduct)
	if !legacy {
		first, sep = o.RoutablePrefix, "/"
	}
	parts := []string{first, vhost, c.bus.Exchange, c.req.Topic, c.req.Host}
	if vhost == "" {
		parts = append(parts[:1], parts[2:]...)
	}
	return strings.Join(parts, sep)
}

func (c *call) amqp1Body() (string, error) {
	request := map[string]any{"method": c.req.Method, "args": c.args(), "version": c.req.Version}
	if c.req.Namespace != "" {
		request["namespace"] = c.req.Namespace
	}
	body, err := json.Marshal(map[string]any{"request": request, "context": map[string]any{"read_deleted": readDeleted}})
	if err != nil {
		return "", fmt.Errorf("the request's arguments: %w", err)
	}
	return string(body), nil
}

func (c *call) amqp1Settle(msg *goamqp.Message, a *Answer) bool {
	if msg.Properties == nil || msg.Properties.CorrelationID != c.id {
		return false
	}
	text, _ := msg.Value.(string)
	var r struct {
		Response json.RawMessage
		Failure  failure
	}
	if json.Unmarshal([]byte(text), &r) != nil {
		return false // a heartbeat of a call monitor has no body
	}
	if r.Failure.set {
		a.is(Failure, r.Failure)
	} else {
		a.Result = r.Response
		a.is(Answered, nil)
	}
	return true
}

// console opens qpidd's management. It is nil where the broker has none, or
// none for us; on a false the answer is set.
func (w *wire) console(ctx context.Context, a *Answer) (*qmf.Client, bool) {
	console, err := qmf.New(ctx, w.Conn)
	w.management = console
	return console, err == nil || a.goOn(ctx, err)
}

// readers asks for the consumers of a queue; -1: there is no such queue.
func readers(ctx context.Context, console *qmf.Client, queue string) (readers, messages int64, err error) {
	o, err := console.Get(ctx, "org.apache.qpid.broker:queue:"+queue)
	if errors.Is(err, qmf.ErrNoObject) {
		return -1, 0, nil
	}
	return count(o.Values["consumerCount"]), count(o.Values["msgDepth"]), err
}

// subscribed looks whether anybody consumes from the server's queue, so that
// nothing is sent that would wait there, and no queue is made by asking for
// it. Without a console it is taken for granted; on a false the answer is set.
func (w *wire) subscribed(ctx context.Context, console *qmf.Client, queue string, a *Answer) bool {
	readers, messages, err := readers(ctx, console, queue)
	switch {
	case err != nil:
		return a.goOn(ctx, err)
	case readers < 0:
		a.is(NoRoute, fmt.Errorf("there is no queue %s", queue))
	case readers == 0:
		a.is(NoRoute, fmt.Errorf("nobody reads queue %s, where %d messages wait", queue, messages))
	}
	w.told = readers > 0
	return w.told
}

// free finds the first queue of that name that nobody else reads: one whose
// call is under way would take our reply. On a false the answer is set.
func (a *Answer) free(ctx context.Context, console *qmf.Client, name string) (string, bool) {
	for i := range replyQueues {
		candidate := replyQueue(name, i)
		if console == nil {
			return candidate, true
		}
		readers, _, err := readers(ctx, console, candidate)
		if err != nil {
			return candidate, a.goOn(ctx, err)
		}
		if readers <= 0 {
			return candidate, true
		}
	}
	a.Err = fmt.Errorf("%d other calls under the name %s are under way", replyQueues, name)
	return "", false
}

// goOn judges an error of management: what the broker itself said is no obstacle.
func (a *Answer) goOn(ctx context.Context, err error) bool {
	var (
		remote *goamqp.Error
		said   *qmf.Error
	)
	if errors.Is(err, qmf.ErrDisabled) || errors.As(err, &remote) || errors.As(err, &said) {
		return true
	}
	a.link(ctx, err)
	return false
}

// count reads QMF's unsigned integers.
func count(v any) int64 {
	switch v := v.(type) {
	case uint32:
		return int64(v)
	case uint64:
		return int64(min(v, math.MaxInt64))
	}
	return 0
}

// Package rpcping calls an OpenStack service over its own message bus, the one
// proof that it does its work: a fresh heartbeat row or an established socket
// are also there when the service hangs.
//
//	a := rpcping.Ping(ctx, bus, "scheduler", "node1", rpcping.Options{ReplyTo: "openstack-ocf.node1.scheduler"})
//	if !a.Alive() { fmt.Println(a.Reason()) }
//
// It speaks what oslo.messaging's drivers speak: rabbit:// (AMQP 0-9-1),
// amqp:// (AMQP 1.0) and Havana's impl_qpid (AMQP 0-10, reached through qpidd
// from AMQP 1.0), with the envelope of oslo.messaging 2.0.
//
// A call leaves nothing behind: requests expire with the caller's deadline, and
// replies that come late find a small queue that expires too, so that the
// service need not look for it (oslo.messaging retries such a reply for a
// minute, on a new connection each).
package rpcping

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/words"
)

// State is what a call found. The zero State is Doubt.
type State int

const (
	// Doubt: nothing was learnt; the caller's context was cancelled, or the
	// bus did something that this package does not know.
	Doubt State = iota
	// Answered: the service replied.
	Answered
	// Failure: the service replied with an exception, so it lives.
	Failure
	// NoRoute: nobody listens on the bus under this topic and host.
	NoRoute
	// Silent: the broker took the request, no reply came. The service is
	// subscribed, unless Err says that the broker does not tell.
	Silent
	// Refused: the bus lets us not in, or not do this.
	Refused
	// BrokerHung: the bus accepts connections and says nothing, or takes no messages.
	BrokerHung
	// BrokerUnreachable: nobody listens at the bus's addresses.
	BrokerUnreachable
)

func (s State) String() string {
	return [...]string{"in doubt", "answered", "failure", "no route", "silent", "refused", "broker hung", "broker unreachable"}[s]
}

// Request is a call to the one server Host of a Topic.
type Request struct {
	Topic, Host string
	Method      string
	Args        map[string]any
	Namespace   string // of the service's endpoint; empty: its default one
	Version     string // of the endpoint's RPC API, "1.0"
}

// Options of a call.
type Options struct {
	// ReplyTo names the reply queue: one stable name per node and resource,
	// such as "openstack-ocf.node1.consoleauth"; empty: one named by the
	// service. Up to four calls at once may use one name.
	ReplyTo string
	// Dial replaces the dialer of package net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Answer is what a call found.
type Answer struct {
	State   State
	Server  string          // "topic.host"
	Broker  string          // host:port that carried the call; of several that failed, the last
	Result  json.RawMessage // the reply of an Answered call
	Elapsed time.Duration
	Err     error // what exactly was met; nil when Answered; holds no password
	advice  string
	bus     string // Reason when package amqp has one
}

// Alive: the service replied, be it with an exception.
func (a Answer) Alive() bool { return a.State == Answered || a.State == Failure }

// BusAtFault: it is the bus, or our access to it, that failed, so nothing is
// known of the service, and restarting it would not help.
func (a Answer) BusAtFault() bool {
	return a.State == Refused || a.State == BrokerHung || a.State == BrokerUnreachable
}

// Reason is one line for an operator: what was found, where, what to do.
func (a Answer) Reason() string {
	if a.bus != "" {
		return a.bus
	}
	took := a.Elapsed.Round(100 * time.Microsecond)
	var text string
	switch a.State {
	case Answered:
		return fmt.Sprintf("%s answered over %s in %v", a.Server, a.Broker, took)
	case Failure:
		return fmt.Sprintf("%s answered over %s in %v, with an exception (%s)", a.Server, a.Broker, took, words.Error(a.Err))
	case NoRoute:
		text = fmt.Sprintf("%s is not subscribed on the message bus at %s", a.Server, a.Broker)
	case Silent:
		text = fmt.Sprintf("%s does not answer over %s within %v", a.Server, a.Broker, took)
	case Refused:
		text = fmt.Sprintf("the message bus at %s refuses us", a.Broker)
	case BrokerHung:
		text = fmt.Sprintf("the message bus at %s hangs", a.Broker)
	case BrokerUnreachable:
		text = fmt.Sprintf("the message bus at %s is not there", a.Broker)
	default:
		text = fmt.Sprintf("%s could not be asked over %s", a.Server, cmp.Or(a.Broker, "the message bus"))
	}
	if a.Err != nil {
		text += " (" + words.Error(a.Err) + ")"
	}
	if advice := cmp.Or(a.advice, advices()[a.State]); advice != "" {
		text += ": " + advice
	}
	return text
}

func advices() map[State]string {
	return map[State]string{
		NoRoute:           "compare topic and host with the service's config; it may still be reconnecting after a broker restart",
		Silent:            "look at its process state and log; restart it",
		Refused:           "check user, password and virtual host of the transport URL on the broker",
		BrokerHung:        "look at the broker",
		BrokerUnreachable: "look at the broker",
	}
}

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// Ping asks a service of nova's for a sign of life: its method baseapi.ping
// needs no option and logs nothing. A service without it (older ones; all but
// nova's) answers with an exception, which proves its life too but may leave
// a traceback in its log; for these see [ServerPing].
func Ping(ctx context.Context, bus oslo.Transport, topic, host string, opt Options) Answer {
	return Call(ctx, bus, Request{
		Topic: topic, Host: host, Method: "ping", Namespace: "baseapi", Version: "1.0",
		Args: map[string]any{"arg": "openstack-ocf"},
	}, opt)
}

// ServerPing asks any oslo.messaging server with rpc_ping_enabled (Victoria
// and later). Without that option the answer is an exception.
func ServerPing(ctx context.Context, bus oslo.Transport, topic, host string, opt Options) Answer {
	return Call(ctx, bus, Request{Topic: topic, Host: host, Method: "oslo_rpc_server_ping", Version: "1.0"}, opt)
}

// Call sends a request to one server and waits for its reply until ctx ends.
// The brokers of the bus are tried in turn; each gets an even share of the time
// that is left to let us in and take the request, the service gets all the rest.
func Call(ctx context.Context, bus oslo.Transport, req Request, opt Options) Answer {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	start := time.Now()
	a := Answer{Server: req.Topic + "." + req.Host}
	send := drivers()[bus.Driver]
	if send == nil || len(bus.Brokers) == 0 {
		a.Err = fmt.Errorf("%w: %q", oslo.ErrDriver, bus.Driver)
		return a
	}
	opt.ReplyTo = cmp.Or(opt.ReplyTo, "openstack-ocf."+a.Server)
	if opt.Dial == nil {
		opt.Dial = new(net.Dialer).DialContext
	}
	c := call{bus: bus, req: req, opt: opt, id: strings.ToLower(rand.Text())}
	var failures []error
	for i, broker := range bus.Brokers {
		c.broker = broker
		c.share = share(ctx, len(bus.Brokers)-i)
		a = Answer{Server: a.Server, Broker: broker.Address()}
		send(ctx, &c, &a)
		if !a.BusAtFault() {
			break
		}
		if failures = append(failures, fmt.Errorf("%s: %w", a.Broker, a.Err)); ctx.Err() != nil {
			break
		}
	}
	if len(failures) > 1 && a.BusAtFault() {
		a.Err, a.bus = errors.Join(failures...), ""
	}
	if errors.Is(ctx.Err(), context.Canceled) && !a.Alive() {
		a.State, a.Err = Doubt, ctx.Err()
	}
	a.Elapsed = time.Since(start)
	return a
}

// drivers says how each kind of bus is spoken to: one attempt at c.broker.
func drivers() map[oslo.Driver]func(context.Context, *call, *Answer) {
	return map[oslo.Driver]func(context.Context, *call, *Answer){
		oslo.Rabbit: rabbit,
		oslo.AMQP1:  amqp1,
		oslo.Qpid:   qpid,
	}
}

// call is one attempt's arguments.
type call struct {
	bus    oslo.Transport
	broker oslo.Broker
	req    Request
	opt    Options
	id     string        // of the request
	share  time.Duration // for the broker to let us in and take the request
}

// replyQueues is how many calls under one ReplyTo may be under way at once.
const replyQueues = 4

// replyQueue is the name of the i-th.
func replyQueue(replyTo string, i int) string {
	if i == 0 {
		return replyTo
	}
	return replyTo + "." + strconv.Itoa(i)
}

func share(ctx context.Context, brokers int) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline), 0) / time.Duration(brokers)
}

func (a *Answer) is(s State, err error) { a.State, a.Err = s, err }

// Package amqp asks an AMQP 1.0 broker whether it is well.
//
// [Ping] goes as far as a client must go to be served: TCP, SASL, open, begin
// (about 2 ms). [RoundTrip] goes one step further and sends a message to
// itself through the exchange amq.direct. Both say what they found as an
// [Answer]: how the broker is, which of the known refusals was met, and one
// line for the operator.
//
// The package is made for Apache Qpid C++ (qpidd) and knows its ways to
// refuse, but pings any AMQP 1.0 peer. It forks nothing, leaves nothing behind
// in the broker, and every call ends when its context does.
package amqp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	goamqp "github.com/Azure/go-amqp"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// QpidProduct is what qpidd calls itself in its connection properties.
const QpidProduct = "qpid-cpp"

// Linger is how long a connection outlives its context, so that an answer which
// is on its way can still be taken: a connection that goes meanwhile can end
// qpidd, see Close of lib/qmf.
const Linger = 250 * time.Millisecond

// writeTimeout bounds writes that go-amqp makes outside of any context, such
// as the goodbye of Close: a handful of bytes, which only a full socket buffer
// can delay.
const writeTimeout = time.Second

// Target is a broker and how to talk to it.
type Target struct {
	// Address is host:port.
	Address string

	// User and Password log in; without a user the login is ANONYMOUS. There
	// always is a SASL exchange: without one, a connection that qpidd refuses
	// for its connection limit occupies a slot there for good.
	User, Password string

	// Mechanism is the SASL mechanism: ANONYMOUS, PLAIN or EXTERNAL. Empty
	// means PLAIN with a user, ANONYMOUS without.
	Mechanism string

	// Hostname goes into the open frame, where brokers that host several
	// virtual hosts look for one (RabbitMQ: "vhost:NAME"). qpidd has one only.
	Hostname string

	// Product is what the peer must call itself; any other is [Foreign].
	// Empty accepts every product.
	Product string

	// TLS, when set, is how to wrap the connection.
	TLS *tls.Config

	// Admin connects with qpid.ha-admin at once. Without it that is tried only
	// when the broker turns a plain client away. Never use such a connection to
	// write to queues: on an HA backup they would diverge from the primary's.
	Admin bool

	// PID, when known, is the broker's process on this host. It is looked up
	// when the broker is silent, to tell a stopped process and one that ran
	// out of file descriptors from one that hangs.
	PID int

	// Proc replaces /proc in tests.
	Proc string

	// Dial replaces the dialer of package net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Ping connects, logs in, opens a session and leaves.
func Ping(ctx context.Context, t Target) Answer {
	return t.visit(ctx, func(context.Context, *goamqp.Session, *Answer) error { return nil })
}

// RoundTrip does what [Ping] does and then sends itself a small transient
// message through amq.direct by subscribing to that exchange. A subscription is
// never replicated, so this works in every HA state (unlike a dynamic queue,
// whose send would wait for backups), and the broker drops it with the link.
//
// Only qpidd has such subscriptions: any other product is [Foreign], whatever
// Target.Product says, and is left without having been asked to create anything.
func RoundTrip(ctx context.Context, t Target) Answer {
	t.Product = QpidProduct
	return t.visit(ctx, roundTrip)
}

// Connect logs in and hands over the connection, which then lives until it is
// closed or ctx has ended [Linger] ago, whichever is first. The connection is
// nil unless the Answer is [Healthy].
func Connect(ctx context.Context, t Target) (*goamqp.Conn, Answer) {
	start := time.Now()
	conn, a := t.connect(ctx)
	a.Elapsed = time.Since(start)
	return conn, a
}

// visit connects, begins a session, does work in it and closes everything.
func (t Target) visit(ctx context.Context, work func(context.Context, *goamqp.Session, *Answer) error) Answer {
	ctx, cancel := bounded(ctx)
	defer cancel()
	start := time.Now()
	conn, a := t.connect(ctx)
	if conn != nil {
		defer conn.Close()
		s, err := conn.NewSession(ctx, nil)
		if err == nil {
			err = work(ctx, s, &a)
		}
		if err != nil {
			a.fail(ctx, t, "", err)
		}
	}
	a.Elapsed = time.Since(start)
	return a
}

// connect opens a connection, and once more as an administrator if the broker
// hangs up on a plain client: that is how an HA backup or joining broker and a
// broker at its connection limit refuse alike, but only the former then opens.
func (t Target) connect(ctx context.Context) (*goamqp.Conn, Answer) {
	conn, a := t.open(ctx)
	if a.Kind != Closed || t.Admin {
		return conn, a
	}
	t.Admin = true
	conn, second := t.open(ctx)
	switch second.Kind {
	case OK:
		second.Kind = Standby
	case Closed:
		if a.spoke {
			second.Kind = Full
		}
	}
	return conn, second
}

// open makes one attempt.
func (t Target) open(ctx context.Context) (_ *goamqp.Conn, a Answer) {
	a = Answer{Address: t.Address, Admin: t.Admin}
	sasl, err := t.sasl()
	if t.Address == "" {
		err = errors.New("no address")
	}
	if err != nil {
		return nil, a.because(BadTarget, err)
	}
	handshake, cancel := bounded(ctx)
	defer cancel()

	dial := t.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(handshake, "tcp", t.Address)
	if err != nil {
		a.failDial(handshake, t, err)
		return nil, a
	}
	// Closing the socket is the one thing that ends every read and write of go-amqp.
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(Linger, func() { raw.Close() }) })
	defer func() {
		if a.Kind != OK {
			stop()
			raw.Close()
		}
	}()

	nc := raw
	if t.TLS != nil {
		c := tls.Client(raw, t.tlsConfig())
		if err := c.HandshakeContext(handshake); err != nil {
			a.failTLS(handshake, t, err)
			return nil, a
		}
		nc = c
	}
	ear := &listener{Conn: nc}
	opts := &goamqp.ConnOptions{
		HostName:     t.Hostname,
		SASLType:     sasl,
		WriteTimeout: writeTimeout,
		// Who asks "who holds the connections" finds us by these.
		Properties: map[string]any{"qpid.client_process": "openstack-ocf", "qpid.client_pid": int32(os.Getpid())},
	}
	if t.Admin {
		opts.Properties["qpid.ha-admin"] = int32(1)
	}
	conn, err := goamqp.NewConn(handshake, ear, opts)
	if err != nil {
		a.fail(handshake, t, ear.heard(), err)
		return nil, a
	}
	a.Product, _ = conn.Properties()["product"].(string)
	a.Version, _ = conn.Properties()["version"].(string)
	a.Kind, a.spoke = OK, true
	if t.Product != "" && a.Product != t.Product {
		conn.Close()
		return nil, a.because(OtherBroker, fmt.Errorf("it is %s, not %s", orUnknown(a.Product+" "+a.Version), t.Product))
	}
	return conn, a
}

func (t Target) sasl() (goamqp.SASLType, error) {
	m := t.Mechanism
	if m == "" {
		m = "ANONYMOUS"
		if t.User != "" {
			m = "PLAIN"
		}
	}
	switch m {
	case "ANONYMOUS":
		return goamqp.SASLTypeAnonymous(), nil
	case "PLAIN":
		return goamqp.SASLTypePlain(t.User, t.Password), nil
	case "EXTERNAL":
		return goamqp.SASLTypeExternal(t.User), nil
	}
	return nil, fmt.Errorf("SASL mechanism %q is not one of ANONYMOUS, PLAIN, EXTERNAL", m)
}

// tlsConfig is t.TLS with the name to verify filled in from the address.
func (t Target) tlsConfig() *tls.Config {
	c := t.TLS
	if c.ServerName == "" && !c.InsecureSkipVerify {
		c = c.Clone()
		c.ServerName, _, _ = net.SplitHostPort(t.Address)
	}
	return c
}

// roundTrip sends a message to itself in session s.
func roundTrip(ctx context.Context, s *goamqp.Session, _ *Answer) error {
	key := "ping." + rand.Text()
	in, err := s.NewReceiver(ctx, "amq.direct", &goamqp.ReceiverOptions{Filters: []goamqp.LinkFilter{DirectBinding(key)}})
	if err != nil {
		return fmt.Errorf("subscribing to amq.direct: %w", err)
	}
	out, err := s.NewSender(ctx, "amq.direct", nil)
	if err != nil {
		return fmt.Errorf("opening amq.direct for sending: %w", err)
	}
	msg := &goamqp.Message{Properties: &goamqp.MessageProperties{Subject: &key}, Value: key}
	if err := Send(ctx, out, msg); err != nil {
		return fmt.Errorf("sending through amq.direct: %w", err)
	}
	back, err := in.Receive(ctx, nil)
	if err != nil {
		return fmt.Errorf("receiving from amq.direct: %w", err)
	}
	if back.Value != key {
		return fmt.Errorf("amq.direct gave back another message than the one sent")
	}
	if err := in.AcceptMessage(ctx, back); err != nil {
		return fmt.Errorf("accepting from amq.direct: %w", err)
	}
	return in.Close(ctx) // qpidd deletes the subscription before it answers
}

// DirectBinding is the link filter that makes a receiver on a direct exchange
// of qpidd a subscription of its own, bound with key. It is registered as
// apache.org:legacy-amqp-direct-binding:string.
func DirectBinding(key string) goamqp.LinkFilter {
	return goamqp.NewLinkFilter("apache.org:legacy-amqp-direct-binding:string", 0x0000468C00000000, key)
}

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

package amqp

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/words"
)

// Health is how the broker is: what a cluster manager must decide on.
type Health int

const (
	Doubt    Health = iota // nothing was learnt about the broker
	Healthy                // a client is served
	Degraded               // it lives and answers, but this client is not served
	Hung                   // the address is held, but it does not answer
	Dead                   // nobody listens
	Foreign                // something else answers at the address
)

func (h Health) String() string {
	return [...]string{"in doubt", "healthy", "degraded", "hung", "dead", "foreign"}[h]
}

// Kind is what was met, exactly.
type Kind int

const (
	Unexpected  Kind = iota // an error this package does not know
	BadTarget               // the Target cannot be used as it is
	Unreachable             // no route, no such host name
	Cancelled               // the caller's context was cancelled before an answer
	Closed                  // hung up, before a word or after some

	OK      // served
	Standby // an HA backup or joining broker: admits administrators only

	OldProtocol // AMQP 0-10 only
	Full        // connection limit or an ACL rule for connections: the two look alike
	BadLogin    // SASL said no
	NoMechanism // the broker does not offer the SASL mechanism
	Denied      // ACL
	Refused     // another AMQP error
	WantsTLS    // TLS where plain AMQP was spoken
	NotTLS      // plain where TLS was spoken
	BadCert     // the TLS handshake failed
	OutOfFiles  // the process has no file descriptor left for a new client

	Backlog // the connection was not even queued
	Silent  // the connection was taken, and not a byte came
	Stuck   // it began to answer and stopped
	Stopped // the process is stopped by a signal

	NoListener // connection refused

	OtherProtocol // not AMQP 1.0 at all
	OtherBroker   // AMQP 1.0, but not Target.Product
)

// kinds says for each Kind how the broker is, what was found, and what to do.
var kinds = [...]struct {
	health   Health
	name     string
	found    string
	whatToDo string
}{
	Unexpected:  {Doubt, "unexpected", "gave an answer not understood", "look at the broker's log"},
	BadTarget:   {Doubt, "bad-target", "cannot be asked", "correct the parameters"},
	Unreachable: {Doubt, "unreachable", "cannot be reached from here", "check the address and this node's network"},
	Cancelled:   {Doubt, "cancelled", "was not given the time to answer", "ask again"},
	Closed:      {Doubt, "closed", "hung up on this client", "look at the broker's log; a TLS port and a proxy without a backend do this too"},

	OK:      {Healthy, "ok", "serves clients", ""},
	Standby: {Healthy, "standby", "is alive as an HA backup or joining broker and admits administrators only", ""},

	OldProtocol: {Degraded, "amqp-0-10-only", "speaks AMQP 0-10 only: its module amqp.so is not loaded", "install it (package qpid-cpp-server) and check module-dir, load-module and no-module-dir in qpidd.conf"},
	Full:        {Degraded, "full", "turns every new client away: its connection limit is reached, or its ACL has a rule for connections", "raise max-connections (or connection-limit-per-ip, -per-user) in qpidd.conf, or find the client that leaks connections; its log names the limit"},
	BadLogin:    {Degraded, "bad-login", "refuses the login", "check user and password, and the broker's SASL database"},
	NoMechanism: {Degraded, "no-mechanism", "does not offer the SASL mechanism", "check user and mechanism here, auth in qpidd.conf and mech_list in sasl2/qpidd.conf"},
	Denied:      {Degraded, "denied", "denies access", "allow this user in the broker's ACL file"},
	Refused:     {Degraded, "refused", "answers with an AMQP error", "look at the broker's log"},
	WantsTLS:    {Degraded, "wants-tls", "speaks TLS here", "use its plain port, or turn TLS on"},
	NotTLS:      {Degraded, "not-tls", "does not speak TLS here", "use its TLS port, or turn TLS off"},
	BadCert:     {Degraded, "bad-certificate", "failed the TLS handshake", "check the certificate, its name and the CA"},
	OutOfFiles:  {Degraded, "out-of-files", "accepts no new client: out of file descriptors, and it floods its log meanwhile", "raise LimitNOFILE (ulimit -n) for it, or find the client that leaks connections"},

	Backlog: {Hung, "backlog", "does not accept connections: its queue of waiting clients is full, or a firewall drops them", "check what the process does (state, wchan) and the firewall"},
	Silent:  {Hung, "silent", "accepts connections but does not say a word", "check what the process does (state, wchan, open files)"},
	Stuck:   {Hung, "stuck", "began to answer, then fell silent", "check what the process does (state, wchan) and its disk"},
	Stopped: {Hung, "stopped", "is stopped by a signal", "kill -CONT it, or let the cluster restart it"},

	NoListener: {Dead, "no-listener", "is not there", "start it, or check the port"},

	OtherProtocol: {Foreign, "other-protocol", "is not an AMQP 1.0 broker", "find out who holds this port (ss -ltnp)"},
	OtherBroker:   {Foreign, "other-broker", "is another product", "find out who holds this port (ss -ltnp)"},
}

func (k Kind) String() string { return kinds[k].name }

// Health is what the kind means for the broker.
func (k Kind) Health() Health { return kinds[k].health }

// Answer is what a Ping, RoundTrip or Connect found. The zero Answer is Doubt.
type Answer struct {
	Kind    Kind
	Address string
	Admin   bool   // served as an HA administrator (qpid.ha-admin), not as a plain client
	Product string // of the connection properties: "qpid-cpp", "RabbitMQ"
	Version string // likewise: "1.40.0"
	Elapsed time.Duration
	Err     error // what exactly was met, nil when Healthy; never contains the password

	spoke bool // the peer spoke AMQP 1.0 before whatever ended this
}

// Health is how the broker is.
func (a Answer) Health() Health { return a.Kind.Health() }

// Reason is one line for an operator: what was found, where, and what to do.
func (a Answer) Reason() string {
	k := kinds[a.Kind]
	var b strings.Builder
	fmt.Fprintf(&b, "broker at %s %s", cmp.Or(a.Address, "(no address)"), k.found)
	switch {
	case k.health == Healthy:
		fmt.Fprintf(&b, " (%s, %s)", orUnknown(a.Product+" "+a.Version), a.Elapsed.Round(100*time.Microsecond))
	case k.health == Hung:
		fmt.Fprintf(&b, " (%s, %s)", words.Error(a.Err), a.Elapsed.Round(time.Millisecond))
	case a.Err != nil:
		fmt.Fprintf(&b, " (%s)", words.Error(a.Err))
	}
	if k.whatToDo != "" {
		fmt.Fprintf(&b, ": %s", k.whatToDo)
	}
	return b.String()
}

func (a Answer) because(k Kind, err error) Answer {
	a.Kind, a.Err = k, err
	return a
}

func orUnknown(s string) string {
	return cmp.Or(strings.TrimSpace(s), "product unknown")
}

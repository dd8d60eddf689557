// Package sqlping asks a MySQL or MariaDB server how it is, and tells apart what looks alike to a client that only
// knows success and failure: a server that is dead, one that hangs, one that lives and refuses this client, and
// something else that sits on its address.
//
// [Ping] is the whole of it for a health check. [Open] gives the same connection for a deeper look ([Conn.ReadTable],
// [Conn.WriteProof], [Conn.Status]) and for other queries; every error of this package is an *[Error] and carries the same
// classification.
//
// A connection is one socket, without a pool: it logs in, says COM_QUIT and is gone, so that a check leaves no sleeping
// connection and does not count among the server's Aborted_clients or Aborted_connects. A refused login does count
// (in Aborted_connects), and an abandoned one over TCP counts towards max_connect_errors: prefer the socket.
package sqlping

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

// DefaultTimeout bounds every call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// Target is a server and who logs in to it.
type Target struct {
	Socket   string // path of the unix socket; used if set
	Address  string // host:port, for TCP
	User     string // over the unix socket, root usually needs no password (unix_socket, auth_socket)
	Password string `json:"-"`
	Database string // the default schema; may be empty
	// TLS, if not nil, is required of the server, over TCP as over the socket. Over the socket its ServerName must be set; over TCP it defaults to the host.
	TLS *tls.Config `json:"-"`
	// TLSOptional takes a server without TLS as it is, for who connects as PyMySQL does.
	TLSOptional bool
	Source      string // the address to connect from, over TCP; "" is any
}

// String says where the server is, and never the password: a Target in a log is harmless.
func (t Target) String() string {
	switch {
	case t.Socket != "":
		return t.Socket
	case t.Address != "":
		return t.Address
	}
	return "(no address)"
}

// GoString is String, for %#v.
func (t Target) GoString() string { return t.String() }

// State is what is known of a server after asking it.
type State int

const (
	// Unknown is doubt: the server could not be asked (no permission, no route, name not resolved, caller gave up), or the
	// connection broke off before an answer.
	Unknown State = iota
	// Healthy is a server that let us in and answered.
	Healthy
	// Degraded is alive: a MySQL error packet came from it. It refuses this client or is limited. Never a reason to
	// restart it without asking.
	Degraded
	// Hung is a socket that takes connections, or whose queue of them is full, and a server that does not answer in time.
	Hung
	// Dead is: nothing listens there. It does not mean that no server process exists: it may be in crash recovery.
	Dead
	// Foreign is an answer that is not the MySQL protocol.
	Foreign
)

func (s State) String() string {
	return [...]string{"unknown", "healthy", "degraded", "hung", "dead", "foreign"}[s]
}

// Answer is what Ping found out.
type Answer struct {
	State   State
	Err     *Error        // nil if Healthy
	Version string        // as in the server's greeting, if it came so far: 10.11.19-MariaDB-0+deb12u1
	Elapsed time.Duration // for all of it
	Target  Target
}

// Reason is one line for the operator: where, what, and unless all is well, what to do.
func (a Answer) Reason() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return fmt.Sprintf("%s: %s answers after %s", a.Target, a.Version, a.Elapsed.Round(10*time.Microsecond))
}

// Stopping says that the server is alive and shutting down.
func (a Answer) Stopping() bool { return a.Err != nil && a.Err.Code == erServerShutdown }

// Ping logs in, sends COM_PING and leaves. It returns by the deadline of ctx at the latest: a quarter of the time until
// then is for the connection, half for the greeting and the login, the rest for the ping.
func Ping(ctx context.Context, t Target) Answer {
	ctx, cancel := bounded(ctx)
	defer cancel()
	start := time.Now()
	a := Answer{Target: t}
	c, version, err := open(ctx, t)
	a.Version = version
	if err == nil {
		err = c.ping(ctx)
		c.Close()
	}
	a.Err, a.State = err, err.state()
	a.Elapsed = time.Since(start)
	return a
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

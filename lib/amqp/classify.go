package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"

	goamqp "github.com/Azure/go-amqp"
)

// listener keeps the first bytes the peer said: they tell protocols apart
// better than any error text.
type listener struct {
	net.Conn
	mu   sync.Mutex
	head []byte
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 64 - len(l.head); room > 0 {
		l.head = append(l.head, p[:min(n, room)]...)
	}
	return n, err
}

func (l *listener) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.head)
}

// greetings maps what a peer says first, asked for SASL over AMQP 1.0, to what
// it means. "AMQP" is followed by protocol id, major, minor, revision.
var greetings = []struct {
	prefix string
	kind   Kind
	what   string
}{
	{"AMQP\x01\x01\x00\x0a", OldProtocol, "it answered with AMQP 0-10"},
	{"AMQP\x00\x00\x09\x01", OtherProtocol, "it speaks AMQP 0-9-1, as RabbitMQ does without its plugin rabbitmq_amqp1_0"},
	{"AMQP\x01\x01\x00\x09", OtherProtocol, "it speaks AMQP 0-9"},
	{"AMQP\x01\x01\x08\x00", OtherProtocol, "it speaks AMQP 0-8"},
	{"AMQP\x00\x01\x00\x00", NoMechanism, "it speaks AMQP 1.0 without SASL"},
	{"AMQP\x02\x01\x00\x00", WantsTLS, "it answered with AMQP over TLS"},
	{"\x15\x03", WantsTLS, "it answered with a TLS alert"},
	{"SSH-", OtherProtocol, "it speaks SSH"},
	{"HTTP/", OtherProtocol, "it speaks HTTP"},
}

// sasl1 is the greeting of a peer that does what it was asked: SASL, AMQP 1.0.
const sasl1 = "AMQP\x03\x01\x00\x00"

// failDial classifies an error of the dialer.
func (a *Answer) failDial(ctx context.Context, t Target, err error) {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		*a = a.because(NoListener, err)
	case errors.As(err, &dns):
		*a = a.because(Unreachable, err)
	case errors.Is(ctx.Err(), context.Canceled):
		*a = a.because(Cancelled, err)
	case timedOut(ctx, err):
		a.silent(t, Backlog)
	case errors.Is(err, syscall.ECONNRESET):
		*a = a.because(Closed, err)
	default:
		var addr *net.AddrError
		kind := Unreachable
		if errors.As(err, &addr) {
			kind = BadTarget
		}
		*a = a.because(kind, err)
	}
}

// failTLS classifies an error of the TLS handshake.
func (a *Answer) failTLS(ctx context.Context, t Target, err error) {
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &notTLS):
		*a = a.because(NotTLS, fmt.Errorf("it answered %q", notTLS.RecordHeader[:]))
	case errors.Is(ctx.Err(), context.Canceled):
		*a = a.because(Cancelled, err)
	case timedOut(ctx, err):
		a.silent(t, Silent)
	case hungUp(err):
		// qpidd's plain port waits for 8 bytes it can read, and hangs up on anything but AMQP.
		*a = a.because(NotTLS, errors.New("it hung up on a TLS hello"))
	default:
		*a = a.because(BadCert, err)
	}
}

// fail classifies an error of AMQP itself; head is what the peer said first,
// or empty once the connection stands.
func (a *Answer) fail(ctx context.Context, t Target, head string, err error) {
	a.spoke = a.spoke || strings.HasPrefix(head, sasl1)
	if !a.spoke && head != "" {
		for _, g := range greetings {
			if strings.HasPrefix(head, g.prefix) {
				*a = a.because(g.kind, errors.New(g.what))
				return
			}
		}
		// A short greeting may be a slow peer's first half of the right one.
		if !strings.HasPrefix(sasl1, head) {
			*a = a.because(OtherProtocol, fmt.Errorf("it said %.24q", head))
			return
		}
	}
	var remote *goamqp.Error
	text := err.Error()
	switch {
	case errors.As(err, &remote) && !outOfCredit(ctx, remote):
		kind := Refused
		if remote.Condition == goamqp.ErrCondUnauthorizedAccess {
			kind = Denied
		}
		*a = a.because(kind, errors.New(step(err, remote)+say(remote)))
	case errors.Is(ctx.Err(), context.Canceled):
		*a = a.because(Cancelled, err)
	case timedOut(ctx, err):
		kind := Stuck
		if !a.spoke && head == "" {
			kind = Silent
		}
		a.silent(t, kind)
	case t.TLS != nil && strings.Contains(text, "remote error: tls: "): // with TLS 1.3 after the handshake
		*a = a.because(BadCert, err)
	case strings.Contains(text, "auth failed with code"):
		*a = a.because(BadLogin, fmt.Errorf("%s as %q", orAnonymous(t), t.User))
	case strings.Contains(text, "no supported auth mechanism"):
		_, offered, _ := strings.Cut(text, "(")
		*a = a.because(NoMechanism, fmt.Errorf("wanted %s, offered %s", orAnonymous(t), strings.TrimSuffix(offered, ")")))
	case hungUp(err):
		*a = a.because(Closed, err)
	default:
		*a = a.because(Unexpected, err)
	}
}

// outOfCredit is how go-amqp's Send words the end of a context that passed
// while the peer allowed no message: not something the peer said.
func outOfCredit(ctx context.Context, e *goamqp.Error) bool {
	return ctx.Err() != nil && e.Condition == goamqp.ErrCondTransferLimitExceeded
}

// step is what the context of an error adds to the AMQP error within it.
func step(err error, remote *goamqp.Error) string {
	before, _, _ := strings.Cut(err.Error(), remote.Error())
	return before
}

// say is an AMQP error for an operator: without qpidd's habit to repeat the
// condition and to name the line of its source.
func say(e *goamqp.Error) string {
	what, _, _ := strings.Cut(e.Description, " (/")
	what = strings.TrimPrefix(what, strings.TrimPrefix(string(e.Condition), "amqp:")+": ")
	if what == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + what
}

func orAnonymous(t Target) string {
	switch {
	case t.Mechanism != "":
		return t.Mechanism
	case t.User != "":
		return "PLAIN"
	}
	return "ANONYMOUS"
}

// timedOut also knows a socket's deadline, which may fire just before that of
// the context it was set from, and the kernel giving up on a connect.
func timedOut(ctx context.Context, err error) bool {
	var timeout net.Error
	return ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
}

// hungUp also reads the text: go-amqp hides the cause of its ConnError.
func hungUp(err error) bool {
	text := err.Error()
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.HasSuffix(text, io.EOF.Error()) || strings.HasSuffix(text, syscall.ECONNRESET.Error()) ||
		strings.HasSuffix(text, syscall.EPIPE.Error())
}

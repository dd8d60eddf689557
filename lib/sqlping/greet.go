package sqlping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/lib/words"
)

const (
	doingConnect  = "connect"
	doingGreeting = "greeting"
	doingLogin    = "login"
	doingPing     = "ping"
)

// maxGreeting bounds the first packet: a real greeting has about 100 bytes, an error packet at most 600.
const maxGreeting = 4096

var errForeign = errors.New("not the MySQL protocol")

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// dial connects, and waits until ctx ends for a place in the queue of a unix socket.
func dial(ctx context.Context, t Target) (net.Conn, error) {
	network, addr := "tcp", t.Address
	if t.Socket != "" {
		network, addr = "unix", t.Socket
	}
	if addr == "" {
		return nil, errors.New("neither a socket nor an address is given")
	}
	d := net.Dialer{KeepAlive: -1} // a check does not live long enough for it
	if t.Source != "" && network == "tcp" {
		source, err := netip.ParseAddr(t.Source)
		if err != nil {
			return nil, fmt.Errorf("the address to connect from: %w", err)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	var full error
	for {
		conn, err := d.DialContext(ctx, network, addr)
		var ne net.Error
		switch {
		case network == "unix" && errors.Is(err, syscall.EAGAIN):
			full = err // an instant of load explains it; the kernel tells no one when there is room
		case full != nil && errors.As(err, &ne) && ne.Timeout():
			return nil, full // it says more than the deadline that ended the wait for room
		default:
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, full
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// greeted is a connection whose first packet was read and is read again by the driver. The driver indexes into
// that packet unchecked and drops the errors of the socket: both are made good here.
type greeted struct {
	net.Conn
	head    []byte
	version string
	err     error // the last error of the socket
}

func (g *greeted) Read(p []byte) (int, error) {
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.Conn.Read(p)
	if err != nil {
		g.err = err
	}
	return n, err
}

func (g *greeted) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	if err != nil {
		g.err = err
	}
	return n, err
}

// step runs one step over the connection, whose reads and writes fail once ctx ends. The step's own context does not end, because
// the driver would watch it from another goroutine, at the price of two switches between threads a step.
func (g *greeted) step(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = g.Conn.SetDeadline(time.Unix(1, 0)) })
	err := f(context.WithoutCancel(ctx))
	if !stop() && err == nil {
		return ctx.Err() // the deadline that was set would break the next step
	}
	return err
}

// greet reads the server's first packet and checks that it is one.
func (g *greeted) greet(context.Context) error {
	buf := make([]byte, 0, 512)
	for {
		n, err := g.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		whole, bad := greeting(buf)
		if bad != nil {
			return bad
		}
		if whole {
			break
		}
		if err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
	g.head = buf
	if buf[4] == 10 {
		g.version = version(buf)
	}
	return nil
}

// greeting says whether b holds the whole first packet of a MySQL server: Protocol::HandshakeV10 or ERR_Packet of the
// MySQL Client/Server Protocol. The error says that it never will.
func greeting(b []byte) (whole bool, err error) {
	if len(b) < 5 {
		return false, nil
	}
	size := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	kind := b[4]
	switch {
	case size == 5 && b[3] == 0 && kind == 11:
		return false, fmt.Errorf("%w but the MySQL X protocol: use the server's other port, usually 3306", errForeign)
	case size < 1 || size > maxGreeting, kind != 10 && kind != 0xff, kind == 10 && b[3] != 0:
		return false, fmt.Errorf("%w: it says %.40q", errForeign, b)
	case len(b) < 4+size:
		return false, nil
	}
	body := b[4 : 4+size]
	if kind == 0xff {
		// number, and a text that may start with #sqlstate
		if len(body) < 4 || body[3] == '#' && len(body) < 9 {
			return false, fmt.Errorf("%w: error packet of %d bytes", errForeign, len(body))
		}
		return true, nil
	}
	end := bytes.IndexByte(body, 0)
	// after the version: connection id 4, scramble 8, filler 1, capabilities 2, charset 1, status 2, capabilities 2, length 1, reserved 10, scramble 13
	if end < 0 || len(body) < end+1+44 {
		return false, fmt.Errorf("%w: it says %.40q", errForeign, b)
	}
	return true, nil
}

func version(b []byte) string {
	v, _, _ := strings.Cut(string(b[5:]), "\x00")
	// MariaDB 10 puts this in front for the sake of old replicas.
	if rest, ok := strings.CutPrefix(v, "5.5.5-"); ok && strings.Contains(rest, "MariaDB") {
		v = rest
	}
	return words.Line(v)
}

package amqp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/test/broker"
)

// ask runs f with a deadline, checks what every Answer owes its reader, and
// that nothing is left running.
func ask(t *testing.T, f func(context.Context, amqp.Target) amqp.Answer, target amqp.Target, timeout time.Duration) amqp.Answer {
	t.Helper()
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	start := time.Now()
	a := f(ctx, target)
	if took := time.Since(start); took > timeout+500*time.Millisecond {
		t.Errorf("took %s with a deadline of %s", took, timeout)
	}
	check(t, a, target)
	cancel()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
			break
		}
	}
	return a
}

func check(t *testing.T, a amqp.Answer, target amqp.Target) {
	t.Helper()
	reason := a.Reason()
	t.Logf("%s: %s", a.Health(), reason)
	if strings.ContainsFunc(reason, unicode.IsControl) {
		t.Errorf("the reason is not one line: %q", reason)
	}
	if target.Address != "" && !strings.Contains(reason, target.Address) {
		t.Errorf("the reason does not name the address: %q", reason)
	}
	if target.Password != target.User && strings.Contains(fmt.Sprint(reason, a.Err), target.Password) {
		t.Errorf("the reason gives the password away: %q", reason)
	}
	if (a.Health() == amqp.Healthy) != (a.Err == nil) {
		t.Errorf("health %s with error %v", a.Health(), a.Err)
	}
}

// Each way of a broker to take or refuse a client, on a real qpidd or the stand-in.
func TestBroker(t *testing.T) {
	const password = "sesame-7f3a"
	users := map[string]string{"ping": password}
	for _, tc := range []struct {
		name        string
		opts        broker.Options
		target      amqp.Target
		ping, round amqp.Kind
	}{
		{"open to all", broker.Options{}, amqp.Target{}, amqp.OK, amqp.OK},
		{"a user where none is needed", broker.Options{}, amqp.Target{User: "any", Password: password}, amqp.OK, amqp.OK},
		{"the wrong product", broker.Options{}, amqp.Target{Product: "RabbitMQ"}, amqp.OtherBroker, amqp.OK},
		{"TLS to a plain port", broker.Options{}, amqp.Target{TLS: &tls.Config{}}, amqp.NotTLS, amqp.NotTLS},
		{"login", broker.Options{Users: users}, amqp.Target{User: "ping", Password: password}, amqp.OK, amqp.OK},
		{"login with realm", broker.Options{Users: users}, amqp.Target{User: "ping@QPID", Password: password}, amqp.OK, amqp.OK},
		{"anonymous beside users", broker.Options{Users: users}, amqp.Target{}, amqp.OK, amqp.OK},
		{"wrong password", broker.Options{Users: map[string]string{"ping": "other"}}, amqp.Target{User: "ping", Password: password}, amqp.BadLogin, amqp.BadLogin},
		{"unknown user", broker.Options{Users: users}, amqp.Target{User: "nobody", Password: password}, amqp.BadLogin, amqp.BadLogin},
		{"anonymous not offered", broker.Options{Users: users, Mechs: "PLAIN"}, amqp.Target{}, amqp.NoMechanism, amqp.NoMechanism},
		{"EXTERNAL not offered", broker.Options{Users: users}, amqp.Target{Mechanism: "EXTERNAL"}, amqp.NoMechanism, amqp.NoMechanism},
		{"without amqp.so", broker.Options{Args: []string{"--no-module-dir"}}, amqp.Target{}, amqp.OldProtocol, amqp.OldProtocol},
		{"HA, joining", broker.Options{Args: []string{"--ha-cluster", "yes"}}, amqp.Target{}, amqp.Standby, amqp.Standby},
		{"HA, joining, as admin", broker.Options{Args: []string{"--ha-cluster", "yes"}}, amqp.Target{Admin: true}, amqp.OK, amqp.OK},
		{"ACL denies queues", broker.Options{ACL: "acl deny anonymous create queue\nacl allow all all\n"}, amqp.Target{}, amqp.OK, amqp.Denied},
		{"ACL denies connections", broker.Options{ACL: "acl deny anonymous create connection host=127.0.0.1\nacl allow all all\n"}, amqp.Target{}, amqp.Full, amqp.Full},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := broker.Start(t, tc.opts)
			tc.target.Address = b.Addr()
			a := ask(t, amqp.Ping, tc.target, 5*time.Second)
			if a.Kind != tc.ping {
				t.Errorf("Ping: %s, want %s (%s)", a.Kind, tc.ping, b.Kind())
			}
			if a.Kind == amqp.OK && (a.Product != amqp.QpidProduct || a.Version == "") {
				t.Errorf("product %q %q", a.Product, a.Version)
			}
			if a := ask(t, amqp.RoundTrip, tc.target, 5*time.Second); a.Kind != tc.round {
				t.Errorf("RoundTrip: %s, want %s (%s)", a.Kind, tc.round, b.Kind())
			}
		})
	}
}

func TestFull(t *testing.T) {
	b := broker.Start(t, broker.Options{Args: []string{"--max-connections", "1"}})
	target := amqp.Target{Address: b.Addr()}
	ctx, cancel := context.WithCancel(t.Context())
	conn, a := amqp.Connect(ctx, target)
	if conn == nil {
		t.Fatal(a.Reason())
	}
	if a := ask(t, amqp.Ping, target, 5*time.Second); a.Kind != amqp.Full {
		t.Errorf("got %s, want %s (%s)", a.Kind, amqp.Full, b.Kind())
	}
	cancel() // ends the connection
	<-conn.Done()
	conn.Close()
	wait(t, target, amqp.OK)
}

// A broker that stops, and one whose queue of waiting clients is full.
func TestStopped(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	target := amqp.Target{Address: b.Addr()}
	known := amqp.Target{Address: b.Addr(), PID: b.PID}
	const short = 150 * time.Millisecond

	conn, a := amqp.Connect(t.Context(), target)
	if conn == nil {
		t.Fatal(a.Reason())
	}
	b.Signal(syscall.SIGSTOP)
	for _, f := range []func(context.Context, amqp.Target) amqp.Answer{amqp.Ping, amqp.RoundTrip} {
		if a := ask(t, f, target, short); a.Kind != amqp.Silent {
			t.Errorf("got %s, want %s", a.Kind, amqp.Silent)
		}
		if a := ask(t, f, known, short); a.Kind != amqp.Stopped {
			t.Errorf("got %s, want %s", a.Kind, amqp.Stopped)
		}
	}
	// The kernel completes connects into the backlog of 10 until it is full.
	for range 20 {
		c, err := net.DialTimeout("tcp", b.Addr(), 100*time.Millisecond)
		if err != nil {
			break
		}
		defer c.Close()
	}
	if a := ask(t, amqp.Ping, target, short); a.Kind != amqp.Backlog || a.Health() != amqp.Hung {
		t.Errorf("got %s %s, want %s", a.Health(), a.Kind, amqp.Backlog)
	}
	if a := ask(t, amqp.Ping, known, short); a.Kind != amqp.Stopped {
		t.Errorf("got %s, want %s", a.Kind, amqp.Stopped)
	}
	b.Signal(syscall.SIGCONT)
	wait(t, target, amqp.OK)
	conn.Close()

	b.Kill()
	if a := ask(t, amqp.Ping, known, short); a.Kind != amqp.NoListener || a.Health() != amqp.Dead {
		t.Errorf("got %s %s, want %s", a.Health(), a.Kind, amqp.NoListener)
	}
}

func TestOutOfFiles(t *testing.T) {
	b := broker.Start(t, broker.Options{Files: 40})
	target := amqp.Target{Address: b.Addr()}
	known := amqp.Target{Address: b.Addr(), PID: b.PID}
	var clients []net.Conn
	for range 45 { // more than there are files, fewer than files and backlog
		c, err := net.DialTimeout("tcp", b.Addr(), time.Second)
		if err != nil {
			break
		}
		// qpidd drops clients that do not say anything for 2 s.
		if _, err := c.Write([]byte("AMQP\x00\x01\x00\x00")); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		if a := ask(t, amqp.Ping, known, 200*time.Millisecond); a.Kind == amqp.OutOfFiles {
			break
		}
	}
	if a := ask(t, amqp.Ping, target, 300*time.Millisecond); a.Kind != amqp.Silent {
		t.Errorf("without a pid: got %s, want %s", a.Kind, amqp.Silent)
	}
	if a := ask(t, amqp.Ping, known, 300*time.Millisecond); a.Kind != amqp.OutOfFiles || a.Health() != amqp.Degraded {
		t.Errorf("got %s %s, want %s", a.Health(), a.Kind, amqp.OutOfFiles)
	}
	for _, c := range clients {
		c.Close()
	}
	wait(t, known, amqp.OK)
}

func wait(t *testing.T, target amqp.Target, want amqp.Kind) {
	t.Helper()
	var a amqp.Answer
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		a = amqp.Ping(ctx, target)
		cancel()
		if a.Kind == want {
			return
		}
	}
	t.Errorf("after 10 s: %s, want %s", a.Reason(), want)
}

// peer listens and gives each connection to serve.
func peer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

const (
	sasl1 = "AMQP\x03\x01\x00\x00"
	// SASL mechanisms: ANONYMOUS
	mechanisms = "\x00\x00\x00\x1c\x02\x01\x00\x00\x00\x53\x40\xc0\x0f\x01\xe0\x0c\x01\xa3\x09ANONYMOUS"
)

// Peers that are no broker, or one that is ill: each says something first and
// then waits for the client to go, or goes itself.
func TestPeers(t *testing.T) {
	stay := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	drain := func(c net.Conn) { _, _ = c.Read(make([]byte, 64)) } // no RST for unread bytes
	say := func(s string, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, s)
			then(c)
		}
	}
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		kind  amqp.Kind
		says  string
	}{
		{"SSH", say("SSH-2.0-OpenSSH_9.2p1\r\n", stay), amqp.OtherProtocol, "SSH"},
		{"HTTP", say("HTTP/1.1 400 Bad Request\r\n\r\n", stay), amqp.OtherProtocol, "HTTP"},
		{"AMQP 0-9-1", say("AMQP\x00\x00\x09\x01", drain), amqp.OtherProtocol, "rabbitmq_amqp1_0"},
		{"AMQP 0-10", say("AMQP\x01\x01\x00\x0a", drain), amqp.OldProtocol, "amqp.so"},
		{"AMQP 1.0 without SASL", say("AMQP\x00\x01\x00\x00", drain), amqp.NoMechanism, "without SASL"},
		{"MariaDB", say("j\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00", stay), amqp.OtherProtocol, "it said"},
		{"few strange bytes", say("hi", stay), amqp.OtherProtocol, `it said "hi"`},
		{"a newline in it", say("one\ntwo\r\nthree", stay), amqp.OtherProtocol, "it said"},
		{"TLS alert", say("\x15\x03\x03\x00\x02\x02\x50", drain), amqp.WantsTLS, "TLS"},
		{"silence", stay, amqp.Silent, "does not say a word"},
		{"half a greeting", say("AMQP\x03", stay), amqp.Stuck, "fell silent"},
		{"silence after the greeting", say(sasl1, stay), amqp.Stuck, "fell silent"},
		{"silence after the mechanisms", say(sasl1+mechanisms, stay), amqp.Stuck, "fell silent"},
		{"hangs up at once", func(net.Conn) {}, amqp.Closed, "hung up"},
		{"hangs up after the client's greeting", drain, amqp.Closed, "hung up"},
		{"resets", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, amqp.Closed, "hung up"},
		{"hangs up in SASL", say(sasl1, drain), amqp.Full, "connection limit"},
		{"garbage after the greeting", say(sasl1+strings.Repeat("\xff", 64), drain), amqp.Unexpected, "not understood"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := ask(t, amqp.Ping, amqp.Target{Address: peer(t, tc.serve)}, 300*time.Millisecond)
			if a.Kind != tc.kind || !strings.Contains(a.Reason(), tc.says) {
				t.Errorf("got %s (%s), want %s (%s)", a.Kind, a.Reason(), tc.kind, tc.says)
			}
		})
	}
}

func TestTarget(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		target amqp.Target
		kind   amqp.Kind
	}{
		{"no such host", t.Context(), amqp.Target{Address: "h:5672", Dial: refuse(&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true})}, amqp.Unreachable},
		{"no route", t.Context(), amqp.Target{Address: "h:5672", Dial: refuse(syscall.EHOSTUNREACH)}, amqp.Unreachable},
		{"the kernel gives up", t.Context(), amqp.Target{Address: "h:5672", Dial: refuse(syscall.ETIMEDOUT)}, amqp.Backlog},
		{"no port", t.Context(), amqp.Target{Address: "127.0.0.1"}, amqp.BadTarget},
		{"nothing", t.Context(), amqp.Target{}, amqp.BadTarget},
		{"unknown mechanism", t.Context(), amqp.Target{Address: "127.0.0.1:1", Mechanism: "GSSAPI"}, amqp.BadTarget},
		{"nobody listens", t.Context(), amqp.Target{Address: "127.0.0.1:1"}, amqp.NoListener},
		{"cancelled", cancelled, amqp.Target{Address: "127.0.0.1:1"}, amqp.Cancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := amqp.Ping(tc.ctx, tc.target)
			check(t, a, tc.target)
			if a.Kind != tc.kind {
				t.Errorf("got %s, want %s", a.Kind, tc.kind)
			}
		})
	}
}

func refuse(err error) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
}

func TestDialHook(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	a := ask(t, amqp.RoundTrip, amqp.Target{Address: "elsewhere:5672", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" || address != "elsewhere:5672" {
			t.Errorf("dialled %s %s", network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, b.Addr())
	}}, 5*time.Second)
	if a.Kind != amqp.OK {
		t.Errorf("got %s, want %s", a.Kind, amqp.OK)
	}
}

// cut passes the first n bytes that the broker says, and then hangs or closes.
type cut struct {
	net.Conn
	n     *atomic.Int64
	close bool
	done  chan struct{}
	once  sync.Once
}

func (c *cut) Read(p []byte) (int, error) {
	if room := c.n.Load(); room <= 0 {
		if c.close {
			return 0, io.EOF
		}
		<-c.done
		return 0, net.ErrClosed
	} else if int64(len(p)) > room {
		p = p[:room]
	}
	n, err := c.Conn.Read(p)
	c.n.Add(int64(-n))
	return n, err
}

func (c *cut) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

// A broker may hang, or die, at any byte: that is never healthy, never late,
// and nothing is left running.
func TestCut(t *testing.T) {
	addr := broker.Start(t, broker.Options{}).Addr()
	trip := func(n int64, close bool, timeout time.Duration) (a amqp.Answer, said int64) {
		left := new(atomic.Int64)
		left.Store(n)
		a = ask(t, amqp.RoundTrip, amqp.Target{Address: addr, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &cut{Conn: c, n: left, close: close, done: make(chan struct{})}, nil
		}}, timeout)
		return a, n - left.Load()
	}
	a, all := trip(1<<20, false, 5*time.Second)
	if a.Kind != amqp.OK || all < 500 {
		t.Fatalf("%s after %d bytes", a.Reason(), all)
	}
	for n := int64(0); n < all-100; n += all / 20 {
		if a, _ := trip(n, false, 100*time.Millisecond); a.Health() != amqp.Hung {
			t.Errorf("silent after %d of %d bytes: %s", n, all, a.Reason())
		}
		if a, _ := trip(n, true, time.Second); a.Kind != amqp.Closed && a.Kind != amqp.Full {
			t.Errorf("closed after %d of %d bytes: %s", n, all, a.Reason())
		}
	}
}

// TLS ends in the test, before a broker's plain port.
func TestTLS(t *testing.T) {
	b := broker.Start(t, broker.Options{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	addr := peer(t, func(c net.Conn) {
		up, err := net.Dial("tcp", b.Addr())
		if err != nil {
			return
		}
		defer up.Close()
		s := tls.Server(c, server)
		if s.Handshake() != nil {
			return
		}
		go func() {
			_, _ = io.Copy(up, s)
			up.Close()
		}()
		_, _ = io.Copy(s, up)
		s.Close()
	})
	silent := peer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, tc := range []struct {
		name   string
		target amqp.Target
		kind   amqp.Kind
	}{
		{"trusted", amqp.Target{Address: addr, TLS: &tls.Config{RootCAs: roots}}, amqp.OK},
		{"not verified", amqp.Target{Address: addr, TLS: &tls.Config{InsecureSkipVerify: true}}, amqp.OK},
		{"unknown CA", amqp.Target{Address: addr, TLS: &tls.Config{}}, amqp.BadCert},
		{"another name", amqp.Target{Address: addr, TLS: &tls.Config{RootCAs: roots, ServerName: "other"}}, amqp.BadCert},
		{"plain to TLS", amqp.Target{Address: addr}, amqp.Closed}, // crypto/tls hangs up where NSS and OpenSSL send an alert
		{"silent", amqp.Target{Address: silent, TLS: &tls.Config{}}, amqp.Silent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := ask(t, amqp.RoundTrip, tc.target, 500*time.Millisecond); a.Kind != tc.kind {
				t.Errorf("got %s, want %s", a.Kind, tc.kind)
			}
		})
	}
}

// Whatever a peer says, there is an Answer in time, and it is one line.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{"", "SSH-2.0", sasl1, sasl1 + mechanisms, "AMQP\x01\x01\x00\x0a", sasl1 + "\x00\x00\x00\x08\x02\x01\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		target := amqp.Target{Address: "peer:1", Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }()
			go func() {
				_, _ = server.Write(said)
				server.Close()
			}()
			return client, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		check(t, amqp.Ping(ctx, target), target)
	})
}

func BenchmarkPing(b *testing.B)      { bench(b, amqp.Ping) }
func BenchmarkRoundTrip(b *testing.B) { bench(b, amqp.RoundTrip) }

func bench(b *testing.B, f func(context.Context, amqp.Target) amqp.Answer) {
	target := amqp.Target{Address: broker.Start(b, broker.Options{}).Addr()}
	for b.Loop() {
		if a := f(b.Context(), target); a.Kind != amqp.OK {
			b.Fatal(a.Reason())
		}
	}
}

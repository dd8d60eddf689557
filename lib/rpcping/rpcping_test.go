package rpcping

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/oslo"
)

// listen serves each connection with serve, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) oslo.Broker {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return oslo.Broker{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "nova", Password: "hunter2"}
}

// hush reads whatever comes and says nothing.
func hush(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// answer replies to the first bytes with text, then hushes.
func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 64))
		_, _ = io.WriteString(c, text)
		hush(c)
	}
}

// connectionStart is the first frame of an AMQP 0-9-1 server.
func connectionStart() string {
	longstr := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	payload := "\x00\x0a\x00\x0a" + "\x00\x09" + longstr("") + longstr("PLAIN AMQPLAIN") + longstr("en_US")
	return "\x01\x00\x00" + longstr(payload) + "\xce"
}

func closedPort(t *testing.T) oslo.Broker {
	t.Helper()
	b := listen(t, hush)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.Port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	return b
}

func TestBrokers(t *testing.T) {
	nobody := closedPort(t)
	silent := listen(t, hush)
	for _, tc := range []struct {
		name    string
		driver  oslo.Driver
		brokers []oslo.Broker
		want    State
		reason  string // part of it
	}{
		{"nobody", oslo.Rabbit, []oslo.Broker{nobody}, BrokerUnreachable, "connection refused"},
		{"nobody", oslo.AMQP1, []oslo.Broker{nobody}, BrokerUnreachable, "connection refused"},
		{"nobody", oslo.Qpid, []oslo.Broker{nobody}, BrokerUnreachable, "connection refused"},
		{"unknown name", oslo.Rabbit, []oslo.Broker{{Host: "nosuch.invalid", Port: 1}}, BrokerUnreachable, "nosuch.invalid"},
		{"silent", oslo.Rabbit, []oslo.Broker{silent}, BrokerHung, "no answer in time"},
		{"silent", oslo.AMQP1, []oslo.Broker{silent}, BrokerHung, "no answer in time"},
		{"silent after its greeting", oslo.Rabbit, []oslo.Broker{listen(t, answer(connectionStart()))}, BrokerHung, "no answer in time"},
		{"silent after its greeting", oslo.AMQP1, []oslo.Broker{listen(t, answer("AMQP\x03\x01\x00\x00"))}, BrokerHung, "fell silent"},
		{"hangs up on the login", oslo.Rabbit, []oslo.Broker{listen(t, func(c net.Conn) {
			say := connectionStart()
			_, _ = io.ReadFull(c, make([]byte, 8))
			_, _ = io.WriteString(c, say)
			_, _ = c.Read(make([]byte, 1024))
		})}, Refused, "username or password"},
		{"hangs up", oslo.Rabbit, []oslo.Broker{listen(t, func(net.Conn) {})}, BrokerUnreachable, ""},
		{"hangs up", oslo.AMQP1, []oslo.Broker{listen(t, func(net.Conn) {})}, BrokerUnreachable, "hung up"},
		{"HTTP", oslo.Rabbit, []oslo.Broker{listen(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n"))}, BrokerUnreachable, ""},
		{"HTTP", oslo.AMQP1, []oslo.Broker{listen(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n"))}, BrokerUnreachable, "HTTP"},
		{"AMQP 0-9-1 for 1.0", oslo.AMQP1, []oslo.Broker{listen(t, answer("AMQP\x00\x00\x09\x01"))}, BrokerUnreachable, "0-9-1"},
		{"AMQP 1.0 for 0-9-1", oslo.Rabbit, []oslo.Broker{listen(t, answer("AMQP\x03\x01\x00\x00"))}, BrokerUnreachable, ""},
		{"AMQP 0-10 only", oslo.Qpid, []oslo.Broker{listen(t, answer("AMQP\x01\x01\x00\x0a"))}, Refused, "amqp.so"},
		{"two of them", oslo.Rabbit, []oslo.Broker{silent, nobody}, BrokerUnreachable, "no answer in time; "},
		{"two of them", oslo.AMQP1, []oslo.Broker{nobody, silent}, BrokerHung, "connection refused; "},
		{"none", oslo.Rabbit, nil, Doubt, "could not be asked"},
		{"no driver", "fake", []oslo.Broker{silent}, Doubt, "fake"},
	} {
		t.Run(tc.name+" "+string(tc.driver), func(t *testing.T) {
			t.Parallel()
			const limit = 2 * time.Second
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			start := time.Now()
			bus := oslo.Transport{Driver: tc.driver, Brokers: tc.brokers, VHost: "/", Exchange: "nova", Topology: 1}
			a := Ping(ctx, bus, "scheduler", "node1", Options{ReplyTo: "test"})
			if took := time.Since(start); took > 4*limit {
				t.Errorf("took %v, the limit is %v", took, limit)
			}
			if a.State != tc.want || !strings.Contains(a.Reason(), tc.reason) {
				t.Errorf("got %v, want %v: %s", a.State, tc.want, a.Reason())
			}
			if a.Alive() || (a.State != Doubt) != a.BusAtFault() {
				t.Errorf("alive %v, bus at fault %v", a.Alive(), a.BusAtFault())
			}
			if r := a.Reason(); strings.Contains(r, "hunter2") || strings.ContainsAny(r, "\r\n") {
				t.Errorf("reason %q", r)
			}
		})
	}
}

// The broker's share of the time may be all of it: its end is no cancellation.
func TestEndOfTheTime(t *testing.T) {
	ended, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	cancelled, cancelNow := context.WithCancel(context.Background())
	cancelNow()
	for _, row := range []struct {
		ctx, step context.Context
		want      State
	}{
		{context.Background(), ended, BrokerHung},
		{ended, ended, BrokerHung},
		{cancelled, cancelled, Doubt},
		{cancelled, ended, Doubt},
	} {
		var a Answer
		a.broker(row.ctx, row.step, amqp.Answer{Kind: amqp.Cancelled, Err: context.Canceled})
		if a.State != row.want {
			t.Errorf("%v, %v: got %v, want %v", row.ctx.Err(), row.step.Err(), a.State, row.want)
		}
	}
}

func TestCancelled(t *testing.T) {
	for _, driver := range []oslo.Driver{oslo.Rabbit, oslo.AMQP1, oslo.Qpid} {
		ctx, cancel := context.WithCancel(context.Background())
		broker := listen(t, func(c net.Conn) { cancel(); hush(c) })
		a := Ping(ctx, oslo.Transport{Driver: driver, Brokers: []oslo.Broker{broker}}, "t", "h", Options{ReplyTo: "test"})
		if a.State != Doubt || !errors.Is(a.Err, context.Canceled) {
			t.Errorf("%s: got %v: %s", driver, a.State, a.Reason())
		}
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"broker.example"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	broker := listen(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		if s.Handshake() == nil {
			hush(s)
		}
	})
	for _, driver := range []oslo.Driver{oslo.Rabbit, oslo.AMQP1} {
		for _, tc := range []struct {
			name string
			tls  oslo.TLS
			want State // BrokerHung: the certificate was good enough
		}{
			{"unchecked", oslo.TLS{}, BrokerHung},
			{"the right CA", oslo.TLS{CAFile: ca, Verify: true}, BrokerHung},
			{"the system's CAs", oslo.TLS{Verify: true}, Refused},
			{"another name", oslo.TLS{CAFile: ca, Verify: true, VerifyName: true}, Refused},
			{"no CA file", oslo.TLS{CAFile: ca + ".none", Verify: true}, Refused},
			{"not a CA file", oslo.TLS{CAFile: "rpcping_test.go", Verify: true}, Refused},
			{"no certificate of ours", oslo.TLS{CertFile: ca}, Refused},
		} {
			t.Run(string(driver)+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				within := 30 * time.Second
				if tc.want == BrokerHung {
					within = 500 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), within)
				defer cancel()
				a := Ping(ctx, oslo.Transport{Driver: driver, Brokers: []oslo.Broker{broker}, TLS: &tc.tls}, "t", "h", Options{ReplyTo: "test"})
				if a.State != tc.want {
					t.Errorf("got %v, want %v: %s", a.State, tc.want, a.Reason())
				}
			})
		}
	}
	plain := listen(t, answer("AMQP\x00\x00\x09\x01"))
	a := Ping(context.Background(), oslo.Transport{Driver: oslo.Rabbit, Brokers: []oslo.Broker{plain}, TLS: &oslo.TLS{}}, "t", "h", Options{ReplyTo: "test"})
	if a.State != Refused {
		t.Errorf("plain port: got %v: %s", a.State, a.Reason())
	}
}

// settleCases are replies to the call "id" by oslo versions old and new.
var settleCases = []struct {
	name, message string
	settled       bool
	state         State
	result        string
	failure       string
}{
	{"result", `{"result":"pong","failure":null,"ending":true,"_msg_id":"id","_unique_id":"x"}`, true, Answered, `"pong"`, ""},
	{"null", `{"result":null,"failure":null,"ending":true,"_msg_id":"id"}`, true, Answered, "null", ""},
	{"Havana", `{"result":{"a":1},"failure":null,"_msg_id":"id"}`, true, Answered, `{"a":1}`, ""},
	{"Kilo's first of two", `{"result":7,"failure":null,"ending":false,"_msg_id":"id"}`, true, Answered, "7", ""},
	{"heartbeat", `{"result":null,"failure":null,"ending":false,"_msg_id":"id"}`, false, Doubt, "", ""},
	{"another call's", `{"result":1,"_msg_id":"other"}`, false, Doubt, "", ""},
	{"failure", `{"result":null,"failure":"{\"class\":\"E\",\"message\":\"no\\nTraceback x\"}","ending":true,"_msg_id":"id"}`, true, Failure, "", "E: no"},
	{"failure as an object", `{"failure":{"class":"E","message":"no"},"_msg_id":"id"}`, true, Failure, "", "E: no"},
	{"failure as text", `{"failure":"broken","_msg_id":"id"}`, true, Failure, "", "broken"},
	{"not JSON", `{`, false, Doubt, "", ""},
	{"a list", `[]`, false, Doubt, "", ""},
}

func TestSettle(t *testing.T) {
	for _, tc := range settleCases {
		c := &call{id: "id"}
		for form, settle := range map[string]func(*Answer) bool{
			"text":       func(a *Answer) bool { return c.settleMessage([]byte(tc.message), a) },
			"0-10 map":   func(a *Answer) bool { return c.qpidSettle(qpidMap(tc.message), a) },
			"0-10 bytes": func(a *Answer) bool { return c.qpidSettle(qpidMap([]byte(tc.message)), a) },
		} {
			var a Answer
			if got := settle(&a); got != tc.settled || a.State != tc.state || string(a.Result) != tc.result {
				t.Errorf("%s as %s: got %v, %v, result %q", tc.name, form, got, a.State, a.Result)
			}
			if (a.Err != nil || tc.failure != "") && (a.Err == nil || a.Err.Error() != tc.failure) {
				t.Errorf("%s as %s: got %v, want %q", tc.name, form, a.Err, tc.failure)
			}
		}
	}
}

func qpidMap(message any) *goamqp.Message {
	return &goamqp.Message{Value: map[string]any{"oslo.version": "2.0", "oslo.message": message}}
}

func TestEnvelope(t *testing.T) {
	c := &call{id: "id", req: Request{Method: "m", Version: "1.0", Args: map[string]any{"a": "b"}}}
	body, err := c.body("q")
	const want = `{"oslo.version":"2.0","oslo.message":"{\"method\":\"m\",\"args\":{\"a\":\"b\"},\"version\":\"1.0\",\"_msg_id\":\"id\",\"_reply_q\":\"q\",\"_unique_id\":\"id\",\"_context_read_deleted\":\"no\"}"}`
	if err != nil || string(body) != want {
		t.Errorf("got %s, %v", body, err)
	}
	c.req.Args = map[string]any{"a": func() {}}
	if _, err := c.body("q"); err == nil {
		t.Error("arguments that are no JSON: no error")
	}
	for text, settled := range map[string]bool{
		`{"oslo.version":"2.0","oslo.message":"{\"_msg_id\":\"id\",\"result\":1}"}`: true,
		`{"_msg_id":"id"}`: false,
		``:                 false,
	} {
		if got := c.settle([]byte(text), new(Answer)); got != settled {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestAMQP1(t *testing.T) {
	legacy := oslo.Addressing{Mode: "dynamic", LegacyPrefix: "exclusive", RoutablePrefix: "openstack.org/om/rpc/unicast", PseudoVHost: true}
	routable, hostname := legacy, legacy
	routable.Mode, hostname.PseudoVHost = "routable", false
	for _, tc := range []struct {
		options              oslo.Addressing
		product, vhost, want string
	}{
		{legacy, "qpid-cpp", "", "exclusive.nova.scheduler.node1"},
		{legacy, "", "", "exclusive.nova.scheduler.node1"},
		{legacy, "qpid-cpp", "v", "exclusive.v.nova.scheduler.node1"},
		{hostname, "qpid-cpp", "v", "exclusive.nova.scheduler.node1"},
		{legacy, "qpid-dispatch-router", "", "openstack.org/om/rpc/unicast/nova/scheduler/node1"},
		{routable, "qpid-cpp", "v", "openstack.org/om/rpc/unicast/v/nova/scheduler/node1"},
	} {
		c := &call{bus: oslo.Transport{VHost: tc.vhost, Exchange: "nova", Addressing: tc.options}, req: Request{Topic: "scheduler", Host: "node1"}}
		if got := c.address(tc.product); got != tc.want {
			t.Errorf("%s %q: got %s, want %s", tc.product, tc.vhost, got, tc.want)
		}
	}
	c := &call{id: "id", req: Request{Method: "m", Namespace: "n", Version: "1.0"}}
	if body, err := c.amqp1Body(); err != nil || body != `{"context":{"read_deleted":"no"},"request":{"args":{},"method":"m","namespace":"n","version":"1.0"}}` {
		t.Errorf("got %s, %v", body, err)
	}
	for _, tc := range []struct {
		id, value any
		settled   bool
		want      Answer
	}{
		{"id", `{"response": "pong"}`, true, Answer{State: Answered, Result: []byte(`"pong"`)}},
		{"id", `{"failure": "{\"class\":\"E\",\"message\":\"no\"}"}`, true, Answer{State: Failure, Err: failure{true, "E", "no"}}},
		{"id", nil, false, Answer{}},
		{"other", `{"response": 1}`, false, Answer{}},
	} {
		var a Answer
		msg := &goamqp.Message{Properties: &goamqp.MessageProperties{CorrelationID: tc.id}, Value: tc.value}
		if got := c.amqp1Settle(msg, &a); got != tc.settled || !reflect.DeepEqual(a, tc.want) {
			t.Errorf("%v: got %v, %+v", tc.value, got, a)
		}
	}
	if c.amqp1Settle(&goamqp.Message{}, new(Answer)) {
		t.Error("a message without properties is no reply")
	}
}

func TestReason(t *testing.T) {
	a := Answer{Server: "t.h", Broker: "b:1", Elapsed: 1500 * time.Microsecond}
	for state, want := range map[State]string{
		Answered:          "t.h answered over b:1 in 1.5ms",
		Failure:           "t.h answered over b:1 in 1.5ms, with an exception (x y; z)",
		NoRoute:           "t.h is not subscribed on the message bus at b:1 (x y; z): compare",
		Silent:            "t.h does not answer over b:1 within 1.5ms (x y; z): look",
		Refused:           "the message bus at b:1 refuses us (x y; z): check",
		BrokerHung:        "the message bus at b:1 hangs (x y; z): look",
		BrokerUnreachable: "the message bus at b:1 is not there (x y; z): look",
		Doubt:             "t.h could not be asked over b:1 (x y; z)",
	} {
		a.is(state, errors.New("x\ty\nz"))
		if got := a.Reason(); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q", state, got)
		}
	}
	a.is(Doubt, errors.New(strings.Repeat("ä", 1000)))
	if got := a.Reason(); len(got) > 400 {
		t.Errorf("%d characters", len(got))
	}
}

func FuzzSettle(f *testing.F) {
	for _, tc := range settleCases {
		f.Add([]byte(tc.message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c := &call{id: "id"}
		var a Answer
		if c.settleMessage(message, &a) != a.Alive() {
			t.Errorf("settled, but the state is %v", a.State)
		}
		_ = a.Reason()
		_ = c.settle(message, new(Answer))
	})
}

package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/broker"
)

// patterns are what oslo.messaging's amqp driver needs of qpidd.
var patterns = []string{"--queue-patterns", "exclusive", "--queue-patterns", "unicast", "--topic-patterns", "broadcast"}

// startQpidd starts a real qpidd: the stand-in has no 0-10.
func startQpidd(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	if _, kind := broker.Binary(t); kind != broker.Real {
		t.Skip("SKIP: needs qpidd")
	}
	return broker.Start(t, o)
}

func TestNovaOnQpidd(t *testing.T) {
	qpidd := broker.Start(t, broker.Options{Args: patterns})
	t.Logf("broker: %s", qpidd.Kind())
	url := fmt.Sprintf("amqp://127.0.0.1:%d/", qpidd.Port)
	nova := NewNova(t, StartMariaDB(t), url)
	opt := rpcping.Options{ReplyTo: replyTo}
	on := func(url string) func(context.Context) rpcping.Answer {
		other := transport(t, nova.Write("other.conf", url), "nova")
		return func(ctx context.Context) rpcping.Answer {
			return rpcping.Ping(ctx, other, "scheduler", nova.Host, opt)
		}
	}
	bus := transport(t, nova.Conf, "nova")
	ping := func(topic, host string) func(context.Context) rpcping.Answer {
		return func(ctx context.Context) rpcping.Answer { return rpcping.Ping(ctx, bus, topic, host, opt) }
	}
	nova.StartConductor().Await(3*time.Minute, "ping", alive(ping("conductor", nova.Host)))
	scheduler := nova.StartScheduler()
	scheduler.Await(3*time.Minute, "ping", alive(ping("scheduler", nova.Host)))

	t.Run("running", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host))
	})
	t.Run("exception", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Failure, func(ctx context.Context) rpcping.Answer {
			return rpcping.ServerPing(ctx, bus, "scheduler", nova.Host, opt)
		})
	})
	t.Run("host that never existed", func(t *testing.T) {
		check(t, time.Second, rpcping.NoRoute, ping("scheduler", "nowhere"))
		if _, found := qpidQueues(t, qpidd)["exclusive.nova.scheduler.nowhere"]; found {
			t.Error("asking made the queue")
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		closed := broker.Start(t, broker.Options{Args: patterns, Users: map[string]string{"nova": "right"}, Mechs: "PLAIN"})
		a := check(t, 5*time.Second, rpcping.Refused, on(fmt.Sprintf("amqp://nova:hunter2@127.0.0.1:%d/", closed.Port)))
		if strings.Contains(a.Reason(), "hunter2") {
			t.Error("the reason tells the password")
		}
		check(t, 5*time.Second, rpcping.NoRoute, on(fmt.Sprintf("amqp://nova:right@127.0.0.1:%d/", closed.Port)))
	})
	t.Run("broker without queue patterns", func(t *testing.T) {
		bare := broker.Start(t, broker.Options{})
		a := check(t, 5*time.Second, rpcping.Refused, on(fmt.Sprintf("amqp://127.0.0.1:%d/", bare.Port)))
		if !strings.Contains(a.Reason(), "--queue-patterns") {
			t.Error("the reason does not say what to do")
		}
	})
	t.Run("broker without management", func(t *testing.T) {
		bare := broker.Start(t, broker.Options{Args: append([]string{"--mgmt-enable", "no"}, patterns...)})
		check(t, time.Second, rpcping.Silent, on(fmt.Sprintf("amqp://127.0.0.1:%d/", bare.Port)))
	})
	t.Run("one of three brokers", func(t *testing.T) {
		check(t, 3*time.Second, rpcping.Answered, on(fmt.Sprintf("amqp://127.0.0.1:%d,%s,127.0.0.1:%d/", Ports(t, 1)[0], listenSilently(t), qpidd.Port)))
	})
	t.Run("many pings leave nothing behind", func(t *testing.T) {
		before := qpidQueues(t, qpidd)
		for range 200 {
			if a := ping("scheduler", nova.Host)(t.Context()); a.State != rpcping.Answered {
				t.Fatal(a.Reason())
			}
		}
		after := qpidQueues(t, qpidd)
		if len(after) > len(before)+1 {
			t.Errorf("%d queues, %d before", len(after), len(before))
		}
		for name, depth := range after {
			if depth != 0 {
				t.Errorf("queue %s holds %d", name, depth)
			}
		}
	})
	t.Run("frozen", func(t *testing.T) {
		before := len(scheduler.Tail(1 << 20))
		scheduler.Freeze()
		for range 3 {
			check(t, time.Second, rpcping.Silent, ping("scheduler", nova.Host))
		}
		scheduler.Thaw()
		check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host))
		if log := scheduler.Tail(1 << 20)[before:]; strings.Contains(log, "ERROR") || strings.Contains(log, "WARNING") {
			t.Errorf("the late replies troubled the service:\n%s", log)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		scheduler.Kill()
		queue := "exclusive.nova.scheduler." + nova.Host
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if _, found := qpidQueues(t, qpidd)[queue]; !found {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the broker keeps %s, whose owner is dead", queue)
			}
		}
		check(t, 5*time.Second, rpcping.NoRoute, ping("scheduler", nova.Host))
	})
	t.Run("broker frozen", func(t *testing.T) {
		qpidd.Signal(syscall.SIGSTOP)
		check(t, time.Second, rpcping.BrokerHung, ping("conductor", nova.Host))
		qpidd.Signal(syscall.SIGCONT)
		check(t, 5*time.Second, rpcping.Answered, ping("conductor", nova.Host))
	})
	t.Run("broker killed", func(t *testing.T) {
		qpidd.Kill()
		check(t, time.Second, rpcping.BrokerUnreachable, ping("conductor", nova.Host))
	})
}

// qpidQueues lists the depth of every queue but the subscriptions that come and go.
func qpidQueues(t *testing.T, b *broker.Broker) map[string]int64 {
	t.Helper()
	conn, a := amqp.Connect(t.Context(), amqp.Target{Address: b.Addr()})
	if conn == nil {
		t.Fatal(a.Reason())
	}
	defer conn.Close()
	console, err := qmf.New(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close(t.Context())
	queues, err := console.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	depths := map[string]int64{}
	for _, q := range queues {
		if strings.Contains(q.Name, ".") {
			depths[q.Name] = q.Messages
		}
	}
	return depths
}

func TestHavanaOnQpidd(t *testing.T) {
	for _, topology := range []int{1, 2} {
		t.Run(fmt.Sprintf("topology %d", topology), func(t *testing.T) {
			qpidd := startQpidd(t, broker.Options{})
			ping := func(host string) func(context.Context) rpcping.Answer {
				bus := oslo.Transport{
					Driver: oslo.Qpid, Brokers: []oslo.Broker{{Host: "127.0.0.1", Port: qpidd.Port}},
					Topology: topology, Exchange: "nova",
				}
				return func(ctx context.Context) rpcping.Answer {
					return rpcping.Ping(ctx, bus, "consoleauth", host, rpcping.Options{ReplyTo: replyTo})
				}
			}
			havana := startHavana(t, qpidd, topology, "consoleauth.node1")
			if a := check(t, 5*time.Second, rpcping.Answered, ping("node1")); string(a.Result) != `"pong"` {
				t.Errorf("result %s", a.Result)
			}
			check(t, time.Second, rpcping.NoRoute, ping("nowhere"))
			havana.mute.Store(true)
			check(t, time.Second, rpcping.Silent, ping("node1"))
			havana.mute.Store(false)
			before := len(qpidQueues(t, qpidd))
			for range 50 {
				if a := ping("node1")(t.Context()); a.State != rpcping.Answered {
					t.Fatal(a.Reason())
				}
			}
			if after := len(qpidQueues(t, qpidd)); after != before {
				t.Errorf("%d queues, %d before", after, before)
			}
			havana.conn.Close()
			check(t, time.Second, rpcping.NoRoute, ping("node1"))
			qpidd.Signal(syscall.SIGSTOP)
			check(t, time.Second, rpcping.BrokerHung, ping("node1"))
			qpidd.Kill()
			check(t, time.Second, rpcping.BrokerUnreachable, ping("node1"))
		})
	}
}

// startHavana subscribes as impl_qpid does and answers as it does, seen from
// AMQP 1.0: a reply is a map with binary strings, followed by an ending.
func startHavana(t *testing.T, b *broker.Broker, topology int, server string) *havana {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background() // its connection outlives the test's own context
	conn, a := amqp.Connect(ctx, amqp.Target{Address: b.Addr()})
	if conn == nil {
		t.Fatal(a.Reason())
	}
	h := &havana{conn: conn}
	t.Cleanup(func() { conn.Close() })
	session, err := conn.NewSession(ctx, nil)
	must(err)
	source, opts := server, &goamqp.ReceiverOptions{Credit: 1}
	if topology == 1 {
		console, err := qmf.New(ctx, conn)
		must(err)
		defer console.Close(ctx)
		for _, object := range [][2]string{{"exchange", "nova"}, {"queue", server}, {"binding", "nova/" + server + "/" + server}} {
			properties := map[string]any{}
			if object[0] == "exchange" {
				properties["exchange-type"] = "topic"
			}
			_, err := console.Call(ctx, qmf.BrokerName, "create", map[string]any{
				"type": object[0], "name": object[1], "properties": properties, "strict": true,
			})
			must(err)
		}
	} else {
		source = "amq.topic"
		opts.Filters = []goamqp.LinkFilter{goamqp.NewLinkFilter("apache.org:legacy-amqp-topic-binding:string", 0x0000468C00000001, "topic/nova/"+server)}
	}
	in, err := session.NewReceiver(ctx, source, opts)
	must(err)
	out, err := session.NewSender(ctx, "amq.direct", nil)
	must(err)
	go h.serve(ctx, topology, in, out)
	return h
}

type havana struct {
	conn *goamqp.Conn
	mute atomic.Bool // takes requests, sends no replies
}

// serve ends with the connection.
func (h *havana) serve(ctx context.Context, topology int, in *goamqp.Receiver, out *goamqp.Sender) {
	for {
		msg, err := in.Receive(ctx, nil)
		if err != nil || in.AcceptMessage(ctx, msg) != nil {
			return
		}
		var envelope struct {
			Message string `json:"oslo.message"`
		}
		var request struct {
			MsgID  string `json:"_msg_id"`
			ReplyQ string `json:"_reply_q"`
		}
		if h.mute.Load() || json.Unmarshal(msg.GetData(), &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &request) != nil {
			continue
		}
		key := request.ReplyQ
		if topology == 1 { // it takes the address apart
			key = strings.TrimPrefix(key, "amq.direct/")
		}
		for _, reply := range []string{
			fmt.Sprintf(`{"result": "pong", "failure": null, "_msg_id": %q}`, request.MsgID),
			fmt.Sprintf(`{"result": null, "failure": null, "ending": true, "_msg_id": %q}`, request.MsgID),
		} {
			err := out.Send(ctx, &goamqp.Message{
				Properties: &goamqp.MessageProperties{Subject: &key},
				Value:      map[string]any{"oslo.version": []byte("2.0"), "oslo.message": []byte(reply)},
			}, nil)
			if err != nil {
				return
			}
		}
	}
}

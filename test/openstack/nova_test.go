package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/test/needs"
)

func transport(t *testing.T, conf, exchange string) oslo.Transport {
	t.Helper()
	cfg, err := oslo.Load(oslo.File(conf))
	if err != nil {
		t.Fatal(err)
	}
	bus, err := cfg.Transport(exchange)
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// replyTo is the name of the reply queues that the tests' pings use.
const replyTo = "openstack-ocf.node1.test"

// alive waits for a reply, as a start would.
func alive(call func(context.Context) rpcping.Answer) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if a := call(ctx); !a.Alive() {
			return errors.New(a.Reason())
		}
		return nil
	}
}

// check makes one call within limit and compares what it found.
func check(t *testing.T, limit time.Duration, want rpcping.State, call func(context.Context) rpcping.Answer) rpcping.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	a := call(ctx)
	t.Log(a.Reason())
	if a.State != want {
		t.Errorf("got %v, want %v: %s", a.State, want, a.Reason())
	}
	if took := time.Since(start); took > limit+500*time.Millisecond {
		t.Errorf("took %v, the limit is %v", took, limit)
	}
	return a
}

// heartbeat reads a service's row from the database that its config file names.
func heartbeat(ctx context.Context, conf, query, host, binary string) (oslo.Beat, error) {
	cfg, err := oslo.Load(oslo.File(conf))
	if err != nil {
		return oslo.Beat{}, err
	}
	db, err := cfg.Database()
	if err != nil {
		return oslo.Beat{}, err
	}
	conn, err := sqlping.Open(ctx, sqlping.Target{Address: db.Address(), User: db.User, Password: db.Password.Reveal(), Database: db.Name})
	if err != nil {
		return oslo.Beat{}, err
	}
	defer conn.Close()
	rows, err := conn.Query(ctx, "read the heartbeat", query, host, binary)
	if err != nil {
		return oslo.Beat{}, err
	}
	return oslo.ParseBeat(rows)
}

// growing waits for two reports, the later one fresh.
func growing(t *testing.T, beat func(context.Context) (oslo.Beat, error)) func(context.Context) error {
	var first oslo.Beat
	return func(ctx context.Context) error {
		b, err := beat(ctx)
		switch {
		case err != nil:
			return err
		case first.Mark == 0:
			first = b
			return errors.New("one report only")
		case b.Mark <= first.Mark:
			return fmt.Errorf("still at report %d", b.Mark)
		case b.Disabled || b.ForcedDown || b.Age < 0 || b.Age > 10*time.Second:
			t.Errorf("got %+v", b)
		}
		return nil
	}
}

func TestNovaOnRabbit(t *testing.T) {
	needs.Turn(t, 1, 2)
	rabbit := StartRabbit(t)
	mariadb := StartMariaDB(t)
	nova := NewNova(t, mariadb, rabbit.TransportURL())
	bus := transport(t, nova.Conf, "nova")
	opt := rpcping.Options{ReplyTo: replyTo}
	ping := func(topic, host string) func(context.Context) rpcping.Answer {
		return func(ctx context.Context) rpcping.Answer { return rpcping.Ping(ctx, bus, topic, host, opt) }
	}
	token := func(ctx context.Context) rpcping.Answer {
		return rpcping.Call(ctx, bus, rpcping.Request{
			Topic: "consoleauth", Host: nova.Host, Method: "check_token", Version: "2.1",
			Args: map[string]any{"token": "probe-openstack-ocf"},
		}, opt)
	}
	on := func(url string) func(context.Context) rpcping.Answer {
		other := transport(t, nova.Write("other.conf", url), "nova")
		return func(ctx context.Context) rpcping.Answer {
			return rpcping.Ping(ctx, other, "scheduler", nova.Host, opt)
		}
	}
	nova.StartConductor().Await(3*time.Minute, "ping", alive(ping("conductor", nova.Host)))
	scheduler := nova.StartScheduler()
	consoleauth := nova.StartConsoleauth()
	scheduler.Await(3*time.Minute, "ping", alive(ping("scheduler", nova.Host)))
	consoleauth.Await(3*time.Minute, "ping", alive(token))

	// The order matters: each step leaves things as the next one needs them.
	t.Run("running", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host))
	})
	t.Run("check_token", func(t *testing.T) {
		if a := check(t, 5*time.Second, rpcping.Answered, token); string(a.Result) != "null" {
			t.Errorf("result %s, want null", a.Result)
		}
	})
	t.Run("exception", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Failure, func(ctx context.Context) rpcping.Answer {
			return rpcping.ServerPing(ctx, bus, "scheduler", nova.Host, opt)
		})
	})
	t.Run("host that never existed", func(t *testing.T) {
		check(t, time.Second, rpcping.NoRoute, ping("scheduler", "nowhere"))
	})
	t.Run("heartbeat row", func(t *testing.T) {
		for _, query := range []string{oslo.NovaServices, oslo.NovaServicesHavana} {
			beat := func(ctx context.Context) (oslo.Beat, error) {
				return heartbeat(ctx, nova.Conf, query, nova.Host, "nova-scheduler")
			}
			scheduler.Await(30*time.Second, "heartbeat that grows", growing(t, beat))
		}
		mariadb.Exec("UPDATE nova.services SET disabled = 1, forced_down = 1 WHERE `binary` = 'nova-consoleauth'")
		if b, err := heartbeat(t.Context(), nova.Conf, oslo.NovaServices, nova.Host, "nova-consoleauth"); err != nil || !b.Disabled || !b.ForcedDown {
			t.Errorf("got %+v, %v", b, err)
		}
		mariadb.Exec("UPDATE nova.services SET deleted = id WHERE `binary` = 'nova-consoleauth'")
		if b, err := heartbeat(t.Context(), nova.Conf, oslo.NovaServices, nova.Host, "nova-consoleauth"); !errors.Is(err, oslo.ErrNoRow) {
			t.Errorf("deleted: got %+v, %v", b, err)
		}
		// Heat is not installed: its table as its model has it, as far as it is asked.
		mariadb.Exec("CREATE TABLE nova.service (`binary` varchar(255), host varchar(255), updated_at datetime, deleted_at datetime)",
			"INSERT INTO nova.service VALUES ('heat-engine', 'node1', UTC_TIMESTAMP() - INTERVAL 30 SECOND, NULL), ('heat-engine', 'node1', UTC_TIMESTAMP() - INTERVAL 3 SECOND, NULL),"+
				" ('heat-engine', 'node1', UTC_TIMESTAMP(), UTC_TIMESTAMP()), ('heat-engine', 'node1', NULL, NULL)")
		if b, err := heartbeat(t.Context(), nova.Conf, oslo.HeatServices, nova.Host, "heat-engine"); err != nil || b.Mark == 0 || b.Age < 3*time.Second || b.Age > 20*time.Second {
			t.Errorf("heat: got %+v, %v", b, err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		a := check(t, time.Second, rpcping.Refused, on(strings.Replace(rabbit.TransportURL(), ":guest@", ":hunter2@", 1)))
		if strings.Contains(a.Reason(), "hunter2") {
			t.Error("the reason tells the password")
		}
	})
	t.Run("wrong virtual host", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Refused, on(rabbit.TransportURL()+"elsewhere"))
	})
	t.Run("one of three brokers", func(t *testing.T) {
		ports := Ports(t, 1)
		hung := listenSilently(t)
		url := fmt.Sprintf("rabbit://guest:guest@127.0.0.1:%d,guest:guest@%s,guest:guest@%s/", ports[0], hung, rabbit.Address())
		check(t, 4*time.Second, rpcping.Answered, on(url))
	})
	t.Run("many pings leave nothing behind", func(t *testing.T) {
		before := queues(rabbit)
		var together sync.WaitGroup
		for range 3 { // at once, as an operator's check beside the cluster's
			together.Go(func() { check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host)) })
		}
		together.Wait()
		for range 200 {
			if a := ping("scheduler", nova.Host)(t.Context()); a.State != rpcping.Answered {
				t.Fatal(a.Reason())
			}
		}
		after := queues(rabbit)
		for name, depth := range after {
			_, known := before[name]
			if ours := strings.HasPrefix(name, replyTo); (!known && !ours) || depth != 0 {
				t.Errorf("queue %s holds %d, was there before: %v", name, depth, known)
			}
		}
		if extra := len(after) - len(before); extra > 2 {
			t.Errorf("%d more queues after the pings", extra)
		}
	})
	t.Run("Havana's reply exchange", func(t *testing.T) {
		answerAsHavana(t, rabbit, "consoleauth.havana")
		if a := check(t, 5*time.Second, rpcping.Answered, ping("consoleauth", "havana")); string(a.Result) != `"pong"` {
			t.Errorf("result %s", a.Result)
		}
	})
	t.Run("frozen", func(t *testing.T) {
		scheduler.Freeze()
		for range 3 {
			check(t, time.Second, rpcping.Silent, ping("scheduler", nova.Host))
		}
		scheduler.Thaw()
		// The late replies find their queue, so the service need not try again.
		rabbit.Await(time.Minute, "late replies", func(context.Context) error {
			if depth := queues(rabbit)[replyTo]; depth != 3 {
				return fmt.Errorf("%d replies", depth)
			}
			return nil
		})
		check(t, time.Second, rpcping.Answered, ping("scheduler", nova.Host))
		for name, depth := range queues(rabbit) {
			if depth != 0 {
				t.Errorf("queue %s holds %d", name, depth)
			}
		}
	})
	t.Run("stopped", func(t *testing.T) {
		consoleauth.Term()
		select {
		case <-consoleauth.Gone():
		case <-time.After(15 * time.Second):
			t.Fatal("consoleauth did not end")
		}
		check(t, time.Second, rpcping.NoRoute, token)
		if depth := queues(rabbit)["consoleauth."+nova.Host]; depth != 0 {
			t.Errorf("%d requests wait for the next start", depth)
		}
	})
	t.Run("broker out of memory", func(t *testing.T) {
		rabbit.Ctl("set_vm_memory_high_watermark", "0.00001")
		check(t, 2*time.Second, rpcping.BrokerHung, ping("scheduler", nova.Host))
		rabbit.Ctl("set_vm_memory_high_watermark", "0.6")
		check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host))
	})
	t.Run("broker frozen", func(t *testing.T) {
		rabbit.Freeze()
		check(t, time.Second, rpcping.BrokerHung, ping("scheduler", nova.Host))
		rabbit.Thaw()
		check(t, 5*time.Second, rpcping.Answered, ping("scheduler", nova.Host))
	})
	t.Run("broker killed", func(t *testing.T) {
		rabbit.Kill()
		check(t, time.Second, rpcping.BrokerUnreachable, ping("scheduler", nova.Host))
		rabbit.Start()
		check(t, time.Second, rpcping.NoRoute, ping("scheduler", nova.Host))
		scheduler.Await(3*time.Minute, "ping", alive(ping("scheduler", nova.Host)))
	})
}

// answerAsHavana serves one request as nova's impl_kombu of that time: the
// reply goes to an exchange of the reply queue's name, then comes an ending.
func answerAsHavana(t *testing.T, r *Rabbit, server string) {
	t.Helper()
	conn, err := amqp091.Dial(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := ch.QueueDeclare(server, false, true, false, false, nil)
	err2 := ch.QueueBind(server, server, "nova", false, nil)
	requests, err3 := ch.Consume(server, "", true, false, false, false, nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	go func() {
		for r := range requests {
			var envelope struct {
				Message string `json:"oslo.message"`
			}
			var request struct {
				MsgID  string `json:"_msg_id"`
				ReplyQ string `json:"_reply_q"`
			}
			if json.Unmarshal(r.Body, &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &request) != nil {
				continue
			}
			if ch.ExchangeDeclare(request.ReplyQ, "direct", false, true, false, false, nil) != nil {
				return
			}
			for _, reply := range []map[string]any{
				{"result": "pong", "failure": nil, "_msg_id": request.MsgID},
				{"result": nil, "failure": nil, "ending": true, "_msg_id": request.MsgID},
			} {
				message, _ := json.Marshal(reply)
				body, _ := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(message)})
				_ = ch.PublishWithContext(context.Background(), request.ReplyQ, request.ReplyQ, false, false, amqp091.Publishing{ContentType: "application/json", Body: body})
			}
		}
	}()
}

// queues lists the depth of every queue, messages not yet acknowledged included.
func queues(r *Rabbit) map[string]int {
	r.t.Helper()
	depths := map[string]int{}
	for line := range strings.Lines(r.Ctl("list_queues", "name", "messages")) {
		name, depth, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if n, err := strconv.Atoi(depth); err == nil {
			depths[name] = n
		}
	}
	return depths
}

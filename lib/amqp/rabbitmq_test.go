package amqp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/test/openstack"
)

// RabbitMQ is answered by Ping, is foreign to RoundTrip, and keeps nothing of either.
func TestRabbitMQ(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: needs 10 s: without SHORT=1")
	}
	r := openstack.StartRabbit(t, "rabbitmq_amqp1_0")
	state := func() string {
		return strings.Join([]string{
			r.Ctl("list_queues", "name"), r.Ctl("list_exchanges", "name"), r.Ctl("list_bindings"),
		}, "\n")
	}
	before := state()
	guest := amqp.Target{Address: r.Address(), User: "guest", Password: "guest"}
	with := func(change func(*amqp.Target)) amqp.Target {
		target := guest
		change(&target)
		return target
	}
	for _, tc := range []struct {
		name        string
		target      amqp.Target
		ping, round amqp.Kind
	}{
		{"login", guest, amqp.OK, amqp.OtherBroker},
		{"virtual host", with(func(t *amqp.Target) { t.Hostname = "vhost:/" }), amqp.OK, amqp.OtherBroker},
		{"no such virtual host", with(func(t *amqp.Target) { t.Hostname = "vhost:none" }), amqp.Denied, amqp.OtherBroker},
		{"expected", with(func(t *amqp.Target) { t.Product = "RabbitMQ" }), amqp.OK, amqp.OtherBroker},
		{"not expected", with(func(t *amqp.Target) { t.Product = amqp.QpidProduct }), amqp.OtherBroker, amqp.OtherBroker},
		// RabbitMQ takes 3 s to say no.
		{"wrong password", with(func(t *amqp.Target) { t.Password = "not-sesame" }), amqp.BadLogin, amqp.BadLogin},
		{"anonymous", amqp.Target{Address: r.Address()}, amqp.OK, amqp.OtherBroker},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := ask(t, amqp.Ping, tc.target, 5*time.Second)
			if a.Kind != tc.ping {
				t.Errorf("Ping: %s, want %s", a.Kind, tc.ping)
			}
			if a.Kind == amqp.OK && (a.Product != "RabbitMQ" || a.Version == "") {
				t.Errorf("product %q %q", a.Product, a.Version)
			}
			if a := ask(t, amqp.RoundTrip, tc.target, 5*time.Second); a.Kind != tc.round {
				t.Errorf("RoundTrip: %s, want %s", a.Kind, tc.round)
			}
		})
	}
	if after := state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if left := r.Ctl("list_connections", "name"); strings.Contains(left, "127.0.0.1") {
		t.Errorf("connections left: %s", left)
	}
}

// Without its plugin RabbitMQ speaks AMQP 0-9-1 only.
func TestRabbitMQWithoutPlugin(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: needs 10 s: without SHORT=1")
	}
	r := openstack.StartRabbit(t)
	a := ask(t, amqp.Ping, amqp.Target{Address: r.Address()}, 5*time.Second)
	if a.Kind != amqp.OtherProtocol || !strings.Contains(a.Reason(), "rabbitmq_amqp1_0") {
		t.Errorf("got %s", a.Reason())
	}
}

package openstack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
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

func TestX(t *testing.T) {
	s := time.Now()
	since := func(what string) { t.Log(what, time.Since(s)); s = time.Now() }
	r := StartRabbit(t)
	since("rabbit")
	db := StartMariaDB(t)
	since("mariadb")
	n := NewNova(t, db, r.TransportURL())
	since("nova-manage")
	cond := n.StartConductor()
	sch := n.StartScheduler()
	auth := n.StartConsoleauth()
	bus := transport(t, n.Conf, "nova")
	ping := func(topic string) func(context.Context) error {
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			a := rpcping.Ping(ctx, bus, topic, n.Host, rpcping.Options{ReplyTo: "openstack-ocf.node1." + topic})
			if !a.Alive() {
				return fmt.Errorf("%s", a.Reason())
			}
			t.Log(a.Reason())
			return nil
		}
	}
	cond.Await(30*time.Second, "ping", ping("conductor"))
	since("cond")
	sch.Await(30*time.Second, "ping", ping("scheduler"))
	since("sched")
	auth.Await(30*time.Second, "ping", ping("consoleauth"))
	since("auth")
}

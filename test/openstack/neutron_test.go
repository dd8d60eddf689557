package openstack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/needs"
)

func TestNeutronOnRabbit(t *testing.T) {
	needs.Turn(t, 0, 2)
	ovs := StartSwitch(t)
	rabbit := StartRabbit(t)
	mariadb := StartMariaDB(t)
	neutron := NewNeutron(t, mariadb, rabbit.TransportURL(), ovs)
	server := neutron.StartServer()
	bus := transport(t, neutron.Conf, "neutron")
	ping := func(topic string) func(context.Context) rpcping.Answer {
		return func(ctx context.Context) rpcping.Answer {
			return rpcping.ServerPing(ctx, bus, topic, neutron.Host, rpcping.Options{ReplyTo: replyTo})
		}
	}
	beat := func(ctx context.Context) (oslo.Beat, error) {
		return heartbeat(ctx, neutron.Conf, oslo.NeutronAgents, neutron.Host, "neutron-openvswitch-agent")
	}
	const (
		own   = "q-agent-notifier-tunnel-update" // only the Open vSwitch agent listens here
		other = "q-agent-notifier-network-update"
	)
	agent, l3 := neutron.StartOVSAgent(), neutron.StartL3Agent()
	agent.Await(3*time.Minute, "ping", alive(ping(own)))
	l3.Await(3*time.Minute, "ping", alive(ping("l3_agent")))
	l3.Await(3*time.Minute, "subscription", alive(ping(other)))

	t.Run("running", func(t *testing.T) {
		check(t, 5*time.Second, rpcping.Answered, ping(own))
		check(t, 5*time.Second, rpcping.Answered, ping("l3_agent"))
	})
	t.Run("requests that do nothing, for a service without rpc_ping_enabled", func(t *testing.T) {
		before := len(agent.Tail(1<<20)) + len(l3.Tail(1<<20))
		for _, req := range []rpcping.Request{
			{Topic: own, Method: "add_fdb_entries", Args: map[string]any{"fdb_entries": map[string]any{}}},
			{Topic: "l3_agent", Method: "routers_updated", Args: map[string]any{"routers": []string{}}},
		} {
			req.Host, req.Version = neutron.Host, "1.0"
			check(t, 5*time.Second, rpcping.Answered, func(ctx context.Context) rpcping.Answer {
				return rpcping.Call(ctx, bus, req, rpcping.Options{ReplyTo: replyTo})
			})
		}
		if log := agent.Tail(1<<20) + l3.Tail(1<<20); len(log) > before && strings.Contains(log[before:], "ERROR") {
			t.Errorf("the service complains:\n%s", log)
		}
	})
	t.Run("heartbeat row", func(t *testing.T) {
		agent.Await(30*time.Second, "heartbeat that grows", growing(t, beat))
	})
	t.Run("frozen", func(t *testing.T) {
		agent.Freeze()
		check(t, time.Second, rpcping.Silent, ping(own))
		// The trap: the L3 agent answers on a topic that sounds like the other's.
		check(t, time.Second, rpcping.Answered, ping(other))
		agent.Await(15*time.Second, "stale heartbeat", func(ctx context.Context) error {
			b, err := beat(ctx)
			if err == nil && b.Age < 4*time.Second {
				err = fmt.Errorf("age %v", b.Age)
			}
			return err
		})
		check(t, time.Second, rpcping.Answered, ping("l3_agent"))
		agent.Thaw()
		agent.Await(15*time.Second, "ping", alive(ping(own)))
	})
	t.Run("server frozen", func(t *testing.T) {
		server.Freeze()
		check(t, 2*time.Second, rpcping.Answered, ping(own))
		server.Thaw()
	})
	t.Run("disabled by the admin", func(t *testing.T) {
		mariadb.Exec("UPDATE neutron.agents SET admin_state_up = 0")
		if b, err := beat(t.Context()); err != nil || !b.Disabled {
			t.Errorf("got %+v, %v", b, err)
		}
	})
	t.Run("vswitchd dead", func(t *testing.T) {
		// Nothing of this is seen on the bus: an agent has to look for the daemon itself.
		ovs.Daemon.Kill()
		check(t, 2*time.Second, rpcping.Answered, ping(own))
	})
	t.Run("stopped", func(t *testing.T) {
		agent.Kill()
		check(t, time.Second, rpcping.NoRoute, ping(own))
	})
}

package qpidd

import (
	"context"
	"fmt"
	"testing"

	goamqp "github.com/Azure/go-amqp"

	agent "github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
)

// declare makes a queue with the given arguments.
func (h *host) declare(ctx context.Context, conn *goamqp.Conn, queue string, args map[string]any) {
	h.T.Helper()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		h.T.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Call(ctx, qmf.BrokerName, "create", map[string]any{"type": "queue", "name": queue, "properties": args, "strict": true}); err != nil {
		h.T.Fatalf("declare %s: %v", queue, err)
	}
}

func TestContract(t *testing.T) {
	newHost(t).Contract(t, agent.New, ocftest.Params{"degraded_queue_percent": "many"}, ocftest.Params{"port": "many"})
}

func TestOCFTester(t *testing.T) {
	for name, more := range map[string][]string{
		"primitive":  {},
		"promotable": {"ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d", port)},
	} {
		t.Run(name, func(t *testing.T) { newHost(t).With(more...).OCFTester() })
	}
}

func TestNoForks(t *testing.T) { newHost(t).NoForks(0, 10, 20) }

func TestMemory(t *testing.T) { newHost(t).Memory(20) }

package haproxy

import (
	"testing"

	agent "github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

func TestContract(t *testing.T) {
	newHost(t).Contract(t, agent.New, ocftest.Params{"soft_stop": "long"}, ocftest.Params{"pid": "haproxy.pid"})
}

func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }

func TestNoForks(t *testing.T) { newHost(t).checked().NoForks(0, 10) }

func TestMemory(t *testing.T) { newHost(t).checked().Memory(10) }

// checked is the agent that asks one of the servers through HAProxy too.
func (h *host) checked() *box.Agent {
	h.servers()
	return h.With("check_url", url)
}

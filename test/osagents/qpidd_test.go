package osagents

import (
	"fmt"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/openstack"
)

// TestQpiddWithoutQueuePatterns: the service connects, reports, and is
// refused every subscription; only the bus tells.
func TestQpiddWithoutQueuePatterns(t *testing.T) {
	box.Need(t)
	qpidd := broker.Start(t, broker.Options{})
	t.Logf("broker: %s", qpidd.Kind())
	nova := openstack.NewNova(t, openstack.StartMariaDB(t), fmt.Sprintf("amqp://127.0.0.1:%d/", qpidd.Port))
	s := newService(t, "nova-conductor", ocftest.Params{"config": nova.Conf})
	// It starts with a handicap, after it had half of the time for coming right.
	s.run.Want(t, ocftest.Call{Action: ocf.Start, Params: s.p}, ocf.OK)
	s.monitor(10, ocf.Degraded, "--queue-patterns")
	s.want(ocf.Stop, ocf.OK)
}

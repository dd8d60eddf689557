package status

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestUnheeded takes the address away while what stands behind it still starts, in the transition that has begun the address's only
// monitor: Pacemaker passes over that failure, and without the agent's help would bring the address back a quarter of an hour later.
func TestUnheeded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, cluster.Config{Nodes: 3})
	n := c.Nodes()[0]
	const group = `
		pcs resource create address ocf:openstack:floating-ip ip=` + scenario.FloatingIP + ` op monitor interval=2s --group all
		pcs resource create slow ocf:pacemaker:Dummy op_sleep=10 op start timeout=300 op stop timeout=300 op monitor interval=3600 timeout=300 --group all --disabled
		pcs resource disable all --wait=120
		pcs resource enable slow
		pcs resource enable all`
	sh(t, n, group)
	// The monitor has begun, and the start has not ended.
	waits(t, n, `cibadmin --query --scope status | grep -o 'id="address_monitor_2000".*rc-code="0"' && ! cibadmin --query --scope status | grep 'operation_key="slow_start_0".*op-status="0"' && echo amid`, "amid")
	at, err := c.WaitRunning(t.Context(), "address")
	if err != nil {
		t.Fatal(err)
	}
	sh(t, c.Node(at), "ip addr del "+scenario.FloatingIP+"/24 dev eth0")
	failures := waits(t, n, "crm_mon --one-shot --failcounts --inactive", "fail-count=1", "is not on this node")
	if !strings.Contains(failures, "fail-count=1") {
		t.Error(failures)
	}
	waits(t, c.Node(at), "ip -oneline addr show to "+scenario.FloatingIP, scenario.FloatingIP)
	waits(t, n, "crm_mon --one-shot --failcounts", "fail-count=1 ")
}

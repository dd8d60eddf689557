package status

import (
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// waiting is an agent whose start waits for a file.
const waiting = `mkdir -p /usr/lib/ocf/resource.d/test && cat >/usr/lib/ocf/resource.d/test/waiting <<'END'
#!/bin/sh
case $1 in
start) until [ -e /run/go ]; do sleep 0.1; done; : >/run/waiting ;;
stop) rm -f /run/waiting ;;
monitor) [ -e /run/waiting ] || exit 7 ;;
meta-data) echo '<resource-agent name="waiting" version="1"><version>1.1</version><longdesc>It waits.</longdesc><shortdesc>It waits</shortdesc><parameters/>
	<actions><action name="start" timeout="300s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="3600s"/><action name="meta-data" timeout="5s"/></actions></resource-agent>' ;;
esac
END
chmod +x /usr/lib/ocf/resource.d/test/waiting`

// TestUnheeded takes the address away while what stands behind it still starts, in the transition that has begun the address's only
// monitor: Pacemaker passes over that failure, and without the agent's help would bring the address back a quarter of an hour later.
func TestUnheeded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, cluster.Config{Nodes: 3})
	for _, n := range c.Nodes() {
		sh(t, n, waiting)
	}
	n := c.Nodes()[0]
	sh(t, n, `
		pcs resource create address ocf:openstack:floating-ip ip=`+scenario.FloatingIP+` op monitor interval=2s --group all --disabled
		pcs resource create slow ocf:test:waiting --group all
		pcs resource enable address`)
	waits(t, n, `cibadmin --query --scope status | grep 'id="address_monitor_2000".*rc-code="0"'`, "address_monitor_2000")
	at, err := c.WaitRunning(t.Context(), "address")
	if err != nil {
		t.Fatal(err)
	}
	sh(t, c.Node(at), "ip addr del "+scenario.FloatingIP+"/24 dev eth0")
	waits(t, n, "crm_mon --one-shot --failcounts --inactive", "fail-count=1", "is not on this node")
	for _, n := range c.Nodes() {
		sh(t, n, "touch /run/go")
	}
	waits(t, c.Node(at), "ip -oneline addr show to "+scenario.FloatingIP, scenario.FloatingIP)
	sh(t, n, "crm_mon --one-shot --failcounts | grep 'fail-count=1 '") // once
}

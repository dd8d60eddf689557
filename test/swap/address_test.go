package swap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	oldAddress = "ocf:heartbeat:IPaddr2"
	ourAddress = "ocf:openstack:floating-ip"
)

// bare is a cluster without resources, and pcs on it, which waits until the cluster is done.
func bare(t *testing.T) (c *cluster.Cluster, pcs func(args ...string)) {
	t.Helper()
	cfg, err := scenario.Config(built.Binary(t))
	must(t, err)
	cfg.Root = scenario.Root(t)
	c = cluster.New(t, cfg)
	return c, func(args ...string) {
		t.Helper()
		c.Nodes()[0].MustExec(step(t), t, append([]string{"pcs"}, args...)...)
		must(t, c.WaitIdle(step(t)))
	}
}

// TestAddress swaps the floating IP of IPaddr2, forth and back and forth again: the kernel tells of no change. It is swapped
// only by its name. Then the new agent brings it back, and moves it.
func TestAddress(t *testing.T) {
	t.Parallel()
	c, pcs := bare(t)
	pcs("resource", "create", "address", oldAddress, "ip="+scenario.FloatingIP, "arp_count=2", "op", "monitor", "interval=2s")
	pcs("resource", "create", "other", oldAddress, "ip=127.5.0.9", "nic=lo", "cidr_netmask=8")
	at, err := c.WaitRunning(step(t), "address")
	must(t, err)
	on := c.Node(at)
	_, err = on.Shell(step(t), "setsid ip -t monitor address >/run/changes 2>&1 </dev/null & echo $! >/run/monitor.pid")
	must(t, err)
	t.Cleanup(func() { _, _ = on.Shell(step(t), "kill $(cat /run/monitor.pid)") })
	created := func() string {
		out, err := on.Shell(step(t), "ip -d addr show to "+scenario.FloatingIP)
		must(t, err)
		if !strings.Contains(out.Stdout, scenario.FloatingIP) {
			t.Fatalf("the address is gone: %s", out.Stdout)
		}
		return out.Stdout
	}
	before := created()

	says(t, swap(t, on, 0, "--dry-run"), "nothing")
	for _, round := range []struct {
		agent string
		args  []string
	}{{ourAddress, []string{"address"}}, {oldAddress, []string{"--undo"}}, {ourAddress, []string{"--to", "floating-ip", "address"}}} {
		says(t, swap(t, on, 0, append([]string{"--yes"}, round.args...)...), "it is the kernel's, and stays there")
		agents(t, c, map[string]string{"address": round.agent, "other": oldAddress})
	}
	changes, err := on.ReadFile(step(t), "/run/changes")
	must(t, err)
	if s := strings.TrimSpace(string(changes)); s != "" || created() != before {
		t.Errorf("while it was swapped the kernel told: %s; before:\n%s\nafter:\n%s", s, before, created())
	}

	_, err = on.Shell(step(t), "ip addr del $(ip -o addr show to "+scenario.FloatingIP+" | awk '{print $4, \"dev\", $2}')")
	must(t, err)
	must(t, c.WaitFor(step(t), func(*cluster.Status) error {
		out, err := on.Shell(step(t), "ip -o addr show to "+scenario.FloatingIP)
		if err == nil && !strings.Contains(out.Stdout, scenario.FloatingIP) {
			err = fmt.Errorf("it is not back")
		}
		return err
	}))
	pcs("resource", "cleanup", "address")
	pcs("resource", "move", "address", "--wait")
	now, err := c.WaitRunning(step(t), "address")
	must(t, err)
	if now == at {
		t.Errorf("it stays on %s", at)
	}
}

package swap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestCharm swaps the HAProxy of a control plane of Charmed OpenStack, as the charm hacluster configures it: by crmsh, on
// nodes without pcs. Then each is killed. In the end the charm's hook puts its own type back, and it is swapped again, and
// that taken back.
func TestCharm(t *testing.T) {
	needs.Turn(t, 0, 2)
	t.Parallel()
	root := scenario.Root(t)
	has(t, root, "usr/sbin/haproxy", "usr/sbin/crm")
	cfg, err := scenario.Config(built.Binary(t))
	must(t, err)
	cfg.Root, cfg.Files = root, append(cfg.Files, haproxy...)
	cfg.Properties = map[string]string{"no-quorum-policy": "stop", "cluster-recheck-interval": "60", "symmetric-cluster": "true"}
	c := cluster.New(t, cfg)
	n := c.Nodes()[0]
	for _, node := range c.Nodes() {
		node.MustExec(step(t), t, "rm", "/usr/sbin/pcs")
	}
	const id, old = "res_nova_haproxy", "lsb:haproxy"
	const primitive = "primitive " + id + ` lsb:haproxy meta migration-threshold="INFINITY" failure-timeout="5s" op monitor interval="5s"`
	configure := func(line string) {
		_, err := n.Shell(step(t), "crm -w -F configure "+line)
		must(t, err)
	}
	configure("rsc_defaults resource-stickiness=100 failure-timeout=180")
	configure("primitive res_nova_eth0_vip ocf:heartbeat:IPaddr2 params ip=" + scenario.FloatingIP + ` meta migration-threshold="INFINITY" failure-timeout="5s" op monitor timeout="20s" interval="10s" depth="0"`)
	configure("group grp_nova_vips res_nova_eth0_vip")
	configure(primitive)
	configure("clone cl_nova_haproxy " + id)
	must(t, c.WaitIdle(step(t)))
	balance := use(t, c, id, browse(t, c), "-x", "haproxy")
	if len(balance.was) != 3 {
		t.Fatalf("HAProxy runs on %v", balance.was)
	}
	swapped := func(agent string, args ...string) {
		t.Helper()
		says(t, swap(t, n, 0, append([]string{"--yes"}, args...)...), "run by its unit haproxy.service, in which its process stays", "not restarted")
		balance.untouched()
		balance.in("haproxy.service")
		agents(t, c, map[string]string{id: agent})
		restarts(t, c, "haproxy", agent == ourBalance)
	}
	swapped(ourBalance)
	for _, node := range c.Nodes() {
		balance.revived(node)
		balance.in("haproxy.service")
	}

	must(t, n.WriteFile(step(t), "/root/update", []byte(primitive+"\n"), 0o600))
	n.MustExec(step(t), t, "crm", "configure", "load", "update", "/root/update")
	must(t, c.WaitIdle(step(t)))
	agents(t, c, map[string]string{id: old})
	*balance = *use(t, c, id, balance.writer, balance.find...)
	swapped(ourBalance)
	swapped(old, "--undo")

	// The same in a group, which is cloned.
	n.MustExec(step(t), t, "crm", "-F", "configure", "delete", "--force", "cl_nova_haproxy")
	configure("primitive res_nova_first ocf:pacemaker:Dummy")
	configure("group grp_nova_haproxy res_nova_first " + id)
	configure("clone cl_nova_group grp_nova_haproxy")
	must(t, c.WaitIdle(step(t)))
	*balance = *use(t, c, id, balance.writer, balance.find...)
	swapped(ourBalance)
	swapped(old, "--undo")
}

// revived kills the service's process on a node, and wants the cluster's new agent to have started the next. The failure
// itself may be gone from the status by then, where failure-timeout is short.
func (u *used) revived(n *cluster.Node) {
	u.t.Helper()
	before := u.processes()[n.Name]
	pid, _, _ := strings.Cut(before, " ")
	n.MustExec(step(u.t), u.t, "kill", "-9", pid)
	must(u.t, u.c.WaitFor(step(u.t), func(*cluster.Status) error {
		now := u.processes()[n.Name]
		started, err := u.c.CIB(step(u.t), "//node_state[@uname='"+n.Name+"']//lrm_rsc_op[@operation='start']")
		if err == nil && (now == "" || now == before || !strings.Contains(started, u.id)) {
			err = fmt.Errorf("%s on %s: %q after %q, starts: %s", u.id, n.Name, now, before, started)
		}
		return err
	}))
	must(u.t, u.c.WaitIdle(step(u.t)))
}

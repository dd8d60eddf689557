package swap

import (
	"fmt"
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
)

const (
	oldStorage = "ocf:heartbeat:Filesystem"
	ourStorage = "ocf:openstack:shared-storage"
)

// TestStorage swaps a file system that Filesystem mounted, forth and back and forth again: it stays mounted, and in use. It is
// swapped only by its name. Then it is unmounted lazily, which the new agent does not take for an end, and moved.
func TestStorage(t *testing.T) {
	t.Parallel()
	c, pcs := bare(t)
	disk, err := c.Disk(step(t), 32<<20)
	must(t, err)
	shell := func(n *cluster.Node, format string, args ...any) string {
		t.Helper()
		out, err := n.Shell(step(t), fmt.Sprintf(format, args...))
		must(t, err)
		return out.Stdout
	}
	for _, n := range c.Nodes() {
		shell(n, "mkdir -p /srv/shared")
	}
	pcs("resource", "create", "storage", oldStorage, "device="+disk, "directory=/srv/shared", "fstype=ext4", "options=noatime", "op", "monitor", "interval=2s")
	at, err := c.WaitRunning(step(t), "storage")
	must(t, err)
	on := c.Node(at)
	// An entry of the mount table has a number that stays for as long as it is mounted.
	entry := func(on *cluster.Node) string {
		t.Helper()
		return shell(on, "grep ' /srv/shared ' /proc/self/mountinfo || true")
	}
	before := entry(on)
	shell(on, "cd /srv/shared; setsid sleep 100000 >file 2>&1 </dev/null & echo $! >/run/user.pid")
	lives := func() bool { return shell(on, "kill -0 $(cat /run/user.pid) && echo lives || true") != "" }

	says(t, swap(t, on, 0, "--dry-run"), "nothing")
	for _, round := range []struct {
		agent string
		args  []string
	}{{ourStorage, []string{"storage"}}, {oldStorage, []string{"--undo"}}, {ourStorage, []string{"--to", "shared-storage", "storage"}}} {
		says(t, swap(t, on, 0, append([]string{"--yes"}, round.args...)...), "/srv/shared (ext4 on ")
		agents(t, c, map[string]string{"storage": round.agent})
		if now := entry(on); now != before || before == "" || !lives() {
			t.Fatalf("it was %s, and is %s; its user lives: %v", before, now, lives())
		}
	}

	shell(on, "umount -l /srv/shared")
	must(t, c.WaitFor(step(t), func(*cluster.Status) error {
		if lives() {
			return fmt.Errorf("who has it open still lives")
		}
		return nil
	}))
	must(t, c.WaitIdle(step(t)))
	at, err = c.WaitRunning(step(t), "storage")
	must(t, err)
	shell(c.Node(at), "test -f /srv/shared/file; echo kept >/srv/shared/file")
	pcs("resource", "cleanup", "storage")
	pcs("resource", "move", "storage", "--wait")
	now, err := c.WaitRunning(step(t), "storage")
	must(t, err)
	if now == at {
		t.Errorf("it stays on %s", at)
	}
	if got := shell(c.Node(now), "cat /srv/shared/file"); got != "kept\n" {
		t.Errorf("the file holds %q", got)
	}
	for _, n := range c.Nodes() {
		if e := entry(n); (e != "") != (n.Name == now) {
			t.Errorf("on %s: %s", n.Name, e)
		}
	}
}

package swap

import (
	"os"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestOlder takes a swap back that an older version made, with its journal, and with the drop-in by which a unit let go of its
// process (KillMode=none). OLDER is such a program, built of commit 2aa5e1b or before.
func TestOlder(t *testing.T) {
	older := os.Getenv("OLDER")
	if older == "" {
		t.Skip("SKIP: needs OLDER, an openstack-ocf of before")
	}
	t.Parallel()
	s := deploy(t, []cluster.File{{Path: "/root/older", From: older, Mode: 0o755}}, database("systemd:mariadb", often...))
	c := s.Cluster
	for _, n := range c.Nodes() {
		n.MustExec(step(t), t, "sh", "-ec", "mv /usr/sbin/openstack-ocf /root/newer; mv /root/older /usr/sbin/openstack-ocf")
	}
	at, err := c.WaitRunning(step(t), "db")
	must(t, err)
	n := c.Node(at)
	db := use(t, c, "db", s.Actors[0].Writer, "-x", "mariadbd")
	swap(t, n, 0, "--yes")
	agents(t, c, map[string]string{"db": ourDB})
	db.untouched()
	mode := func() string {
		return strings.TrimSpace(n.MustExec(step(t), t, "systemctl", "show", "--value", "--property=KillMode", "mariadb.service"))
	}
	if got := mode(); got != "none" {
		t.Fatalf("the older version left KillMode=%s: it is not old enough", got)
	}
	for _, n := range c.Nodes() {
		n.MustExec(step(t), t, "mv", "/root/newer", "/usr/sbin/openstack-ocf")
	}
	says(t, swap(t, n, 0, "--yes", "--undo"), "not restarted")
	agents(t, c, map[string]string{"db": "systemd:mariadb"})
	db.untouched()
	db.in("mariadb.service")
	if got := mode(); got == "none" {
		t.Error("KillMode is still none: a stop would not stop the server")
	}
	r, err := s.Play(step(t), scenario.Move)
	must(t, err)
	t.Logf("moved by its unit: %v, then %v", r.From, r.To)
}

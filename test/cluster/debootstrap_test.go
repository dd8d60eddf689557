package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTrixie boots a cluster of another release than the machine's.
func TestTrixie(t *testing.T) {
	roots := os.Getenv("CLUSTER_ROOTS")
	if roots == "" {
		t.Skip("SKIP: needs CLUSTER_ROOTS, a directory to keep a Debian trixie in (1 GB, made in minutes)")
	}
	if err := Missing("/"); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	root := filepath.Join(roots, "trixie")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := Debootstrap(ctx, "trixie", root, "mariadb-server"); err != nil {
		t.Fatal(err)
	}
	c := New(t, Config{Nodes: 2, Root: root})
	n := c.Nodes()[0]
	if out := n.MustExec(ctx, t, "crm_mon", "--version"); !strings.HasPrefix(out, "Pacemaker 3.") {
		t.Errorf("crm_mon --version: %q", out)
	}
	// The machine's files shine through nowhere, and the root stays as it was.
	if _, err := os.Stat(filepath.Join(root, "etc/corosync/corosync.conf.pcs")); err == nil {
		t.Error("something wrote to the lower root")
	}
	n.MustExec(ctx, t, "pcs", "resource", "create", "d", "ocf:pacemaker:Dummy")
	at, err := c.WaitRunning(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Node(at).PowerOff(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitStable(ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := c.WaitRunning(ctx, "d"); err != nil || again == at {
		t.Errorf("after %s lost its power, d is on %q: %v", at, again, err)
	}
}

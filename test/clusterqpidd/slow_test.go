package clusterqpidd

import (
	"os"
	"testing"
	"time"
)

// slowly is how long the dead primary's broker takes to come back, as with a store that takes long to recover.
const slowly = 20 * time.Second

// TestSlowStart is a primary that dies and takes long to come back, while a backup has everything. Pacemaker has the
// starts of a clone's instances before a promotion, and so clients wait for a broker that nobody needs, unless what is
// done about a failure of the primary is not a start.
func TestSlowStart(t *testing.T) {
	s := replicated(t)
	s.replicates(t)
	binary := "/usr/local/sbin/slow-qpidd"
	script := "#!/bin/sh\n[ -e /run/slow ] && sleep 20\nexec " + os.Getenv("QPIDD") + ` "$@"` + "\n"
	for _, n := range s.Nodes() {
		if err := n.WriteFile(t.Context(), binary, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.pcs(t, "resource update "+resource+" binary="+binary)
	s.idle(t)
	s.steady(t)
	for _, row := range []struct {
		name string
		pcs  string
		soon bool
	}{
		{"as it is", "", false},
		{"migration-threshold=1", "resource meta " + resource + "-clone migration-threshold=1 failure-timeout=40s", true},
		{"on-fail=demote", "resource update " + resource + " op monitor interval=3s role=Promoted timeout=20s on-fail=demote", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.pcs != "" {
				s.pcs(t, row.pcs)
				s.idle(t)
			}
			primary := s.steady(t)
			s.in(t, primary, "touch", "/run/slow")
			l := s.load(t, false)
			began := time.Now()
			if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
				t.Fatal(err)
			}
			s.otherPrimary(t, primary)
			outage := l.served(t, began)
			s.steady(t)
			t.Logf("not served for %s; all as before after %.1f s", outage, time.Since(began).Seconds())
			if soon := outage.Length() < slowly; soon != row.soon {
				t.Errorf("before the dead primary was back: %t", soon)
			}
			l.audit(t)
			s.in(t, primary, "rm", "/run/slow")
			s.forget(t)
			if row.pcs != "" && row.name != "on-fail=demote" {
				s.pcs(t, "resource meta "+resource+"-clone migration-threshold= failure-timeout=")
			}
		})
	}
}

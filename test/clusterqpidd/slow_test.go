package clusterqpidd

import (
	"fmt"
	"testing"
	"time"
)

// slowly is how long the dead primary's broker takes to come back, as with a store that takes long to recover.
const slowly = 20 * time.Second

// hold has the data directory's lock once the broker is dead, for which the next start waits.
const hold = `
import fcntl, time
with open("%s/lock", "r+") as f:
    fcntl.lockf(f, fcntl.LOCK_EX)
    time.sleep(%d)
`

// TestSlowStart is a primary that dies and takes long to come back, while a backup has everything. Pacemaker has the
// starts of a clone's instances before a promotion, and so clients wait for a broker that nobody needs, unless the dead
// primary's node is banned for a while.
func TestSlowStart(t *testing.T) {
	s := replicated(t)
	s.replicates(t)
	for _, row := range []struct {
		name     string
		on, undo string
		soon     bool
	}{
		{"as it is", "", "", false},
		{"on-fail=demote", "update " + resource + " op monitor interval=3s role=Promoted timeout=20s on-fail=demote", "update " + resource + " op monitor interval=3s role=Promoted timeout=20s on-fail=restart", false},
		{"migration-threshold=1", "meta " + resource + "-clone migration-threshold=1 failure-timeout=40s", "meta " + resource + "-clone migration-threshold= failure-timeout=", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.on != "" {
				s.pcs(t, "resource "+row.on)
				s.idle(t)
				defer s.pcs(t, "resource "+row.undo)
			}
			primary := s.steady(t)
			l := s.load(t, false)
			s.in(t, primary, "systemd-run", "--collect", "--quiet", "/usr/bin/python3", "-c", fmt.Sprintf(hold, dataDir, slowly/time.Second))
			time.Sleep(time.Second) // until it waits for the lock
			began := time.Now()
			if err := signal(step(t), s.Node(primary), "KILL"); err != nil {
				t.Fatal(err)
			}
			s.otherPrimary(t, primary)
			outage := l.served(t, began)
			if soon := time.Since(began) < slowly; soon != row.soon {
				t.Errorf("a backup was promoted before the dead primary was back: %t", soon)
			}
			s.steady(t)
			t.Logf("not served for %s; all as before after %.1f s", outage, time.Since(began).Seconds())
			l.audit(t)
			s.forget(t)
		})
	}
}

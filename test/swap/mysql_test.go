package swap

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestMySQL swaps the database, by each agent that it may have had, in the middle of the document's group: forth, back
// and forth again, and then has the new agent recover it.
func TestMySQL(t *testing.T) {
	needs.Turn(t, 0, 2)
	t.Parallel()
	s := deploy(t, nil, database("lsb:mariadb", often...))
	c := s.Cluster
	must(t, s.PCS(step(t), "resource", "create", "last", "ocf:pacemaker:Dummy", "--group", scenario.GroupID))
	// As a cluster's own is that was made by this release: the newest schema.
	c.Nodes()[0].MustExec(step(t), t, "cibadmin", "--upgrade", "--force")
	t.Log(strings.TrimSpace(c.Nodes()[0].MustExec(step(t), t, "crm_mon", "--version")))
	for _, old := range []string{"lsb:mariadb", "systemd:mariadb@main", "service:mariadb", oldDB} {
		home := map[string]string{"systemd:mariadb@main": "mariadb@main.service", oldDB: "pacemaker.service"}[old]
		if home == "" {
			home = "mariadb.service"
		}
		if !t.Run(old, func(t *testing.T) {
			if old != "lsb:mariadb" {
				must(t, s.PCS(step(t), "resource", "delete", "db"))
				must(t, c.WaitIdle(step(t)))
				must(t, s.PCS(step(t), append([]string{"resource", "create", "db", old}, append(often, "--group", scenario.GroupID, "--before", "last")...)...))
				must(t, c.WaitIdle(step(t)))
			}
			at, err := c.WaitRunning(step(t), "db")
			must(t, err)
			n := c.Node(at)
			db := use(t, c, "db", s.Actors[0].Writer, "-x", "mariadbd")
			rounds := []struct {
				args  []string
				agent string
			}{{[]string{"--yes"}, ourDB}, {[]string{"--yes", "--undo"}, old}, {[]string{"--yes"}, ourDB}}
			if home == "mariadb.service" { // TestDocument has those both ways
				rounds = rounds[:1]
			}
			for _, round := range rounds {
				says(t, swap(t, n, 0, round.args...), "not restarted")
				db.untouched()
				db.in(home)
				agents(t, c, map[string]string{"db": round.agent})
			}
			if old == oldDB { // which restarts the server behind the cluster's back
				n.MustExec(step(t), t, "pkill", "-9", "-f", "mysqld_safe|mariadbd-safe")
			}
			db.recovers(at)
			db.in(home)
			agents(t, c, map[string]string{"db": ourDB})
		}) {
			return // the next would meet a cluster in disorder
		}
	}
	_, err := s.Audit(step(t))
	must(t, err)
}

package swap

import (
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// TestUnitsOfEL swaps the database and HAProxy that run by EL's units, with EL's layout, forth, back and forth again, and
// has the new agents recover them: with the directory beside HAProxy's file.
func TestUnitsOfEL(t *testing.T) {
	needs.Turn(t, 1, 2)
	has(t, scenario.Root(t), "usr/sbin/haproxy")
	t.Parallel()
	config := haproxy[0]
	config.Content = strings.Replace(config.Content, "global\n", "global\n\tstats socket /var/lib/haproxy/stats\n", 1) // as EL's has it
	s := deployOn(t, 2, slices.Concat([]cluster.File{config}, scenario.ELHAProxy(), scenario.ELMariaDB()), database("systemd:mariadb", often...))
	c := s.Cluster
	must(t, s.PCS(step(t), append([]string{"resource", "create", "haproxy", "systemd:haproxy", "clone"}, often...)...))
	must(t, c.WaitIdle(step(t)))
	db := use(t, c, "db", s.Actors[0].Writer, "-f", "/usr/libexec/mariadbd --basedir=/usr")
	balance := use(t, c, "haproxy", browse(t, c), "-x", "haproxy")
	at, err := c.Running(step(t), "db")
	must(t, err)
	homes := map[*used]string{db: "mariadb.service", balance: "haproxy.service"}
	beside := func() {
		t.Helper()
		for _, n := range c.Nodes() {
			if got := n.MustExec(step(t), t, "curl", "--silent", "--max-time", "5", "http://127.0.0.1:8081/"); got != "api1" {
				t.Errorf("%s: the frontend of conf.d answers %q", n.Name, got)
			}
		}
	}
	old := map[string]string{"db": "systemd:mariadb", "haproxy": "systemd:haproxy"}
	ours := map[string]string{"db": ourDB, "haproxy": ourBalance}
	for _, round := range []struct {
		args []string
		want map[string]string
	}{{[]string{"--yes"}, ours}, {[]string{"--yes", "--undo"}, old}, {[]string{"--yes"}, ours}} {
		says(t, swap(t, c.Node(at), 0, round.args...), "not restarted", "run by its unit mariadb.service, in which its process stays", "run by its unit haproxy.service")
		agents(t, c, round.want)
		for u, unit := range homes {
			u.untouched()
			u.in(unit)
		}
		beside()
	}
	balance.recovers(other(c, at))
	beside()
	db.recovers(at)
	for u, unit := range homes {
		u.in(unit)
	}
	must(t, s.Settled(step(t)))
	_, err = s.Audit(step(t))
	must(t, err)
}

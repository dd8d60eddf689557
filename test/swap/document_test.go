package swap

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	ourDB      = "ocf:openstack:mysql-shared-storage"
	ourBroker  = "ocf:openstack:qpidd"
	ourBalance = "ocf:openstack:haproxy"
	ourTokens  = "ocf:openstack:nova-consoleauth"
)

// often has a death noticed in a short time, of which tests have little.
var often = []string{"op", "monitor", "interval=3s", "timeout=30s"}

// TestDocument swaps the document's services in one run, in the middle of the group, at its end, and as a clone: by
// scripts, and by units. It takes that back, does it again, and then has the new agents recover each.
func TestDocument(t *testing.T) {
	needs(t, scenario.Root(t), "usr/sbin/haproxy", "usr/bin/nova-manage")
	for _, class := range []string{"lsb", "systemd"} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			nova := consoleauth(t)
			s := deploy(t, slices.Concat(qpidd(t), haproxy, nova.Files), database(class+":mariadb", often...))
			c := s.Cluster
			addUser(t, c, "qpidd")
			must(t, nova.Setup(step(t), s))
			must(t, s.Create(step(t), scenario.Service{ID: "qpidd", Agent: class + ":qpidd", Options: often}))
			must(t, s.Create(step(t), scenario.Service{ID: "consoleauth", Agent: class + ":openstack-nova-consoleauth", Options: often}))
			must(t, s.PCS(step(t), append([]string{"resource", "create", "haproxy", class + ":haproxy", "clone"}, often...)...))
			must(t, c.WaitIdle(step(t)))
			db := use(t, c, "db", s.Actors[0].Writer, "-x", "mariadbd")
			broker := use(t, c, "qpidd", talk(t, c, scenario.FloatingIP+":5672"), "-f", "/usr/sbin/qpidd --config")
			tokens := use(t, c, "consoleauth", write(t, scenario.Tokens(c.Dial, 5*time.Second), 50*time.Millisecond), "-f", "python3 /usr/bin/nova-consoleauth")
			balance := use(t, c, "haproxy", browse(t, c), "-x", "haproxy")
			if len(balance.was) != 3 {
				t.Fatalf("HAProxy runs on %v", balance.was)
			}
			all := []*used{db, broker, tokens, balance}
			at, err := c.Running(step(t), "db")
			must(t, err)
			n := c.Node(at)
			old := map[string]string{"db": class + ":mariadb", "qpidd": class + ":qpidd", "consoleauth": class + ":openstack-nova-consoleauth", "haproxy": class + ":haproxy"}
			swapped := map[string]string{"db": ourDB, "qpidd": ourBroker, "consoleauth": ourTokens, "haproxy": ourBalance}

			says(t, swap(t, n, 0, "--dry-run"), ourDB, ourBroker, ourBalance, ourTokens, "no service is restarted")
			agents(t, c, old)
			if class == "lsb" {
				n.MustExec(step(t), t, "crm_resource", "--resource", "qpidd", "--meta", "--set-parameter", "is-managed", "--parameter-value", "false")
				must(t, c.WaitIdle(step(t)))
				says(t, swap(t, n, 3, "--yes"), "qpidd: the cluster does not manage it", "the others alone can be swapped: openstack-ocf swap db consoleauth haproxy")
				n.MustExec(step(t), t, "crm_resource", "--resource", "qpidd", "--meta", "--delete-parameter", "is-managed")
				must(t, c.WaitIdle(step(t)))
			} else {
				unitsTakenBack(t, &stand{t: t, c: c, n: n, db: db}, old, all...)
			}
			type round struct {
				args []string
				want map[string]string
			}
			rounds := []round{{[]string{"--yes"}, swapped}, {[]string{"--yes", "--undo"}, old}, {[]string{"--yes", "--maintenance"}, swapped}}
			if class == "systemd" {
				rounds = rounds[:1]
			}
			for _, round := range rounds {
				began := time.Now()
				says(t, swap(t, n, 0, round.args...), "not restarted")
				t.Logf("swap %v: %.1f s", round.args, time.Since(began).Seconds())
				agents(t, c, round.want)
				for _, u := range all {
					u.untouched()
					t.Logf("%s: its client waited %s at the longest", u.id, u.writer.Outage(began))
				}
			}
			says(t, swap(t, n, 0, "--yes"), "nothing is left to do")
			tokens.recovers(at) // while its unit is active, which has Restart=always
			outside(t, n, "openstack-nova-consoleauth", tokens)
			unitsLetGo(t, n, db, broker, balance)
			broker.recovers(at)
			balance.recovers(other(c, at))
			balance.recovers(at)
			db.recovers(at)
			agents(t, c, swapped)
			must(t, s.Settled(step(t)))
			_, err = s.Audit(step(t))
			must(t, err)
		})
	}
}

// unitsTakenBack interrupts the swap, and kills it, when systemd has begun to let go of the units: it has them again.
func unitsTakenBack(t *testing.T, s *stand, old map[string]string, all ...*used) {
	for _, sig := range []string{"INT", "KILL"} {
		code, said := s.front("db: systemd lets go of", func() { s.signal(sig) }, "--yes")
		if want := map[string]int{"INT": 4, "KILL": -1}[sig]; code != want {
			t.Fatalf("%s: exit code %d, want %d:\n%s", sig, code, want, said)
		}
		if sig == "KILL" { // its guard goes on
			said += s.n.MustExec(step(t), t, "/bin/sh", "-c", "until grep -q 'as before' /var/lib/openstack-ocf/swap/guard.log; do sleep 0.2; done; cat /var/lib/openstack-ocf/swap/guard.log")
		}
		says(t, said, "systemd gets back mariadb.service on "+s.n.Name, "systemd gets back haproxy.service on node1, node2, node3", "db: systemd:mariadb as before")
		s.ends()
		agents(t, s.c, old)
		for _, u := range all {
			u.untouched()
		}
		for _, n := range s.c.Nodes() {
			if res, err := n.Shell(step(t), "ls /run/systemd/system/*/60-openstack-ocf-swap.conf"); err == nil {
				t.Errorf("%s: %s: %s", sig, n.Name, res.Stdout)
			}
			if got := n.MustExec(step(t), t, "systemctl", "show", "--property=KillMode", "--value", "haproxy"); strings.TrimSpace(got) == "none" {
				t.Errorf("%s: systemd would not stop HAProxy on %s", sig, n.Name)
			}
		}
	}
}

// unitsLetGo has systemd stop the units that services run in, if there are any: it must not stop the services.
func unitsLetGo(t *testing.T, n *cluster.Node, all ...*used) {
	_, err := n.Exec(step(t), "test", "-d", "/run/qpidd")
	runtime := err == nil
	for _, unit := range []string{"mariadb", "qpidd", "haproxy"} {
		if res, _ := n.Exec(step(t), "systemctl", "is-active", unit); res.Code == 0 {
			t.Logf("stopping the unit %s", unit)
			n.MustExec(step(t), t, "systemctl", "stop", unit)
		}
	}
	for _, u := range all {
		u.untouched()
	}
	if _, err := n.Exec(step(t), "test", "-d", "/run/qpidd"); runtime && err != nil {
		t.Error("the stop of the unit removed its RuntimeDirectory from under the service")
	}
}

// outside wants the service's process to be Pacemaker's, and the unit to have had no part in that.
func outside(t *testing.T, n *cluster.Node, unit string, u *used) {
	t.Helper()
	pid, _, _ := strings.Cut(u.processes()[n.Name], " ")
	if group, err := n.ReadFile(step(t), "/proc/"+pid+"/cgroup"); err != nil || !strings.Contains(string(group), "pacemaker.service") {
		t.Errorf("%s: %s %v", u.id, group, err)
	}
	state := n.MustExec(step(t), t, "systemctl", "show", "--property=ActiveState,NRestarts", unit)
	if strings.Contains(state, "ActiveState=active") || !strings.Contains(state, "NRestarts=0") {
		t.Errorf("%s: %s", unit, state)
	}
}

func other(c *cluster.Cluster, than string) string {
	for _, n := range c.Nodes() {
		if n.Name != than {
			return n.Name
		}
	}
	panic("a cluster of one node")
}

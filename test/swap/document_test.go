package swap

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	ourDB      = "ocf:openstack:mysql-shared-storage"
	ourBroker  = "ocf:openstack:qpidd"
	ourBalance = "ocf:openstack:haproxy"
	ourTokens  = "ocf:openstack:nova-consoleauth"
)

// often has a death noticed in a short time, of which tests have little, and leaves a start more than the 15 s of a script: the
// stand-in for qpidd needs them where other tests run beside it.
var often = []string{"op", "monitor", "interval=3s", "timeout=30s", "start", "timeout=120s"}

// TestDocument swaps the document's services in one run, in the middle of the group, at its end, and as a clone: by
// scripts, and by units. It takes that back, does it again, and then has the new agents recover each.
func TestDocument(t *testing.T) {
	has(t, scenario.Root(t), "usr/sbin/haproxy", "usr/bin/nova-manage")
	for i, class := range []string{"lsb", "systemd"} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			needs.Turn(t, i, 2)
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
				adopted(t, n)
				unitsTakenBack(t, &stand{t: t, c: c, n: n, db: db}, old, all...)
			}
			home := map[*used]string{db: "mariadb.service", broker: "pacemaker.service", tokens: "pacemaker.service", balance: "haproxy.service"}
			// Those that the new agents restart where the old ones know them, so that they can be taken back then too; the
			// last of the group first.
			early, late := []*used{balance}, []*used{tokens, broker, db}
			if class == "systemd" {
				home[broker], home[tokens] = "qpidd.service", "openstack-nova-consoleauth.service"
				early, late = []*used{balance, tokens, broker, db}, nil
			}
			revive := func(list []*used) {
				for _, u := range list {
					u.recovers(at)
					u.in(home[u])
				}
				must(t, s.Settled(step(t)))
				for _, u := range all {
					*u = *use(t, c, u.id, u.writer, u.find...)
				}
			}
			for i, round := range []struct {
				args []string
				want map[string]string
			}{{[]string{"--yes"}, swapped}, {[]string{"--yes", "--undo"}, old}, {[]string{"--yes", "--maintenance"}, swapped}} {
				began := time.Now()
				if slices.Contains(round.args, "--undo") {
					older(t, c)
				}
				said := swap(t, n, 0, round.args...)
				says(t, said, "not restarted", "run by its unit mariadb.service, in which its process stays", "run by its unit haproxy.service")
				t.Logf("swap %v: %.1f s", round.args, time.Since(began).Seconds())
				agents(t, c, round.want)
				for _, u := range all {
					u.untouched()
					u.in(home[u])
					t.Logf("%s: its client waited %s at the longest", u.id, u.writer.Outage(began))
				}
				restarts(t, c, "haproxy", class == "systemd" || round.want["haproxy"] == ourBalance)
				if i == 0 {
					balance.recovers(other(c, at))
					revive(early)
				}
			}
			says(t, swap(t, n, 0, "--yes"), "nothing is left to do")
			revive(late)
			agents(t, c, swapped)
			must(t, s.Settled(step(t)))
			_, err = s.Audit(step(t))
			must(t, err)
		})
	}
}

// adopted makes HAProxy on a node one that Pacemaker found running: there is no drop-in of its class systemd.
func adopted(t *testing.T, n *cluster.Node) {
	n.MustExec(step(t), t, "rm", "/run/systemd/system/haproxy.service.d/50-pacemaker.conf")
	n.MustExec(step(t), t, "systemctl", "daemon-reload")
}

// older leaves what an older version left of a swap: units that let go of their services.
func older(t *testing.T, c *cluster.Cluster) {
	for _, n := range c.Nodes() {
		dir := "/run/systemd/system/haproxy.service.d"
		n.MustExec(step(t), t, "mkdir", "-p", dir)
		must(t, n.WriteFile(step(t), dir+"/60-openstack-ocf-swap.conf", []byte("[Service]\nRestart=no\nKillMode=none\nExecStop=\n"), 0o644))
		n.MustExec(step(t), t, "systemctl", "daemon-reload")
	}
}

// restarts wants systemd to restart a service by itself on no node where the cluster does, and on all others; and to
// stop it.
func restarts(t *testing.T, c *cluster.Cluster, unit string, cluster bool) {
	t.Helper()
	for _, n := range c.Nodes() {
		got := n.MustExec(step(t), t, "systemctl", "show", "--property=Restart,KillMode,DropInPaths", unit)
		if strings.Contains(got, "Restart=no\n") != cluster || strings.Contains(got, "KillMode=none") || strings.Contains(got, "swap.conf") {
			t.Errorf("%s of %s: %s", unit, n.Name, got)
		}
	}
}

// unitsTakenBack kills the swap when it has begun to claim the units: all is as before.
func unitsTakenBack(t *testing.T, s *stand, old map[string]string, all ...*used) {
	code, said := s.front("db: mariadb.service on "+s.n.Name+" is made", func() { s.signal("KILL") }, "--yes")
	if code != -1 {
		t.Fatalf("exit code %d:\n%s", code, said)
	}
	// Its guard goes on.
	said = s.n.MustExec(step(t), t, "/bin/sh", "-c", "until grep -q 'as before' /var/lib/openstack-ocf/swap/guard.log; do sleep 0.2; done; cat /var/lib/openstack-ocf/swap/guard.log")
	says(t, said, "haproxy.service on node1, node2, node3 is made systemd:haproxy's", "db: systemd:mariadb as before")
	s.ends()
	agents(t, s.c, old)
	for _, u := range all {
		u.untouched()
	}
	for _, n := range s.c.Nodes() {
		if res, err := n.Shell(step(t), "ls /run/systemd/system/*/60-openstack-ocf*.conf"); err == nil {
			t.Errorf("%s: %s", n.Name, res.Stdout)
		}
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

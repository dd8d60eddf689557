// Package swap tests `openstack-ocf swap` on a real Pacemaker cluster, with clients at work all the while.
package swap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// deadline is for one step, on a machine that has other things to do.
const deadline = 2 * time.Minute

func step(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// swap runs the command on a node, and wants that exit code; it returns all that was said.
func swap(t *testing.T, n *cluster.Node, code int, args ...string) string {
	t.Helper()
	res, err := n.Exec(step(t), append([]string{"openstack-ocf", "swap"}, args...)...)
	said := res.Stdout + res.Stderr
	var exit *cluster.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("swap %v: %v\n%s", args, err, said)
	}
	if res.Code != code {
		t.Fatalf("swap %v: exit code %d, want %d\n%s", args, res.Code, code, said)
	}
	t.Logf("swap %v: %d\n%s", args, code, said)
	return said
}

// database is the document's database, as it is before the swap.
func database(agent string, options ...string) scenario.Service {
	s := scenario.MySQL()
	s.Agent, s.Options = agent, options
	return s
}

func stage(t *testing.T, services ...scenario.Service) *scenario.Stage {
	cfg, err := scenario.Config(built.Binary(t), services...)
	must(t, err)
	if _, err := os.Stat("/usr/sbin/mariadbd"); err != nil {
		t.Skip("SKIP: needs mariadb-server")
	}
	c := cluster.New(t, cfg)
	begun := time.Now()
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Logf("%5.1f s  %s", time.Since(begun).Seconds(), line) }, services...)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// untouched wants the daemon to be the same process, and its clients never to have failed.
func untouched(t *testing.T, a *scenario.Actor, before scenario.Daemon) {
	t.Helper()
	if now, ok := a.Now(); !ok || now != before {
		t.Fatalf("%s: it was %v, and is %v", a.ID, before, now)
	}
	if done, tries := a.Acknowledged(); tries-done > 1 { // one may be under way
		t.Fatalf("%s: %d of %d client operations failed", a.ID, tries-done, tries)
	}
}

func TestSwap(t *testing.T) {
	for _, was := range []scenario.Service{database("lsb:mariadb"), database("systemd:mariadb"), database("ocf:heartbeat:mysql")} {
		t.Run(was.Agent, func(t *testing.T) { swapped(t, stage(t, was)) })
	}
}

func swapped(t *testing.T, s *scenario.Stage) {
	a := s.Actors[0]
	before, _ := a.Now()
	n := s.Cluster.Node(before.Node)
	said := swap(t, n, 0, "--dry-run")
	if !strings.Contains(said, "ocf:openstack:mysql-shared-storage") {
		t.Error("the plan names no successor")
	}
	began := time.Now()
	swap(t, n, 0, "--yes")
	t.Logf("swapped in %.1f s", time.Since(began).Seconds())
	untouched(t, a, before)
	must(t, s.Settled(step(t)))
	status, err := s.Cluster.Status(step(t))
	must(t, err)
	if r := status.Resource("db"); len(r) != 1 || r[0].Agent != "ocf:openstack:mysql-shared-storage" || !r[0].Managed {
		t.Fatalf("%+v", r)
	}
	r, err := s.Play(step(t), scenario.Kill)
	must(t, err)
	t.Logf("killed, and back after %v", r.Outages)
	audit, err := s.Audit(step(t))
	must(t, err)
	t.Log(fmt.Sprint(audit))
}

package clustermysql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// stays: a monitor that stays finds a death when it happens, and is in nobody's way. Its interval is so long here that one that
// only asked at its intervals would be late.
func stays(t *testing.T, s *scenario.Stage) {
	const interval, early = 9 * time.Second, 5 * time.Second
	must(t, s.PCS(step(t), "resource", "update", "db", "op", "monitor", "interval="+interval.String(), "timeout=40s"))
	must(t, s.Restore(step(t)))

	kill := scenario.Kill
	kill.Do = func(ctx context.Context, s *scenario.Stage, a *scenario.Actor, d scenario.Daemon) error {
		monitor := staying(t, s)
		began := time.Now()
		if err := d.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		for monitor.Args() != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(began)
		t.Logf("the monitor ended %v after the kill", took)
		if took > early {
			t.Errorf("the monitor ended %v after the kill, as one that does not notice it", took)
		}
		return nil
	}
	play(t, s, kill, failure{ocf.NotRunning, []string{"no MySQL server", "/var/lib/mysql"}})

	restart := scenario.Restart
	restart.Do = func(ctx context.Context, s *scenario.Stage, a *scenario.Actor, d scenario.Daemon) error {
		role := func(args ...string) error {
			_, err := s.Cluster.OnAny(ctx, slices.Concat([]string{"crm_resource", "--resource", a.ID, "--meta"}, args)...)
			return err
		}
		monitor := staying(t, s)
		began := time.Now()
		if err := role("--set-parameter", "target-role", "--parameter-value", "Stopped"); err != nil {
			return err
		}
		for now, ok := a.Watch.Now(); ok && now == d && ctx.Err() == nil; now, ok = a.Watch.Now() {
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("the server was stopped %v after that was asked for", time.Since(began))
		if monitor.Args() != nil {
			t.Errorf("%v stays beside the stop", monitor)
		}
		return role("--delete-parameter", "target-role")
	}
	play(t, s, restart, failure{}) // a monitor that was ended is no failure
	deeper(t, s)
}

// deeper: what only a deeper monitor finds is its failure, found when it is due, though another one stays then.
func deeper(t *testing.T, s *scenario.Stage) {
	ctx := step(t)
	must(t, s.PCS(ctx, "resource", "update", "db", "op", "monitor", "interval=2s", "timeout=80s"))
	d, ok := s.Actors[0].Watch.Now()
	if !ok {
		t.Fatal("there is no server")
	}
	n := s.Cluster.Node(d.Node)
	n.MustExec(ctx, t, "mariadb", "-e", "CREATE DATABASE test_deeper; CREATE TABLE test_deeper.alive (n INT)")
	must(t, s.PCS(ctx, "resource", "update", "db", "test_table=test_deeper.alive"))
	must(t, s.Restore(ctx))
	monitor := staying(t, s)
	began := time.Now()
	n.MustExec(ctx, t, "mariadb", "-e", "DROP TABLE test_deeper.alive")
	must(t, s.Cluster.WaitFor(ctx, func(status *cluster.Status) error {
		for _, f := range status.Failures {
			if f.Operation == "db_monitor_30000" && f.Code == int(ocf.Degraded) && strings.Contains(f.Reason, "test_table cannot be read") {
				return nil
			}
		}
		return fmt.Errorf("the deeper monitor does not tell: %+v", status.Failures)
	}))
	t.Logf("told %v after it was so; level 0 was %v", time.Since(began), monitor)
	if monitor.Args() != nil {
		t.Errorf("%v stays, and the deeper one was run beside it", monitor)
	}
	must(t, s.PCS(ctx, "resource", "update", "db", "test_table="))
	must(t, s.Restore(ctx))
	if now, _ := s.Actors[0].Watch.Now(); now != d {
		t.Errorf("the server was %v and is %v now: it was restarted", d, now)
	}
}

// staying waits for a monitor of the database that has found it well and goes on.
func staying(t *testing.T, s *scenario.Stage) scenario.Daemon {
	t.Helper()
	ctx := step(t)
	seen := map[scenario.Daemon]time.Time{}
	for ctx.Err() == nil {
		for _, p := range scenario.Processes(s.Cluster, "openstack-ocf") {
			args := p.Args()
			if len(args) != 2 || !strings.HasSuffix(args[0], "/mysql-shared-storage") || !slices.Contains(args, ocf.Monitor) {
				continue
			}
			if seen[p].IsZero() {
				seen[p] = time.Now()
			} else if time.Since(seen[p]) > time.Second {
				return p
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no monitor stays")
	return scenario.Daemon{}
}

package clustermysql

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
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

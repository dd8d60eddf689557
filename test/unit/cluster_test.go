package unit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// last is where a service's unit notes how each of its runs ended: on the storage that must outlive it.
const last = scenario.DataDir + "/ended"

// noteEnd has the unit say how its service ended, what is mounted then, and what Pacemaker does.
const noteEnd = `[Service]
ExecStopPost=+/bin/sh -c "echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS on=$$(findmnt -no FSTYPE ` + scenario.DataDir + `) pacemaker=$$(systemctl is-active pacemaker.service) >>` + last + `"
`

var (
	// poweroff is how an operator shuts a node down.
	poweroff = scenario.Act{Name: "shutdown of the node", Moves: true, Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
		n := s.Cluster.Node(d.Node)
		_, _ = n.Exec(ctx, "systemctl", "--no-block", "poweroff") // whose answer may be cut short
		for ctx.Err() == nil {
			if alive, err := n.Alive(ctx); err == nil && !alive {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		return fmt.Errorf("%s does not go down: %w", n.Name, ctx.Err())
	}}
	restartPacemaker = scenario.Act{Name: "restart of pacemaker.service", Moves: true, Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
		_, err := s.Cluster.Node(d.Node).Exec(ctx, "systemctl", "restart", "pacemaker.service")
		return err
	}}
	// outOfMemory has the kernel kill it: there is less memory for its control group than it has, or than it asks for.
	outOfMemory = scenario.Act{Name: "out of memory", Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
		n := s.Cluster.Node(d.Node)
		if _, err := n.Shell(ctx, "test -e /sys/fs/cgroup/system.slice/mariadb.service/memory.max"); err == nil {
			_, err := n.Shell(ctx, "systemctl set-property --runtime mariadb.service MemoryMax=1M; while systemctl --quiet is-active mariadb.service; do sleep 0.05; done; systemctl set-property --runtime mariadb.service MemoryMax=infinity")
			return err
		}
		pid, err := n.HostPID(ctx, d.PID)
		if err != nil {
			return err
		}
		group := "/sys/fs/cgroup/memory/" + s.Cluster.Name() + "-oom" // of version 1, on the machine
		script := fmt.Sprintf("mkdir -p %[1]s; echo 1M >%[1]s/memory.limit_in_bytes; echo %[2]d >%[1]s/cgroup.procs", group, pid)
		if out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput(); err != nil {
			return fmt.Errorf("no limit of memory: %w: %s", err, out)
		}
		_, _ = n.Exec(ctx, "mariadb", "--execute", "SET GLOBAL max_allowed_packet = 256 << 20")
		_, _ = n.Exec(ctx, "mariadb", "--execute", "SELECT LENGTH(REPEAT('x', 128 << 20))")
		_ = os.Remove(group)
		return nil
	}}
)

// TestCluster is a database by its unit in a group, on nodes that systemd runs, Pacemaker with them.
func TestCluster(t *testing.T) {
	db := scenario.MySQL()
	db.Options = []string{"unit=mariadb.service"}
	db.Files = append(db.Files, cluster.File{Path: "/etc/systemd/system/mariadb.service.d/50-note.conf", Content: noteEnd})
	cfg, err := scenario.Config(built.Binary(t), db)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Root = scenario.Root(t)
	if _, err := os.Stat(cfg.Root + "/usr/sbin/mariadbd"); err != nil {
		t.Skip("SKIP: needs mariadb-server")
	}
	c := cluster.New(t, cfg)
	step := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		t.Cleanup(cancel)
		return ctx
	}
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Log(line) }, db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	version, err := c.Nodes()[0].Exec(step(t), "crm_mon", "--version")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.SplitN(version.Stdout, "\n", 2)[0])

	// ends is how the service ended since it was asked last.
	ends := func(t *testing.T) []string {
		at, err := c.Running(step(t), db.ID)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Node(at).Shell(step(t), "cat "+last+" 2>/dev/null; : >"+last)
		if err != nil {
			t.Fatal(err)
		}
		return strings.FieldsFunc(r.Stdout, func(r rune) bool { return r == '\n' })
	}
	ends(t)
	for _, row := range []struct {
		act  scenario.Act
		ends []string // either; none: it could not say
	}{
		{scenario.Kill, []string{"signal killed KILL on=ext4 pacemaker=active"}},
		{scenario.Freeze, []string{"success exited 0 on=ext4 pacemaker=active"}},
		{scenario.Move, []string{"success exited 0 on=ext4 pacemaker=active"}},
		{outOfMemory, []string{"oom-kill killed KILL on=ext4 pacemaker=active", "signal killed KILL on=ext4 pacemaker=active"}},
		{restartPacemaker, []string{"success exited 0 on=ext4 pacemaker=deactivating"}},
		{poweroff, []string{"success exited 0 on=ext4 pacemaker=deactivating"}},
		{scenario.PowerCut, nil},
	} {
		if !t.Run(row.act.Name, func(t *testing.T) {
			began := time.Now()
			r, err := s.Play(step(t), row.act)
			t.Logf("%v, then %v; without service: %v; %s", r.From, r.To, r.Outages, time.Since(began))
			if err != nil {
				t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
			}
			if got := strings.Join(ends(t), "; "); got != "" && !slices.Contains(row.ends, got) || got == "" && row.ends != nil {
				t.Errorf("its unit says that it ended with %q, want %q", got, row.ends)
			}
			n := c.Node(r.To.Node)
			if group, err := n.Exec(step(t), "systemctl", "show", "--value", "--property=ControlGroup", "mariadb.service"); err != nil || strings.TrimSpace(group.Stdout) != "/system.slice/mariadb.service" {
				t.Errorf("its control group is %q, %v", group.Stdout, err)
			}
			status, err := c.Status(step(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range status.Failures {
				t.Logf("crm_mon: %s on %s: %d: %s", f.Operation, f.Node, f.Code, f.Reason)
				if row.act.Moves {
					t.Errorf("nothing was wrong with %s on %s", f.Operation, f.Node)
				}
			}
			if err := s.Restore(step(t)); err != nil {
				t.Fatal(err)
			}
		}) {
			return // the next would meet a cluster in disorder
		}
	}
	t.Run("audit", func(t *testing.T) {
		audits, err := s.Audit(step(t))
		if err != nil {
			t.Error(err)
		}
		t.Logf("%+v", audits)
	})
}

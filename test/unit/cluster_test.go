package unit

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// byUnit has the service run by the unit, which notes how it ended.
func byUnit(s scenario.Service, unit string, options ...string) scenario.Service {
	return scenario.Noted(scenario.ByUnit(s, unit, options...), unit)
}

// group are services of every kind by their units, as far as the nodes with this root have them: the database, a broker by
// upstream's unit, and by those of the distribution redis and HAProxy.
func group(t *testing.T, root string) []scenario.Service {
	t.Helper()
	has := func(path string) bool { _, err := os.Stat(root + path); return err == nil }
	needs.File(t, root+"/usr/sbin/mariadbd", "mariadb-server")
	list := []scenario.Service{byUnit(scenario.MySQL(), "mariadb.service")}
	if broker, kind, err := scenario.BrokerByUnit(); err == nil && root == "" {
		t.Logf("qpidd is %s", kind)
		list = append(list, byUnit(broker, "qpidd.service", broker.Options[:len(broker.Options)-1]...))
	}
	if has("/usr/bin/redis-server") {
		list = append(list, byUnit(scenario.Service{
			ID: "redis", Agent: "ocf:openstack:redis", Daemon: []string{"redis-server", "redis-check-rdb"}, Speaks: "RESP", Unit: "pings", Diskless: true,
			Files:  []cluster.File{{Path: "/etc/redis/redis.conf", Content: "port 6379\nprotected-mode no\ndir /var/lib/redis\n", Owner: "redis"}},
			Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) { return pings{dial}, nil },
		}, "redis-server.service"))
	}
	if has("/usr/sbin/haproxy") {
		list = append(list, byUnit(scenario.Service{
			ID: "haproxy", Agent: "ocf:openstack:haproxy", Daemon: []string{"haproxy"}, Speaks: "HTTP", Unit: "requests", Diskless: true,
			Files: []cluster.File{
				{Path: "/etc/haproxy/haproxy.cfg", Content: strings.ReplaceAll(frontends, "string main", "string versions")},
				{Path: "/etc/default/haproxy", Content: "VIP=" + scenario.FloatingIP + "\n"},
			},
			Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) {
				return scenario.Versions(dial, "http://"+scenario.FloatingIP+":8080/"), nil
			},
		}, "haproxy.service"))
	}
	return list
}

// pings are redis's ledger, which keeps nothing.
type pings struct{ dial scenario.Dialer }

func (l pings) Put(ctx context.Context, _ int) error {
	c, err := l.dial(ctx, "tcp", scenario.FloatingIP+":6379")
	if err != nil {
		return err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = fmt.Errorf("redis says %q", answer)
	}
	return err
}

func (pings) Numbers(context.Context) ([]int, error) { return nil, nil }
func (pings) Close() error                           { return nil }

// outOfMemory has the kernel kill it: there is less memory for its control group than it has, or than it asks for.
var outOfMemory = scenario.Act{Name: "out of memory", Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
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
	for os.Remove(group) != nil { // when the last process has left it
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is still in use: %w", group, ctx.Err())
		}
	}
	return nil
}}

// TestCluster is a group of services by their units, on nodes that systemd runs, Pacemaker with them.
func TestCluster(t *testing.T) {
	needs.Turn(t, 0, 2)
	root := scenario.Root(t)
	services := group(t, root)
	cfg, err := scenario.Config(built.Binary(t), services...)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Root = root
	c := cluster.New(t, cfg)
	step := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		t.Cleanup(cancel)
		return ctx
	}
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Log(line) }, services...)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
	}
	t.Cleanup(s.Close)
	version, err := c.Nodes()[0].Exec(step(t), "crm_mon", "--version")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.SplitN(version.Stdout, "\n", 2)[0])

	const active = "on=ext4 pacemaker=active"
	killed := []string{"signal killed KILL " + active}
	well := []string{"success exited 0 " + active}
	plays := []play{
		{act: scenario.Kill, unit: "mariadb", ends: killed},
		{act: scenario.Freeze, unit: "mariadb", ends: well},
		{act: scenario.Move},
		{outOfMemory, "mariadb", append(killed, "oom-kill killed KILL "+active), "the kernel killed mariadbd"},
		{act: scenario.RestartPacemaker},
		{act: scenario.Shutdown},
		{act: scenario.PowerCut},
	}
	for _, service := range services[1:] {
		unit := strings.TrimSuffix(strings.TrimPrefix(service.Options[len(service.Options)-1], "unit="), ".service")
		plays = append([]play{{act: scenario.Kill.On(service.ID), unit: unit, ends: killed}, {act: scenario.Freeze.On(service.ID), unit: unit, ends: well}}, plays...)
	}
	at, err := c.Running(step(t), services[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scenario.Ends(step(t), c.Node(at)); err != nil {
		t.Fatal(err)
	}
	for _, p := range plays {
		if !t.Run(strings.TrimSuffix(p.act.Name+" "+p.act.To, " "), func(t *testing.T) { p.run(t, step(t), s) }) {
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

// play is an act, and how a unit says that its service ended of it, either so or so. All others end well.
type play struct {
	act  scenario.Act
	unit string
	ends []string
	says string // crm_mon, of what failed
}

func (p play) run(t *testing.T, ctx context.Context, s *scenario.Stage) {
	c := s.Cluster
	began := time.Now()
	r, err := s.Play(ctx, p.act)
	t.Logf("%v, then %v; without service: %v; %s", r.From, r.To, r.Outages, time.Since(began))
	if err != nil {
		t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
	}
	n := c.Node(r.To.Node)
	ends, err := scenario.Ends(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	p.ended(t, ends)
	for _, a := range s.Actors {
		unit := strings.TrimPrefix(a.Options[len(a.Options)-1], "unit=")
		if group, err := n.Exec(ctx, "systemctl", "show", "--value", "--property=ControlGroup", unit); err != nil || strings.TrimSpace(group.Stdout) != "/system.slice/"+unit {
			t.Errorf("the control group of %s is %q, %v", unit, group.Stdout, err)
		}
	}
	if err := s.Settled(ctx); err != nil { // a node that has just come back knows nothing yet
		t.Fatal(err)
	}
	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p.says != "" && !slices.ContainsFunc(status.Failures, func(f cluster.Failure) bool { return strings.Contains(f.Reason, p.says) }) {
		t.Errorf("crm_mon does not say %q", p.says)
	}
	for _, f := range status.Failures {
		t.Logf("crm_mon: %s on %s: %d: %s", f.Operation, f.Node, f.Code, f.Reason)
		if p.act.Moves {
			t.Errorf("nothing was wrong with %s on %s", f.Operation, f.Node)
		}
	}
	if err := s.Restore(ctx); err != nil {
		t.Fatal(err)
	}
}

// ended holds what the units say against what shall be.
func (p play) ended(t *testing.T, lines []string) {
	t.Logf("ended: %q", lines)
	state := map[string]string{scenario.RestartPacemaker.Name: "deactivating", scenario.Shutdown.Name: "deactivating"}[p.act.Name]
	told := p.unit == "" && p.act.Name == scenario.PowerCut.Name // who could say
	for _, line := range lines {
		unit, how, _ := strings.Cut(line, " ")
		switch {
		case unit == p.unit:
			told = true
			if !slices.Contains(p.ends, how) {
				t.Errorf("%s says that it ended with %q, want %q", unit, how, p.ends)
			}
		case !strings.HasPrefix(how, "success ") || !strings.HasSuffix(how, " on=ext4 pacemaker="+cmp.Or(state, "active")):
			t.Errorf("%s, to which nothing happened, ended with %q", unit, how)
		default:
			told = told || p.unit == ""
		}
	}
	if !told {
		t.Errorf("no unit says how its service ended")
	}
}

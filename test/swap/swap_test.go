// Package swap tests `openstack-ocf swap` on real Pacemaker clusters, with clients at work all the while. ROOT and SUITE
// are what the nodes run (see [scenario.Root]); TestDocument needs more there than `make test-trixie` puts into it.
package swap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// deadline is for one step, on a machine that has other things to do.
const deadline = 10 * time.Minute

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

// says wants all of the words in what was said.
func says(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("no %q in:\n%s", w, said)
		}
	}
}

// database is the document's database, as it is before the swap.
func database(agent string, options ...string) scenario.Service {
	s := scenario.MySQL()
	s.Agent, s.Options = agent, options
	// A restart breaks the connection; a machine that is busy only makes it wait.
	s.Ledger = func(dial scenario.Dialer) (scenario.Ledger, error) {
		return scenario.SQL(dial, scenario.FloatingIP+":3306", 10*time.Second)
	}
	return s
}

// has skips the test if the nodes' root lacks a file.
func has(t *testing.T, root string, files ...string) {
	t.Helper()
	for _, file := range files {
		needs.File(t, filepath.Join("/", root, file), "on the nodes")
	}
}

// deploy makes a cluster with the document's group.
func deploy(t *testing.T, files []cluster.File, db scenario.Service) *scenario.Stage {
	return deployOn(t, 3, files, db)
}

func deployOn(t *testing.T, nodes int, files []cluster.File, db scenario.Service) *scenario.Stage {
	cfg, err := scenario.Config(built.Binary(t), db)
	must(t, err)
	cfg.Nodes = nodes
	cfg.Root = scenario.Root(t)
	has(t, cfg.Root, "usr/sbin/mariadbd")
	cfg.Files = append(cfg.Files, files...)
	c := cluster.New(t, cfg)
	begun := time.Now()
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Logf("%5.1f s  %s", time.Since(begun).Seconds(), line) }, db)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// used is a service that a client uses, and whose process must stay the same.
type used struct {
	t      *testing.T
	c      *cluster.Cluster
	id     string
	find   []string // pgrep's arguments that find its process
	writer *scenario.Writer
	was    map[string]string // its processes by node, with the time they were started and their control group
	failed int               // client operations, before anything was swapped
}

// use begins to use a service that runs.
func use(t *testing.T, c *cluster.Cluster, id string, writer *scenario.Writer, find ...string) *used {
	u := &used{t: t, c: c, id: id, find: find, writer: writer}
	must(t, writer.WaitServed(step(t), time.Now()))
	if u.was = u.processes(); len(u.was) == 0 {
		t.Fatalf("%s: pgrep %v finds no process", id, find)
	}
	done, tries := writer.Acknowledged()
	u.failed = tries - done
	return u
}

// processes are the oldest that are found on each node.
func (u *used) processes() map[string]string {
	found := map[string]string{}
	for _, n := range u.c.Nodes() {
		res, err := n.Exec(step(u.t), append([]string{"pgrep", "--oldest"}, u.find...)...)
		if errors.Is(err, cluster.ErrOff) || res.Code == 1 {
			continue
		}
		must(u.t, err)
		pid := strings.TrimSpace(res.Stdout)
		stat, err := n.ReadFile(step(u.t), "/proc/"+pid+"/stat")
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just ended
		}
		must(u.t, err)
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		group, err := n.ReadFile(step(u.t), "/proc/"+pid+"/cgroup")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(u.t, err)
		found[n.Name] = pid + " since " + f[19] + " in " + strings.TrimSpace(string(group))
	}
	return found
}

// untouched wants the same processes, and clients that never failed.
func (u *used) untouched() {
	u.t.Helper()
	if now := u.processes(); fmt.Sprint(now) != fmt.Sprint(u.was) {
		u.t.Fatalf("%s: its processes were %v, and are %v", u.id, u.was, now)
	}
	// One that is under way is no try yet.
	if done, tries := u.writer.Acknowledged(); tries-done > u.failed {
		u.t.Fatalf("%s: %d of %d client operations failed", u.id, tries-done-u.failed, tries)
	}
}

// in wants its processes in the control group of that unit, which systemd calls active; no systemd must have restarted it.
func (u *used) in(unit string) {
	u.t.Helper()
	for node, p := range u.processes() {
		if !strings.HasSuffix(p, "/"+unit) {
			u.t.Errorf("%s on %s is not in %s: %s", u.id, node, unit, p)
		}
		if unit == "pacemaker.service" {
			continue
		}
		n := u.c.Node(node)
		n.MustExec(step(u.t), u.t, "systemctl", "status", "--lines=0", unit)
		if got := n.MustExec(step(u.t), u.t, "systemctl", "show", "--property=NRestarts", "--value", unit); strings.TrimSpace(got) != "0" {
			u.t.Errorf("%s: systemd restarted %s %s times", node, unit, got)
		}
	}
}

// agents wants the resources to have these agents, to be managed, and to have no failures.
func agents(t *testing.T, c *cluster.Cluster, want map[string]string) {
	t.Helper()
	status, err := c.Status(step(t))
	must(t, err)
	for id, agent := range want {
		all := status.Resource(id)
		if len(all) == 0 {
			t.Errorf("there is no %s", id)
		}
		for _, r := range all {
			if r.Agent != agent || !r.Managed || !r.Active {
				t.Errorf("%s: want %s, managed and active: %+v", id, agent, r)
			}
		}
	}
	for _, f := range status.Failures {
		t.Errorf("%s failed on %s: %s", f.Operation, f.Node, f.Reason)
	}
	marks, err := c.CIB(step(t), "//resources")
	must(t, err)
	if strings.Contains(marks, "openstack-ocf-swap") {
		t.Errorf("the swap left something in the CIB: %s", marks)
	}
}

// recovers kills the service's process on a node, and wants it back by the cluster's doing, and once only.
func (u *used) recovers(node string) {
	u.t.Helper()
	before := u.processes()
	pid, _, _ := strings.Cut(before[node], " ")
	began := time.Now()
	u.c.Node(node).MustExec(step(u.t), u.t, "kill", "-9", pid)
	must(u.t, u.c.WaitFor(step(u.t), func(*cluster.Status) error {
		if now := u.processes()[node]; now == "" || now == before[node] {
			return fmt.Errorf("%s: no new process on %s, %q", u.id, node, now)
		}
		return nil
	}))
	u.t.Logf("%s: killed on %s, and back after %.1f s", u.id, node, time.Since(began).Seconds())
	must(u.t, u.writer.WaitServed(step(u.t), time.Now()))
	must(u.t, u.c.WaitIdle(step(u.t)))
	status, err := u.c.Status(step(u.t))
	must(u.t, err)
	for _, f := range status.Failures {
		if strings.HasPrefix(f.Operation, u.id+"_monitor") && f.Node == node {
			u.c.Node(node).MustExec(step(u.t), u.t, "crm_resource", "--cleanup", "--resource", u.id)
			must(u.t, u.c.WaitIdle(step(u.t)))
			return
		}
	}
	u.t.Errorf("%s: somebody else than the cluster restarted it: %+v", u.id, status.Failures)
}

// qpidd is a broker, with an init script in the manner of EL's or a unit in the manner of upstream's.
func qpidd(t *testing.T) []cluster.File {
	path, kind := broker.Binary(t)
	t.Logf("the broker is a %s", kind)
	return []cluster.File{
		{Path: "/usr/sbin/qpidd", From: path, Mode: 0o755},
		{Path: "/etc/qpid/qpidd.conf", Content: "auth=no\ndata-dir=/var/lib/qpidd\npid-dir=/var/lib/qpidd\n" +
			// oslo.messaging's amqp driver subscribes to addresses that the broker has to make.
			"queue-patterns=exclusive\nqueue-patterns=unicast\ntopic-patterns=broadcast\n"},
		{Path: "/etc/init.d/qpidd", Mode: 0o755, Content: `#!/bin/sh
### BEGIN INIT INFO
# Provides: qpidd
# Short-Description: broker
### END INIT INFO
pid=/var/run/qpidd.pid
alive() { [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
case $1 in
start)
	alive && exit 0
	install -d -o qpidd /var/lib/qpidd
	runuser -u qpidd -- /usr/sbin/qpidd --config /etc/qpid/qpidd.conf --daemon --wait 30 </dev/null >/dev/null 2>&1 || exit 1
	pgrep -o -u qpidd -f /usr/sbin/qpidd >$pid ;;
stop)
	alive && kill "$(cat $pid)" && while alive; do sleep 0.1; done
	rm -f $pid ;;
status)
	alive && exit 0
	[ -s $pid ] && exit 1
	exit 3 ;;
*) exit 2 ;;
esac
`},
		{Path: "/etc/systemd/system/qpidd.service", Content: `[Service]
Type=forking
User=qpidd
RuntimeDirectory=qpidd
ExecStartPre=+/usr/bin/install -d -o qpidd /var/lib/qpidd
ExecStart=/usr/sbin/qpidd --config /etc/qpid/qpidd.conf --daemon --wait 30
Restart=always
RestartSec=100ms
`},
	}
}

func addUser(t *testing.T, c *cluster.Cluster, name string) {
	for _, n := range c.Nodes() {
		n.MustExec(step(t), t, "useradd", "--system", "--home-dir", "/var/lib/"+name, name)
	}
}

// haproxy answers by itself on every node.
var haproxy = []cluster.File{{Path: "/etc/haproxy/haproxy.cfg", Content: `global
	user haproxy
	group haproxy
defaults
	mode http
	timeout connect 10s
	timeout client 10s
	timeout server 10s
frontend api
	bind *:8774
	http-request return status 200 content-type text/plain string ok
`}}

// web is HAProxy on all nodes as its clients see it: a request to each.
type web struct {
	client *http.Client
	nodes  []*cluster.Node
}

func (w web) Put(ctx context.Context, n int) error {
	for _, node := range w.nodes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.Addr+":8774/", nil)
		if err != nil {
			return err
		}
		res, err := w.client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		if res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %w", node.Name, res.Status, err)
		}
	}
	return nil
}

func (w web) Numbers(context.Context) ([]int, error) { return nil, errors.New("HAProxy keeps nothing") }
func (w web) Close() error                           { w.client.CloseIdleConnections(); return nil }

// write uses a ledger until the test's end.
func write(t *testing.T, l scenario.Ledger, pause time.Duration) *scenario.Writer {
	w := scenario.Write(l, pause)
	t.Cleanup(func() {
		w.Stop()
		_ = l.Close()
	})
	return w
}

func browse(t *testing.T, c *cluster.Cluster) *scenario.Writer {
	return write(t, web{&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: c.Dial}}, c.Nodes()}, 50*time.Millisecond)
}

// Package plan tests the commands plan and apply: the examples against golden files that the tools themselves make, and apply on a
// real cluster.
package plan

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

var isCommand = regexp.MustCompile(`^(#.*|pcs .*|cp old.xml new.xml|sysctl -w .*|openstack-ocf plan .*)?\n$`)

var update = flag.Bool("update", false, "write the golden files")

const (
	file    = "/root/controlplane.yaml"
	fakePCS = "/root/fake/pcs"
)

// TestCluster has the commands run on one cluster.
func TestCluster(t *testing.T) {
	cfg, err := scenario.Config(built.Binary(t), scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Nodes, cfg.Root = 2, scenario.Root(t)
	for _, need := range []string{"usr/sbin/mariadbd", "usr/sbin/haproxy", "usr/sbin/pcs", "usr/sbin/fence_ipmilan"} {
		if _, err := os.Stat(filepath.Join("/", cfg.Root, need)); err != nil {
			t.Skip("SKIP: needs " + filepath.Base(need))
		}
	}
	c := cluster.New(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel) // the parts below are parallel
	for _, name := range []string{"minimal", "rdo", "rdo-replicated-qpidd", "today"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); example(ctx, t, c.Nodes()[1], name) })
	}
	t.Run("apply", func(t *testing.T) { t.Parallel(); apply(ctx, t, c) })
}

// example holds what plan makes of an example against golden files, and what it wrote against the tools themselves.
func example(ctx context.Context, t *testing.T, n *cluster.Node, name string) {
	text, err := os.ReadFile("../../packaging/examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	in, cib, cfg := name+".yaml", "/root/"+name+".xml", "/root/"+name+".cfg"
	if err := n.WriteFile(ctx, "/root/"+in, text, 0o644); err != nil {
		t.Fatal(err)
	}
	res, err := n.Shell(ctx, "cd /root && openstack-ocf plan --cib "+cib+" "+in)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, name+".sh", res.Stdout)
	for line := range strings.Lines(res.Stdout) {
		if !isCommand.MatchString(line) {
			t.Errorf("neither a command nor a remark: %s", line)
		}
	}
	n.MustExec(ctx, t, "crm_verify", "--xml-file", cib)
	// pcs is the judge: its commands make the same of an empty CIB.
	var commands strings.Builder
	for line := range strings.Lines(res.Stdout) {
		if strings.HasPrefix(line, "pcs -f new.xml ") {
			commands.WriteString(line)
		}
	}
	dir := "/root/" + name
	if res, err := n.Shell(ctx, "mkdir "+dir+" && cd "+dir+" && cibadmin --empty >new.xml && set -e && "+commands.String()); err != nil {
		t.Fatalf("pcs does not take the plan's commands: %v\n%s", err, res.Stderr)
	}
	if made, planned := configuration(ctx, t, n, dir+"/new.xml"), configuration(ctx, t, n, cib); made == nil || !made.Equal(planned) {
		t.Errorf("pcs makes of the commands\n%s\nand not what was planned:\n%s", made, planned)
	}
	if strings.Contains(string(text), "haproxy") {
		n.MustExec(ctx, t, "openstack-ocf", "plan", "--haproxy", cfg, "/root/"+in)
		n.MustExec(ctx, t, "haproxy", "-c", "-f", cfg)
		got, err := n.ReadFile(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".cfg", string(got))
	}
}

// configuration is that of a CIB in a file on a node.
func configuration(ctx context.Context, t *testing.T, n *cluster.Node, file string) *pacemaker.Element {
	t.Helper()
	text, err := n.ReadFile(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	cib, err := pacemaker.ParseXML(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return cib.Child("configuration")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the golden file says (go test -update writes it):\n%s", name, got)
	}
}

// stage is a cluster whose control plane is described by a file on its first node.
type stage struct {
	*cluster.Cluster
	*testing.T
	ctx context.Context
	n   *cluster.Node
}

// describe writes the file.
func (s stage) describe(text string) {
	s.Helper()
	if err := s.n.WriteFile(s.ctx, file, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

// apply runs it, and returns all it says.
func (s stage) apply(code int, options string) string {
	s.Helper()
	began := time.Now()
	res, err := s.n.Shell(s.ctx, "openstack-ocf apply "+options+" "+file+" </dev/null")
	s.Logf("apply %s: %.1f s, exit code %d\n%s%s", options, time.Since(began).Seconds(), res.Code, res.Stdout, res.Stderr)
	if res.Code != code {
		s.Fatalf("exit code %d, want %d (%v)", res.Code, code, err)
	}
	return res.Stdout + res.Stderr
}

// says wants all of the words in what was said.
func (s stage) says(text string, words ...string) {
	s.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.Errorf("it does not say %q", w)
		}
	}
}

// configuration is the cluster's.
func (s stage) configuration() string {
	s.Helper()
	xml, err := s.CIB(s.ctx, "/cib/configuration")
	if err != nil {
		s.Fatal(err)
	}
	return xml
}

func (s stage) unchanged(before string) {
	s.Helper()
	if now := s.configuration(); now != before {
		s.Errorf("the configuration was changed:\n%s\nbefore:\n%s", now, before)
	}
}

// server is where the database runs, and as which process.
func (s stage) server() string {
	s.Helper()
	at, err := s.WaitRunning(s.ctx, "db")
	if err != nil {
		s.Fatal(err)
	}
	return at + " " + strings.TrimSpace(s.Node(at).MustExec(s.ctx, s, "pgrep", "-x", "mariadbd"))
}

const described = `
nodes: {node1: 10.76.0.11, node2: 10.76.0.12}
floating_ip: 10.76.0.100/24
group: test-group
storage: {device: %s, directory: /var/lib/mysql, fstype: ext4}
fencing: [{agent: fence_rack}]
services:
  - name: db
    agent: mysql
`

// apply takes a cluster from nothing through changes of the file. The parts build on each other.
func apply(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	scene, err := scenario.NewStage(ctx, c, nil, scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	s := stage{c, t, ctx, c.Nodes()[0]}
	minimal := fmt.Sprintf(described, scene.Disk)
	s.describe(minimal)
	empty := s.configuration()

	s.says(s.apply(0, "--dry-run --yes"), "create db", "start of db on node", "pcs resource create db ocf:openstack:mysql-shared-storage --group test-group")
	s.unchanged(empty)

	s.says(s.apply(0, "--yes"), "the way back: pcs cluster cib-push /var/lib/openstack-ocf/apply/", "done: all is as described")
	server, first := s.server(), s.configuration()
	s.says(s.apply(0, "--yes"), "nothing is left to do")
	s.unchanged(first)

	// A parameter that is reloadable, operations, HAProxy at the group's end, and a clone on one node.
	more := minimal + `    parameters: {degraded_disk_percent: 90}
    operations: [monitor interval=3s timeout=20s, monitor interval=40s timeout=30s OCF_CHECK_LEVEL=10]
  - haproxy
  - {name: everywhere, agent: "ocf:pacemaker:Dummy", run: clone, nodes: [node1]}
apis: [{name: keystone, nodes: [node2]}]
`
	for _, n := range c.Nodes() { // as the plan's notes say; only the other node, so that apply has this one's to write
		if err := n.WriteFile(ctx, file, []byte(more), 0o644); err != nil {
			t.Fatal(err)
		}
		if n != s.n {
			n.MustExec(ctx, t, "openstack-ocf", "plan", "--haproxy", "/etc/haproxy/haproxy.cfg", file)
		}
	}
	// It stops at the first command that fails, and goes on from there.
	fake := "#!/bin/sh\ncase \"$*\" in 'resource create everywhere '*) echo 'Error: no more of that' >&2; exit 1;; esac\nexec /usr/sbin/pcs \"$@\"\n"
	if err := s.n.WriteFile(ctx, fakePCS, []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	res, err := s.n.Shell(ctx, "PATH="+filepath.Dir(fakePCS)+":$PATH openstack-ocf apply --yes "+file)
	t.Logf("%s%s", res.Stdout, res.Stderr)
	if res.Code != 1 {
		t.Fatalf("exit code %d, want 1 (%v)", res.Code, err)
	}
	s.says(res.Stdout, "+ degraded_disk_percent=90", "+ op monitor OCF_CHECK_LEVEL=10 interval=40s timeout=30s", "create haproxy", "create everywhere",
		"+ location everywhere-clone avoids node2", "wrote /etc/haproxy/haproxy.cfg")
	s.says(res.Stderr, "resource create everywhere", "no more of that", "commands were run before", "pcs cluster cib-push /var/lib")
	if strings.Contains(res.Stdout, "IPaddr2") || strings.Contains(res.Stdout, "Filesystem") {
		t.Error("what did not change was touched")
	}
	if xml := s.configuration(); !strings.Contains(xml, `id="haproxy"`) || strings.Contains(xml, `id="everywhere"`) || strings.Contains(xml, "everywhere-clone-node2") {
		t.Errorf("all before what failed is there, and nothing after it: %s", xml)
	}
	half := s.configuration()
	s.says(s.apply(1, ""), "Go ahead?", "not confirmed; nothing was changed")
	s.unchanged(half)
	if said := s.apply(0, "--yes"); strings.Contains(said, "create haproxy") || !strings.Contains(said, "create everywhere") {
		t.Error("it does not go on from where it stopped")
	} else {
		s.says(said, "no server is up in: keystone") // degraded, and not a reason to say that apply failed
	}
	if now := s.server(); now != server {
		t.Errorf("the database was restarted: %s, before: %s", now, server)
	}
	second := s.configuration()
	s.says(s.apply(0, "--yes"), "nothing is left to do")
	s.unchanged(second)

	// What would stop a service is refused, and so is a file for another cluster.
	s.describe(minimal + "  - {name: everywhere, agent: \"ocf:heartbeat:Dummy\"}\n")
	s.says(s.apply(1, "--yes"), "openstack-ocf swap --to ocf:heartbeat:Dummy everywhere", "not in the file, and left alone: haproxy")
	s.describe(strings.ReplaceAll(minimal, "node2", "node7"))
	s.says(s.apply(1, "--yes"), "node7 is not a node of this cluster, which has node1, node2")
	s.describe(minimal + "    parameters: {datdir: /x}\n")
	s.says(s.apply(1, "--yes"), file+":10: ")
	s.unchanged(second)

	// The way back is a way back.
	files := strings.Fields(s.n.MustExec(ctx, t, "/bin/sh", "-c", "ls /var/lib/openstack-ocf/apply/*.xml"))
	if len(files) != 3 {
		t.Fatalf("configurations kept: %v", files)
	}
	s.n.MustExec(ctx, t, "pcs", "cluster", "cib-push", files[1], "--config")
	s.unchanged(first)
	if mode := s.n.MustExec(ctx, t, "stat", "-c", "%U %a", files[1], filepath.Dir(files[1])); mode != "root 600\nroot 700\n" {
		t.Errorf("the configuration, which may hold passwords, is kept with %q", mode)
	}
}

// Package plan tests the commands plan and apply: the examples against golden files that the tools themselves make, and apply on a
// real cluster.
package plan

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

var isCommand = regexp.MustCompile(`^(#.*|pcs .*|cp old.xml new.xml|sysctl -w .*|systemctl disable --now .*|openstack-ocf plan .*)?\n$`)

var update = flag.Bool("update", false, "write the golden files")

const file = "/root/controlplane.yaml"

// TestCluster has the commands run on one cluster.
func TestCluster(t *testing.T) {
	cfg, err := scenario.Config(built.Binary(t), scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Nodes, cfg.Root = 2, scenario.Root(t)
	for _, need := range []string{"usr/sbin/mariadbd", "usr/sbin/haproxy", "usr/sbin/pcs", "usr/sbin/fence_ipmilan"} {
		needs.File(t, filepath.Join("/", cfg.Root, need), "on the nodes")
	}
	c := cluster.New(t, cfg)
	c.Nodes()[1].MustExec(t.Context(), t, "systemctl", "--quiet", "disable", "mariadb", "haproxy")
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
	planned := timed(ctx, t, n, "cd /root && openstack-ocf plan --cib "+cib+" "+in)
	golden(t, name+".sh", planned)
	for line := range strings.Lines(planned) {
		if !isCommand.MatchString(line) {
			t.Errorf("neither a command nor a remark: %s", line)
		}
	}
	n.MustExec(ctx, t, "crm_verify", "--xml-file", cib)
	// pcs is the judge: its commands make the same of an empty CIB.
	var commands strings.Builder
	for line := range strings.Lines(planned) {
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
	if name == "today" {
		n.MustExec(ctx, t, "systemctl", "--quiet", "enable", "mariadb")
		said := n.MustExec(ctx, t, "openstack-ocf", "plan", "/root/"+in)
		if first, _, _ := strings.Cut(said, "\n"); first != "# On this node systemd starts mariadb.service at boot, behind the cluster's back: systemctl disable --now mariadb.service" {
			t.Errorf("the first line is %q", first)
		}
	}
	// As the README has it.
	if name == "minimal" {
		trace := "cd " + dir + " && pcs -f new.xml resource update mysql trace_ra=1"
		if res, _ := n.Shell(ctx, trace); res.Code == 0 {
			t.Error("pcs takes trace_ra without --force: the README says otherwise")
		}
		n.MustExec(ctx, t, "/bin/sh", "-c", trace+" --force")
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

// timed runs a plan or an apply with its proof, which may take 10 s on two processors, and returns what it writes.
func timed(ctx context.Context, t *testing.T, n *cluster.Node, command string) string {
	t.Helper()
	res, err := n.Shell(ctx, "bash -c 'time -p ("+command+")'")
	if err != nil {
		t.Fatalf("%v\n%s", err, res.Stderr)
	}
	var wall, user, system float64
	if _, err := fmt.Sscanf(res.Stderr, "real %g\nuser %g\nsys %g", &wall, &user, &system); err != nil || user+system > 10 {
		t.Errorf("%s took %g s of CPU, and is to take 10 s at most (%v)", command, user+system, err)
	}
	t.Logf("%s: %g s, %g s of CPU", command, wall, user+system)
	return res.Stdout
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

// startedElsewhere has somebody start by hand, on the other node, what the cluster runs; and where that is right, once the cluster does not.
func (s stage) startedElsewhere() {
	s.Helper()
	status, err := s.Status(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	start := func(id, node string) (code int, said string) {
		res, err := s.Node(node).Exec(s.ctx, "crm_resource", "--force-start", "--resource", id)
		if exit := new(cluster.ExitError); err != nil && !errors.As(err, &exit) {
			s.Fatal(err)
		}
		return res.Code, res.Stdout + res.Stderr
	}
	other := func(node string) string {
		return s.Nodes()[slices.IndexFunc(s.Nodes(), func(n *cluster.Node) bool { return n.Name != node })].Name
	}
	var group []string
	active := ""
	for _, r := range status.Resources {
		if !strings.HasPrefix(r.Agent, "ocf:openstack:") {
			continue
		}
		group, active = append(group, r.ID), r.Nodes()[0]
		if code, said := start(r.ID, other(active)); code == 0 || !strings.Contains(said, "the cluster has "+r.ID+" on "+active+": ") {
			s.Errorf("%s was started by hand on %s, and runs on %s: exit code %d\n%s", r.ID, other(active), active, code, said)
		}
		if code, said := start(r.ID, active); code != 0 {
			s.Errorf("%s cannot be started by hand where it runs: exit code %d\n%s", r.ID, code, said)
		}
	}
	if len(group) != 3 {
		s.Fatalf("the group is %v", group)
	}
	if mounts := s.Node(other(active)).MustExec(s.ctx, s, "cat", "/proc/mounts"); strings.Contains(mounts, scenario.DataDir) {
		s.Errorf("the other node has the storage mounted:\n%s", mounts)
	}
	s.n.MustExec(s.ctx, s, "crm_resource", "--resource", group[0], "--meta", "--set-parameter", "target-role", "--parameter-value", "Stopped")
	if err := s.WaitIdle(s.ctx); err != nil {
		s.Fatal(err)
	}
	if code, said := start(group[1], other(active)); code == 0 || !strings.Contains(said, "pcs resource disable "+group[1]+" first") {
		s.Errorf("%s, which is stopped but not disabled, was started by hand: exit code %d\n%s", group[1], code, said)
	}
	if code, said := start(group[0], other(active)); code != 0 {
		s.Errorf("%s, which is disabled, cannot be started by hand: exit code %d\n%s", group[0], code, said)
	}
	s.Node(other(active)).MustExec(s.ctx, s, "crm_resource", "--force-stop", "--resource", group[0])
	s.n.MustExec(s.ctx, s, "crm_resource", "--resource", group[0], "--meta", "--delete-parameter", "target-role")
	if err := s.WaitIdle(s.ctx); err != nil {
		s.Fatal(err)
	}
}

// question is what apply asks before it changes anything.
const question = "Go ahead?"

// answer runs apply, waits for it to say so, does what a shell does then, and returns what apply says until its end.
// "$apply" is its pid, and what is written to descriptor 3 are answers.
func (s stage) answer(code int, options, after, then string) string {
	s.Helper()
	script := "cd /root; rm -f in out; mkfifo in; openstack-ocf apply " + options + " " + file + ` <in >out 2>&1 & apply=$!; exec 3>in
until grep -q '` + after + `' out; do kill -0 $apply || break; sleep 0.05; done
` + then + `
wait $apply; code=$?; cat out; exit $code`
	res, err := s.n.Shell(s.ctx, script)
	s.Logf("apply %s: exit code %d\n%s%s", options, res.Code, res.Stdout, res.Stderr)
	if res.Code != code {
		s.Fatalf("exit code %d, want %d (%v)", res.Code, code, err)
	}
	return res.Stdout
}

// haproxyFile is the balancer's configuration on the first node.
func (s stage) haproxyFile() string {
	s.Helper()
	text, err := s.n.ReadFile(s.ctx, haproxyCfg)
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

const haproxyCfg = "/etc/haproxy/haproxy.cfg"

// apply takes a cluster from nothing through changes of the file. The parts build on each other.
func apply(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	scene, err := scenario.NewStage(ctx, c, nil, scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	s := stage{c, t, ctx, c.Nodes()[0]}
	rdo, err := os.ReadFile("../../packaging/examples/rdo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.describe(string(rdo))
	s.says(timed(ctx, t, s.n, "openstack-ocf apply --dry-run "+file), "pcs resource create mysql1 ", "start of mysql1 on node", "listen keystone")
	minimal := fmt.Sprintf(described, scene.Disk)
	s.describe(minimal)
	empty := s.configuration()

	s.says(s.apply(0, "--dry-run --yes"), "create db", "start of db on node", "pcs resource create db ocf:openstack:mysql-shared-storage --group test-group")
	s.unchanged(empty)
	// A terminal that is gone at the question.
	s.says(s.answer(1, "", question, "kill -HUP $apply"), "nothing was changed")
	s.unchanged(empty)

	// It needs no pcs, which a cluster of crmsh does not have. A terminal that is gone afterwards leaves nothing half done.
	s.n.MustExec(ctx, t, "mv", "/usr/sbin/pcs", "/usr/sbin/pcs.away")
	made := s.answer(1, "--yes", "all is changed, in one step", "kill -HUP $apply")
	s.says(made, "the way back, which leaves alone what others change meanwhile: openstack-ocf apply --undo 2", "all is changed, but the wait was interrupted")
	if err := c.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
	s.startedElsewhere()
	server, first := s.server(), s.configuration()
	s.says(s.apply(0, "--yes"), "nothing is left to do")
	s.unchanged(first)
	s.n.MustExec(ctx, t, "mv", "/usr/sbin/pcs.away", "/usr/sbin/pcs")

	// What an operator sets by hand and the file does not know stays as it is.
	s.n.MustExec(ctx, t, "pcs", "stonith", "update", "fence", "pcmk_delay_base=3s")
	s.n.MustExec(ctx, t, "pcs", "resource", "update", "db", "op", "stop", "timeout=333s", "on-fail=fence")
	byHand := s.configuration()
	s.says(s.apply(0, "--yes"), "not in the file, and left alone: fence pcmk_delay_base", "nothing is left to do")
	s.unchanged(byHand)

	// Two names of one option that contradict each other.
	s.n.MustExec(ctx, t, "crm_attribute", "--type", "crm_config", "--name", "fencing-enabled", "--update", "false")
	s.says(s.apply(1, "--yes"), "fencing-enabled=false and stonith-enabled=true are two names of one option")
	s.n.MustExec(ctx, t, "crm_attribute", "--type", "crm_config", "--name", "fencing-enabled", "--delete")
	s.unchanged(byHand)

	// A parameter that is reloadable, operations, HAProxy at the group's end, and a clone on one node.
	more := minimal + `    parameters: {degraded_disk_percent: 90}
    operations: [monitor interval=3s timeout=20s, monitor interval=40s timeout=30s OCF_CHECK_LEVEL=10, stop timeout=300s]
  - haproxy
  - {name: everywhere, agent: "ocf:pacemaker:Dummy", run: clone, nodes: [node1]}
apis: [{name: keystone, nodes: [node2]}]
`
	for _, n := range c.Nodes() { // as the plan's notes say; only the other node, so that apply has this one's to write
		if err := n.WriteFile(ctx, file, []byte(more), 0o644); err != nil {
			t.Fatal(err)
		}
		if n != s.n {
			n.MustExec(ctx, t, "openstack-ocf", "plan", "--haproxy", haproxyCfg, file)
		}
	}
	// The operator's own haproxy.cfg is not replaced by a --yes alone, nor without a question of its own.
	s.n.MustExec(ctx, t, "/bin/sh", "-c", "mv "+haproxyCfg+" /etc/haproxy/mine; ln -s mine "+haproxyCfg+"; printf 'listen mine\n  bind :1\n  stats auth a:hunter2\n' >/etc/haproxy/mine; chown haproxy:adm /etc/haproxy/mine; chmod 640 /etc/haproxy/mine")
	mine := s.haproxyFile()
	s.says(s.apply(1, "--yes"), haproxyCfg+" was not written by openstack-ocf: nothing was changed", "- listen mine", "+ listen keystone", "stats auth (secret)")
	s.says(s.answer(1, "", question, "echo y >&3; echo n >&3"), "Replace "+haproxyCfg, "not confirmed; nothing was changed")
	// Somebody else changes the cluster before the answer.
	s.says(s.answer(1, "--replace-haproxy", question, "crm_attribute --type crm_config --name cluster-recheck-interval --update 7min; echo y >&3"), "has changed meanwhile")
	s.n.MustExec(ctx, t, "crm_attribute", "--type", "crm_config", "--name", "cluster-recheck-interval", "--delete")
	s.unchanged(byHand)
	if now := s.haproxyFile(); now != mine {
		t.Errorf("haproxy.cfg was replaced though nothing was to be changed: %s", now)
	}

	said := s.apply(0, "--yes --replace-haproxy")
	s.says(said, "+ degraded_disk_percent=90", "+ op monitor OCF_CHECK_LEVEL=10 interval=40s timeout=30s", "create haproxy", "create everywhere",
		"- op stop interval=0s on-fail=fence timeout=333s", "+ op stop interval=0s on-fail=fence timeout=300s",
		"+ location everywhere-clone avoids node2", "wrote "+haproxyCfg, "what was there is /etc/haproxy/mine.", "no server is up in: keystone", "done: all is as described")
	if strings.Contains(said, "IPaddr2") || strings.Contains(said, "Filesystem") || strings.Contains(said, "hunter2") {
		t.Error("what did not change was touched, or a secret told")
	}
	if got := s.n.MustExec(ctx, t, "/bin/sh", "-c", "readlink "+haproxyCfg+"; stat -c '%U:%G %a' /etc/haproxy/mine; cat /etc/haproxy/mine.*"); got != "mine\nhaproxy:adm 640\n"+mine {
		t.Errorf("link, owner, mode or the copy of the operator's haproxy.cfg are lost: %s", got)
	}
	if now := s.server(); now != server {
		t.Errorf("the database was restarted: %s, before: %s", now, server)
	}
	// The clone never ran where it must not.
	history, err := c.CIB(ctx, "//node_state[@uname='node2']//lrm_resource[@id='everywhere']")
	if err != nil || strings.Contains(history, `operation="start"`) || strings.Contains(history, `operation="stop"`) || !strings.Contains(history, `operation="monitor"`) {
		t.Errorf("everywhere ran on node2: %v %s", err, history)
	}
	second := s.configuration()
	s.says(s.apply(0, "--yes"), "nothing is left to do")
	s.unchanged(second)

	// What would stop a service is refused, and so is a file for another cluster.
	s.describe(minimal + "  - {name: everywhere, agent: \"ocf:heartbeat:Dummy\"}\n")
	s.says(s.apply(1, "--yes"), "openstack-ocf swap --to ocf:heartbeat:Dummy everywhere", "not in the file, and left alone: ", "haproxy")
	s.describe(strings.ReplaceAll(minimal, "node2", "node7"))
	s.says(s.apply(1, "--yes"), "node7 is not a node of this cluster, which has node1, node2")
	s.describe(minimal + "    parameters: {datdir: /x}\n")
	s.says(s.apply(1, "--yes"), file+":10: ")
	s.unchanged(second)

	// The way back undoes what apply did, and leaves alone what somebody did since.
	s.n.MustExec(ctx, t, "pcs", "resource", "meta", "db", "migration-threshold=3")
	s.n.MustExec(ctx, t, "/bin/sh", "-c", wayBack(said)+" --yes")
	if xml := s.configuration(); !strings.Contains(xml, "migration-threshold") || strings.Contains(xml, "everywhere") {
		t.Errorf("the way back gave up what somebody did since, or left something: %s", xml)
	}
	s.n.MustExec(ctx, t, "pcs", "resource", "meta", "db", "migration-threshold=")
	if now := s.parsed(); !now.Equal(parse(t, byHand)) {
		t.Errorf("the way back leads elsewhere:\n%s\nand not to\n%s", now, byHand)
	}
	files := strings.Fields(s.n.MustExec(ctx, t, "/bin/sh", "-c", "ls /var/lib/openstack-ocf/apply/*.xml"))
	if mode := s.n.MustExec(ctx, t, "stat", "-c", "%U %a", files[0], filepath.Dir(files[0])); mode != "root 600\nroot 700\n" {
		t.Errorf("the configuration, which may hold passwords, is kept with %q", mode)
	}

	// Of the group that the first apply made, the member stays that somebody else has put there. What they changed of db
	// goes with it, to which a person has to agree.
	s.n.MustExec(ctx, t, "pcs", "resource", "create", "theirs", "ocf:pacemaker:Dummy", "--group", "test-group")
	way := wayBack(made)
	res, _ := s.n.Shell(ctx, way+" --yes")
	s.says(res.Stdout+res.Stderr, "primitive db came with what is taken back, was changed since, and goes", "a person has to agree", "stop of db on node")
	res, err = s.n.Shell(ctx, "echo y | "+way)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, res.Stdout, res.Stderr)
	}
	s.says(res.Stdout, "done: what that apply did is taken back")
	group, err := c.CIB(ctx, "//group")
	if err != nil || !strings.Contains(group, `id="theirs"`) || strings.Contains(group, `id="db"`) || strings.Contains(group, "IPaddr2") {
		t.Errorf("the group is %s (%v)", group, err)
	}
	if at, err := c.WaitRunning(ctx, "theirs"); err != nil {
		t.Errorf("theirs does not run: %s, %v", at, err)
	}
	res, _ = s.n.Shell(ctx, way)
	s.says(res.Stdout, "nothing is left to take back")
}

// wayBack is the command that apply tells.
func wayBack(said string) string {
	_, way, _ := strings.Cut(said, "meanwhile: ")
	way, _, _ = strings.Cut(way, "\n")
	return way
}

// parsed is the configuration without what Pacemaker or pcs leave empty.
func (s stage) parsed() *pacemaker.Element { s.Helper(); return parse(s, s.configuration()) }

func parse(t testing.TB, text string) *pacemaker.Element {
	t.Helper()
	e, err := pacemaker.ParseXML(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	e.Remove(func(el *pacemaker.Element) bool {
		return len(el.Children) == 0 && (el.Name == "meta_attributes" || el.Name == "instance_attributes")
	})
	return e
}

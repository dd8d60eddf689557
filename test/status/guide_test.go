package status

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// deadline is for one step, on a machine that has other things to do.
const deadline = 2 * time.Minute

// newCluster is one with all that a package puts onto a node.
func newCluster(t *testing.T, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	binary, tree := built.Binary(t), t.TempDir()
	if cfg.Root = scenario.Root(t); cluster.Missing(cfg.Root) == nil {
		if out, err := exec.Command("../../packaging/layout", binary, tree).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cfg.Overlay = []string{tree}
	return cluster.New(t, cfg)
}

// sh runs a script in a node, which must succeed.
func sh(t *testing.T, n *cluster.Node, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	res, err := n.Run(ctx, cluster.Cmd{Argv: []string{"/bin/bash", "-euo", "pipefail", "-c", script}, Env: []string{"DEBIAN_FRONTEND=noninteractive"}})
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", n.Name, script, err, res.Stdout)
	}
	return res.Stdout
}

// waits until a script says all the words.
func waits(t *testing.T, n *cluster.Node, script string, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for {
		res, err := n.Run(t.Context(), cluster.Cmd{Argv: []string{"timeout", "30", "/bin/bash", "-c", script}})
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(res.Stdout, w) }) {
			return res.Stdout
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %s: want %q: %v\n%s%s", n.Name, script, words, err, res.Stdout, res.Stderr)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// blocks are the indented ones of a chapter of the guide or of README, without their indentation.
func blocks(t *testing.T, file, heading string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", file, heading)
	}
	chapter, _, _ = strings.Cut(chapter, "\n#")
	for _, p := range strings.Split(chapter, "\n\n") {
		if strings.HasPrefix(strings.TrimLeft(p, "\n"), "    ") {
			list = append(list, strings.ReplaceAll(strings.TrimPrefix(strings.TrimLeft(p, "\n"), "    "), "\n    ", "\n"))
		}
	}
	return list
}

// backends is what a newcomer's HAProxy has: an API that is not there.
const backends = `
listen api
	bind :8080
	server a 127.0.0.1:9001 check inter 1s
`

// TestGuide goes the way of a newcomer by the commands of README and of the guide: HAProxy by its unit on every node, the timer,
// node_exporter, Prometheus, until that says which service is degraded, and why.
func TestGuide(t *testing.T) {
	for _, program := range []string{"haproxy", "prometheus", "prometheus-node-exporter", "promtool", "curl"} {
		needs.Program(t, program, program)
	}
	if os.Getenv("ROOT") != "" {
		t.Skip("SKIP: needs a Prometheus on the nodes")
	}
	byHand := blocks(t, "README.md", "## Use")
	clone := byHand[len(byHand)-1]
	clone = clone[strings.LastIndex(clone, "pcs resource create lb "):]
	chapter := blocks(t, "packaging/guide.md", "### In Prometheus")
	if len(chapter) != 3 {
		t.Fatalf("the guide has %d blocks on Prometheus, and this test knows what to do with 3: %q", len(chapter), chapter)
	}
	onNodes, config, onHost := chapter[0], chapter[1], chapter[2]

	c := newCluster(t, cluster.Config{Nodes: 3})
	begun := time.Now()
	say := func(what string) { t.Logf("%5.1f s  %s", time.Since(begun).Seconds(), what) }
	for _, n := range c.Nodes() {
		sh(t, n, "cat >>/etc/haproxy/haproxy.cfg <<'E'\n"+backends+"E\n")
	}
	host := c.Nodes()[2]
	say(clone)
	sh(t, c.Nodes()[0], clone)
	_, onNodes, ok := strings.Cut(onNodes, "\n")
	if !ok || !strings.HasPrefix(chapter[0], "apt install prometheus-node-exporter ") {
		t.Fatalf("the first command is not the installation: %s", chapter[0])
	}
	for _, n := range c.Nodes() {
		sh(t, n, "systemctl start prometheus-node-exporter") // what its installation does
		enable, look, _ := strings.Cut(onNodes, "\n")
		say(n.Name + ": " + enable)
		sh(t, n, enable)
		waits(t, n, look, "openstack_ocf_up 1")
	}
	say("prometheus.yml")
	if err := host.WriteFile(t.Context(), "/etc/prometheus/prometheus.yml", []byte("global: {scrape_interval: 5s, evaluation_interval: 5s}\n"+config+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, host, "systemctl start prometheus")
	waits(t, host, "curl -s localhost:9090/-/ready", "Ready") // before, a reload is a SIGHUP that ends it
	lines := strings.Split(strings.TrimSpace(onHost), "\n")
	query := lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		say(line)
		out := sh(t, host, line)
		if strings.HasPrefix(line, "promtool check") && !strings.Contains(out, "1 rule files found") {
			t.Errorf("the rules are not read: %s", out)
		}
	}
	say(query)
	out := waits(t, host, query, `state="degraded"`, `cluster="mine"`, "no server is up in: api", `node="node1"`, `node="node2"`, `node="node3"`)
	say("degraded:\n" + out)
	if took := time.Since(begun); took > 15*time.Minute {
		t.Errorf("it took %s", took)
	}
	say("alerts")
	t.Log(waits(t, host, `promtool query instant http://localhost:9090 'ALERTS{alertname="ClusterServiceDegraded"}'`, "no server is up in: api", "lb"))

	night(t, c.Nodes()[0], say)

	say("node1's cluster is stopped, and started again")
	n := c.Nodes()[0]
	sh(t, n, "systemctl stop pacemaker")
	waits(t, host, `promtool query instant http://localhost:9090 'openstack_ocf_up == 0'`, "node1")
	sh(t, n, "systemctl start pacemaker")
	waits(t, host, `promtool query instant http://localhost:9090 'openstack_ocf_up == 1'`, "node1")
	say("up again")
}

// night is 3 am: what the guide has one call then, and what each says of the service that is degraded.
func night(t *testing.T, n *cluster.Node, say func(string)) {
	const reason = "no server is up in: api"
	says := map[string]string{
		"openstack-ocf status": reason, "openstack-ocf doctor": reason, "crm_mon -1r": reason, "crm_mon -1rfA": reason,
		"pcs status --full": reason, "crm_resource --why -r lb": "lb", "pcs resource debug-monitor lb": "lb",
		"grep ocf-exit-reason /var/log/pacemaker/pacemaker.log": reason,
	}
	called := 0
	for _, block := range append(blocks(t, "packaging/guide.md", "## What runs, and what is wrong"), blocks(t, "packaging/guide.md", "### With Pacemaker's own tools")...) {
		for line := range strings.Lines(block) {
			command, _, _ := strings.Cut(line, "#")
			command = strings.TrimSpace(command)
			command = regexp.MustCompile(`\bdb\b`).ReplaceAllString(command, "lb")
			switch words, ok := says[command]; {
			case ok:
				say(command)
				waits(t, n, command+" 2>&1", words)
				called++
			case strings.Contains(command, "trace_ra=1"):
				say(command)
				sh(t, n, command)
				waits(t, n, "find /var/lib/heartbeat/trace_ra -type f", "lb")
			case command != "openstack-ocf status --watch":
				t.Errorf("the guide has a command that this test does not know: %s", command)
			}
		}
	}
	if called != len(says) {
		t.Errorf("%d commands of the guide were called, want %d", called, len(says))
	}
}

// frozen are the cluster's daemons.
var frozen = []string{
	"pacemaker-execd", "pacemaker-attrd", "pacemaker-schedulerd", "pacemaker-fenced", "pacemaker-controld", "pacemaker-based", "pacemakerd", "corosync",
}

// within is what each command may take, and grace what a busy machine may add.
const (
	within = 8 * time.Second
	grace  = 10 * time.Second
)

// TestFrozen freezes the cluster's daemons on a node, one by one: status, doctor and the metrics end in time, and name it.
// Then the same commands by users who are not root.
func TestFrozen(t *testing.T) {
	c := newCluster(t, cluster.Config{Nodes: 3, Properties: map[string]string{"stonith-enabled": "false"}}) // or the node would be gone
	n := c.Nodes()[0]
	t.Log(sh(t, n, "crm_mon --version | head -n1"))
	sh(t, n, "pcs resource create d ocf:pacemaker:Dummy clone")
	idle := func() {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		if err := c.WaitStable(ctx); err != nil {
			t.Fatal(err)
		}
	}
	idle()
	t.Run("not root", func(t *testing.T) { notRoot(t, n) })
	for _, d := range frozen {
		t.Run(d, func(t *testing.T) {
			freeze(t, n, d)
		})
		idle()
	}
	if out := waits(t, n, "openstack-ocf status", "at rest"); strings.Contains(out, "FROZEN") {
		t.Errorf("nothing is frozen any more:\n%s", out)
	}
}

func freeze(t *testing.T, n *cluster.Node, daemon string) {
	pid := strings.TrimSpace(sh(t, n, "pidof "+daemon))
	sh(t, n, "kill -STOP "+pid)
	waits(t, n, "cat /proc/"+pid+"/status", "T (stopped)") // a busy machine takes a moment
	defer func() { _, _ = n.Shell(t.Context(), "kill -CONT "+pid) }()
	named := daemon + " (pid " + pid + ")"
	type said struct {
		what string
		cluster.Result
	}
	answers := make(chan said)
	commands := []string{"status", "status --json", "status --metrics --output /run/frozen.prom", "doctor"}
	for _, what := range commands {
		go func() {
			argv := append([]string{"openstack-ocf"}, strings.Fields(what+" --within "+within.String())...)
			res, _ := n.Exec(t.Context(), argv...) // its exit code is looked at
			answers <- said{what, res}
		}()
	}
	for range commands {
		a := <-answers
		t.Logf("%s: %d after %.1f s", a.what, a.Code, a.Took.Seconds())
		if a.Took > within+grace {
			t.Errorf("%s took %s, with --within %s", a.what, a.Took, within)
		}
		metrics := strings.Contains(a.what, "--metrics")
		if a.Code == 0 && !metrics || !metrics && !strings.Contains(a.Stdout+a.Stderr, named) {
			t.Errorf("%s exits with %d and does not name %s:\n%s%s", a.what, a.Code, named, a.Stdout, a.Stderr)
		}
	}
	if text := sh(t, n, "cat /run/frozen.prom"); !strings.Contains(text, `openstack_ocf_frozen{daemon="`+daemon+`"} 1`) {
		t.Errorf("the metrics do not say so:\n%s", text)
	}
}

// notRoot: a member of haclient sees all but what takes root, which is told; anybody else is told who may.
func notRoot(t *testing.T, n *cluster.Node) {
	sh(t, n, "useradd --groups haclient member; useradd stranger; pcs resource create m ocf:openstack:memcached unit=nowhere.service --disabled")
	as := func(user string, args ...string) cluster.Result {
		res, _ := n.Exec(t.Context(), append([]string{"runuser", "-u", user, "--", "openstack-ocf"}, args...)...) // its exit code is looked at
		return res
	}
	var found struct {
		Findings []struct{ Level, What, Do string }
	}
	if res := as("member", "status"); res.Code != 0 || !strings.Contains(res.Stdout, "serving") {
		t.Errorf("status: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	if res := as("member", "status", "--json"); res.Code != 0 || !json.Valid([]byte(res.Stdout)) {
		t.Errorf("status --json: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	if res := as("member", "status", "--metrics"); res.Code != 0 || !strings.Contains(res.Stdout, "openstack_ocf_up 1") {
		t.Errorf("status --metrics: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	res := as("member", "doctor", "--json")
	if err := json.Unmarshal([]byte(res.Stdout), &found); err != nil {
		t.Fatalf("doctor: %v\n%s%s", err, res.Stdout, res.Stderr)
	}
	asRoot := false
	for _, f := range found.Findings {
		asRoot = asRoot || f.Do == "call doctor as root"
		if f.Level == "error" {
			t.Errorf("doctor: %+v, which is only so for who is not root", f)
		}
	}
	if !asRoot {
		t.Errorf("doctor does not say what takes root: %+v", found)
	}
	for _, command := range []string{"status", "doctor"} {
		if res := as("stranger", command); res.Code != 1 || !strings.Contains(res.Stderr, "members of the group haclient may") {
			t.Errorf("%s by a stranger: %d\n%s%s", command, res.Code, res.Stdout, res.Stderr)
		}
	}
	sh(t, n, "pcs resource delete m")
}

// Package clustermysql tests ocf:openstack:mysql-shared-storage on a real Pacemaker cluster, deployed as the
// document does it, with a client that writes all the while.
//
// The environment variable ROOT is a root file system for the nodes in place of the machine's own; with SUITE, the
// name of a Debian release, it is made there first, which takes minutes (see `make test-trixie`).
package clustermysql

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/doctor"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// deadline is for one step, on a machine that has other things to do.
const deadline = 10 * time.Minute

// TestMySQL takes one cluster through the life of a database; its parts build on each other.
func TestMySQL(t *testing.T) {
	cfg, err := scenario.Config(built.Binary(t), scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Root = scenario.Root(t)
	needs.File(t, filepath.Join("/", cfg.Root, "usr/sbin/mariadbd"), "mariadb-server")
	c := cluster.New(t, cfg)
	begun := time.Now()
	say := func(line string) { t.Logf("%5.1f s  %s", time.Since(begun).Seconds(), line) }
	say(version(t, c))
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	s, err := scenario.NewStage(ctx, c, say, scenario.MySQL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	t.Run("meta-data", func(t *testing.T) { readMetaData(t, c.Nodes()[0]) })
	t.Run("storage missing", func(t *testing.T) { storageMissing(t, s) })
	if !t.Run("create", func(t *testing.T) { create(t, s) }) {
		return
	}
	for _, p := range parts {
		if !t.Run(p.act.Name, func(t *testing.T) { play(t, s, p.act, p.failure) }) {
			break // the next would meet a cluster in disorder
		}
	}
	t.Run("degraded", func(t *testing.T) { degraded(t, s) })
	t.Run("secret", func(t *testing.T) { secret(t, s) })
	t.Run("a monitor stays", func(t *testing.T) { stays(t, s) })
	t.Run("audit", func(t *testing.T) { audit(t, s) })
}

// step is the context of one step.
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

// version says what the cluster runs.
func version(t *testing.T, c *cluster.Cluster) string {
	out := c.Nodes()[0].MustExec(step(t), t, "/bin/sh", "-c", "crm_mon --version | head -n1; pcs --version; mariadbd --version")
	return strings.Join(strings.Split(strings.TrimSpace(out), "\n"), ", ")
}

// readMetaData has everything that reads meta-data read it.
func readMetaData(t *testing.T, n *cluster.Node) {
	for _, script := range []string{
		"crm_resource --show-metadata " + agent,
		"pcs resource describe " + agent,
		"crm ra info " + agent,
		// xmllint looks the DTD up where ocf-tester has it.
		metaData + " | (cd /usr/share/resource-agents && xmllint --valid -)",
		metaData + " | xmllint --relaxng $(find /usr/share/pcs /usr/lib/python3* /usr/lib/pcs* -name ocf-1.1.rng 2>/dev/null | head -n1) -",
	} {
		res, err := n.Run(step(t), cluster.Cmd{Argv: []string{"/bin/bash", "-o", "pipefail", "-c", script}})
		if err != nil || !strings.Contains(res.Stdout, "test_defaults_file") || strings.Contains(res.Stderr, "rror") {
			t.Errorf("%s: %v\n%s%s", script, err, res.Stdout, res.Stderr)
		}
	}
}

const (
	agent    = "ocf:openstack:mysql-shared-storage"
	metaData = "/usr/lib/ocf/resource.d/openstack/mysql-shared-storage meta-data"
)

// storageMissing has the resource without its storage: what is in the data directory then is the node's own, and no
// server may start on it on any node.
func storageMissing(t *testing.T, s *scenario.Stage) {
	ctx := step(t)
	must(t, s.Create(ctx, scenario.MySQL()))
	for _, n := range s.Cluster.Nodes() {
		reported(t, s, failure{ocf.Generic, []string{"/var/lib/mysql", "not mounted"}}, n.Name)
	}
	must(t, s.Cluster.WaitIdle(ctx))
	for _, n := range s.Cluster.Nodes() {
		if res, err := n.Exec(ctx, "pgrep", "-a", "mariadbd|mysqld"); res.Code != 1 {
			t.Errorf("%s: a server runs on local data: %s %v", n.Name, res.Stdout, err)
		}
	}
	must(t, s.PCS(ctx, "resource", "delete", "db"))
}

func create(t *testing.T, s *scenario.Stage) {
	ctx := step(t)
	must(t, s.CreateGroup(ctx))
	must(t, s.Create(ctx, scenario.MySQL()))
	_, err := s.Enter(ctx, scenario.MySQL())
	must(t, err)
	must(t, s.Restore(ctx))
	status, err := s.Cluster.Status(ctx)
	must(t, err)
	if len(status.Failures) > 0 {
		t.Errorf("failures although all is well: %+v", status.Failures)
	}
}

// failure is what crm_mon has to say about an action.
type failure struct {
	code  ocf.Code
	words []string // in the reason
}

// parts are the acts, and what crm_mon has to say after each; words nil: no failure at all.
var parts = []struct {
	act scenario.Act
	failure
}{
	{scenario.Kill, failure{ocf.NotRunning, []string{"no MySQL server", "/var/lib/mysql"}}},
	{scenario.Freeze, failure{ocf.Generic, []string{"MySQL server (pid ", "frozen (state T"}}},
	{scenario.Restart, failure{}},
	{scenario.Move, failure{}},
	{scenario.Standby, failure{}},
	{scenario.PowerCut, failure{}},
	{scenario.CableCut, failure{}},
	{readOnly, failure{ocf.Generic, []string{"/var/lib/mysql", "read-only"}}},
	// Pacemaker shows a resource's last failure on a node only: that of the start which was tried there.
	{unmounted, failure{ocf.Generic, []string{"/var/lib/mysql", "not mounted"}}},
}

var (
	readOnly = scenario.Act{Name: "disk read-only", Moves: true, Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
		states, err := s.Cluster.States(ctx)
		if err != nil {
			return err
		}
		for _, n := range states {
			if n.Name != d.Node {
				continue
			}
			rdev := n.Disks[s.Disk]
			device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(rdev), unix.Minor(rdev)))
			if err != nil {
				return err
			}
			// An error on the disk, as the node's kernel finds one (ext4's sysfs file; errors=remount-ro).
			return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error"), []byte("1"), 0)
		}
		return fmt.Errorf("no node %s", d.Node)
	}}
	unmounted = scenario.Act{Name: "storage lazily unmounted", Moves: true, Do: func(ctx context.Context, s *scenario.Stage, _ *scenario.Actor, d scenario.Daemon) error {
		_, err := s.Cluster.Node(d.Node).Exec(ctx, "umount", "--lazy", scenario.DataDir)
		return err
	}}
)

func play(t *testing.T, s *scenario.Stage, act scenario.Act, f failure) {
	ctx := step(t)
	r, err := s.Play(ctx, act)
	t.Logf("%v, then %v; without service: %v", r.From, r.To, r.Outages)
	must(t, err)
	if f.words != nil {
		reported(t, s, f, r.From.Node)
	}
	must(t, s.Settled(ctx))
	status, err := s.Cluster.Status(ctx)
	must(t, err)
	if f.words == nil && len(status.Failures) > 0 {
		t.Errorf("failures: %+v", status.Failures)
	}
	must(t, s.Restore(ctx))
}

// hook is a webhook that keeps what it gets.
const hook = `
import http.server
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/run/hook", "ab") as f:
            f.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Hook).serve_forever()
`

// alert has Pacemaker tell of failures: to the journal, and to a webhook on each node.
func alert(t *testing.T, s *scenario.Stage) {
	ctx := step(t)
	for _, n := range s.Cluster.Nodes() {
		must(t, n.WriteFile(ctx, "/run/hook.py", []byte(hook), 0o644))
		_, err := n.Shell(ctx, "setsid python3 /run/hook.py >/dev/null 2>&1 </dev/null &")
		must(t, err)
	}
	for _, args := range []string{"alert create path=/usr/sbin/openstack-ocf id=ocf", "alert recipient add ocf value=journal", "alert recipient add ocf value=http://127.0.0.1:8099/"} {
		must(t, s.PCS(ctx, strings.Fields(args)...))
	}
}

// alerted waits until both have been told, on the node where it was seen.
func alerted(t *testing.T, n *cluster.Node, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, where := range []string{"cat /run/hook", "journalctl --quiet --output=json SYSLOG_IDENTIFIER=openstack-ocf-alert"} {
		if strings.Contains(where, "journalctl") {
			words = words[len(words)-1:] // its fields have names of their own
		}
		for {
			res, _ := n.Shell(ctx, where)
			if containsAll(res.Stdout, words) {
				lines := strings.Split(strings.TrimSpace(res.Stdout), "\n")
				t.Log(lines[len(lines)-1])
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%s: %q are missing in\n%s%s", where, words, res.Stdout, res.Stderr)
			}
		}
	}
}

// degraded: a server with a handicap is told of, and is not restarted.
func degraded(t *testing.T, s *scenario.Stage) {
	ctx := step(t)
	a := s.Actors[0]
	d, ok := a.Watch.Now()
	if !ok {
		t.Fatal("there is no server")
	}
	n := s.Cluster.Node(d.Node)
	alert(t, s)
	filler := scenario.DataDir + "/filler"
	n.MustExec(ctx, t, "/bin/sh", "-ec", `fallocate -l $(($(df --output=avail -B1 "$1" | tail -n1) - (20 << 20))) "$2"`, "sh", scenario.DataDir, filler)
	reported(t, s, failure{ocf.Degraded, []string{"full", "/var/lib/mysql"}}, d.Node)
	alerted(t, n, `"state":"degraded"`, "% full", "make room")
	told(t, s, 3, "db", "degraded, since ", "% full", "(exit 190)", "-> make room")
	n.MustExec(ctx, t, "rm", filler)
	alerted(t, n, "db on "+n.Name+" is well again; it was: ") // before the cleanup, after which nobody knows what was
	must(t, s.Restore(ctx))
	told(t, s, 0, "serving, since ", "fencing on", "at rest")
	status, err := s.Cluster.Status(ctx)
	must(t, err)
	if len(status.Failures) > 0 {
		t.Errorf("still degraded: %+v", status.Failures)
	}
	if now, _ := a.Watch.Now(); now != d {
		t.Errorf("the server was %v and is %v now: a degraded one was restarted", d, now)
	}
}

// told asks the operator's command on every node, as root and as one of Pacemaker's users, until it says these words with
// this exit code; and has Prometheus' own reader look at the metrics.
func told(t *testing.T, s *scenario.Stage, code int, words ...string) {
	t.Helper()
	var last string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, n := range s.Cluster.Nodes() {
		for _, as := range []string{"root", "hacluster"} {
			for {
				res, err := n.Exec(ctx, "runuser", "-u", as, "--", "openstack-ocf", "status")
				if last = res.Stdout; res.Code == code && containsAll(last, words) {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("status on %s as %s: want %d and %q: %v\n%s", n.Name, as, code, words, err, last)
				}
			}
		}
	}
	t.Log(last)
	examined(t, s, code)
	n := s.Cluster.Nodes()[0]
	var report struct {
		Format    int
		Resources []struct{ ID, State string }
	}
	out, err := n.Exec(ctx, "/bin/sh", "-c", "openstack-ocf status --json || :")
	must(t, err)
	if err := json.Unmarshal([]byte(out.Stdout), &report); err != nil || report.Format != 1 || len(report.Resources) < 2 {
		t.Errorf("%+v, %v:\n%s", report, err, out.Stdout)
	}
	must(t, n.WriteFile(ctx, "/run/metrics.prom", []byte("old"), 0o600))
	n.MustExec(ctx, t, "openstack-ocf", "status", "--metrics", "--output", "/run/metrics.prom")
	text := n.MustExec(ctx, t, "cat", "/run/metrics.prom")
	if want := `openstack_ocf_resource_state{resource="db",agent="ocf:openstack:mysql-shared-storage",state="degraded"} `; !strings.Contains(text, want+strconv.Itoa(min(code, 1))) {
		t.Errorf("%s is missing in\n%s", want, text)
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text + "\n")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// examined asks doctor on every node: it speaks of the database as status does, and says of all nodes that it could start there.
func examined(t *testing.T, s *scenario.Stage, code int) {
	t.Helper()
	for _, n := range s.Cluster.Nodes() {
		res, _ := n.Exec(step(t), "openstack-ocf", "doctor", "--json") // its exit code is looked at below
		var said struct {
			Format   int
			Node     string
			Findings []doctor.Finding
		}
		if err := json.Unmarshal([]byte(res.Stdout), &said); err != nil || said.Format != doctor.Format || said.Node != n.Name {
			t.Errorf("doctor on %s: %v\n%s%s", n.Name, err, res.Stdout, res.Stderr)
		}
		t.Logf("doctor on %s: %+v", n.Name, said.Findings)
		degraded := slices.ContainsFunc(said.Findings, func(f doctor.Finding) bool {
			return f.Level == doctor.Warning && strings.HasPrefix(f.Where, "db on ") && strings.Contains(f.What, "degraded")
		})
		failed := slices.ContainsFunc(said.Findings, func(f doctor.Finding) bool { return f.Level == doctor.Error })
		if degraded != (code != 0) || failed || res.Code != code {
			t.Errorf("doctor on %s exits with %d, and finds %+v", n.Name, res.Code, said.Findings)
		}
	}
}

// secret gives a password in Pacemaker's own way, cibsecret(8), which wants ssh between nodes: what it would write is
// written here. It reaches the agent, and neither the CIB nor a log.
func secret(t *testing.T, s *scenario.Stage) {
	const word = "unseen-word"
	ctx := step(t)
	d, ok := s.Actors[0].Watch.Now()
	if !ok {
		t.Fatal("there is no server")
	}
	for _, n := range s.Cluster.Nodes() {
		n.MustExec(ctx, t, "/bin/sh", "-ec", `umask 077; mkdir -p /var/lib/pacemaker/lrm/secrets/db; cd /var/lib/pacemaker/lrm/secrets/db
			printf %s "$1" >test_passwd; printf %s "$1" | md5sum | cut -d" " -f1 >test_passwd.sign`, "sh", word)
	}
	n := s.Cluster.Node(d.Node)
	n.MustExec(ctx, t, "mariadb", "-e", "CREATE USER probe@localhost IDENTIFIED BY '"+word+"'; GRANT ALL ON *.* TO probe@localhost")
	must(t, s.PCS(ctx, "resource", "update", "db", "test_user=probe", "test_passwd=lrm://"))
	must(t, s.Settled(ctx))
	told(t, s, 0, "serving, since ", "at rest")
	n.MustExec(ctx, t, "mariadb", "-e", "SET PASSWORD FOR probe@localhost = PASSWORD('another')")
	reported(t, s, failure{ocf.Degraded, []string{"probe", "denied"}}, d.Node) // so it is what the checks log in with
	n.MustExec(ctx, t, "mariadb", "-e", "SET PASSWORD FOR probe@localhost = PASSWORD('"+word+"')")
	must(t, s.Restore(ctx))
	told(t, s, 0, "serving, since ", "at rest")
	for _, n := range s.Cluster.Nodes() {
		if res, _ := n.Shell(ctx, `{ cibadmin --query; crm_mon -1rf; cat /var/log/pacemaker/pacemaker.log; journalctl --quiet; } | grep -c `+word); strings.TrimSpace(res.Stdout) != "0" {
			t.Errorf("%s shows the password %s times", n.Name, res.Stdout)
		}
	}
}

func audit(t *testing.T, s *scenario.Stage) {
	audits, err := s.Audit(step(t))
	if err != nil {
		t.Error(err)
	}
	for _, a := range audits {
		t.Logf("%d rows acknowledged, %d rows found; %d more were written whose acknowledgement got lost", a.Acknowledged, a.Found, a.More)
		if a.Acknowledged < 1000 {
			t.Errorf("only %d rows were acknowledged: the client did not write all the while", a.Acknowledged)
		}
	}
}

// reported waits until crm_mon reports the failure on the node, its reason on one line.
func reported(t *testing.T, s *scenario.Stage, f failure, node string) {
	t.Helper()
	var reason string
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, s.Cluster.WaitFor(ctx, func(status *cluster.Status) error {
		for _, got := range status.Failures {
			if got.Node == node && got.Code == int(f.code) && containsAll(got.Reason, f.words) {
				reason = got.Reason
				return nil
			}
		}
		return fmt.Errorf("no failure with code %d and the words %q on %s: %+v", f.code, f.words, node, status.Failures)
	}))
	for line := range strings.Lines(s.Cluster.CrmMon(step(t))) {
		if strings.Contains(line, reason) && strings.Contains(line, " on "+node+" ") {
			t.Log(strings.TrimSpace(line))
			return
		}
	}
	t.Errorf("crm_mon does not show this reason in one line: %q", reason)
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

package swap

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/needs"
)

// TestMain is the test, or one of the tools that want a live cluster (see bench).
func TestMain(m *testing.M) {
	if tool := tools[filepath.Base(os.Args[0])]; tool != nil {
		if err := tool(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bench is a cluster of three nodes that is nothing but a CIB in a file, on which Pacemaker's own tools work by the
// variable CIB_file. What they need a live cluster for is done by the tools below. db runs on node1, and api, a clone,
// everywhere.
type bench struct {
	t    *testing.T
	dir  string
	said []string
	swap *Swap
}

var benchCIB = `<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="7" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="1">
<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-s" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="node1"/><node id="2" uname="node2"/><node id="3" uname="node3"/></nodes>
<resources><!-- c --><primitive id="db" class="ocf" provider="heartbeat" type="mysql"/>
<clone id="api-clone"><primitive id="api" class="ocf" provider="heartbeat" type="haproxy"/></clone></resources><constraints/></configuration>
<status>` + benchNode(1, 0) + benchNode(2, 7) + benchNode(3, 7) + `</status></cib>`

func benchNode(n, db int) string {
	return fmt.Sprintf(`<node_state id="%[1]d" uname="node%[1]d" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="%[1]d"><lrm_resources>`+
		history("db", "ocf", "heartbeat", "mysql", 1, db)+history("api", "ocf", "heartbeat", "haproxy", 2, 0)+`</lrm_resources></lrm></node_state>`, n)
}

// history is the probe of a resource.
func history(id, class, provider, typ string, call, code int) string {
	return fmt.Sprintf(`<lrm_resource id="%[1]s" class="%[2]s" provider="%[3]s" type="%[4]s"><lrm_rsc_op id="%[1]s_last_0" operation_key="%[1]s_monitor_0" operation="monitor" crm-debug-origin="x" crm_feature_set="3.16.1" transition-key="1:1:7:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" transition-magic="0:%[6]d;1:1:7:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" call-id="%[5]d" rc-code="%[6]d" op-status="0" interval="0" last-rc-change="%[7]d" exec-time="1" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/></lrm_resource>`,
		id, class, provider, typ, call, code, time.Now().Unix())
}

var tools = map[string]func(args []string) error{
	"crm_node": func([]string) error { fmt.Println("node1"); return nil },
	"crmadmin": func([]string) error { fmt.Println("Controller on node1 in state S_IDLE: ok"); return nil },
	// cibadmin is the real one, but where the file deny names what a change must not contain.
	"cibadmin": func(args []string) error {
		cmd := exec.Command(os.Getenv("BENCH_CIBADMIN"), args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if slices.Contains(args, "--patch") {
			text, err := io.ReadAll(os.Stdin)
			if err != nil {
				return err
			}
			if deny, err := os.ReadFile(filepath.Join(os.Getenv("BENCH"), "deny")); err == nil && strings.Contains(string(text), string(deny)) {
				return fmt.Errorf("denied: %s", deny)
			}
			cmd.Stdin = strings.NewReader(string(text))
		}
		// Files know no versions that count up between reading and writing.
		free, err := lock.Take(context.Background(), filepath.Join(os.Getenv("BENCH"), "cib.lock"))
		if err != nil {
			return err
		}
		defer free()
		if err := cmd.Run(); cmd.ProcessState != nil && !cmd.ProcessState.Success() {
			os.Exit(cmd.ProcessState.ExitCode())
		} else if err != nil {
			return err
		}
		return nil
	},
	// crm_resource forgets, and has the agent of now answer what the one before did; not if there is a file ID-NODE.
	"crm_resource": func(args []string) error {
		id, node := args[slices.Index(args, "--resource")+1], ""
		if i := slices.Index(args, "--node"); i >= 0 {
			node = args[i+1]
		}
		if deaf, _ := filepath.Glob(filepath.Join(os.Getenv("BENCH"), id+"-"+node+"*")); len(deaf) > 0 {
			_, node, _ := strings.Cut(filepath.Base(deaf[0]), "-")
			return fmt.Errorf("%s does not hear", node)
		}
		ctx := context.Background()
		return until(ctx, 10*time.Second, func(ctx context.Context) error {
			cib, err := pacemaker.CIB(ctx)
			if err != nil {
				return err
			}
			to := cib.Clone()
			p := resource(to, id)
			for state := range to.Child("status").All("node_state") {
				if node != "" && state.Attr("uname") != node {
					continue
				}
				for h := range state.All("lrm_resource") {
					if h.Attr("id") == id {
						op := h.Child("lrm_rsc_op")
						call, _ := strconv.Atoi(op.Attr("call-id"))
						code, _ := strconv.Atoi(op.Attr("rc-code"))
						now, err := pacemaker.ParseXML(strings.NewReader(history(id, p.Attr("class"), p.Attr("provider"), p.Attr("type"), call+10, code)))
						if err != nil {
							return err
						}
						*h = *now
					}
				}
			}
			return pacemaker.Patch(ctx, cib, to)
		})
	},
}

func newBench(t *testing.T) *bench {
	real := needs.Program(t, "cibadmin", "pacemaker-cli-utils")
	b := &bench{t: t, dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range tools {
		if err := os.Symlink(self, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.file("cib.xml", benchCIB)
	t.Setenv("PATH", b.dir+":"+os.Getenv("PATH"))
	t.Setenv("CIB_file", filepath.Join(b.dir, "cib.xml"))
	t.Setenv("BENCH", b.dir)
	t.Setenv("BENCH_CIBADMIN", real)
	b.swap = &Swap{Dir: filepath.Join(b.dir, "state"), Version: "1", Within: Within, Say: func(format string, args ...any) {
		b.said = append(b.said, fmt.Sprintf(format, args...))
		t.Logf(format, args...)
	}}
	return b
}

func (b *bench) file(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) cib() *pacemaker.Element {
	b.t.Helper()
	cib, err := pacemaker.CIB(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return cib
}

// begin is a swap of both resources that has come so far as that they are in maintenance, and replaced.
func (b *bench) begin() *run { return b.beginOn("node1") }

// beginOn is the same by another node.
func (b *bench) beginOn(node string) *run {
	b.t.Helper()
	cib := b.cib()
	var changes []*Change
	for id, to := range map[string]string{"db": "mysql-shared-storage", "api": "haproxy"} {
		old := resource(cib, id).Clone()
		c := &Change{ID: id, From: pacemaker.AgentOf(old), To: "ocf:openstack:" + to, Old: old, New: replacement(cib, old, to, nil), Asked: []string{"node1", "node2", "node3"}, Runs: map[string]ocf.Code{"node1": ocf.OK}}
		if id == "api" {
			c.Runs = map[string]ocf.Code{"node1": ocf.OK, "node2": ocf.OK, "node3": ocf.OK}
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b *Change) int { return strings.Compare(b.ID, a.ID) })
	j, err := newJournal(b.swap.Dir, journal{Step: begun, Node: node, Began: time.Now(), Within: Within, Until: time.Now().Add(Within), Changes: changes}, cib)
	if err != nil {
		b.t.Fatal(err)
	}
	r := &run{swap: b.swap, journal: j, nodes: []string{"node1", "node2", "node3"}, expect: configured(cib)}
	if err := r.apply(b.t.Context(), func(cib *pacemaker.Element) error {
		mark(cib, marked(cib, r.journal.Changes, nil, false), r.journal.Until)
		for _, c := range r.journal.Changes {
			put(cib, c.New)
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// as wants the resources to have the old agents or the new ones, known as such, and marks or none.
func (b *bench) as(old, marks bool) {
	b.t.Helper()
	cib := b.cib()
	if isMarked(cib) != marks {
		b.t.Errorf("marks of a swap: %v, want %v", !marks, marks)
	}
	before := parse(b.t, benchCIB)
	if now := cib.Clone(); old && !marks && !configured(now).Equal(configured(before)) {
		b.t.Errorf("the configuration is\n%s\nand was\n%s", configured(now), configured(before))
	}
	for _, id := range []string{"db", "api"} {
		p := resource(cib, id)
		if is := p.Attr("provider") == "heartbeat"; is != old {
			b.t.Errorf("%s is %s", id, pacemaker.AgentOf(p))
		}
		if !marks && !known(cib, id, pacemaker.AgentOf(p), []string{"node1", "node2", "node3"}) {
			b.t.Errorf("%s is managed, and not all nodes know it by %s: the cluster restarts it", id, pacemaker.AgentOf(p))
		}
	}
}

func (b *bench) says(words string) {
	b.t.Helper()
	if all := strings.Join(b.said, "\n"); !strings.Contains(all, words) {
		b.t.Errorf("no %q in:\n%s", words, all)
	}
}

// within is Recover with so much time.
func (b *bench) within(d time.Duration) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		j, err := unfinished(b.swap.Dir)
		if err != nil || j == nil {
			return "", err
		}
		j.Within = d
		return b.swap.resume(ctx, j)
	}
}

package swap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// largeCIB is a cluster of so many nodes and resources, all of which run on one of them, and were looked for on all.
func largeCIB(nodes, resources, old int) string {
	var b strings.Builder
	b.WriteString(`<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="7" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="o"><nvpair id="o-s" name="stonith-enabled" value="false"/></cluster_property_set></crm_config><nodes>`)
	for n := 1; n <= nodes; n++ {
		fmt.Fprintf(&b, `<node id="%[1]d" uname="node%[1]d"/>`, n)
	}
	b.WriteString(`</nodes><resources>`)
	typ := func(i int) string {
		if i < old {
			return "mysql"
		}
		return "Dummy"
	}
	at := func(i int) int {
		if i < old {
			return 1
		}
		return 1 + i%nodes
	}
	for i := range resources {
		fmt.Fprintf(&b, `<primitive id="r%[1]d" class="ocf" provider="heartbeat" type="%[2]s"><operations><op id="r%[1]d-m" name="monitor" interval="10s" timeout="20s"/></operations></primitive>`, i, typ(i))
	}
	b.WriteString(`</resources><constraints>`)
	for i := range resources {
		fmt.Fprintf(&b, `<rsc_location id="l%[1]d" rsc="r%[1]d" node="node%[2]d" score="100"/>`, i, at(i))
	}
	b.WriteString(`</constraints></configuration><status>`)
	for n := 1; n <= nodes; n++ {
		fmt.Fprintf(&b, `<node_state id="%[1]d" uname="node%[1]d" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="%[1]d"><lrm_resources>`, n)
		for i := range resources {
			code := 7
			if at(i) == n {
				code = 0
			}
			h := history(fmt.Sprintf("r%d", i), "ocf", "heartbeat", typ(i), 5, code)
			if code == 0 { // its monitor runs
				op := h[strings.Index(h, "<lrm_rsc_op"):strings.Index(h, "</lrm_resource>")]
				op = strings.NewReplacer("_last_0", "_monitor_10000", "_monitor_0", "_monitor_10000", `interval="0"`, `interval="10000"`, `call-id="5"`, `call-id="6"`, `f2317cad3d54cec5d7d7aa7d0bf35cf8`, "4811cef7f7f94e3a35a70be7916cb2fd", "1:1:7:", "1:1:0:").Replace(op)
				h = strings.Replace(h, "</lrm_resource>", op+"</lrm_resource>", 1)
			}
			b.WriteString(h)
		}
		b.WriteString(`</lrm_resources></lrm></node_state>`)
	}
	b.WriteString(`</status></cib>`)
	return b.String()
}

// TestLarge takes the steps of a swap of 20 resources among 1000 on 16 nodes, as often as a swap takes them where nothing
// has to be waited for: on two processors it must take less than a minute, and all processes together less than a GB.
func TestLarge(t *testing.T) {
	if os.Getenv("SWAP_LARGE") == "" {
		t.Skip("SKIP: needs SWAP_LARGE=1, and some minutes")
	}
	b := newBench(t)
	b.file("cib.xml", largeCIB(16, 1000, 20))
	real, err := exec.LookPath("/usr/sbin/crm_resource")
	if err != nil {
		t.Fatal(err)
	}
	// What a question costs the one who asks: a tool that reads the CIB with its status.
	b.tool("crm_resource", "exec "+real+" --locate --resource r1")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	began, before := time.Now(), used(t)
	lap := func(what string) {
		t.Logf("%-10s %5.1f s of the processors since the beginning, %.1f s by the clock", what, (used(t) - before).Seconds(), time.Since(began).Seconds())
	}
	p, _, refused, err := b.swap.survey(ctx)
	must(err)
	must(refused.err())
	lap("surveyed")
	var checks []func() error
	for i := range 20 {
		id := fmt.Sprintf("r%d", i)
		old := resource(p.cib, id).Clone()
		p.Changes = append(p.Changes, &Change{ID: id, From: pacemaker.AgentOf(old), To: "ocf:openstack:x", Old: old, New: replacement(p.cib, old, "x", map[string]string{"a": "b"}), Asked: []string{"node1"}, Runs: map[string]ocf.Code{"node1": ocf.OK}})
		checks = append(checks, func() error { return pacemaker.Refresh(ctx, id, "") })
	}
	for _, err := range together(checks) { // runsToday
		must(err)
	}
	must(b.swap.foresee(ctx, p))
	lap("planned")
	j, err := newJournal(b.swap.Dir, journal{Step: begun, Node: "node1", Began: time.Now(), Within: Within, Until: time.Now().Add(Within), Changes: p.Changes}, p.cib)
	must(err)
	r := &run{swap: b.swap, journal: j, nodes: p.Nodes, expect: configured(p.cib)}
	looks := func(n int) {
		for range n {
			_, err := pacemaker.CIB(ctx)
			must(err)
		}
	}
	must(r.apply(ctx, func(cib *pacemaker.Element) error { addScout(cib, []string{"x"}, "1"); return nil }))
	looks(2)
	must(r.apply(ctx, func(cib *pacemaker.Element) error {
		addStarted(cib, secondID, []string{"node2"}, map[string]string{"watch": "x"})
		return nil
	}))
	looks(2)
	must(r.maintain(ctx))
	lap("maintained")
	must(r.apply(ctx, func(cib *pacemaker.Element) error {
		for _, c := range r.journal.Changes {
			put(cib, c.New)
		}
		return nil
	}))
	for _, err := range together(checks) {
		must(err)
	}
	looks(3)
	lap("asked")
	cib, err := pacemaker.CIB(ctx) // as calm
	must(err)
	unmark(cib)
	must(both(
		func() error { _, err := pacemaker.Simulate(ctx, cib); return err },
		func() error { _, err := pacemaker.ReadStatus(ctx); return err },
	))
	must(r.apply(ctx, func(cib *pacemaker.Element) error { unmark(cib); return nil }))
	for range 2 {
		_, err := pacemaker.ReadStatus(ctx)
		must(err)
	}
	looks(2)
	lap("lifted")
	if cpu := used(t) - before; cpu > 2*time.Minute {
		t.Errorf("%s of the processors: on two of them more than a minute", cpu)
	}
	var tools syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_CHILDREN, &tools))
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	var own int64
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &own)
	}
	t.Logf("memory: %d MB, and %d times at most %d MB", own>>10, atOnce, tools.Maxrss>>10)
	if all := own + atOnce*tools.Maxrss; all > 1<<20 {
		t.Errorf("%d MB all together", all>>10)
	}
}

// used is the time of the processors that this process and its tools have had.
func used(t *testing.T) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// tool puts a script in the place of a tool.
func (b *bench) tool(name, script string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.Remove(path); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		b.t.Fatal(err)
	}
}

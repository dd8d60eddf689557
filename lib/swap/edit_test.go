package swap

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

const cibText = `<cib epoch="7" num_updates="3" admin_epoch="0"><configuration><crm_config/><nodes/><resources>
<group id="g"><primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"/>
<primitive id="db" class="lsb" type="mysqld"><operations><op id="db-start" name="start" interval="0s" timeout="15"/>
<op id="db-monitor" name="monitor" interval="60s" timeout="15"/><op id="db-restart" name="restart" interval="0s" timeout="15"/></operations>
<meta_attributes id="db-meta"><nvpair id="db-meta-x" name="migration-threshold" value="3"/></meta_attributes></primitive></group>
<clone id="c"><primitive id="q" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="q-params">
<nvpair id="q-params-datadir" name="datadir" value="/srv/&quot;a&quot;&amp;b"/></instance_attributes></primitive></clone>
</resources><constraints/></configuration><status/></cib>`

func parse(t *testing.T, text string) *pacemaker.Element {
	t.Helper()
	e, err := pacemaker.ParseXML(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMarksLeaveNothing(t *testing.T) {
	cib := parse(t, cibText)
	before := cib.Clone()
	mark(cib, []string{"db", "q"}, time.Now())
	mark(cib, []string{"db", "q"}, time.Now()) // again: a mark replaces a mark
	addScout(cib, []string{"qpidd"}, "1")
	own(cib, "node1 then")
	own(cib, "node2 now")
	text := cib.String()
	if n := strings.Count(text, `name="maintenance"`); n != 3 {
		t.Errorf("%d maintenances, want those of db, q and the scout:\n%s", n, text)
	}
	if who := owner(cib); who != "node2 now" || !isMarked(cib) {
		t.Errorf("the marks are of %q:\n%s", who, text)
	}
	if strings.Contains(resource(cib, "ip").String(), prefix) {
		t.Error("ip is marked too")
	}
	unmark(cib)
	own(cib, "node2 now")
	if !cib.Equal(before) || owner(cib) != "" || isMarked(cib) {
		t.Errorf("it was\n%s\nand is\n%s", before, cib)
	}
}

// A resource may have any name, that of what the swap adds too.
func TestMarksOfAnyResource(t *testing.T) {
	for _, id := range []string{"owner", "scout", "units", "owner-is"} {
		cib := parse(t, strings.ReplaceAll(cibText, `id="db"`, `id="`+id+`"`))
		before := cib.Clone()
		addScout(cib, []string{"qpidd"}, "1")
		mark(cib, []string{id}, time.Now())
		own(cib, "node1 now")
		if owner(cib) != "node1 now" || !slices.ContainsFunc(resource(cib, id).Children, isMark) {
			t.Errorf("%s is not marked, or nobody's:\n%s", id, cib)
		}
		ids := map[string]bool{}
		cib.Any(func(e *pacemaker.Element) bool {
			if at := e.Attr("id"); at != "" && ids[at] {
				t.Errorf("%s: the id %s twice", id, at)
			}
			ids[e.Attr("id")] = true
			return false
		})
		unmark(cib)
		if !cib.Equal(before) {
			t.Errorf("%s: it is\n%s", id, cib)
		}
	}
}

func TestUnitsAreReachedInAClusterThatMustBeAllowed(t *testing.T) {
	newBench(t)
	cib := parse(t, strings.Replace(benchCIB, `<nvpair id="o-s"`, `<nvpair id="o-y" name="symmetric-cluster" value="false"/><nvpair id="o-s"`, 1))
	addStarted(cib, unitsID, []string{"node2", "node3"}, nil)
	would, err := pacemaker.Simulate(t.Context(), cib)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"node2", "node3"} {
		if !slices.Contains(would, pacemaker.Action{Operation: ocf.Start, Resource: unitsID, Node: n}) {
			t.Errorf("no start on %s: %v", n, would)
		}
	}
	if slices.Contains(would, pacemaker.Action{Operation: ocf.Start, Resource: unitsID, Node: "node1"}) {
		t.Errorf("a start on node1: %v", would)
	}
	unmark(cib)
	if isMarked(cib) || len(cib.Child("configuration", "constraints").Children) > 0 {
		t.Errorf("left: %s", cib)
	}
}

func TestPutKeepsTheMarkAndThePlace(t *testing.T) {
	cib := parse(t, cibText)
	old := resource(cib, "db").Clone()
	mark(cib, []string{"db"}, time.Now())
	put(cib, replacement(cib, old, "mysql-shared-storage", map[string]string{"datadir": "/data"}))
	db := resource(cib, "db")
	if pacemaker.AgentOf(db) != "ocf:openstack:mysql-shared-storage" || !isMark(db.Children[0]) {
		t.Fatalf("%s", db)
	}
	if g := cib.Find("group", "g"); len(g.Children) != 2 || g.Children[1].Attr("id") != "db" {
		t.Errorf("its place in the group: %s", g)
	}
	put(cib, old)
	unmark(cib)
	if !cib.Equal(parse(t, cibText)) {
		t.Errorf("back, it is\n%s", cib)
	}
}

func TestSuccessorKeepsAllElse(t *testing.T) {
	cib := parse(t, cibText)
	q := replacement(cib, resource(cib, "q"), "mysql-shared-storage", map[string]string{"socket": "/s", "config": "/c"})
	if got := pacemaker.Parameters(q); !maps.Equal(got, map[string]string{"datadir": `/srv/"a"&b`, "socket": "/s", "config": "/c"}) {
		t.Errorf("%v", got)
	}
	if q.Find("nvpair", "q-params-socket") == nil {
		t.Errorf("%s", q)
	}
	db := replacement(cib, resource(cib, "db"), "mysql-shared-storage", nil)
	if len(db.Children) != 2 || db.Find("op", "db-restart") == nil || db.Find("nvpair", "db-meta-x") == nil {
		t.Errorf("%s", db)
	}
	run := ocf.Agent{Actions: []ocf.Action{
		{Name: ocf.Start, Timeout: time.Minute},
		{Name: ocf.Monitor, Timeout: time.Second, Interval: 2 * time.Second},
		{Name: ocf.Monitor, Timeout: time.Second, Interval: 30 * time.Second, Depth: 10},
		{Name: ocf.Monitor, Timeout: time.Second, Interval: 3 * time.Second, Role: "Promoted"},
	}}
	advised(cib, db, run)
	var ops []string
	for op := range db.All("op") {
		ops = append(ops, op.Attr("name")+" "+op.Attr("interval")+" "+op.Attr("timeout"))
	}
	if want := []string{"restart 0s 15", "start 0s 60s", "monitor 2s 1s"}; !slices.Equal(ops, want) {
		t.Errorf("%q, want %q", ops, want)
	}
}

// Ids may be taken by whatever the operator chose to call so.
func TestIDsAreFree(t *testing.T) {
	for _, in := range []string{
		`<meta_attributes id="db-instance_attributes"><nvpair id="db-instance_attributes-config" name="resource-stickiness" value="1"/></meta_attributes>`,
		`<operations><op id="db-start-interval-0s" name="notify" interval="0s"/><op id="db-monitor-interval-2s" name="notify" interval="1s"/></operations>`,
		`<instance_attributes id="p"><nvpair id="p-x" name="x" value="1"/></instance_attributes><meta_attributes id="p-config"/>`,
	} {
		cib := parse(t, strings.Replace(cibText, `<primitive id="ip"`, `<primitive id="db-stop-interval-0s" class="lsb" type="x"/><primitive id="ip"`, 1))
		db := resource(cib, "db")
		db.Children = parse(t, `<p>`+in+`</p>`).Children
		run := ocf.Agent{Actions: []ocf.Action{{Name: ocf.Start, Timeout: time.Minute}, {Name: ocf.Stop, Timeout: time.Minute}, {Name: ocf.Monitor, Timeout: time.Second, Interval: 2 * time.Second}}}
		p := replacement(cib, db, "mysql-shared-storage", map[string]string{"config": "/c", "user": "u"})
		patient(cib, p, run, times{}, false)
		advised(cib, p, run)
		put(cib, p)
		ids := map[string]bool{}
		cib.Any(func(e *pacemaker.Element) bool {
			if id := e.Attr("id"); id != "" && ids[id] {
				t.Errorf("%s twice:\n%s", id, resource(cib, "db"))
			}
			ids[e.Attr("id")] = true
			return false
		})
	}
}

func TestTheSetWithTheHighestScoreCounts(t *testing.T) {
	p := parse(t, `<primitive id="db"><instance_attributes id="a" score="1"><nvpair id="a1" name="datadir" value="/low"/><nvpair id="a2" name="log" value="/l"/></instance_attributes>
<instance_attributes id="b" score="INFINITY"><nvpair id="b1" name="datadir" value="/high"/></instance_attributes><instance_attributes id="c"><nvpair id="c1" name="datadir" value="/none"/></instance_attributes></primitive>`)
	if got := pacemaker.Parameters(p); !maps.Equal(got, map[string]string{"datadir": "/high", "log": "/l"}) {
		t.Errorf("%v", got)
	}
}

func TestOperationsGetTheTimeThatTheAgentNeeds(t *testing.T) {
	run := ocf.Agent{Actions: []ocf.Action{
		{Name: ocf.Start, Timeout: 300 * time.Second},
		{Name: ocf.Stop, Timeout: 120 * time.Second},
		{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 2 * time.Second},
		{Name: ocf.Monitor, Timeout: 60 * time.Second, Interval: 30 * time.Second, Depth: 10},
		{Name: ocf.ReloadAgent, Timeout: 20 * time.Second},
	}}
	for _, c := range []struct {
		name, ops string
		short     bool
		want      []string
		defaults  string
	}{
		{"a script's", `<op name="start" interval="0s" timeout="15"/><op name="monitor" interval="60s" timeout="15"/><op name="stop" interval="0s"/>`, true, []string{"start 0s 300s", "monitor 60s 20s", "stop 0s 120s"}, ""},
		{"longer", `<op name="start" interval="0s" timeout="900"/><op name="stop" interval="0s" timeout="10min"/><op name="monitor" interval="60s" timeout="2m"/>`, true, []string{"start 0s 900", "stop 0s 10min", "monitor 60s 2m"}, ""},
		{"an agent's", `<op name="start" interval="0s" timeout="15"/><op name="monitor" interval="60s" timeout="15"/>`, false, []string{"start 0s 15", "monitor 60s 15", "stop 0s 120s"}, ""},
		{"none", ``, false, []string{"start 0s 300s", "stop 0s 120s"}, ""},
		{"op_defaults longer", `<op name="start" interval="0s"/><op name="monitor" interval="60s"/>`, true, []string{"start 0s ", "monitor 60s "}, `<meta_attributes id="d"><nvpair id="d1" name="timeout" value="600s"/></meta_attributes>`},
		{"op_defaults longer by a rule", `<op name="start" interval="0s"/>`, true, []string{"start 0s 900s", "stop 0s 900s"}, `<meta_attributes id="d"><nvpair id="d1" name="timeout" value="60s"/></meta_attributes>
<meta_attributes id="e"><rule id="r" score="1"><op_expression id="r1" name="start"/></rule><nvpair id="e1" name="timeout" value="15min"/></meta_attributes>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := parse(t, `<primitive id="db"><operations>`+c.ops+`</operations></primitive>`)
			before := db.Clone()
			usual := usualTimes(parse(t, `<cib><configuration><op_defaults>`+c.defaults+`</op_defaults></configuration></cib>`))
			if changed := patient(parse(t, cibText), db, run, usual, c.short); changed == db.Equal(before) {
				t.Errorf("changed: %v", changed)
			}
			var ops []string
			for op := range db.All("op") {
				ops = append(ops, op.Attr("name")+" "+op.Attr("interval")+" "+op.Attr("timeout"))
			}
			if !slices.Equal(ops, c.want) {
				t.Errorf("%q, want %q", ops, c.want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	c := Change{
		Old: parse(t, `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="a"><nvpair id="b" name="test_passwd" value="hunter22"/><nvpair id="e" name="RABBIT_PASS" value="hunter22"/><nvpair id="f" name="pin" value="hunter22"/></instance_attributes></primitive>`),
	}
	c.New = replacement(parse(t, cibText), c.Old, "mysql-shared-storage", map[string]string{"config": "/c"})
	s := &Swap{Agents: map[string]takeover.Agent{"x": {New: func() ocf.Agent { return ocf.Agent{Parameters: []ocf.Parameter{{Name: "pin", Secret: true}}} }}}}
	diff := strings.Join(s.Diff(&c), "\n")
	for _, want := range []string{`- <primitive id="db" class="ocf" provider="heartbeat"`, `+ <primitive id="db" class="ocf" provider="openstack"`, `+     <nvpair id="a-config"`, `      <nvpair id="b" name="test_passwd" value="(secret)"`} {
		if !strings.Contains(diff, want) {
			t.Errorf("no %q in\n%s", want, diff)
		}
	}
	text, err := json.Marshal(s.Masked(&Plan{Changes: []*Change{&c}}))
	if err != nil || !strings.Contains(string(text), "(secret)") {
		t.Errorf("%v %s", err, text)
	}
	if strings.Contains(diff+string(text), "hunter22") {
		t.Error("the secret is shown")
	}
	if !strings.Contains(c.New.String(), "hunter22") {
		t.Error("the secret is lost")
	}
}

func TestConfigurationIsComparedWithoutWhatControllersWrite(t *testing.T) {
	a := parse(t, `<cib><configuration><crm_config><cluster_property_set id="o"><nvpair id="x" name="stonith-enabled" value="true"/></cluster_property_set></crm_config></configuration></cib>`)
	b := parse(t, `<cib><configuration><crm_config><cluster_property_set id="o"><nvpair name="stonith-enabled" id="x" value="true"/><nvpair id="y" name="last-lrm-refresh" value="1"/></cluster_property_set></crm_config></configuration></cib>`)
	if !configured(a).Equal(configured(b)) {
		t.Error("they differ")
	}
	b.Find("nvpair", "x").Set("value", "false")
	if configured(a).Equal(configured(b)) {
		t.Error("they do not differ")
	}
}

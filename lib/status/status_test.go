package status

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

var now = time.Unix(1795851300, 0).UTC()

// cluster is a CIB and Pacemaker's status as 2.1.5 has them, with what befell the resource db.
func cluster(t *testing.T, meta, attributes, ops string) *pacemaker.Element {
	t.Helper()
	cib, err := pacemaker.ParseXML(strings.NewReader(`<cib><configuration><crm_config><cluster_property_set id="p"><nvpair id="p1" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
<resources><group id="g"><primitive id="db" class="ocf" provider="openstack" type="mysql-shared-storage"><meta_attributes id="m">` + meta + `</meta_attributes></primitive></group></resources>
<rsc_defaults><meta_attributes id="d"><nvpair id="d1" name="migration-threshold" value="5"/></meta_attributes></rsc_defaults></configuration>
<status><node_state uname="node2"><transient_attributes id="2"><instance_attributes id="s">` + attributes + `</instance_attributes></transient_attributes>
<lrm id="2"><lrm_resources><lrm_resource id="db" class="ocf" provider="openstack" type="mysql-shared-storage">` + ops + `</lrm_resource></lrm_resources></lrm></node_state></status></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	return cib
}

func mon(role string, change ...func(*pacemaker.Resource)) *pacemaker.Status {
	r := pacemaker.Resource{ID: "db", Agent: "ocf:openstack:mysql-shared-storage", Role: role, Managed: true, Active: true, Nodes: []string{"node2"}}
	for _, c := range change {
		c(&r)
	}
	return &pacemaker.Status{
		DC: "node2", Quorum: true,
		Nodes:     []pacemaker.Node{{Name: "node1", Online: true, Standby: true}, {Name: "node2", Online: true}, {Name: "node3", Unclean: true}},
		Resources: []pacemaker.Resource{r},
	}
}

const (
	started = `<lrm_rsc_op id="db_last_0" operation="start" call-id="10" rc-code="0" op-status="0" interval="0" last-rc-change="1795851152" exec-time="42"/>`
	well    = `<lrm_rsc_op id="db_monitor_2000" operation="monitor" call-id="12" rc-code="0" op-status="0" interval="2000" last-rc-change="1795851152" exec-time="8"/>`
	again   = `<lrm_rsc_op id="db_monitor_2000" operation="monitor" call-id="12" rc-code="0" op-status="0" interval="2000" last-rc-change="1795851196" exec-time="0"/>`
	anew    = `<lrm_rsc_op id="db_monitor_2000" operation="monitor" call-id="24" rc-code="0" op-status="0" interval="2000" last-rc-change="1795851172" exec-time="2"/>`
	limp    = `<lrm_rsc_op id="db_last_failure_0" operation="monitor" exit-reason="85% of max_connections are in use (128 of 151; degraded from 85%)" call-id="12" rc-code="190" op-status="0" interval="2000" last-rc-change="1795851164"/>`
	broken  = `<lrm_rsc_op id="db_last_failure_0" operation="monitor" exit-reason="is frozen" call-id="12" rc-code="1" op-status="0" interval="2000" last-rc-change="1795851172"/>`
	counted = `<nvpair id="c" name="fail-count-db#monitor_2000" value="1"/>`
	banned  = `<nvpair id="c" name="fail-count-db#start_0" value="INFINITY"/>`
	noStart = `<lrm_rsc_op id="db_last_failure_0" operation="start" exit-reason="there are no databases in /d" call-id="9" rc-code="1" op-status="0" interval="0" last-rc-change="1795851100"/>`
)

// What Pacemaker 2.1.5 was seen to write: a handicap stands beside a monitor that once was well, under another name.
func TestInstances(t *testing.T) {
	for name, c := range map[string]struct {
		mon              *pacemaker.Status
		meta, attrs, ops string
		state            string
		code             int
		since            int64
		failures         string
	}{
		"serving":      {mon("Started"), "", "", started + well, Serving, 0, 1795851152, ""},
		"degraded":     {mon("Started"), "", "", started + well + limp, Degraded, 190, 1795851164, ""},
		"well again":   {mon("Started"), "", "", started + again + limp, Serving, 0, 1795851152, ""},
		"failing":      {mon("Started", func(r *pacemaker.Resource) { r.Failed = true }), "", counted, started + well + broken, Failed, 1, 1795851172, ""},
		"restarted":    {mon("Started"), "", counted, started + anew + broken, Serving, 0, 1795851152, "monitor on node2 (1): is frozen, count 1"},
		"banned":       {mon("Stopped", func(r *pacemaker.Resource) { r.Nodes = nil }), "", banned, noStart, Stopped, 0, 0, "start on node2 (1): there are no databases in /d, count 1000000, banned"},
		"threshold":    {mon("Started"), `<nvpair id="x" name="migration-threshold" value="1"/>`, counted, started + anew + broken, Serving, 0, 1795851152, "monitor on node2 (1): is frozen, count 1, banned"},
		"times out":    {mon("Started"), `<nvpair id="x" name="failure-timeout" value="60s"/>`, counted, started + anew + broken, Serving, 0, 1795851152, "monitor on node2 (1): is frozen, count 1, or 60s"},
		"starting":     {mon("Starting"), "", "", "", Changing, 0, 0, ""},
		"blocked":      {mon("Started", func(r *pacemaker.Resource) { r.Blocked, r.Failed = true, true }), "", counted, started + well + broken, Blocked, 1, 1795851172, ""},
		"promoted 191": {mon("Promoted"), "", "", started + well + strings.Replace(limp, "190", "191", 1), Degraded, 191, 1795851164, ""},
	} {
		r := compose(c.mon, cluster(t, c.meta, c.attrs, c.ops), "", func(string) string { return "do it" }, now)
		res := r.Resources[0]
		i := res.Instances[0]
		if i.State != c.state || res.State != c.state || i.Code != c.code || c.since != 0 && i.Since.Unix() != c.since || (i.Advice != "") != (i.Code != 0) {
			t.Errorf("%s: %+v", name, res)
		}
		var got []string
		for _, f := range res.Failures {
			text := f.Operation + " on " + f.Node + " (" + string(rune('0'+f.Code)) + "): " + f.Reason + ", count "
			if text += "1"; f.Count == infinity {
				text += "000000"
			}
			if f.Banned {
				text += ", banned"
			}
			if _, or, ok := strings.Cut(f.Clears, ", or 60s"); ok {
				text += ", or 60s" + or[:0]
			}
			got = append(got, text)
		}
		if strings.Join(got, "\n") != c.failures {
			t.Errorf("%s: failures %q, want %q", name, got, c.failures)
		}
	}
}

func TestNodes(t *testing.T) {
	r := compose(mon("Started"), cluster(t, "", "", ""), "", func(string) string { return "" }, now)
	if got := []Node{{"node1", "standby"}, {"node2", "online"}, {"node3", "unclean"}}; len(r.Nodes) != 3 || r.Nodes[0] != got[0] || r.Nodes[1] != got[1] || r.Nodes[2] != got[2] {
		t.Errorf("%+v", r.Nodes)
	}
	if !r.Cluster.Fencing || r.Cluster.DC != "node2" || !r.Cluster.Quorum {
		t.Errorf("%+v", r.Cluster)
	}
}

// A clone that runs on some nodes and is stopped on others is as its instances that run.
func TestClone(t *testing.T) {
	m := mon("Started")
	m.Resources = append(m.Resources, pacemaker.Resource{ID: "db", Agent: m.Resources[0].Agent, Role: "Stopped", Managed: true})
	r := compose(m, cluster(t, "", "", started+well), "", func(string) string { return "" }, now)
	if len(r.Resources) != 1 || len(r.Resources[0].Instances) != 1 || r.Resources[0].State != Serving {
		t.Errorf("%+v", r.Resources)
	}
}

// Who stopped it matters: a service that nobody stopped and that runs nowhere is down.
func TestDown(t *testing.T) {
	stopped := func(r *pacemaker.Resource) { r.Nodes, r.Active = nil, false }
	for meta, want := range map[string]string{
		"": "db  ocf:openstack:mysql-shared-storage    stopped, THOUGH NOBODY STOPPED IT: crm_resource --why -r db\n",
		`<nvpair id="x" name="target-role" value="Stopped"/>`: "stopped, by somebody: pcs resource enable db\n",
	} {
		r := compose(mon("Stopped", stopped), cluster(t, meta, "", ""), "", func(string) string { return "" }, now)
		var b strings.Builder
		if err := r.WriteText(&b, false); err != nil || !strings.Contains(b.String(), want) || r.Resources[0].Down() != (meta == "") {
			t.Errorf("%s: %v\n%s", meta, err, &b)
		}
	}
}

func TestText(t *testing.T) {
	m := mon("Started", func(r *pacemaker.Resource) { r.Managed = false })
	m.Quorum = false
	r := compose(m, cluster(t, "", counted, started+well+limp), "a transition is in progress", func(string) string { return "find out who" }, now)
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"cluster: DC node2, NO QUORUM, fencing on, a transition is in progress\n", "  node3 unclean\n",
		"db  ocf:openstack:mysql-shared-storage  node2  degraded, since ", "UNMANAGED",
		"    85% of max_connections are in use (128 of 151; degraded from 85%) (exit 190)\n      -> find out who\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("colours where there are none")
	}
	b.Reset()
	if err := r.WriteText(&b, true); err != nil || !strings.Contains(b.String(), "\x1b[33mdegraded\x1b[0m") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestMetrics(t *testing.T) {
	ops := started + well + strings.Replace(limp, "85% of", `a \ b &quot;c&quot;&#10;`, 1)
	r := compose(mon("Started"), cluster(t, "", counted, ops), "", func(string) string { return "" }, now)
	var b strings.Builder
	if err := r.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"openstack_ocf_up 1\n", `openstack_ocf_cluster{has="fencing"} 1` + "\n", `openstack_ocf_node{node="node3",state="unclean"} 1` + "\n",
		`openstack_ocf_resource_state{resource="db",agent="ocf:openstack:mysql-shared-storage",state="degraded"} 1` + "\n",
		`state="serving"} 0` + "\n", `openstack_ocf_instance_code{resource="db",node="node2"} 190` + "\n",
		`reason="a \\ b \"c\"\n max_connections`, `openstack_ocf_monitor_seconds{resource="db",node="node2",interval="2s"}`,
		`openstack_ocf_instance_since_seconds{resource="db",node="node2"} 1.795851164e+09` + "\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &b)
		}
	}
}

// node_exporter logs an error at each scrape of two samples with the same labels, and drops one: a clone that runs nowhere has many alike, and so has a
// globally-unique one on a node.
func TestMetricsOnce(t *testing.T) {
	nowhere := mon("Stopped", func(r *pacemaker.Resource) { r.Nodes, r.Active = nil, false })
	nowhere.Resources = append(nowhere.Resources, nowhere.Resources[0], nowhere.Resources[0])
	onOne := mon("Started")
	failed := onOne.Resources[0]
	failed.Failed = true
	onOne.Resources = append(onOne.Resources, failed)
	for name, c := range map[string]struct {
		mon  *pacemaker.Status
		want string
	}{
		"runs nowhere":    {nowhere, `openstack_ocf_instance_info{resource="db",state="stopped",role="Stopped"} 1`},
		"two on one node": {onOne, `openstack_ocf_instance_code{resource="db",node="node2"} 1`},
	} {
		t.Run(name, func(t *testing.T) {
			again := strings.Replace(broken, `"2000"`, `"30000"`, 1) // the same of another level
			r := compose(c.mon, cluster(t, "", counted, started+broken+again), "", func(string) string { return "" }, now)
			var b strings.Builder
			if err := r.WriteMetrics(&b); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for line := range strings.Lines(b.String()) {
				series := line[:strings.LastIndexByte(line, ' ')]
				if seen[series] && !strings.HasPrefix(line, "#") {
					t.Errorf("twice: %s", line)
				}
				seen[series] = true
			}
			if !strings.Contains(b.String(), c.want+"\n") {
				t.Errorf("%s is missing in\n%s", c.want, &b)
			}
		})
	}
}

// A list that is empty is one for whoever reads the JSON.
func TestEmptyJSON(t *testing.T) {
	text, err := json.Marshal(compose(&pacemaker.Status{}, cluster(t, "", "", ""), "", func(string) string { return "" }, now))
	if err != nil || !strings.Contains(string(text), `"nodes":[],"resources":[]`) {
		t.Errorf("%v: %s", err, text)
	}
}

// Advice is that of the guide, for reasons as agents give them, and as Pacemaker cuts them off.
func TestAdvice(t *testing.T) {
	guide, err := os.ReadFile("../../packaging/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	advice := Advice(string(guide))
	for reason, want := range map[string]string{
		"85% of max_connections are in use (128 of 151; degraded from 85%)":            "find out who holds them",
		"MariaDB (pid 7) is frozen (state T, stopped by a signal): it answers nobody":  "it is killed and restarted",
		"there are no databases in /var/lib/mysql: is the right storage mounted?":      "enable_creation",
		"the shared storage of MariaDB is not mounted: mount it first":                 "order in the group",
		"the server refuses its option file /etc/mysql/my.cnf: unknown variable 'a=1'": "mend the file",
		"haproxy (pid 12) does not answer what nobody wrote into the guide":            "",
		"it works": "",
	} {
		got := advice(reason)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
		for cut := 100; cut < len(reason); cut++ {
			if got := advice(reason[:cut]); !strings.Contains(got, want) {
				t.Errorf("%q: %q, want %q", reason[:cut], got, want)
			}
		}
	}
}

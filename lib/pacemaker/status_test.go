package pacemaker

import (
	"slices"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	s, err := parseStatus(`<pacemaker-result api-version="2.25"><summary><current_dc present="true" name="node3" with_quorum="true"/>
<cluster_options maintenance-mode="false"/></summary>
<nodes><node name="node1" online="true" standby="true" maintenance="false" pending="false" unclean="false"/><node name="node2" online="false" pending="false" unclean="true"/>
<node name="galera-0" online="false" type="remote" id_as_resource="galera-docker-0"/></nodes>
<resources><group id="g"><resource id="db" resource_agent="lsb:mysqld" role="Started" active="true" managed="true" failed="false"><node name="node1"/></resource></group>
<clone id="c"><resource id="q:0" resource_agent="lsb:qpidd" role="Started" active="true" managed="false"><node name="node1"/></resource>
<resource id="q:1" resource_agent="lsb:qpidd" role="Stopped" active="false" managed="true"/></clone></resources>
<failures><failure op_key="db_monitor_1000" node="node2" exitreason="a &amp;quot;b&amp;quot;" interval="1000" task="monitor"/>
<failure op_key="db_backup:1_migrate_to_0" node="node1" exitreason="" interval="0" task="migrate_to"/></failures></pacemaker-result>`)
	if err != nil {
		t.Fatal(err)
	}
	if s.DC != "node3" || !s.Quorum || s.Maintenance || len(s.Nodes) != 3 || s.Nodes[0].Guest || !s.Nodes[2].Guest || !s.Nodes[0].Standby || s.Nodes[1].Online || !s.Nodes[1].Unclean {
		t.Errorf("%+v", s)
	}
	if q := s.Instances("q"); len(q) != 2 || q[0].Managed || !slices.Equal(q[0].Nodes, []string{"node1"}) || q[1].Active {
		t.Errorf("%+v", q)
	}
	if db := s.Instances("db"); len(db) != 1 || db[0].Agent != "lsb:mysqld" || db[0].Role != "Started" {
		t.Errorf("%+v", db)
	}
	if want := []Failure{{"db", "db_monitor_1000", "node2", `a "b"`}, {"db_backup", "db_backup:1_migrate_to_0", "node1", ""}}; !slices.Equal(s.Failures, want) {
		t.Errorf("%+v", s.Failures)
	}
	if _, err := parseStatus("<pacemaker-result/>"); err == nil {
		t.Error("a status without nodes is taken")
	}
	if _, err := parseStatus(`<pacemaker-result><status code="0" message="OK"><errors><error>Could not connect to the CIB</error></errors></status></pacemaker-result>`); err == nil || !strings.Contains(err.Error(), "not connect to the CIB") {
		t.Errorf("%v, though crm_mon says why", err)
	}
}

// A crm_mon before 2.0.3 knows no --output-as, and writes agents and roles in another way.
func TestOldStatus(t *testing.T) {
	said := standIn(t, "crm_mon", `case "$*" in *--output-as*) echo "crm_mon: unrecognized option '--output-as=xml'" >&2; exit 64;; esac
cat <<'EOF'
<?xml version="1.0"?>
<crm_mon version="1.1.16">
    <summary>
        <stack type="corosync" />
        <current_dc present="true" version="1.1.16-94ff4df" name="node1" id="1" with_quorum="true" />
        <cluster_options stonith-enabled="true" symmetric-cluster="true" no-quorum-policy="stop" maintenance-mode="true" />
    </summary>
    <nodes>
        <node name="node1" id="1" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" shutdown="false" expected_up="true" is_dc="true" resources_running="2" type="member" />
    </nodes>
    <resources>
        <resource id="vip" resource_agent="ocf::heartbeat:IPaddr2" role="Started" active="true" orphaned="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1" >
            <node name="node1" id="1" cached="false"/>
        </resource>
        <clone id="lb-clone" multi_state="true" unique="false" managed="true" failed="false" failure_ignored="false" >
            <resource id="lb" resource_agent="lsb:haproxy" role="Master" active="true" orphaned="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1" >
                <node name="node1" id="1" cached="false"/>
            </resource>
        </clone>
        <resource id="gone" resource_agent="ocf::heartbeat:Dummy" role="Stopped" active="false" orphaned="true" managed="true" failed="false" failure_ignored="false" nodes_running_on="0" />
    </resources>
</crm_mon>
EOF`)
	s, err := ReadStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Resources) != 3 || s.Resources[0].Agent != "ocf:heartbeat:IPaddr2" || s.Resources[1].Agent != "lsb:haproxy" || s.Resources[1].Role != "Master" || !s.Resources[2].Orphaned ||
		s.DC != "node1" || !s.Quorum || !s.Maintenance || !s.Nodes[0].Online {
		t.Errorf("%+v", s)
	}
	if want := "--one-shot --inactive --output-as=xml --fence-history=0\n--one-shot --inactive --as-xml"; said() != want {
		t.Errorf("called with %q, want %q", said(), want)
	}
}

func TestHistory(t *testing.T) {
	cib, err := ParseXML(strings.NewReader(`<cib><status><node_state uname="node2"><lrm><lrm_resources><lrm_resource id="db" type="foo" class="ocf" provider="openstack">
<lrm_rsc_op id="db_last_0" operation="monitor" exit-reason="why" call-id="29" rc-code="7" op-status="0" interval="0" last-rc-change="1700000000"/>
<lrm_rsc_op id="db_monitor_15000" operation="monitor" call-id="30" rc-code="193" op-status="-1" interval="15000"/></lrm_resource>
<lrm_resource id="q:1" type="qpidd" class="lsb"><lrm_rsc_op operation="start" call-id="5" rc-code="0" op-status="0" interval="0"/></lrm_resource></lrm_resources></lrm></node_state></status></cib>`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Op{
		{Node: "node2", Agent: "ocf:openstack:foo", Operation: "monitor", Interval: "0", CallID: 29, Code: 7, Done: true, Reason: "why", At: 1700000000},
		{Node: "node2", Agent: "ocf:openstack:foo", Operation: "monitor", Interval: "15000", CallID: 30, Code: 193},
	}
	if got := History(cib, "db"); !slices.Equal(got, want) || !got[0].Probe() || got[1].Probe() {
		t.Errorf("%+v", got)
	}
	if got := History(cib, "q"); len(got) != 1 || got[0].Agent != "lsb:qpidd" || got[0].Probe() {
		t.Errorf("%+v", got)
	}
}

func TestActions(t *testing.T) {
	graph, err := ParseXML(strings.NewReader(`<transition_graph><synapse><action_set><rsc_op operation="monitor" on_node="node2"><primitive id="db"/><attributes CRM_meta_interval="15000"/></rsc_op></action_set>
<inputs><trigger><rsc_op operation="probe_is_no_action" on_node="node1"/></trigger></inputs></synapse>
<synapse><action_set><pseudo_event operation="running"/></action_set></synapse>
<synapse><action_set><rsc_op operation="monitor" on_node="node1"><primitive id="q:1"/><attributes/></rsc_op></action_set></synapse>
<synapse><action_set><rsc_op operation="stop" on_node="node1"><primitive id="z"/><attributes/></rsc_op></action_set></synapse>
<synapse><action_set><crm_event operation="stonith" on_node="node3"/></action_set></synapse></transition_graph>`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range actions(graph) {
		got = append(got, a.String())
	}
	want := []string{"monitor every 15000 ms of db on node2", "probe of q on node1", "stop of z on node1", "stonith of  on node3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

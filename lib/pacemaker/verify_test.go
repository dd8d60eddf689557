package pacemaker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

// A configuration without a resource that still runs is as valid as one with it whose monitor failed; an invalid one is not.
func TestVerifyCIBOfAClusterAtWork(t *testing.T) {
	needs.Program(t, "crm_verify", "pacemaker-cli-utils")
	node := func(n int, history func(op func(id, name string, interval, rc int) string) string) string {
		op := func(id, name string, interval, rc int) string {
			return fmt.Sprintf(`<lrm_rsc_op id="db_%[1]s" operation_key="db_%[2]s_%[3]d" operation="%[2]s" crm_feature_set="3.16.1" transition-key="1:1:0:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" transition-magic="0:%[4]d;1:1:0:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" call-id="%[3]d" rc-code="%[4]d" op-status="0" interval="%[3]d" last-rc-change="1" exec-time="1" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>`, id, name, interval, rc)
		}
		return fmt.Sprintf(`<node_state id="%[1]d" uname="node%[1]d" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="%[1]d"><lrm_resources><lrm_resource id="db" class="ocf" provider="pacemaker" type="Dummy">`, n) +
			history(op) + `</lrm_resource></lrm_resources></lrm></node_state>`
	}
	runs := node(1, func(op func(string, string, int, int) string) string {
		return op("last_0", "start", 0, 0) + op("last_failure_0", "monitor", 10000, 190)
	})
	stopped := node(2, func(op func(string, string, int, int) string) string { return op("last_0", "monitor", 0, 7) })
	cib := func(resources string) *Element {
		return parseXML(t, `<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="1"><configuration><crm_config/><nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
<resources><primitive id="fence" class="stonith" type="fence_ipmilan"/>`+resources+`</resources><constraints/></configuration><status>`+runs+stopped+`</status></cib>`)
	}
	const db = `<primitive id="db" class="ocf" provider="pacemaker" type="Dummy"><operations><op id="m" name="monitor" interval="10s"/></operations></primitive>`
	for _, resources := range []string{db, ""} {
		if err := VerifyCIB(t.Context(), cib(resources)); err != nil {
			t.Error(err)
		}
	}
	if err := VerifyCIB(t.Context(), cib(strings.Replace(db, "monitor", "", 1)+db)); err == nil {
		t.Error("an id that is there twice is no error")
	}
}

package plan

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/placement"
)

const testMeta = `<resource-agent><parameters><parameter name="state" required="1"/><parameter name="delay"/></parameters>
<actions><action name="start" timeout="20s"/><action name="monitor" timeout="20s" interval="10s" depth="0"/><action name="monitor" timeout="30s" interval="10s" depth="10" role="Promoted"/>
<action name="promote" timeout="9s"/><action name="meta-data" timeout="5s"/><action name="validate-all"/></actions></resource-agent>`

// What pcs makes of steps is tested beside pcs (test/plan); here is where the CIB is not empty, and what is refused.
func TestEdit(t *testing.T) {
	set := func(name, value string) []placement.Setting { return []placement.Setting{{Name: name, Value: value}} }
	promotable := []placement.Setting{{Name: "promotable", Value: "true"}, {Name: "promoted-max", Value: "1"}}
	const a = "ocf:x:a"
	for _, c := range []struct {
		name, schema, resources string
		step                    Step
		want, err               string // part of what comes of it
	}{
		{
			"behind the last of a group that has attributes", "3.9", `<group id="g"><primitive id="one" class="lsb" type="x"/><meta_attributes id="m"/></group>`,
			create(&primitive{id: "two", agent: a, parameters: set("state", "1"), group: "g"}), `type="x"/><primitive id="two" class="ocf" provider="x" type="a"><instance_attributes id="two-instance_attributes"><nvpair id="two-instance_attributes-state" name="state" value="1"/>`, "",
		},
		{
			"before another", "3.9", `<group id="g"><primitive id="one" class="lsb" type="x"/></group>`,
			create(&primitive{id: "two", agent: a, parameters: set("state", "1"), group: "g", before: "one"}), `</primitive><primitive id="one" `, "",
		},
		{
			"an id of a set that is taken", "3.9", `<group id="g"><primitive id="one" class="lsb" type="x"/><meta_attributes id="two-instance_attributes"/></group>`,
			create(&primitive{id: "two", agent: a, parameters: set("state", "1")}), `<instance_attributes id="two-instance_attributes-1"><nvpair id="two-instance_attributes-1-state" `, "",
		},
		{
			"monitors of one interval, a level, a role", "3.9", "", create(&primitive{id: "two", agent: a, parameters: set("state", "1")}),
			`<op id="two-monitor-interval-10s" interval="10s" name="monitor" timeout="20s"/><op id="two-monitor-interval-11" `, "",
		},
		{"roles of an old schema", "3.6", "", create(&primitive{id: "two", agent: a, parameters: set("state", "1")}), `role="Master"`, ""},
		{"roles of a new schema", "3.7", "", create(&primitive{id: "two", agent: a, parameters: set("state", "1")}), `role="Promoted"`, ""},
		{"a constraint of an old schema", "2.10", "", colocate("g", "c", "Promoted"), `with-rsc-role="Master"`, ""},
		{
			"a promotable clone", "3.9", "", create(&primitive{id: "two", agent: a, parameters: set("state", "1"), clone: promotable}),
			`<clone id="two-clone"><primitive id="two"`, "",
		},
		{"a resource's id is taken", "3.9", `<group id="two"/>`, create(&primitive{id: "two", agent: a, parameters: set("state", "1")}), "", "the id two is taken"},
		{"a clone's id is taken", "3.9", `<group id="two-clone"/>`, create(&primitive{id: "two", agent: a, parameters: set("state", "1"), clone: promotable}), "", "the id two-clone is taken"},
		{"a group's id is a clone's", "3.9", `<clone id="g"/>`, create(&primitive{id: "two", agent: a, parameters: set("state", "1"), group: "g"}), "", "the id g is taken"},
		{"a parameter is missing", "3.9", "", create(&primitive{id: "two", agent: a}), "", "two: ocf:x:a needs state"},
		{"a parameter is unknown", "3.9", "", create(&primitive{id: "two", agent: a, parameters: set("stat", "1")}), "", `has no parameter "stat"`},
		{"nothing can be promoted", "3.9", "", create(&primitive{id: "two", agent: "ocf:x:plain", clone: promotable}), "", "cannot be promoted"},
		{"no monitor is advised", "3.9", "", create(&primitive{id: "two", agent: "ocf:x:plain"}), `<op id="two-monitor-interval-60s" interval="60s" name="monitor"/>`, ""},
		{"a device is no resource", "3.9", "", create(&primitive{id: "two", agent: "stonith:f", parameters: set("pcmk_delay_base", "1")}), `<operations><op id="two-monitor-interval-60s" interval="60s" name="monitor"/></operations>`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cib := parse(t, `<cib validate-with="pacemaker-`+c.schema+`"><configuration><crm_config/><nodes/><resources>`+c.resources+`</resources><constraints/></configuration></cib>`)
			e := newEditor(cib, map[string]*pacemaker.Element{
				a: parse(t, testMeta), "ocf:x:plain": parse(t, "<resource-agent/>"),
				"stonith:f": parse(t, `<resource-agent><parameters><parameter name="port" required="1"/></parameters><actions><action name="off"/><action name="start"/></actions></resource-agent>`),
			})
			err := c.step.edit(e)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			flat := strings.ReplaceAll(strings.Join(strings.Fields(cib.String()), " "), "> <", "><")
			if !strings.Contains(flat, c.want) {
				t.Errorf("no %s in\n%s", c.want, flat)
			}
		})
	}
}

func TestOptionIsSetWhereItIs(t *testing.T) {
	cib := parse(t, `<cib><configuration><crm_config><cluster_property_set id="a"/><cluster_property_set id="b"><nvpair id="c" name="fencing-enabled" value="no"/></cluster_property_set></crm_config></configuration></cib>`)
	e := newEditor(cib, nil)
	for _, s := range []Step{setProperty("fencing-enabled", "true"), setProperty("x", "1"), setDefault("resource-stickiness", "1")} {
		if err := s.edit(e); err != nil {
			t.Fatal(err)
		}
	}
	want := parse(t, `<cib><configuration><crm_config><cluster_property_set id="a"><nvpair id="a-x" name="x" value="1"/></cluster_property_set><cluster_property_set id="b"><nvpair id="c" name="fencing-enabled" value="true"/></cluster_property_set></crm_config>
<rsc_defaults><meta_attributes id="rsc_defaults-meta_attributes"><nvpair id="rsc_defaults-meta_attributes-resource-stickiness" name="resource-stickiness" value="1"/></meta_attributes></rsc_defaults></configuration></cib>`)
	if !cib.Equal(want) {
		t.Errorf("%s", cib)
	}
}

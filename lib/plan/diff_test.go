package plan

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

func parse(t *testing.T, text string) *pacemaker.Element {
	t.Helper()
	e, err := pacemaker.ParseXML(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Fencing that is off by another name or spelling must not pass as 'nothing is left to do'.
func TestFencingByAnyName(t *testing.T) {
	cib := func(options string) *pacemaker.Element {
		return parse(t, `<cib><configuration><crm_config><cluster_property_set id="s">`+options+`</cluster_property_set></crm_config><resources/><constraints/></configuration></cib>`)
	}
	b := &Built{CIB: cib(`<nvpair id="a" name="stonith-enabled" value="true"/>`), Steps: []Step{{Makes: "stonith-enabled", kind: property}}}
	for _, c := range []struct{ live, changes, refused string }{
		{``, "", ""},
		{`<nvpair id="a" name="stonith-enabled" value="ON"/>`, "", ""},
		{`<nvpair id="a" name="fencing-enabled" value="1"/>`, "", ""},
		{`<nvpair id="a" name="stonith-enabled" value="no"/>`, "pcs property set stonith-enabled=true", ""},
		{`<nvpair id="a" name="fencing-enabled" value="off"/>`, "pcs property set fencing-enabled=true", ""},
		{`<nvpair id="a" name="stonith-enabled" value="true"/><nvpair id="b" name="fencing-enabled" value="false"/>`, "", "fencing-enabled=false and stonith-enabled=true are two names of one option"},
	} {
		d := b.Compare(cib(c.live))
		var steps []Step
		for _, change := range d.Changes {
			steps = append(steps, change.Steps...)
		}
		if join(steps, "\n") != c.changes || !strings.Contains(strings.Join(d.Refused, "\n"), c.refused) || (len(d.Refused) > 0) != (c.refused != "") {
			t.Errorf("%s: %s; refused: %v", c.live, join(steps, "\n"), d.Refused)
		}
	}
}

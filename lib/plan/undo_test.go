package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// An apply that made a group, a default, a parameter and a constraint is taken back, and others have been at work since.
func TestUndo(t *testing.T) {
	const (
		before = `<resources><primitive id="old"><instance_attributes id="old-i"><nvpair id="old-a" name="a" value="1"/></instance_attributes></primitive></resources><constraints/>`
		after  = `<resources><primitive id="old"><instance_attributes id="old-i"><nvpair id="old-a" name="a" value="2"/></instance_attributes></primitive>` +
			`<group id="g"><primitive id="ip"><operations/></primitive><primitive id="db"><operations/></primitive></group></resources>` +
			`<constraints><rsc_location id="l" rsc="g" node="node1"/></constraints>` +
			`<rsc_defaults><meta_attributes id="d"><nvpair id="d-s" name="resource-stickiness" value="1"/></meta_attributes></rsc_defaults>`
		theirs = `<primitive id="theirs"/>`
	)
	config := func(text string) *pacemaker.Element {
		return parse(t, "<cib><configuration>"+text+"</configuration><status/></cib>")
	}
	for _, c := range []struct {
		name, was, is        string // what they did to after
		want                 string
		lost, stays, refused string
	}{
		{"nothing", "", "", before, "", "", ""},
		{
			"a member of the group", `<primitive id="db">`, theirs + `<primitive id="db">`,
			strings.Replace(before, "</resources>", `<group id="g">`+theirs+`</group></resources>`, 1), "", "", "",
		},
		{
			"a default beside", `</meta_attributes></rsc_defaults>`, `<nvpair id="m" name="migration-threshold" value="3"/></meta_attributes></rsc_defaults>`,
			before + `<rsc_defaults><meta_attributes id="d"><nvpair id="m" name="migration-threshold" value="3"/></meta_attributes></rsc_defaults>`, "", "", "",
		},
		{"more to a resource", `<primitive id="db"><operations/>`, `<primitive id="db"><operations/><meta_attributes id="m"/>`, before, "primitive db came with what is taken back, was changed since, and goes", "", ""},
		{"a parameter's value", `value="2"`, `value="3"`, before, "nvpair a: its value was changed since, and that goes too", "", ""},
		{
			"a resource elsewhere", `<group id="g"><primitive id="ip"><operations/></primitive>`, `<group id="x"><primitive id="ip"><operations/></primitive></group><group id="g">`,
			strings.Replace(before, "</resources>", `<group id="x"><primitive id="ip"><operations/></primitive></group></resources>`, 1), "", "ip stays, because somebody has put it elsewhere: in the group x", "",
		},
		{"gone", `<primitive id="ip"><operations/></primitive>`, "", before, "", "", ""},
		{"a constraint that names it", `</constraints>`, `<rsc_order id="o" first="old" then="db"/></constraints>`, "", "", "", "take that out first: constraint o (db)"},
		{"a set of constraints", `</constraints>`, `<rsc_order id="o"><resource_set id="s"><resource_ref id="old"/><resource_ref id="ip"/></resource_set></rsc_order></constraints>`, "", "", "", "constraint o (ip)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"T.before.xml": before, "T.after.xml": after} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(config(text).String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			now := strings.Replace(after, c.was, c.is, 1)
			if now == after && c.was != "" {
				t.Fatal("nothing was changed")
			}
			p, err := (&Undo{Dir: dir, Time: "T"}).compare(config(now))
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("%v, want %q", err, c.refused)
			}
			if err != nil {
				return
			}
			if want := config(c.want); !p.to.Equal(want) {
				t.Errorf("%s\nwant\n%s", p.to, want)
			}
			if lost, stays := strings.Join(p.Lost, "\n"), strings.Join(p.Stays, "\n"); !strings.Contains(lost, c.lost) || !strings.Contains(stays, c.stays) || c.lost == "" && lost != "" || c.stays == "" && stays != "" {
				t.Errorf("lost %q, stays %q", p.Lost, p.Stays)
			}
			if len(p.Diff) == 0 {
				t.Error("it shows nothing")
			}
		})
	}
	if _, err := (&Undo{Dir: t.TempDir(), Time: "T"}).compare(config(after)); err == nil || !strings.Contains(err.Error(), "no apply of T is kept on this node") {
		t.Error(err)
	}
}

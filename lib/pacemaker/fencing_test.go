package pacemaker

import (
	"strings"
	"testing"
)

func TestFencing(t *testing.T) {
	nv := func(name, value string) string {
		return `<cluster_property_set id="s"><nvpair id="n" name="` + name + `" value="` + value + `"/></cluster_property_set>`
	}
	for _, c := range []struct {
		name, config string
		on           bool
		option, err  string
	}{
		{"by default", nv("cluster-name", "x"), true, "", ""},
		{"no options at all", "", true, "", ""},
		{"yes", nv("stonith-enabled", "YES"), true, "stonith-enabled", ""},
		{"0", nv("stonith-enabled", "0"), false, "stonith-enabled", ""},
		{"off", nv("stonith-enabled", "Off"), false, "stonith-enabled", ""},
		{"n, by the name of 3.0.2", nv("fencing-enabled", "n"), false, "fencing-enabled", ""},
		{"both agree", nv("fencing-enabled", "no") + nv("stonith-enabled", "false"), false, "fencing-enabled", ""},
		{"both differ", nv("stonith-enabled", "true") + nv("fencing-enabled", "false"), false, "stonith-enabled", "two names of one option"},
		{"two sets differ", nv("stonith-enabled", "true") + nv("stonith-enabled", "false"), false, "stonith-enabled", "leave one of them"},
		{"no boolean", nv("stonith-enabled", "maybe"), false, "stonith-enabled", "neither true nor false"},
		{"a reference", nv("stonith-enabled", "false") + `<cluster_property_set id="t"><nvpair id-ref="n"/></cluster_property_set>`, false, "stonith-enabled", ""},
	} {
		cib, err := ParseXML(strings.NewReader("<cib><configuration><crm_config>" + c.config + "</crm_config></configuration></cib>"))
		if err != nil {
			t.Fatal(err)
		}
		on, option, err := Fencing(cib)
		if on != c.on || option != c.option || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v %q %v", c.name, on, option, err)
		}
	}
}

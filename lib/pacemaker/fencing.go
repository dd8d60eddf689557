package pacemaker

import (
	"cmp"
	"fmt"
	"strings"
)

// Fencing tells whether a cluster with this CIB fences nodes, and by which name of the option that was said: "" if it
// was not, for it is on by default. Pacemaker 3.0.2 renamed it; the old name goes on. The error says why it cannot be told: a value is no boolean, or two differ.
func Fencing(cib *Element) (on bool, option string, err error) {
	on = true
	// Which one counts depends on Pacemaker's version, and among several sets on scores and rules: they have to agree.
	for _, name := range []string{"fencing-enabled", "stonith-enabled"} {
		for _, value := range properties(cib, name) {
			is, ok := Boolean(value)
			switch {
			case !ok:
				return false, name, fmt.Errorf("%s=%s is neither true nor false: say which (pcs property set %s=true)", name, value, name)
			case option == "":
				on, option = is, name
			case is != on && name != option:
				return false, name, fmt.Errorf("%s=%v and %s=%v are two names of one option, and which one counts depends on Pacemaker's version: remove one (pcs property unset %s)", option, on, name, is, name)
			case is != on:
				return false, name, fmt.Errorf("crm_config has both %s=%v and %s=%v: leave one of them", name, on, name, is)
			}
		}
	}
	return on, option, nil
}

// Boolean reads a boolean as Pacemaker does; ok is false if it is none.
func Boolean(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "on", "yes", "y", "1":
		return true, true
	case "false", "off", "no", "n", "0":
		return false, true
	}
	return false, false
}

// properties are all values that a cluster option is given.
func properties(cib *Element, name string) []string {
	var values []string
	for nv := range cib.Child("configuration", "crm_config").All("nvpair") {
		if ref := nv.Attr("id-ref"); ref != "" {
			nv = cmp.Or(cib.Find("nvpair", ref), nv)
		}
		if nv.Attr("name") == name {
			values = append(values, nv.Attr("value"))
		}
	}
	return values
}

package pacemaker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// AttributeSets are the instance attributes of a primitive, without those that a rule gives, the one that counts most
// first.
func AttributeSets(p *Element) []*Element {
	var sets []*Element
	for _, set := range p.Children {
		if set.Name == "instance_attributes" && set.Child("rule") == nil && set.Attr("id-ref") == "" {
			sets = append(sets, set)
		}
	}
	slices.SortStableFunc(sets, func(a, b *Element) int { return cmp.Compare(score(b), score(a)) })
	return sets
}

// score is an element's score; Pacemaker's infinity is a million.
func score(e *Element) int {
	switch text := strings.ToUpper(e.Attr("score")); text {
	case "INFINITY", "+INFINITY":
		return 1_000_000
	case "-INFINITY":
		return -1_000_000
	default:
		n, _ := strconv.Atoi(text)
		return n
	}
}

// Parameters are the instance attributes of a primitive, without those that a rule gives.
func Parameters(p *Element) map[string]string {
	given := map[string]string{}
	for _, set := range AttributeSets(p) {
		for nv := range set.All("nvpair") {
			if _, seen := given[nv.Attr("name")]; !seen {
				given[nv.Attr("name")] = nv.Attr("value")
			}
		}
	}
	return given
}

package swap

import (
	"fmt"
	"slices"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// takeBack is what a primitive is now without what made the new one of the old one: class, provider and type, the
// parameters that came, the operations' times. What somebody else changed since stays. Where they changed the very
// thing that the swap had changed, that is a conflict: the old state wins, and a line says what is given up.
func takeBack(old, new, now *pacemaker.Element) (is *pacemaker.Element, conflicts []string) {
	is = now.Clone()
	conflicts = revert(old, new, is)
	return is, conflicts
}

// revert takes back of an element what leads from old to new. The three are the same element.
func revert(old, new, is *pacemaker.Element) (conflicts []string) {
	names := map[string]bool{}
	for _, e := range []*pacemaker.Element{old, new} {
		for _, a := range e.Attrs {
			names[a.Name] = true
		}
	}
	for name := range names {
		was, became, now := old.Attr(name), new.Attr(name), is.Attr(name)
		if was == became || now == was {
			continue
		}
		if now != became {
			conflicts = append(conflicts, fmt.Sprintf("%s %s: its %s was changed since the swap changed it, and that goes too", is.Name, label(is), name))
		}
		is.Set(name, was)
	}
	for _, after := range new.Children {
		i := same(is, new, after)
		if i < 0 {
			continue // it is gone: theirs to decide
		}
		if before := same(old, new, after); before >= 0 {
			conflicts = append(conflicts, revert(old.Children[before], after, is.Children[i])...)
			continue
		}
		// The swap brought it: it goes, but for what they put into it.
		now := is.Children[i]
		none := &pacemaker.Element{Name: after.Name, Attrs: after.Attrs}
		conflicts = append(conflicts, revert(none, after, now)...)
		if len(now.Children) > 0 {
			continue
		}
		if !sameAttrs(now, after) {
			conflicts = append(conflicts, fmt.Sprintf("%s %s came with the swap, was changed since, and goes", now.Name, label(now)))
		}
		is.Children = slices.Delete(is.Children, i, i+1)
	}
	for at, before := range old.Children {
		if same(new, old, before) >= 0 || same(is, old, before) >= 0 {
			continue
		}
		is.Children = slices.Insert(is.Children, min(at, len(is.Children)), before.Clone()) // the swap took it away
	}
	return conflicts
}

// same is the index in e of the element that is a child of up: by its id, or without one by its name and what number it
// has among those; -1 without one.
func same(e, up, child *pacemaker.Element) int {
	if id := child.Attr("id"); id != "" {
		return slices.IndexFunc(e.Children, func(c *pacemaker.Element) bool { return c.Name == child.Name && c.Attr("id") == id })
	}
	n := 0
	for _, c := range up.Children {
		if c == child {
			break
		}
		if c.Name == child.Name && c.Attr("id") == "" {
			n++
		}
	}
	for i, c := range e.Children {
		if c.Name == child.Name && c.Attr("id") == "" {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

func sameAttrs(a, b *pacemaker.Element) bool {
	return (&pacemaker.Element{Attrs: a.Attrs}).Equal(&pacemaker.Element{Attrs: b.Attrs})
}

// label is how people know an element: a parameter by its name.
func label(e *pacemaker.Element) string {
	if name := e.Attr("name"); name != "" && e.Name != "op" {
		return name
	}
	return e.Attr("id")
}

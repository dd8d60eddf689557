package pacemaker

import (
	"fmt"
	"slices"
)

// TakeBack is what an element is now without what made the new one of the old one. The three are the same element, such as
// a primitive or the whole configuration. What somebody else changed since stays, and so does what came, if they put
// something into it; but not what is whole (nil: nothing is), which goes with all that is in it. Where they changed the very
// thing that is taken back, that is a conflict: the old state wins, and a line says what is given up.
func TakeBack(old, new, now *Element, whole func(*Element) bool) (is *Element, conflicts []string) {
	is = now.Clone()
	if whole == nil {
		whole = func(*Element) bool { return false }
	}
	conflicts = revert(old, new, is, whole)
	return is, conflicts
}

// revert takes back of an element what leads from old to new. The three are the same element.
func revert(old, new, is *Element, whole func(*Element) bool) (conflicts []string) {
	names := map[string]bool{}
	for _, e := range []*Element{old, new} {
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
			conflicts = append(conflicts, fmt.Sprintf("%s %s: its %s was changed since, and that goes too", is.Name, label(is), name))
		}
		is.Set(name, was)
	}
	for _, after := range new.Children {
		i := same(is, new, after)
		if i < 0 {
			continue // it is gone: theirs to decide
		}
		if before := same(old, new, after); before >= 0 {
			conflicts = append(conflicts, revert(old.Children[before], after, is.Children[i], whole)...)
			continue
		}
		// It came: it goes, but for what they put into it.
		now := is.Children[i]
		differs := !now.Equal(after)
		if !whole(after) {
			differs = !sameAttrs(now, after)
			none := &Element{Name: after.Name, Attrs: after.Attrs}
			conflicts = append(conflicts, revert(none, after, now, whole)...)
			if len(now.Children) > 0 {
				continue
			}
		}
		if differs {
			conflicts = append(conflicts, fmt.Sprintf("%s %s came with what is taken back, was changed since, and goes", now.Name, label(now)))
		}
		is.Children = slices.Delete(is.Children, i, i+1)
	}
	for at, before := range old.Children {
		if same(new, old, before) >= 0 || same(is, old, before) >= 0 {
			continue
		}
		is.Children = slices.Insert(is.Children, min(at, len(is.Children)), before.Clone()) // it was taken away
	}
	return conflicts
}

// same is the index in e of the element that is a child of up: by its id, or without one by its name and what number it
// has among those; -1 without one.
func same(e, up, child *Element) int {
	if id := child.Attr("id"); id != "" {
		return slices.IndexFunc(e.Children, func(c *Element) bool { return c.Name == child.Name && c.Attr("id") == id })
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

func sameAttrs(a, b *Element) bool {
	return (&Element{Attrs: a.Attrs}).Equal(&Element{Attrs: b.Attrs})
}

// label is how people know an element: a parameter by its name.
func label(e *Element) string {
	if name := e.Attr("name"); name != "" && e.Name != "op" {
		return name
	}
	return e.Attr("id")
}

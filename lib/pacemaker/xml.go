package pacemaker

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/words"
)

// Element is an element of the CIB, or of what the tools write. The white space between elements is not kept; the CIB
// has no other text. A comment is an element of the name comment: it counts where a patch tells positions.
type Element struct {
	Name     string
	Attrs    []Attr
	Children []*Element
}

// comment is the name of an element that is a comment; its only attribute is the text.
const comment = "!--"

// Attr is an attribute of an element.
type Attr struct{ Name, Value string }

// ParseXML reads one element with all below.
func ParseXML(r io.Reader) (*Element, error) {
	dec := xml.NewDecoder(r)
	var open []*Element
	for {
		tok, err := dec.RawToken()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			el := &Element{Name: rawName(t.Name)}
			for _, a := range t.Attr {
				el.Attrs = append(el.Attrs, Attr{rawName(a.Name), a.Value})
			}
			if len(open) > 0 {
				up := open[len(open)-1]
				up.Children = append(up.Children, el)
			}
			open = append(open, el)
		case xml.Comment:
			if len(open) > 0 {
				open[len(open)-1].Add(El(comment, "", string(t)))
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].Name != rawName(t.Name) {
				return nil, fmt.Errorf("XML: </%s> closes nothing", rawName(t.Name))
			}
			if len(open) == 1 {
				return open[0], nil
			}
			open = open[:len(open)-1]
		}
	}
}

func rawName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// El makes an element from its name, and names and values of attributes in turn.
func El(name string, attrs ...string) *Element {
	e := &Element{Name: name}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Attrs = append(e.Attrs, Attr{attrs[i], attrs[i+1]})
	}
	return e
}

// Add appends children and returns the element.
func (e *Element) Add(children ...*Element) *Element {
	e.Children = append(e.Children, children...)
	return e
}

// Attr is the value of an attribute, "" without it.
func (e *Element) Attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Set sets an attribute; "" removes it.
func (e *Element) Set(name, value string) {
	i := slices.IndexFunc(e.Attrs, func(a Attr) bool { return a.Name == name })
	switch {
	case value == "" && i >= 0:
		e.Attrs = slices.Delete(e.Attrs, i, i+1)
	case value == "":
	case i >= 0:
		e.Attrs[i].Value = value
	default:
		e.Attrs = append(e.Attrs, Attr{name, value})
	}
}

// Child is the first child of that name, nil without one.
func (e *Element) Child(names ...string) *Element {
	for _, name := range names {
		if e == nil {
			return nil
		}
		i := slices.IndexFunc(e.Children, func(c *Element) bool { return c.Name == name })
		if i < 0 {
			return nil
		}
		e = e.Children[i]
	}
	return e
}

// All yields the element itself, if it has that name, and all such below it.
func (e *Element) All(name string) iter.Seq[*Element] {
	return func(yield func(*Element) bool) { e.all(name, yield) }
}

func (e *Element) all(name string, yield func(*Element) bool) bool {
	if e == nil {
		return true
	}
	if e.Name == name && !yield(e) {
		return false
	}
	for _, c := range e.Children {
		if !c.all(name, yield) {
			return false
		}
	}
	return true
}

// Find is the first element of that name and id at or below e, nil without one.
func (e *Element) Find(name, id string) *Element {
	for el := range e.All(name) {
		if el.Attr("id") == id {
			return el
		}
	}
	return nil
}

// Path is the elements from e down to what is looked for, both included; nil if that is not below e.
func (e *Element) Path(to *Element) []*Element {
	if e == to {
		return []*Element{e}
	}
	for _, c := range e.Children {
		if p := c.Path(to); p != nil {
			return append([]*Element{e}, p...)
		}
	}
	return nil
}

// Any tells whether is holds for any element below e.
func (e *Element) Any(is func(*Element) bool) bool {
	return slices.ContainsFunc(e.Children, func(c *Element) bool { return is(c) || c.Any(is) })
}

// Remove removes the elements below e that drop is true for.
func (e *Element) Remove(drop func(*Element) bool) {
	e.Children = slices.DeleteFunc(e.Children, drop)
	for _, c := range e.Children {
		c.Remove(drop)
	}
}

// Clone is a deep copy.
func (e *Element) Clone() *Element {
	if e == nil {
		return nil
	}
	c := &Element{Name: e.Name, Attrs: slices.Clone(e.Attrs)}
	for _, child := range e.Children {
		c.Children = append(c.Children, child.Clone())
	}
	return c
}

// Masked is a copy to be shown: without the values of nvpairs that nobody should see (words.Secret), or whose names are in
// also.
func (e *Element) Masked(also map[string]bool) *Element {
	m := e.Clone()
	for nv := range m.All("nvpair") {
		if name := nv.Attr("name"); also[name] || words.Secret(name, nv.Attr("value")) {
			nv.Set("value", "(secret)")
		}
	}
	return m
}

// Equal tells whether two elements say the same: the order of attributes does not matter, that of children does.
func (e *Element) Equal(other *Element) bool {
	if e == nil || other == nil {
		return e == other
	}
	if e.Name != other.Name || len(e.Attrs) != len(other.Attrs) || len(e.Children) != len(other.Children) {
		return false
	}
	for _, a := range e.Attrs {
		if !slices.Contains(other.Attrs, a) {
			return false
		}
	}
	for i := range e.Children {
		if !e.Children[i].Equal(other.Children[i]) {
			return false
		}
	}
	return true
}

// String is the element as XML, one line an element, indented.
func (e *Element) String() string {
	var b strings.Builder
	e.write(&b, "")
	return b.String()
}

func (e *Element) write(b *strings.Builder, indent string) {
	if e.Name == comment {
		b.WriteString(indent + "<!--" + e.Attr("") + "-->\n")
		return
	}
	b.WriteString(indent + "<" + e.Name)
	for _, a := range e.Attrs {
		b.WriteString(" " + a.Name + `="`)
		_ = xml.EscapeText(b, []byte(a.Value)) // a Builder takes all
		b.WriteString(`"`)
	}
	if len(e.Children) == 0 {
		b.WriteString("/>\n")
		return
	}
	b.WriteString(">\n")
	for _, c := range e.Children {
		c.write(b, indent+"  ")
	}
	b.WriteString(indent + "</" + e.Name + ">\n")
}

// MarshalText and UnmarshalText keep an element in a JSON file.
func (e *Element) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is MarshalText's counterpart.
func (e *Element) UnmarshalText(text []byte) error {
	p, err := ParseXML(strings.NewReader(string(text)))
	if err == nil {
		*e = *p
	}
	return err
}

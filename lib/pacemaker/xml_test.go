package pacemaker

import (
	"strings"
	"testing"
)

func TestXMLThereAndBack(t *testing.T) {
	const text = `<?xml version="1.0"?><!-- c --><a id="1" x:y="z"> <b v="&lt;&amp;&quot;&#10;"/><!-- c --><c><d/></c></a>`
	e, err := ParseXML(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if e.Attr("x:y") != "z" || e.Child("b").Attr("v") != "<&\"\n" || e.Child("c", "d") == nil || e.Child("d") != nil {
		t.Errorf("%s", e)
	}
	again, err := ParseXML(strings.NewReader(e.String()))
	if err != nil || !again.Equal(e) {
		t.Errorf("%v: %s", err, again)
	}
	// crm_diff counts comments when it tells where an element goes.
	if len(e.Children) != 3 || !strings.Contains(e.String(), "  <!-- c -->\n  <c>") {
		t.Errorf("the comment is lost: %s", e)
	}
	for _, bad := range []string{"", "<a>", "<a></b>", "</a>", "text"} {
		if _, err := ParseXML(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestEqual(t *testing.T) {
	a := El("a", "x", "1", "y", "2").Add(El("b"), El("c"))
	for _, c := range []struct {
		b    *Element
		want bool
	}{
		{El("a", "y", "2", "x", "1").Add(El("b"), El("c")), true},
		{El("a", "y", "2", "x", "1").Add(El("c"), El("b")), false},
		{El("a", "y", "2").Add(El("b"), El("c")), false},
		{El("a", "y", "2", "x", "3").Add(El("b"), El("c")), false},
		{nil, false},
	} {
		if a.Equal(c.b) != c.want {
			t.Errorf("%v is equal: %v", c.b, !c.want)
		}
	}
	b := a.Clone()
	b.Set("x", "")
	b.Children[0].Set("z", "1")
	if len(a.Attrs) != 2 || len(a.Children[0].Attrs) != 0 {
		t.Error("a clone shares with what it is of")
	}
}

func FuzzXML(f *testing.F) {
	f.Add(`<a b="c"><d/></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseXML(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := ParseXML(strings.NewReader(e.String()))
		if err != nil || again.String() != e.String() {
			t.Errorf("%q: %v: %s", text, err, again)
		}
	})
}

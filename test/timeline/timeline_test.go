package timeline

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func sec(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func example() Line {
	return Line{
		From: -sec(2), To: sec(12),
		Lanes: []Lane{{Name: "SQL", Gaps: []Gap{{sec(0), sec(5.4)}}}, {Name: "API <b>"}},
		Marks: []Mark{{At: 0, Text: "power cut of node2", More: "a & b"}, {At: sec(0.1), Text: "node2 is fenced"}, {At: sec(11.9), Text: "at the right margin, where nothing follows", Bad: true}},
	}
}

// parse fails the test if the document is none, and returns its elements' names and all its text.
func parse(t *testing.T, document string) (names []string, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(document)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return names, text
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch v := token.(type) {
		case xml.StartElement:
			names = append(names, v.Name.Local)
		case xml.CharData:
			text += string(v)
		}
	}
}

// A picture is a document by itself, and says who was away for how long and what was done.
func TestPicture(t *testing.T) {
	var b strings.Builder
	if err := example().WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	names, text := parse(t, b.String())
	for _, want := range []string{"SQL", "API <b>", "5.4 s", "power cut of node2", "node2 is fenced", "a & b", "no answer for 5.4 s", "10 s"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture does not say %q", want)
		}
	}
	if names[0] != "svg" || strings.Count(b.String(), `fill="#d23c3c"`) != 1 {
		t.Errorf("want one svg with one gap:\n%s", b.String())
	}
}

// No text covers another one, and none is outside.
func TestLabels(t *testing.T) {
	l := Line{To: sec(60)}
	for i := range 40 {
		l.Marks = append(l.Marks, Mark{At: sec(1.5 * float64(i)), Text: strings.Repeat("x", i%50)})
	}
	b := l.draw(l.From, l.To)
	for i, one := range b.Labels {
		left, right := extent(one)
		if left < 0 || right > width {
			t.Errorf("%d is outside: %f to %f", i, left, right)
		}
		for _, other := range b.Labels[:i] {
			l, r := extent(other)
			if other.Y == one.Y && left < r && l < right {
				t.Errorf("%q covers %q", one.Text, other.Text)
			}
		}
	}
}

func extent(l label) (left, right float64) {
	long := letter * float64(len([]rune(l.Text)))
	if l.Anchor == "end" {
		return l.TextX - long, l.TextX
	}
	return l.TextX, l.TextX + long
}

// A gap that goes over the edge of a band is drawn in both.
func TestBands(t *testing.T) {
	l := Line{To: sec(120), Lanes: []Lane{{Name: "SQL", Gaps: []Gap{{sec(50), sec(70)}}}}}
	first, second := l.draw(0, sec(60)), l.draw(sec(60), sec(120))
	if a, b := first.Lanes[0].Gaps, second.Lanes[0].Gaps; len(a) != 1 || len(b) != 1 || a[0].X+a[0].Width > laneRight+1 || b[0].X != laneLeft {
		t.Errorf("%+v, %+v", a, b)
	}
	if got := l.availability(); !slices.Equal(got, []availability{{"SQL", "83.3 %", "20.0 s", "20.0 s"}}) {
		t.Errorf("%+v", got)
	}
}

// The page has everything in it, and says nothing as if it were markup.
func TestPage(t *testing.T) {
	p := Page{
		Title: "A <title>", Line: example(), Cards: []Card{{"7", "lost", true}}, Problems: []string{"<wrong>"},
		Tables: []Table{{"Faults", []string{"fault", "outage"}, [][]Cell{{{Text: "kill"}, {Text: "5.0 s", Bar: sec(5)}}}}},
	}
	var b strings.Builder
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A &lt;title&gt;", "&lt;wrong&gt;", "<b>7</b>lost", `class="card bad"`, "width:15px", "61.4 %"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

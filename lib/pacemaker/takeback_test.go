package pacemaker

import (
	"slices"
	"strings"
	"testing"
)

const mergeOld = `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="i"><nvpair id="i-config" name="config" value="/c"/></instance_attributes>
<operations><op id="o1" name="start" interval="0s" timeout="15"/><op id="o2" name="monitor" interval="10s" timeout="5"/></operations></primitive>`

const mergeNew = `<primitive id="db" class="ocf" provider="openstack" type="mysql-shared-storage"><instance_attributes id="i"><nvpair id="i-config" name="config" value="/c"/><nvpair id="i-datadir" name="datadir" value="/d"/></instance_attributes>
<operations><op id="o1" name="start" interval="0s" timeout="300s"/><op id="o3" name="monitor" interval="2s" timeout="20s"/></operations></primitive>`

func TestTakeBackIsThreeWay(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to string // what they changed of the new one
		want     string // in place of which in the old one
		with     string
		conflict string
	}{
		{name: "nothing"},
		{name: "a parameter of theirs", from: `<nvpair id="i-datadir"`, to: `<nvpair id="i-log" name="log" value="/l"/><nvpair id="i-datadir"`, want: `value="/c"/>`, with: `value="/c"/><nvpair id="i-log" name="log" value="/l"/>`},
		{name: "another value", from: `"/c"`, to: `"/other"`, want: `"/c"`, with: `"/other"`},
		{name: "a set", from: `<operations>`, to: `<meta_attributes id="m"/><operations>`, want: `<operations>`, with: `<meta_attributes id="m"/><operations>`},
		{name: "an attribute", from: `id="db"`, to: `id="db" description="x"`, want: `id="db"`, with: `id="db" description="x"`},
		{name: "gone", from: `<nvpair id="i-config" name="config" value="/c"/>`, want: `<nvpair id="i-config" name="config" value="/c"/>`},
		{name: "what came is gone", from: `<nvpair id="i-datadir" name="datadir" value="/d"/>`},
		{name: "the time is back already", from: `"300s"`, to: `"15"`},
		{name: "another time", from: `"300s"`, to: `"600s"`, conflict: "op o1: its timeout was changed"},
		{name: "another value of what came", from: `"/d"`, to: `"/e"`, conflict: "nvpair datadir came with what is taken back, was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := parseXML(t, strings.Replace(mergeNew, c.from, c.to, 1))
			want := parseXML(t, strings.Replace(mergeOld, c.want, c.with, 1))
			got, conflicts := TakeBack(parseXML(t, mergeOld), parseXML(t, mergeNew), now, nil)
			if !ordered(got).Equal(ordered(want)) {
				t.Errorf("%s\nwant\n%s", got, want)
			}
			if text := strings.Join(conflicts, "\n"); !strings.Contains(text, c.conflict) || c.conflict == "" && text != "" {
				t.Errorf("conflicts: %q, want %q", text, c.conflict)
			}
		})
	}
}

// A set that the swap made goes, unless they put something into it.
func TestTakeBackOfASetThatCame(t *testing.T) {
	old := parseXML(t, `<primitive id="db" class="lsb" type="mysqld"/>`)
	new := parseXML(t, `<primitive id="db" class="ocf" provider="openstack" type="x"><instance_attributes id="i"><nvpair id="i-datadir" name="datadir" value="/d"/></instance_attributes></primitive>`)
	if got, conflicts := TakeBack(old, new, new, nil); !got.Equal(old) || len(conflicts) > 0 {
		t.Errorf("%s %q", got, conflicts)
	}
	now := new.Clone()
	now.Children[0].Add(El("nvpair", "id", "mine", "name", "log", "value", "/l"))
	got, conflicts := TakeBack(old, new, now, nil)
	if len(conflicts) > 0 || got.Find("nvpair", "mine") == nil || len(got.Children[0].Children) != 1 {
		t.Errorf("%s %q", got, conflicts)
	}
}

// ordered has the order of operations by their ids: it does not matter to Pacemaker.
func ordered(e *Element) *Element {
	c := e.Clone()
	if ops := c.Child("operations"); ops != nil {
		slices.SortFunc(ops.Children, func(a, b *Element) int { return strings.Compare(a.Attr("id"), b.Attr("id")) })
	}
	return c
}

// What is whole goes with what they put into it, which is told.
func TestTakeBackOfWhatIsWhole(t *testing.T) {
	old := parseXML(t, `<resources/>`)
	new := parseXML(t, `<resources><group id="g"><primitive id="a"><operations/></primitive></group></resources>`)
	now := parseXML(t, `<resources><group id="g"><primitive id="a"><operations/><meta_attributes id="m"/></primitive><primitive id="theirs"/></group></resources>`)
	got, conflicts := TakeBack(old, new, now, func(e *Element) bool { return e.Name == "primitive" })
	if want := parseXML(t, `<resources><group id="g"><primitive id="theirs"/></group></resources>`); !got.Equal(want) {
		t.Errorf("%s", got)
	}
	if len(conflicts) != 1 || conflicts[0] != "primitive a came with what is taken back, was changed since, and goes" {
		t.Errorf("%q", conflicts)
	}
}

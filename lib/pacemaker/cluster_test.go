package pacemaker

import (
	"strings"
	"testing"
)

func TestBusy(t *testing.T) {
	still := Status{DC: "node1", Nodes: []Node{{Name: "node1"}, {Name: "node2"}}}
	for _, c := range []struct {
		name, crmadmin, want string
		status               Status
		fails                bool
	}{
		{"at rest", "echo 'Controller on node1 in state S_IDLE: ok'", "", still, false},
		{"in a transition", "echo 'Controller on node1 in state S_TRANSITION_ENGINE: ok'", "a transition is in progress: Controller on node1 in state S_TRANSITION_ENGINE: ok", still, false},
		{"nobody leads", "exit 1", "no node leads the cluster (there is no DC)", Status{}, false},
		{"the leader does not answer", "echo 'error: No reply' >&2; exit 124", "", still, true},
		{
			"a node comes", "echo 'Controller on node1 in state S_IDLE: ok'", "node node2 is joining or leaving (pending true, unclean false)",
			Status{DC: "node1", Nodes: []Node{{Name: "node1"}, {Name: "node2", Pending: true}}},
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			standIn(t, "crmadmin", c.crmadmin)
			got, err := Busy(t.Context(), &c.status)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	said := standIn(t, "crm_resource", "")
	for _, node := range []string{"", "node2"} {
		if err := Refresh(t.Context(), "db", node); err != nil {
			t.Error(err)
		}
	}
	if got := said(); got != "--refresh --force --resource db\n--refresh --force --resource db --node node2" {
		t.Error(got)
	}
}

func TestLocalNode(t *testing.T) {
	standIn(t, "crm_node", "echo node2")
	if name, err := LocalNode(t.Context()); name != "node2" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
}

// What edits and compares the CIB, on a piece of one.
func TestElement(t *testing.T) {
	const text = `<group id="g"><primitive id="a"><instance_attributes id="i"><nvpair id="p" name="test_passwd" value="secret"/>` +
		`<nvpair id="q" name="pin" value="4711"/><nvpair id="d" name="datadir" value="/var/lib/mysql"/></instance_attributes></primitive><primitive id="b"/></group>`
	g := parseXML(t, text)
	a, b := g.Find("primitive", "a"), g.Find("primitive", "b")
	if path := g.Path(b); len(path) != 2 || path[0] != g || path[1] != b {
		t.Errorf("the path to b is %v", path)
	}
	if path := a.Path(b); path != nil {
		t.Errorf("b is not below a: %v", path)
	}
	is := func(id string) func(*Element) bool { return func(e *Element) bool { return e.Attr("id") == id } }
	if !g.Any(is("p")) || g.Any(is("g")) || g.Any(is("x")) {
		t.Error("p is below g, g itself and x are not")
	}
	masked := g.Masked(map[string]bool{"pin": true}).String()
	if strings.Contains(masked, "secret\"") || strings.Contains(masked, "4711") || !strings.Contains(masked, "/var/lib/mysql") {
		t.Errorf("shown: %s", masked)
	}
	if !g.Equal(parseXML(t, text)) {
		t.Errorf("masking a copy has changed the original: %s", g)
	}
	kept, err := g.MarshalText()
	var again Element
	if err != nil || again.UnmarshalText(kept) != nil || !again.Equal(g) {
		t.Errorf("kept and read again: %s", again.String())
	}
	if err := again.UnmarshalText([]byte("<a>")); err == nil || !again.Equal(g) {
		t.Errorf("half an element: %v, %s", err, again.String())
	}
	g.Remove(is("p"))
	g.Remove(is("b"))
	if g.Find("nvpair", "p") != nil || g.Find("primitive", "b") != nil || g.Find("nvpair", "d") == nil {
		t.Errorf("p and b should be gone: %s", g)
	}
}

package pacemaker

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// standIn puts a shell script in a tool's place, which finds its arguments in $*. said returns those of all calls.
func standIn(t *testing.T, name, script string) (said func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$*\" >>"+log+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(text))
	}
}

// The cluster is idle when nobody works on a transition, and the scheduler has nothing but monitors to begin.
func TestWaitIdle(t *testing.T) {
	const mon = `echo '<pacemaker-result><summary><current_dc name="node1" with_quorum="true"/></summary><nodes><node name="node1" online="true"/></nodes><resources/></pacemaker-result>'`
	graph := func(op, interval string) string {
		return `echo '<transition_graph><synapse><action_set><rsc_op operation="` + op + `" on_node="node1"><primitive id="db"/><attributes CRM_meta_interval="` + interval + `"/></rsc_op></action_set></synapse></transition_graph>' >/dev/fd/4`
	}
	for name, c := range map[string]struct {
		mon, admin, simulate string
		within               time.Duration
		want                 string // the error; "": none
	}{
		"idle":           {mon, "echo S_IDLE", graph("monitor", "2000"), time.Minute, ""},
		"becomes idle":   {mon, `[ -e "$0.was" ] && echo S_IDLE; touch "$0.was"; echo S_TRANSITION_ENGINE`, graph("monitor", "2000"), time.Minute, ""},
		"never idle":     {mon, "echo S_TRANSITION_ENGINE", graph("monitor", "2000"), 2 * time.Second, "the cluster is still busy after 2s: a transition is in progress: S_TRANSITION_ENGINE"},
		"a start is due": {mon, "echo S_IDLE", graph("start", "0"), 2 * time.Second, "the cluster is still busy after 2s: start of db on node1"},
		"not to be seen": {"exit 102", "echo S_IDLE", graph("monitor", "2000"), time.Second, "it cannot be seen whether the cluster is done after 1s: crm_mon"},
	} {
		t.Run(name, func(t *testing.T) {
			standIn(t, "crm_mon", c.mon)
			standIn(t, "crmadmin", c.admin)
			standIn(t, "cibadmin", "echo '<cib/>'")
			standIn(t, "crm_simulate", c.simulate)
			err := WaitIdle(t.Context(), c.within)
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// What a tool says of its failure is what the operator reads: all of it that matters, and in one line.
func TestWhatToolsSay(t *testing.T) {
	for _, c := range []struct {
		name, tool, script string
		call               func() error
		want               string // the error; "": none
		args               string
	}{
		{
			"crm_verify", "crm_verify", `echo "(unpack_resources) 	error: Resource start-up disabled" >&2; exit 78`,
			func() error { return VerifyCIB(t.Context(), &Element{Name: "cib"}) }, "crm_verify: (unpack_resources) error: Resource start-up disabled", "--xml-file /dev/fd/3 --verbose",
		},
		{
			"no cluster here", "cibadmin", "echo 'cibadmin: Connection to the CIB manager failed: Transport endpoint is not connected' >&2; exit 102",
			func() error { _, err := CIB(t.Context()); return err },
			"cannot read the cluster's configuration: is the cluster running on this node? cibadmin --query: exit code 102: cibadmin: Connection to the CIB manager failed: Transport endpoint is not connected", "--query",
		},
		{"an empty CIB", "cibadmin", "echo '<cib/>'", func() error { _, err := EmptyCIB(t.Context()); return err }, "", "--empty"},
		{"no CIB at all", "cibadmin", "echo", func() error { _, err := CIB(t.Context()); return err }, "EOF", "--query"},
		{"an attribute of this node", "attrd_updater", "", func() error { return SetAttribute(t.Context(), "", "a", "1") }, "", "--name a --update 1"},
		{"an attribute of another", "attrd_updater", "", func() error { return SetAttribute(t.Context(), "node2", "a", "1") }, "", "--name a --update 1 --node node2"},
		{"an attribute goes", "attrd_updater", "", func() error { return SetAttribute(t.Context(), "node2", "a", "") }, "", "--name a --delete --node node2"},
		{
			"an attribute that cannot be set", "attrd_updater", "printf 'Could not update\n a' >&2; exit 76",
			func() error { return SetAttribute(t.Context(), "", "a", "1") }, "attrd_updater --name a --update 1: exit status 76: Could not update a", "--name a --update 1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := standIn(t, c.tool, c.script)
			err := c.call()
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want && !(c.want == "EOF" && strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := said(); got != c.args {
				t.Errorf("called with %s, want %s", got, c.args)
			}
		})
	}
}

// Somebody else was faster: the caller may try again with what is there now.
func TestPatchOfWhatHasChanged(t *testing.T) {
	standIn(t, "crm_diff", "echo '<diff/>'; exit 1")
	standIn(t, "cibadmin", "echo 'Update was older than existing configuration' >&2; exit 103")
	cib := parseXML(t, `<cib epoch="7" num_updates="1" admin_epoch="0"><configuration/><status/></cib>`)
	if err := Patch(t.Context(), cib, cib.Clone()); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "Update was older") {
		t.Error(err)
	}
	standIn(t, "cibadmin", "echo 'Permission denied' >&2; exit 4")
	if err := Patch(t.Context(), cib, cib.Clone()); err == nil || errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	standIn(t, "crm_diff", "echo 'no XML' >&2; exit 65")
	if err := Patch(t.Context(), cib, cib.Clone()); err == nil || !strings.Contains(err.Error(), "no XML") {
		t.Error(err)
	}
	cib.Set("epoch", "")
	if err := Patch(t.Context(), cib, cib.Clone()); err == nil || !strings.Contains(err.Error(), "the CIB's epoch") {
		t.Error(err)
	}
}

func parseXML(t *testing.T, text string) *Element {
	t.Helper()
	e, err := ParseXML(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Nobody has the attribute is no failure, by the words of Pacemaker 2.1 and 3.0; and the tool is asked for all nodes also from
// within an agent, which is given one.
func TestAttributes(t *testing.T) {
	t.Setenv("OCF_RESKEY_CRM_meta_on_node", "node1")
	for _, c := range []struct {
		script string
		want   map[string]string
		fails  bool
	}{
		{`[ -z "$OCF_RESKEY_CRM_meta_on_node" ] && echo 'name="a" host="node1" value="1"' && echo 'name="a" host="node2" value=""'`, map[string]string{"node1": "1"}, false},
		{`echo "Could not query value of a: attribute does not exist" >&2; exit 105`, map[string]string{}, false},
		{`echo "attrd_updater: Could not query value of a: No such device or address" >&2; exit 105`, map[string]string{}, false},
		{`echo "Could not connect to attrd" >&2; exit 102`, nil, true},
	} {
		standIn(t, "attrd_updater", c.script)
		got, err := Attributes(t.Context(), "a")
		if !maps.Equal(got, c.want) || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.script, got, err)
		}
	}
}

func TestPromotionScore(t *testing.T) {
	for instance, want := range map[string]string{"qpidd": "master-qpidd", "qpidd:1": "master-qpidd"} {
		if got := PromotionScore(instance); got != want {
			t.Errorf("%s: %s", instance, got)
		}
	}
}

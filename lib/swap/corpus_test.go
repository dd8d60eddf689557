package swap

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/needs"
)

// corpus are CIBs as people have them: those in the folder SWAP_CIBS, such as Pacemaker's own cts/scheduler/xml, or a few.
func corpus(t *testing.T) map[string]string {
	t.Helper()
	if dir := os.Getenv("SWAP_CIBS"); dir != "" {
		files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no *.xml, %v", dir, err)
		}
		cibs := map[string]string{}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cibs[filepath.Base(file)] = string(text)
		}
		return cibs
	}
	cib := func(schema, resources string) string {
		return `<cib crm_feature_set="3.16.1" validate-with="` + schema + `" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config/><nodes><node id="1" uname="node1"/></nodes><resources>` + resources + `</resources><constraints/></configuration><status/></cib>`
	}
	return map[string]string{
		"bare":            cib("pacemaker-3.7", `<primitive id="db" class="lsb" type="mysqld"/>`),
		"stopped monitor": cib("pacemaker-3.7", `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"><operations><op id="o1" name="monitor" interval="10s"/><op id="o2" name="monitor" interval="7s" role="Stopped"/></operations></primitive>`),
		"taken id": cib("pacemaker-2.0", `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"><meta_attributes id="db-instance_attributes"><nvpair id="db-instance_attributes-resource-stickiness" name="resource-stickiness" value="1"/></meta_attributes></primitive>
<primitive id="db-start-interval-0s" class="lsb" type="x"><operations><op id="db-stop-interval-0s" name="stop" interval="0"/></operations></primitive>`),
		"two sets": cib("pacemaker-1.2", `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="a" score="1"><nvpair id="a1" name="datadir" value="/low"/></instance_attributes>
<instance_attributes id="b" score="100"><nvpair id="b1" name="datadir" value="/high"/></instance_attributes></primitive>`),
		"of all kinds": cib("pacemaker-3.0", `<template id="tpl" class="lsb" type="x"/><primitive id="made" template="tpl"/><group id="g"><primitive id="a" class="systemd" type="mariadb"><meta_attributes id="a-m"/><utilization id="a-u"><nvpair id="a-u-cpu" name="cpu" value="1"/></utilization></primitive><primitive id="b" class="lsb" type="x"/></group>
<clone id="c"><meta_attributes id="c-m"><nvpair id="c-m-i" name="interleave" value="true"/></meta_attributes><!-- x --><primitive id="q" class="ocf" provider="heartbeat" type="haproxy" description="&lt;&quot;&amp;"><operations id="q-ops"><op id="q-o" name="monitor" interval="10s"><instance_attributes id="q-o-i"><nvpair id="q-o-i-n" name="OCF_CHECK_LEVEL" value="10"/></instance_attributes></op></operations></primitive></clone>`),
	}
}

// What the swap makes of a valid CIB is valid, crm_verify says so, and what it takes back is what was there.
func TestCorpus(t *testing.T) {
	needs.Program(t, "crm_verify", "pacemaker-cli-utils")
	agent := ocf.Agent{Actions: []ocf.Action{
		{Name: ocf.Start, Timeout: 300 * time.Second},
		{Name: ocf.Stop, Timeout: 120 * time.Second},
		{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 2 * time.Second},
	}}
	cibs, edited, swaps := corpus(t), 0, 0
	var calls []func() error
	for name, text := range cibs {
		before, err := pacemaker.ParseXML(strings.NewReader(text))
		if err != nil || before.Child("configuration", "resources") == nil {
			t.Logf("%s: %v, or no resources", name, err)
			continue
		}
		for _, defaults := range []bool{false, true} {
			cib := before.Clone()
			var changes []*Change
			for p := range before.Child("configuration", "resources").All("primitive") {
				if p.Attr("template") != "" || p.Attr("class") == "stonith" || p.Attr("type") == "remote" || writtenOut(before, p) != nil {
					continue
				}
				c := &Change{ID: p.Attr("id"), Old: p.Clone()}
				c.New = replacement(cib, c.Old, "mysql-shared-storage", map[string]string{"a-new": "<\"&'>", "config": "/c"})
				if defaults {
					advised(cib, c.New, agent)
				} else {
					patient(cib, c.New, agent, usualTimes(cib), true)
				}
				put(cib, c.New)
				changes = append(changes, c)
			}
			if len(changes) == 0 {
				continue
			}
			edited++
			swaps += len(changes)
			addScout(cib, []string{"x"}, "1")
			addStarted(cib, secondID, []string{"node1"}, map[string]string{"watch": "x"})
			mark(cib, marked(cib, changes, nil, true), time.Now())
			own(cib, "node1 now")
			calls = append(calls, func() error {
				was, is := verify(t, before), verify(t, cib)
				if is != "" && was == "" {
					t.Errorf("%s (defaults %v): crm_verify: %s", name, defaults, is)
				}
				return nil
			})
			back := cib.Clone()
			unmark(back)
			for _, c := range changes {
				now := resource(back, c.ID)
				old, conflicts := pacemaker.TakeBack(c.Old, c.New, now, nil)
				if len(conflicts) > 0 {
					t.Errorf("%s: %s: %q", name, c.ID, conflicts)
				}
				put(back, old)
			}
			if !inOrder(back).Equal(inOrder(before)) {
				t.Errorf("%s (defaults %v): taken back it is not as it was: %s", name, defaults, strings.Join(Diff(inOrder(before).Child("configuration"), inOrder(back).Child("configuration")), "\n"))
			}
		}
	}
	together(calls)
	t.Logf("%d CIBs, %d edited, %d swaps in them", len(cibs), edited, swaps)
	if edited == 0 {
		t.Error("none was edited")
	}
}

// inOrder sorts operations: their order does not matter to Pacemaker.
func inOrder(cib *pacemaker.Element) *pacemaker.Element {
	c := cib.Clone()
	for ops := range c.All("operations") {
		sortByID(ops)
	}
	return c
}

func sortByID(e *pacemaker.Element) {
	slices.SortFunc(e.Children, func(a, b *pacemaker.Element) int { return strings.Compare(a.Attr("id"), b.Attr("id")) })
}

// verify is what crm_verify has against a CIB, "" if nothing.
func verify(t *testing.T, cib *pacemaker.Element) string {
	cmd := exec.Command("crm_verify", "--xml-pipe")
	cmd.Stdin = strings.NewReader(cib.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return err.Error() + ": " + string(out)
	}
	return ""
}

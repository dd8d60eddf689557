package pacemaker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Action is one that the cluster would take.
type Action struct {
	Operation string // start, stop, monitor, ...; of the cluster itself: lrm_delete, clear_failcount, stonith, ...
	Resource  string
	Node      string
	Interval  string // in ms; "" of an action that does not recur
}

func (a Action) String() string {
	name := a.Operation
	switch {
	case name == "monitor" && a.Interval == "":
		name = "probe"
	case name == "monitor":
		name = "monitor every " + a.Interval + " ms"
	}
	return fmt.Sprintf("%s of %s on %s", name, a.Resource, a.Node)
}

// Probe tells whether it only asks whether the resource runs there.
func (a Action) Probe() bool { return a.Operation == "monitor" && a.Interval == "" }

// Recurring tells whether it is a monitor that recurs from then on.
func (a Action) Recurring() bool { return a.Operation == "monitor" && a.Interval != "" }

// Simulate returns what the cluster would do next if its CIB were this one (crm_simulate(8)). It is put into dir
// meanwhile, for it may hold passwords.
func Simulate(ctx context.Context, dir string, cib *Element) ([]Action, error) {
	in, graph := filepath.Join(dir, "simulate.xml"), filepath.Join(dir, "graph.xml")
	defer os.Remove(in)
	defer os.Remove(graph)
	if err := os.WriteFile(in, []byte(cib.String()), 0o600); err != nil {
		return nil, err
	}
	if _, err := tool(ctx, cibTimeout, "", "crm_simulate", "--xml-file", in, "--simulate", "--quiet", "--save-graph", graph); err != nil {
		return nil, err
	}
	f, err := os.Open(graph)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := ParseXML(f)
	if err != nil {
		return nil, fmt.Errorf("crm_simulate's graph: %w", err)
	}
	return actions(doc), nil
}

func actions(graph *Element) []Action {
	var list []Action
	for set := range graph.All("action_set") {
		for _, op := range set.Children {
			if op.Name == "pseudo_event" { // the cluster's own bookkeeping
				continue
			}
			a := Action{Operation: op.Attr("operation"), Node: op.Attr("on_node")}
			if p := op.Child("primitive"); p != nil {
				a.Resource, _, _ = strings.Cut(p.Attr("id"), ":")
			}
			if at := op.Child("attributes"); at != nil && at.Attr("CRM_meta_interval") != "0" {
				a.Interval = at.Attr("CRM_meta_interval")
			}
			list = append(list, a)
		}
	}
	return list
}

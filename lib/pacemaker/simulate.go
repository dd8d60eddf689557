package pacemaker

import (
	"context"
	"fmt"
	"io"
	"os"
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

// Simulate returns what the cluster would do next if its CIB were this one (crm_simulate(8)).
func Simulate(ctx context.Context, cib *Element) ([]Action, error) {
	in, err := memory(cib.String())
	if err != nil {
		return nil, err
	}
	defer in.Close()
	graph, err := memory("")
	if err != nil {
		return nil, err
	}
	defer graph.Close()
	// --run makes the graph; --simulate would also execute it, which takes ten times as long.
	if _, err := toolWith(ctx, cibTimeout, []*os.File{in, graph}, "", "crm_simulate", "--xml-file", "/dev/fd/3", "--run", "--quiet", "--save-graph", "/dev/fd/4"); err != nil {
		return nil, err
	}
	doc, err := ParseXML(io.NewSectionReader(graph, 0, 1<<30))
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

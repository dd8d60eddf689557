package pacemaker

import (
	"html"
	"strconv"
	"strings"
	"time"
)

// Op is an entry of a resource's operation history on a node.
type Op struct {
	Node      string
	Agent     string // class:provider:type that ran it
	Operation string
	Interval  string // in ms, "0" of one that does not recur
	CallID    int    // grows on a node
	Code      int    // OCF exit code
	Done      bool   // false: it is under way
	Reason    string // the agent's exit reason
	At        int64  // when it ran, or a recurring one first had this result, in seconds since 1970 by the node's clock; 0: unknown

	Failure bool          // the last failure that is remembered; degraded (190, 191) is one
	Took    time.Duration // 0 where Pacemaker does not tell, as of a recurring one
}

// Probe tells whether the entry is of a question whether the resource runs on the node.
func (o Op) Probe() bool { return o.Operation == "monitor" && o.Interval == "0" }

// History is what the CIB's status says of a resource on all nodes, its instances included.
func History(cib *Element, id string) []Op {
	return histories(cib, func(base string) bool { return base == id })[id]
}

// Histories are those of all resources.
func Histories(cib *Element) map[string][]Op {
	return histories(cib, func(string) bool { return true })
}

func histories(cib *Element, wanted func(id string) bool) map[string][]Op {
	all := map[string][]Op{}
	for node := range cib.Child("status").All("node_state") {
		for r := range node.All("lrm_resource") {
			base, _, _ := strings.Cut(r.Attr("id"), ":")
			if !wanted(base) {
				continue
			}
			for op := range r.All("lrm_rsc_op") {
				all[base] = append(all[base], parseOp(node.Attr("uname"), AgentOf(r), op))
			}
		}
	}
	return all
}

func parseOp(node, agent string, op *Element) Op {
	o := Op{
		Node: node, Agent: agent, Operation: op.Attr("operation"), Interval: op.Attr("interval"),
		Done: op.Attr("op-status") != "-1", Reason: html.UnescapeString(op.Attr("exit-reason")),
		Failure: strings.HasSuffix(op.Attr("id"), "_last_failure_0"),
	}
	o.CallID, _ = strconv.Atoi(op.Attr("call-id"))
	o.Code, _ = strconv.Atoi(op.Attr("rc-code"))
	o.At, _ = strconv.ParseInt(op.Attr("last-rc-change"), 10, 64)
	ms, _ := strconv.Atoi(op.Attr("exec-time"))
	o.Took = time.Duration(ms) * time.Millisecond
	return o
}

// AgentOf is the class:provider:type of a primitive, or of a resource's history.
func AgentOf(e *Element) string {
	parts := []string{e.Attr("class")}
	if p := e.Attr("provider"); p != "" {
		parts = append(parts, p)
	}
	return strings.Join(append(parts, e.Attr("type")), ":")
}

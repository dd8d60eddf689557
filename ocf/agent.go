package ocf

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The actions of the standard, by the names the cluster calls them.
const (
	Start       = "start"
	Stop        = "stop"
	Monitor     = "monitor"
	Status      = "status" // an LSB name; runs the monitor when not declared
	Promote     = "promote"
	Demote      = "demote"
	Notify      = "notify"
	ReloadAgent = "reload-agent"
	ValidateAll = "validate-all"
	MetaData    = "meta-data"
)

// Agent declares a resource agent. It is used for one invocation: its
// parameters are bound to variables, so make a new one for each.
type Agent struct {
	Name        string // of the file under resource.d/PROVIDER/
	Version     string // of the agent, not of the standard
	Short, Long string // descriptions: one line, and paragraphs
	Parameters  []Parameter
	Actions     []Action

	// Validate checks the parameters against each other, without looking at the
	// host. It runs before every action but stop and meta-data.
	Validate func(*Request) error

	// StopUnidentified is run in place of the stop when a parameter that
	// identifies the service does not parse; cause says which. It succeeds only if
	// nothing runs that could be meant, or it has stopped the one thing that
	// [Request.Named] parameters point at. Without it such a stop fails with 1:
	// stopped with the default, another service would be, or none.
	StopUnidentified func(ctx context.Context, r *Request, cause error) error
}

// Action is one thing the cluster may ask for. Two monitors of one agent need
// different intervals; Pacemaker tells them apart by nothing else.
type Action struct {
	Name     string
	Timeout  time.Duration // advised; the cluster may give another
	Interval time.Duration // advised, of a monitor
	Depth    int           // of a monitor or validate-all: how deep it looks (OCF_CHECK_LEVEL)
	Role     string        // "Promoted" or "Unpromoted", of a monitor

	// Run does it, before ctx ends. nil is success; see [Errorf] for the rest.
	Run func(ctx context.Context, r *Request) error
}

// actions is what the agent can do: what it declares, and what every agent has.
func (a Agent) actions() []Action {
	all := append(make([]Action, 0, len(a.Actions)+2), a.Actions...)
	for _, std := range []Action{{Name: ValidateAll, Timeout: 20 * time.Second}, {Name: MetaData, Timeout: 5 * time.Second}} {
		if !slices.ContainsFunc(all, func(x Action) bool { return x.Name == std.Name }) {
			all = append(all, std)
		}
	}
	return all
}

// find is the action of that name whose depth is the highest that level
// reaches: a level that is not there falls back to the next lower.
func (a Agent) find(name string, level int) (Action, bool) {
	var best Action
	found := false
	for _, act := range a.actions() {
		if act.Name != name {
			continue
		}
		if !found || (act.Depth <= level && act.Depth > best.Depth) || (best.Depth > level && act.Depth < best.Depth) {
			best, found = act, true
		}
	}
	if !found && name == Status {
		return a.find(Monitor, level)
	}
	return best, found
}

// isName tells whether s can be the name of an agent or a parameter.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}

// Check finds faults in the declaration itself: names, defaults that do not
// parse, descriptions missing, actions twice. ocftest runs it.
func (a Agent) Check() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !isName(a.Name) || a.Version == "" || a.Short == "" || a.Long == "" {
		bad("agent %q: name, version, short and long description are needed", a.Name)
	}
	a.checkParameters(bad)
	type key struct {
		name     string
		interval time.Duration
	}
	seen := map[key]bool{}
	for _, act := range a.Actions {
		k := key{act.Name, act.Interval}
		if seen[k] {
			bad("action %s with interval %s is declared twice", act.Name, act.Interval)
		}
		seen[k] = true
		if act.Timeout <= 0 || (act.Run == nil && act.Name != ValidateAll && act.Name != MetaData) {
			bad("action %s: timeout and function are needed", act.Name)
		}
	}
	for _, must := range []string{Start, Stop, Monitor} {
		if _, ok := a.find(must, 0); !ok {
			bad("action %s is missing", must)
		}
	}
	return errs
}

func (a Agent) checkParameters(bad func(format string, args ...any)) {
	names := map[string]bool{}
	for _, p := range a.Parameters {
		switch {
		case !isName(p.Name) || names[p.Name]:
			bad("parameter %q: bad name, or declared twice", p.Name)
		case p.Value == nil || p.Short == "" || p.Long == "":
			bad("parameter %s: value, short and long description are needed", p.Name)
		case p.Required && p.Default != "":
			bad("parameter %s: required, and has a default", p.Name)
		case p.Default != "" && p.Value.Set(p.Default) != nil:
			bad("parameter %s: the default %q: %v", p.Name, p.Default, p.Value.Set(p.Default))
		}
		names[p.Name] = true
	}
	for _, p := range a.Parameters {
		if p.ReplacedBy != "" && !names[p.ReplacedBy] {
			bad("parameter %s is replaced by %s, which is not declared", p.Name, p.ReplacedBy)
		}
	}
}

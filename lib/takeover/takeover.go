// Package takeover is how an agent says what it takes a running service over by: under what names the service's
// resources are known today, how its process is found whatever started it, and what that process's command line says in
// the agent's parameters. The means for it are here; what is particular to a service stands with its agent, in the
// file takeover.go.
package takeover

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/ocf"
)

// Agent is an agent, and what it takes over.
type Agent struct {
	New  func() ocf.Agent
	Kind func() Kind // nil: it takes nothing over
}

// Kind is a kind of daemon that an agent takes over.
type Kind struct {
	Types []string // names of its init scripts and units
	OCF   []string // provider:type of other agents of it
	// Named: only a resource that is named, or whose new agent is, is swapped. Others of its agent serve other purposes.
	Named bool
	// Lives finds, of a service that is no process but the kernel's, what these parameters are given for. It stands for all
	// that follows.
	Lives func(ctx context.Context, given map[string]string) (what string, err error)
	// Identity finds all processes of the kind.
	Identity daemon.Identity
	// Narrow tells the resource's own process from others of the kind; nil: it cannot be told.
	Narrow func(given map[string]string) daemon.Test
	// Derive returns the parameters that the process's command line stands for. Those that are given stay as they are.
	Derive func(context.Context, Process) (map[string]string, error)
	// Direct are the parameters that say how the process is run: where its unit runs it they are the unit's to say.
	Direct []string
	// Notes are what an operator should know of the process; nil: nothing.
	Notes func(*daemon.Process) []string
}

// Process is a process as it was started, and what the resource says of it already.
type Process struct {
	Program string   // the path of its executable
	Title   string   // the program as it was called, or all that a server (Redis) wrote over its command line: it has no Args then
	Args    []string // without the program
	Dir     string   // its working directory
	User    string   // who it runs as
	Unit    string   // the systemd unit that is to run it, "" for the agent itself
	Given   map[string]string
}

// Owns tells by its name whether a unit, or an init script, is this service's, and no other that its process only
// happens to live in. An instance of a template is (mariadb@main).
func (k Kind) Owns(unit string) bool {
	name, _, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
	return slices.Contains(k.Types, name)
}

// Parameters are those that Derive returns and the agent takes: with a unit only what says what to ask, and the unit.
func (k Kind) Parameters(ctx context.Context, p Process) (map[string]string, error) {
	params, err := k.Derive(ctx, p)
	if err != nil || p.Unit == "" {
		return params, err
	}
	asks := map[string]string{"unit": p.Unit}
	for name, value := range params {
		if !slices.Contains(k.Direct, name) {
			asks[name] = value
		}
	}
	return asks, nil
}

// Has tells whether an agent has a parameter.
func Has(a ocf.Agent, param string) bool {
	return slices.ContainsFunc(a.Parameters, func(p ocf.Parameter) bool { return p.Name == param })
}

// Default is what a parameter of an agent is if it is not given.
func Default(a ocf.Agent, param string) string {
	for _, p := range a.Parameters {
		if p.Name == param {
			return p.Default
		}
	}
	return ""
}

// Program identifies a program that may be a script; names are those of its executable, the first also that of the
// script.
func Program(names ...string) daemon.Identity {
	path := names[0]
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if p := filepath.Join(dir, names[0]); files.Exists(p) {
			path = p
			break
		}
	}
	exes, test := daemon.Program(path)
	return daemon.Identity{Name: filepath.Base(names[0]), Executables: append(exes, names...), Test: test}
}

// Option is one of a command line.
type Option struct {
	Name, Value string
	Words       []string // as given
}

// Options parts a command line. A word that belongs to no option is one without a name. A value follows its option in
// a word of its own if valued says that the option wants one.
func Options(args []string, valued func(name string) bool) []Option {
	var list []Option
	for i := 0; i < len(args); i++ {
		o := Option{Words: args[i : i+1]}
		if strings.HasPrefix(args[i], "-") {
			var ok bool
			o.Name, o.Value, ok = strings.Cut(args[i], "=")
			if !ok && valued(o.Name) && i+1 < len(args) {
				o.Value, o.Words = args[i+1], args[i:i+2]
				i++
			}
		}
		list = append(list, o)
	}
	return list
}

// Quoted joins words so that [ocf.Words] parts them again.
func Quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\") {
			q[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(q, " ")
}

// Params collects parameters that differ from what the agent does without them.
type Params map[string]string

// Set takes a parameter down that has a value, another than the usual one, and was not given.
func (f Params) Set(given map[string]string, name, value, usual string) {
	if value != "" && value != usual && given[name] == "" {
		f[name] = value
	}
}

// Abs is a path as the process means it.
func (p Process) Abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, path)
}

// Locate finds the process of a resource on this node, of which these parameters are given. unit is the systemd unit it
// must be in, "" any.
func (k Kind) Locate(ctx context.Context, given map[string]string, unit string) (*daemon.Process, error) {
	all, err := k.Identity.FindAll(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, p := range all {
		pids[p.PID] = true
	}
	keep := func(ok func(*daemon.Process) bool) {
		all = slices.DeleteFunc(all, func(p *daemon.Process) bool {
			drop := !ok(p)
			if drop {
				_ = p.Close()
			}
			return drop
		})
	}
	keep(func(p *daemon.Process) bool { // not in a container, and no worker of another
		st, err := p.Stat()
		here, hereErr := daemon.OnNode(ctx, p)
		return err == nil && !pids[st.PPID] && here && hereErr == nil
	})
	if len(all) > 1 && slices.ContainsFunc(all, func(p *daemon.Process) bool { return UnitOf(p.PID) == unit }) {
		keep(func(p *daemon.Process) bool { return UnitOf(p.PID) == unit })
	}
	if len(all) > 1 && k.Narrow != nil {
		test := k.Narrow(given)
		keep(func(p *daemon.Process) bool { ours, err := test(ctx, p); return ours || err != nil })
	}
	switch len(all) {
	case 0:
		return nil, fmt.Errorf("no process of %s is to be found on this node", k.Identity.Name)
	case 1:
		return all[0], nil
	}
	var names []string
	for _, p := range all {
		names = append(names, p.String())
		_ = p.Close()
	}
	return nil, fmt.Errorf("several processes may be the service (%s), and nothing tells which: set the parameters that tell them apart by hand", strings.Join(names, ", "))
}

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/takeover"
)

// Takeover is how a running HAProxy is taken over.
func Takeover() takeover.Kind {
	return takeover.Kind{
		Types: []string{"haproxy"}, OCF: []string{"heartbeat:haproxy"},
		Identity: daemon.Identity{Name: "HAProxy", Executables: []string{"haproxy"}},
		Derive:   derive, Direct: direct,
	}
}

// derive reads HAProxy's command line.
func derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	f := takeover.Params{}
	if p.Unit != "" { // which says all
		return f, nil
	}
	var more, files []string
	valued := []string{"-f", "-p", "-S", "-x", "-n", "-N", "-m", "-L", "-C"}
	args, behind := p.Args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 { // what follows are more configurations
		args, behind = args[:i], args[i+1:]
	}
	for _, o := range takeover.Options(args, func(name string) bool { return slices.Contains(valued, name) }) {
		switch o.Name {
		case "-f":
			files = append(files, p.Abs(o.Value))
		case "-p":
			f.Set(p.Given, "pid", p.Abs(o.Value), takeover.Default(New(), "pid"))
		case "-C":
			return nil, fmt.Errorf("HAProxy was started with -C %s, by which the paths in its configuration are read: write them out, and start it without", o.Value)
		case "-D", "-db", "-W", "-Ws", "-S", "-x", "-q", "-V", "-sf", "-st", "": // the agent's to give; "": pids that follow -sf
		default:
			more = append(more, o.Words...)
		}
	}
	for _, file := range behind {
		files = append(files, p.Abs(file))
	}
	if len(files) == 0 {
		return nil, errors.New("HAProxy was started without a configuration file")
	}
	f.Set(p.Given, "config", takeover.Quoted(files), takeover.Default(New(), "config"))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, nil
}

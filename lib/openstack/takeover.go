package openstack

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/takeover"
)

// Takeover is how the service is taken over while it runs. Packages call scripts and units by the program's name, EL's
// with openstack- before it; and neutron's agents were called quantum- once.
func (d Declaration) Takeover() takeover.Kind {
	program := filepath.Base(d.Binary)
	return takeover.Kind{
		Types:    []string{program, "openstack-" + program, d.Agent, "openstack-" + d.Agent},
		OCF:      []string{"openstack:" + strings.Replace(d.Agent, "neutron", "quantum", 1)},
		Identity: takeover.Program(d.Binary), Derive: d.derive,
	}
}

// derive reads the command line of an OpenStack service: python, its script, and options.
func (d Declaration) derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	f := takeover.Params{}
	i := slices.IndexFunc(p.Args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return nil, errors.New("its command line shows no script")
	}
	var more, files []string
	for _, o := range takeover.Options(p.Args[i+1:], func(name string) bool {
		return strings.HasPrefix(name, "--config-") || strings.HasPrefix(name, "--log")
	}) {
		switch {
		case o.Name == "--config-file" && strings.HasSuffix(o.Value, "-dist.conf"): // the agent's to give
		case o.Name == "--config-file":
			files = append(files, p.Abs(o.Value))
		default:
			more = append(more, o.Words...)
		}
	}
	if len(files) > 0 {
		f.Set(p.Given, "config", files[0], d.Config)
		for _, file := range files[1:] {
			more = append(more, "--config-file="+file)
		}
	}
	f.Set(p.Given, "user", p.User, cmp.Or(p.Given["user"], d.Project))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, nil
}

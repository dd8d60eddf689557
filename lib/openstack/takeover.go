package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/takeover"
)

// Takeover is how the service is taken over while it runs. Packages call scripts and units by the program's name, EL's
// with openstack- before it; and neutron's agents were called quantum- once.
func (d Declaration) Takeover() takeover.Kind {
	program := filepath.Base(d.Binary)
	return takeover.Kind{
		Types:    []string{program, "openstack-" + program, d.Agent, "openstack-" + d.Agent},
		OCF:      []string{"openstack:" + strings.Replace(d.Agent, "neutron", "quantum", 1)},
		Identity: takeover.Program(d.Binary), Derive: d.derive, Direct: direct,
	}
}

// derive reads the command line of an OpenStack service: python, its script, and options. Of files that say the same
// option the last one counts, so that their order stays.
func (d Declaration) derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	if p.Unit != "" {
		return d.known(p), nil
	}
	i := slices.IndexFunc(p.Args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return nil, errors.New("its command line shows no script")
	}
	opts := takeover.Options(p.Args[i+1:], func(name string) bool {
		return strings.HasPrefix(name, "--config-") || strings.HasPrefix(name, "--log")
	})
	var sources []string // files and directories, as --option=path
	for i, o := range opts {
		if o.Name == "--config-file" || o.Name == "--config-dir" {
			opts[i].Words = []string{o.Name + "=" + p.Abs(o.Value)}
			sources = append(sources, opts[i].Words[0])
		}
	}
	f, own, err := d.ownSources(p, sources)
	if err != nil {
		return nil, err
	}
	var more []string
	for _, o := range opts {
		if len(own) > 0 && o.Words[0] == own[0] {
			own = own[1:]
			continue
		}
		more = append(more, o.Words...)
	}
	f.Set(p.Given, "user", p.User, cmp.Or(p.Given["user"], d.Project))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, nil
}

// known is by which of its files a process is known that its unit runs: one of them has to be config.
func (d Declaration) known(p takeover.Process) takeover.Params {
	f := takeover.Params{}
	files := configFiles(append([]string{p.Title}, p.Args...))
	for i := range files {
		files[i] = resolved(p.Abs(files[i]))
	}
	if len(files) > 0 && !slices.Contains(files, resolved(cmp.Or(p.Given["config"], d.Config))) {
		own := slices.IndexFunc(files, func(f string) bool { return !strings.HasSuffix(f, "-dist.conf") })
		f.Set(p.Given, "config", files[max(own, 0)], d.Config)
	}
	return f
}

// ownSources are those of the sources that the agent gives by itself, first of all and in this order: the distribution's
// file, config and the second file; and the parameters that name them.
func (d Declaration) ownSources(p takeover.Process, sources []string) (f takeover.Params, own []string, err error) {
	f = takeover.Params{}
	file := func(n int) string {
		if n >= len(sources) {
			return ""
		}
		path, _ := strings.CutPrefix(sources[n], "--config-file=")
		if path == sources[n] {
			return ""
		}
		return path
	}
	if !slices.ContainsFunc(sources, func(s string) bool { return strings.HasPrefix(s, "--config-file=") }) {
		return f, nil, nil
	}
	n := 0
	base := strings.TrimSuffix(filepath.Base(cmp.Or(file(1), d.Config)), ".conf")
	if len(sources) > 1 && file(0) == filepath.Join("/usr/share", d.Project, base+"-dist.conf") {
		n++
	}
	config := file(n)
	if config == "" {
		return nil, nil, fmt.Errorf("it was started with %s before its configuration file, which the agent gives first, so that another of them would win", sources[n])
	}
	if given := p.Given["config"]; given != "" && resolved(given) != resolved(config) {
		return nil, nil, fmt.Errorf("the resource says config=%s, and the service was started with %s", given, config)
	}
	f.Set(p.Given, "config", config, d.Config)
	n++
	if d.Plugin.Param == "" {
		return f, sources[:n], nil
	}
	usual := p.Given[d.Plugin.Param]
	if usual == "" {
		usuals := d.Plugin.Files
		if v, ok := d.Variants[filepath.Base(cmp.Or(p.Given["binary"], d.Binary))]; ok {
			usuals = v.Plugin
		}
		if i := slices.IndexFunc(usuals, files.Exists); i >= 0 {
			usual = usuals[i]
		}
	}
	switch plugin := file(n); {
	case plugin == "" && usual == "":
		return f, sources[:n], nil
	case plugin == "":
		return nil, nil, fmt.Errorf("it was started without %s, which the agent would give it as %s, so that another configuration would count: start it with that file in a quiet hour, or move the file away", usual, d.Plugin.Param)
	case resolved(plugin) != resolved(usual) && p.Given[d.Plugin.Param] != "":
		return nil, nil, fmt.Errorf("the resource says %s=%s, and the service was started with %s", d.Plugin.Param, usual, plugin)
	case resolved(plugin) != resolved(usual):
		f.Set(p.Given, d.Plugin.Param, plugin, "")
	}
	return f, sources[:n+1], nil
}

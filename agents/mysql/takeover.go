package mysql

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Takeover is how a running server is taken over.
func Takeover() takeover.Kind {
	return takeover.Kind{
		Types: []string{"mysql", "mysqld", "mariadb"}, OCF: []string{"heartbeat:mysql"},
		Identity: daemon.Identity{Name: "MySQL server", Executables: []string{"mariadbd", "mysqld"}},
		Narrow:   narrow, Derive: derive, Notes: supervised,
	}
}

// supervised tells of a wrapper that restarts the server.
func supervised(p *daemon.Process) []string {
	st, err := p.Stat()
	if err != nil {
		return nil
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.PPID))
	if err != nil || !slices.ContainsFunc(wrappers, func(w string) bool { return bytes.Contains(args, []byte(w)) }) {
		return nil
	}
	return []string{fmt.Sprintf("mysqld_safe (pid %d) goes on restarting the server behind the cluster's back until the cluster restarts it for the first time", st.PPID)}
}

// optionFile is the option file that a server reads, and what it says.
func optionFile(named string) (string, mycnf.Options, error) {
	file := named
	if file == "" {
		if i := slices.IndexFunc(configs, takeover.Exists); i >= 0 {
			file = configs[i]
		}
	}
	if file == "" {
		return "", mycnf.Options{}, nil
	}
	o, err := mycnf.Read(file, mycnf.ServerGroups...)
	return file, o, err
}

// narrow is the test for the server on the resource's data directory.
func narrow(given map[string]string) daemon.Test {
	dir := given["datadir"]
	if dir == "" {
		if _, o, err := optionFile(given["config"]); err == nil {
			dir, _ = o.Get("datadir")
		}
	}
	return daemon.UsesDir(cmp.Or(dir, "/var/lib/mysql"), "datadir")
}

// optionParams are options of the server that have a parameter.
func optionParams() map[string]string {
	return map[string]string{
		"--datadir": "datadir", "--socket": "socket", "--pid-file": "pid", "--log-error": "log", "--user": "user",
	}
}

// notOurs are options that mysqld_safe, a unit or the agent adds by itself.
var notOurs = []string{"--basedir", "--plugin-dir", "--skip-log-error", "--skip-syslog", "--syslog", "--console", "--wsrep-start-position"}

func derive(ctx context.Context, p takeover.Process) (map[string]string, error) {
	f := takeover.Params{}
	var more []string
	named := map[string]string{}
	opts := takeover.Options(p.Args, func(name string) bool { return optionParams()[strings.ReplaceAll(name, "_", "-")] != "" })
	for _, o := range opts {
		name := strings.ReplaceAll(o.Name, "_", "-")
		switch {
		case name == "--defaults-file":
			named["config"] = p.Abs(o.Value)
		case strings.HasPrefix(name, "--defaults-") || name == "--no-defaults":
			return nil, fmt.Errorf("the server was started with %s, which the agent has no parameter for", o.Words[0])
		case optionParams()[name] != "":
			named[optionParams()[name]] = o.Value
		case !slices.Contains(notOurs, name):
			more = append(more, o.Words...)
		}
	}
	file, in, err := optionFile(cmp.Or(named["config"], p.Given["config"]))
	if err != nil {
		return nil, fmt.Errorf("option file: %w", err)
	}
	opt := func(name string) string { v, _ := in.Get(name); return v }
	if on, _ := ocf.ParseBool(opt("wsrep-on")); on {
		return nil, fmt.Errorf("%s says wsrep_on: this server is a member of a Galera cluster, which ocf:heartbeat:galera manages", file)
	}
	if i := slices.IndexFunc(configs, takeover.Exists); i < 0 || configs[i] != named["config"] {
		f.Set(p.Given, "config", named["config"], "")
	}
	dir := cmp.Or(p.Abs(named["datadir"]), p.Given["datadir"], opt("datadir"), "/var/lib/mysql")
	f.Set(p.Given, "datadir", p.Abs(named["datadir"]), opt("datadir"))
	for param, option := range map[string]string{"socket": "socket", "pid": "pid-file", "log": "log-error"} {
		path := named[param]
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		f.Set(p.Given, param, path, opt(option))
	}
	f.Set(p.Given, "user", p.User, cmp.Or(p.Given["user"], opt("user"), "mysql"))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	m, err := mount.On(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if m.System {
		f.Set(p.Given, "shared_storage", "false", "")
	}
	return f, nil
}

package mysql

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
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
	if unit := takeover.UnitOf(p.PID); unit != "" {
		return []string{fmt.Sprintf("%s runs mysqld_safe (pid %d), which restarts the server behind the cluster's back: have it run the server itself (systemctl edit %s)", unit, st.PPID, unit)}
	}
	return []string{fmt.Sprintf("mysqld_safe (pid %d) goes on restarting the server behind the cluster's back until the cluster restarts it for the first time", st.PPID)}
}

// file is what a server would do by its option file alone, which is how the agent will start it.
type file struct {
	path   string // "" if there is none
	user   string // whom it says to run as
	values map[string]string
}

// askFile asks the server, as the account that it runs as. Where it cannot be asked, our own reading of the file has to do.
func askFile(ctx context.Context, named, server, account string) (file, error) {
	f := file{path: named, values: map[string]string{}}
	if f.path == "" {
		if i := slices.IndexFunc(configs, files.Exists); i >= 0 {
			f.path = configs[i]
		}
	}
	var args []string
	if f.path != "" {
		args = []string{"--defaults-file=" + f.path}
	}
	if server != "" && files.Exists(server) {
		ctx, cancel := context.WithTimeout(ctx, 10*askWithin) // once, and the node may be busy
		defer cancel()
		said, err := mycnf.Ask(ctx, daemon.Command{Path: server, Args: args, Dir: "/", User: account})
		if refused := (*mycnf.RefusedError)(nil); errors.As(err, &refused) {
			return f, fmt.Errorf("the server refuses its option file %s, and would not start again: %w", f.path, err)
		}
		if err == nil {
			f.values = said.Values
			in, _ := f.read(said.Groups)
			f.user, _ = in.First("user") // of all options the one that it does not tell
			return f, nil
		}
	}
	in, err := f.read(mycnf.ServerGroups)
	if err != nil {
		return f, fmt.Errorf("option file: %w", err)
	}
	f.user, _ = in.First("user")
	for _, name := range []string{"datadir", "socket", "pid-file", "log-error", "wsrep-on"} {
		f.values[name], _ = in.Get(name)
	}
	return f, nil
}

func (f file) read(groups []string) (mycnf.Options, error) {
	if f.path == "" {
		return mycnf.Options{}, nil
	}
	return mycnf.Read(f.path, groups...)
}

// narrow is the test for the server on the resource's data directory.
func narrow(given map[string]string) daemon.Test {
	return func(ctx context.Context, p *daemon.Process) (bool, error) {
		dir := given["datadir"]
		if dir == "" {
			how, _ := takeover.Look(ctx, p, given)
			f, _ := askFile(ctx, given["config"], how.Program, how.User) // what is wrong with it is told by derive
			dir = f.values["datadir"]
		}
		return daemon.UsesDir(cmp.Or(dir, "/var/lib/mysql"), "datadir")(ctx, p)
	}
}

// optionParams are options of the server that have a parameter.
func optionParams() map[string]string {
	return map[string]string{
		"--datadir": "datadir", "--socket": "socket", "--pid-file": "pid", "--log-error": "log", "--user": "user",
	}
}

// notOurs are options that mysqld_safe, a unit or the agent adds by itself.
var notOurs = []string{"--basedir", "--plugin-dir", "--skip-log-error", "--skip-syslog", "--syslog", "--console", "--wsrep-start-position"}

// readArguments is what the server was started with: by the agent's parameters, and the words that have none.
func readArguments(p takeover.Process) (named map[string]string, more []string, err error) {
	named = map[string]string{}
	opts := takeover.Options(p.Args, func(name string) bool { return optionParams()[strings.ReplaceAll(name, "_", "-")] != "" })
	for _, o := range opts {
		name := strings.ReplaceAll(o.Name, "_", "-")
		switch {
		case name == "--defaults-file":
			named["config"] = p.Abs(o.Value)
		case strings.HasPrefix(name, "--defaults-") || name == "--no-defaults":
			return nil, nil, fmt.Errorf("the server was started with %s, which the agent has no parameter for", o.Words[0])
		case optionParams()[name] != "":
			named[optionParams()[name]] = o.Value
		case !slices.Contains(notOurs, name):
			more = append(more, o.Words...)
		}
	}
	return named, more, nil
}

func derive(ctx context.Context, p takeover.Process) (map[string]string, error) {
	named, more, err := readArguments(p)
	if err != nil && p.Unit == "" {
		return nil, err
	}
	f := takeover.Params{}
	in, err := askFile(ctx, cmp.Or(named["config"], p.Given["config"]), p.Program, p.User)
	if err != nil {
		return nil, err
	}
	if on, _ := ocf.ParseBool(in.values["wsrep-on"]); on {
		return nil, fmt.Errorf("%s says wsrep_on: this server is a member of a Galera cluster, which ocf:heartbeat:galera manages", in.path)
	}
	if p.Unit != "" { // which is asked for the rest
		return f, onSystem(ctx, f, p, p.Dir) // a server works in its data directory
	}
	if i := slices.IndexFunc(configs, files.Exists); i < 0 || configs[i] != named["config"] {
		f.Set(p.Given, "config", named["config"], "")
	}
	usual := filepath.Clean(cmp.Or(in.values["datadir"], "/var/lib/mysql"))
	dir := filepath.Clean(cmp.Or(p.Abs(named["datadir"]), p.Given["datadir"], usual))
	if named["datadir"] != "" {
		f.Set(p.Given, "datadir", dir, usual)
	}
	within := func(path string) string {
		if path == "" || path == "stderr" || filepath.IsAbs(path) || strings.HasPrefix(path, "@") {
			return path
		}
		return filepath.Join(dir, path)
	}
	host, _ := os.Hostname()
	for param, option := range map[string]string{"socket": "socket", "pid": "pid-file", "log": "log-error"} {
		without := within(in.values[option])
		// Among other data it would be another file; and the agent has its own default in the place of the server's pid file.
		if dir != usual && filepath.Dir(without) == usual || without == filepath.Join(dir, host+".pid") {
			without = ""
		}
		f.Set(p.Given, param, within(named[param]), without)
	}
	f.Set(p.Given, "user", p.User, cmp.Or(p.Given["user"], in.user, "mysql"))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, onSystem(ctx, f, p, dir)
}

// onSystem says so if the data are on the system's own storage.
func onSystem(ctx context.Context, f takeover.Params, p takeover.Process, dir string) error {
	m, err := mount.On(ctx, dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if m.System {
		f.Set(p.Given, "shared_storage", "false", "")
	}
	return nil
}

package haproxy

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

const defaultConfig = "/etc/haproxy/haproxy.cfg"

// settings are what holds on this node: the parameters, and what follows from them.
type settings struct {
	config []string // files and directories, in HAProxy's order
	pid    string
	added        // by this agent
	former added // by one of before these names: what it started may still run
	env    []string
}

// added is what the agent adds, all of it files.
type added struct {
	master, worker string // sockets of the runtime API
	extra          string // configuration file with the worker's socket
	refused        string // why the last reload was refused
	out            string // what HAProxy says before it detaches
}

// addedFor has the names that SELinux and AppArmor let HAProxy make: those of the master's socket of its own unit on SUSE,
// and whatever begins like it. In a directory that the agent made it may make none.
func addedFor(pid string) added {
	base := filepath.Join(filepath.Dir(pid), "haproxy-master.sock.ocf")
	if name := strings.TrimSuffix(filepath.Base(pid), ".pid"); name != "haproxy" {
		base += "-" + name
	}
	return added{base, base + ".stats", base + ".cfg", base + ".refused", saidFile(base, home)}
}

// home is HAProxy's own directory, as packaged.
const home = "/var/lib/haproxy"

// saidFile is where HAProxy says what is wrong. Under SELinux it may write to no file that another domain made under /run; in
// its own directory it may, and AppArmor lets it where the name begins with stats. Names are unique under /run only.
func saidFile(base, home string) string {
	if fi, err := os.Stat(home); err != nil || !fi.IsDir() || !slices.Contains([]string{"/run", "/var/run"}, filepath.Dir(base)) {
		return base + ".out"
	}
	return filepath.Join(home, "stats-"+filepath.Base(base)+".out")
}

func formerFor(pid string) added {
	dir := strings.TrimSuffix(pid, ".pid") + ".ocf"
	return added{dir + "/master.sock", dir + "/worker.sock", dir + "/stats.cfg", dir + "/refused", dir + "/start.out"}
}

// remove removes all of it, and the directory that it had for itself.
func (x added) remove() {
	for _, f := range []string{x.master, x.worker, x.extra, x.refused, x.out} {
		_ = os.Remove(f)
	}
	if dir := filepath.Dir(x.master); strings.HasSuffix(dir, ".ocf") {
		_ = os.Remove(dir)
	}
}

func (p *params) settings() settings {
	s := settings{config: p.config, pid: p.pid, added: addedFor(p.pid), former: formerFor(p.pid)}
	unit, found := systemd.Read("/", cmp.Or(p.unit, "haproxy.service"))
	if s.env = unit.Env; !found {
		s.env = append(systemd.ReadEnv("/etc/default/haproxy"), systemd.ReadEnv("/etc/sysconfig/haproxy")...)
	}
	files := given(unit.Exec, "/")
	if p.unit != "" {
		if pids := values(unit.Exec, "-p"); len(pids) > 0 {
			s.pid = pids[len(pids)-1]
		}
	}
	asPackaged := slices.Equal(s.config, []string{defaultConfig})
	if p.unit != "" && len(files) > 0 || asPackaged && slices.Contains(files, defaultConfig) {
		s.config = files // EL's has conf.d besides
	}
	return s
}

// given are the configuration files and directories on a command line, relative ones counted from dir.
func given(args []string, dir string) []string {
	behind := []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		args, behind = args[:i], args[i+1:]
	}
	if c := values(args, "-C"); len(c) > 0 {
		dir = absolute(dir, c[len(c)-1])
	}
	var files []string
	for _, f := range slices.Concat(values(args, "-f"), behind) {
		files = append(files, absolute(dir, f))
	}
	return files
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// setup is a configuration with the environment that it is read in.
type setup struct {
	files []string
	env   []string
	haproxy.Config
	unreadable error // why Config is empty
}

func read(env []string, files ...string) setup {
	s := setup{files: files, env: env}
	s.Config, s.unreadable = haproxy.ReadConfig(env, files...)
	return s
}

func (s setup) String() string { return strings.Join(s.files, " ") }

// setup is what a start would run.
func (s settings) setup() setup { return read(s.env, s.config...) }

// options are the options that name configuration files.
func (s settings) options(c setup) []string {
	var options []string
	for _, file := range append(slices.Clone(c.files), s.extra) {
		if file != "" {
			options = append(options, "-f", file)
		}
	}
	return options
}

// args are HAProxy's command line, without the program. With -D it closes its standard error once it runs.
func (p *params) args(s settings, c setup, mode string) []string {
	args := append([]string{"-W", mode, "-S", s.master + ",mode,600", "-p", s.pid}, s.options(c)...)
	return append(args, p.additional...)
}

// daemon is HAProxy for what all services have in common. Its monitor is its own:
// what it asks are all of its processes.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	s := a.settings()
	d := service.Daemon{
		Service: a.service(r, s), Unit: a.unit,
		Binary: func() (string, error) { return a.program(r) },
		Guard:  func(context.Context) error { return guard(s.setup(), nil) },
		Patience: func(ctx context.Context, _ *daemon.Process) daemon.StopOptions {
			a.soft(ctx, r, s)
			return hard(ctx)
		},
		Blind: func(ctx context.Context, _ *daemon.Process) daemon.StopOptions { return hard(ctx) }, // the soft stop goes by our settings
		Stopped: func(context.Context) error {
			_ = os.Remove(s.pid)
			s.remove()
			s.former.remove()
			return nil
		},
	}
	if r.Named("config") || r.Named("conffile") {
		d.Evidence = append(d.Evidence, s.runs)
	}
	if r.Named("pid") || r.Named("pidfile") {
		d.Evidence = append(d.Evidence, daemon.Names("-p", a.pid))
	}
	return d
}

func (a *agent) service(r *ocf.Request, s settings) service.Service {
	return service.Service{Name: "HAProxy", On: strings.Join(s.config, " ") + " or " + s.pid, Identity: a.identity(s), Answers: func(ctx context.Context) error {
		list, err := a.find(ctx, s)
		if err != nil {
			return err
		}
		defer list.Close()
		if len(list) == 0 {
			return ocf.Errorf(ocf.Generic, "HAProxy's processes are not there yet")
		}
		return a.health(ctx, r, s, list)
	}}
}

func (p *params) program(r *ocf.Request) (string, error) { return r.LookPath(p.binary) }

// paths takes absolute paths, separated by spaces.
func paths(p *[]string) ocf.Value { return list{ocf.Words(p), p} }

type list struct {
	ocf.Value
	p *[]string
}

func (l list) Set(text string) error {
	var words []string
	if err := ocf.Words(&words).Set(text); err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("want at least one path")
	}
	for i, path := range words {
		if !filepath.IsAbs(path) {
			return errors.New("want absolute paths, separated by spaces")
		}
		words[i] = filepath.Clean(path)
	}
	*l.p = words
	return nil
}

func exists(path string) error { _, err := os.Stat(path); return err }

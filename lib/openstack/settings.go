package openstack

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// instance is the service as a call has it on this node: the declaration as the program's variant has it, the
// parameters with what they left open, and what follows from both. Nothing changes it.
type instance struct {
	r      *ocf.Request
	decl   Declaration
	params params

	prog     string   // base name of the program
	args     []string // its command line
	pid, log string   // files

	// A start began then, and hopes until then that the database and the bus come back.
	began, patience time.Time
}

func (a *agent) resolve(r *ocf.Request) *instance {
	i := &instance{r: r, decl: a.declaration, params: a.given, prog: filepath.Base(a.given.binary)}
	if v, ok := i.decl.Variants[i.prog]; ok {
		i.decl.Plugin.Files, i.decl.Bus, i.decl.Switch, i.decl.Cleanup = v.Plugin, v.Bus, v.Switch, v.Cleanup
	}
	asPackaged := i.params.config == filepath.Clean(i.decl.Config) && i.params.plugin == ""
	if n := slices.IndexFunc(i.decl.Plugin.Files, files.Exists); n >= 0 && i.params.plugin == "" {
		i.params.plugin = i.decl.Plugin.Files[n]
	}
	i.pid = cmp.Or(i.params.pid, filepath.Join(r.TempDir(), r.Instance+".pid"))
	i.log = cmp.Or(i.params.log, filepath.Join("/var/log", i.decl.Project, i.prog+".log"))
	i.args = i.files(asPackaged)
	if i.params.web != "" {
		i.args = append(i.args, "--web="+i.params.web)
	}
	i.args = append(i.args, i.params.additional...)
	if r.Action == ocf.Start {
		i.began = time.Now()
		i.patience = i.began.Add(r.Timeout / 2)
	}
	return i
}

// files are the options that name configuration files. Where the parameters name none they are those of the
// distribution's unit; where there is no unit, and the service would find more by itself, none.
func (i *instance) files(asPackaged bool) []string {
	if asPackaged {
		files, found := unitFiles("/", i.prog, i.params.unit)
		if found && (len(configFiles(files)) == 0 || slices.Contains(files, "--config-file="+i.params.config)) {
			return files
		}
		own := oslo.CommandLine{Project: i.decl.Project, Prog: i.prog, Args: i.params.additional}.Sources()
		finds := slices.ContainsFunc(own, func(s oslo.Source) bool { return s.String() == "--config-file="+i.params.config })
		if _, scripted := os.Stat(filepath.Join("/etc/init.d", i.prog)); finds && len(own) > 1 && i.params.plugin == "" && scripted != nil {
			return nil
		}
	}
	var files []string
	for _, file := range []string{i.dist(), i.params.config, i.params.plugin} {
		if file != "" {
			files = append(files, "--config-file="+file)
		}
	}
	return files
}

// unitFiles are the options by which its unit, "" for the distribution's, names the configuration files of the program, in
// their order, which decides. found is false where there is no unit, or where it runs a script that
// puts the command line together (Debian's).
func unitFiles(root, prog, name string) (files []string, found bool) {
	var unit systemd.Unit
	for _, name := range []string{name, "openstack-" + prog + ".service", prog + ".service"} {
		if found || name == "" {
			continue
		}
		unit, found = systemd.Read(root, name)
	}
	i := slices.IndexFunc(unit.Exec, func(w string) bool { return filepath.Base(w) == prog })
	if !found || i < 0 || strings.Contains(unit.Exec[i], "/init.d/") {
		return nil, false
	}
	for words := unit.Exec[i+1:]; len(words) > 0; words = words[1:] {
		name, _, joined := strings.Cut(words[0], "=")
		switch {
		case name != "--config-file" && name != "--config-dir":
		case joined:
			files = append(files, words[0])
		case len(words) > 1:
			files = append(files, name+"="+words[1])
		}
	}
	return files, true
}

// configuration is what the service reads.
type configuration struct {
	cfg     *oslo.Config
	sources []oslo.Source
	hosts   []string // under which it registers; several with several backends
	unnamed error    // why hosts cannot be told
	log     string   // the file that it sends its log to; "" is standard error
}

// user is whom the service runs as: with a unit that is the unit's to say.
func (i *instance) user() string {
	if i.params.unit == "" {
		return i.params.user
	}
	u, _ := systemd.Read("/", i.params.unit)
	return cmp.Or(u.User, "root")
}

// load reads what a service with this command line and environment reads. Its error means that
// the service would not start with it.
func (i *instance) load(line oslo.CommandLine, env ...string) (configuration, error) {
	line.Project = i.decl.Project
	if line.Home == "" {
		if u, err := user.Lookup(i.user()); err == nil {
			line.Home = u.HomeDir
		}
	}
	c := configuration{sources: line.Sources()}
	cfg, err := oslo.Load(c.sources...)
	if err != nil {
		code := ocf.BadArgument
		if errors.Is(err, fs.ErrPermission) {
			code = ocf.Permission
		}
		return c, ocf.Errorf(code, "the service would not start: %w", err)
	}
	c.cfg = cfg
	cfg.SetHome(line.Home)
	cfg.SetEnvironment(env)
	cfg.SetDefault("state_path", filepath.Join("/var/lib", i.decl.Project))
	if name, err := os.Hostname(); err == nil {
		cfg.SetDefault("host", name)
	}
	switch c.hosts, err = i.hosts(cfg); {
	case errors.Is(err, oslo.ErrReference): // nova's my_ip and others have defaults in its code
		c.hosts, c.unnamed = nil, err
	case err != nil:
		return c, ocf.Errorf(ocf.BadArgument, "%w", err)
	}
	c.log = logFile(cfg, line.Prog)
	return c, nil
}

// loadOf reads what the process has read, by its own command line; what has changed since is in editedSince.
func (i *instance) loadOf(ctx context.Context, p *daemon.Process) (configuration, error) {
	line := oslo.CommandLine{Prog: i.prog, Args: i.args}
	args, err := p.Cmdline(ctx)
	if err != nil {
		return configuration{}, err
	}
	var env []string
	if args, told := untitled(args); told {
		line.Args = args
		if line.Dir, err = p.WorkDir(); err != nil {
			return configuration{}, err
		}
		if env, err = p.Environ(ctx); err == nil {
			for _, v := range env {
				if home, ok := strings.CutPrefix(v, "HOME="); ok && filepath.IsAbs(home) {
					line.Home = home
				}
			}
		}
	}
	return i.load(line, env...)
}

// logs are the files that the service logs to, besides what it prints.
func (c configuration) logs(usual string) []string {
	if c.log == "" || c.log == usual {
		return nil
	}
	return []string{c.log}
}

// unitLogs are the files that a service may log to that its unit runs: what it dies of it says there alone.
func (i *instance) unitLogs() []string {
	logs := []string{i.log} // which Debian's scripts name
	if c, err := i.load(oslo.CommandLine{Prog: i.prog, Args: i.args}); err == nil {
		logs = append(logs, c.logs(i.log)...)
	}
	unit, _ := systemd.Read("/", i.params.unit)
	for n, word := range unit.Exec {
		switch name, value, joined := strings.Cut(word, "="); {
		case name != "--log-file" && name != "--logfile":
		case joined:
			logs = append(logs, value)
		case n+1 < len(unit.Exec):
			logs = append(logs, unit.Exec[n+1])
		}
	}
	return logs
}

// editedSince names a configuration file that is newer than a process of that age, "" if there is none.
func (c configuration) editedSince(age time.Duration) string {
	for _, src := range c.sources {
		for _, file := range src.Files() {
			if fi, err := os.Stat(file); err == nil && time.Since(fi.ModTime()) < age-time.Second {
				return file
			}
		}
	}
	return ""
}

// dist is the distribution's own configuration file, which init scripts and
// units of EL pass first; "" where there is none.
func (i *instance) dist() string {
	base := strings.TrimSuffix(filepath.Base(i.params.config), ".conf")
	if file := filepath.Join("/usr/share", i.decl.Project, base+"-dist.conf"); files.Exists(file) {
		return file
	}
	return ""
}

// hosts are the names under which the service has rows and topics.
func (i *instance) hosts(cfg *oslo.Config) ([]string, error) {
	host, err := cfg.Host()
	if err != nil || i.decl.Backends == "" {
		return []string{host}, err
	}
	v, err := cfg.Get(i.decl.Backends)
	if errors.Is(err, oslo.ErrNotSet) || err == nil && len(v.List()) == 0 {
		return []string{host}, nil
	}
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, backend := range v.List() {
		own, err := cfg.Str(host, backend+".backend_host")
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, own+"@"+backend)
	}
	return hosts, nil
}

// logFile is where oslo.log writes to, "" for standard error.
func logFile(cfg *oslo.Config, prog string) string {
	dir, err1 := cfg.Str("", "DEFAULT.log_dir", "DEFAULT.logdir")
	file, err2 := cfg.Str("", "DEFAULT.log_file", "DEFAULT.logfile")
	switch {
	case err1 != nil || err2 != nil || dir == "" && file == "":
		return ""
	case filepath.IsAbs(file):
		return file
	}
	return filepath.Join(dir, cmp.Or(file, prog+".log"))
}

func (i *instance) service() service.Service {
	path := i.params.binary
	if found, err := i.r.LookPath(path); err == nil {
		path = found
	}
	exes, _ := daemon.Program(path)
	id := daemon.Identity{
		Name: i.prog, Executables: append(exes, "python*"), PIDFile: i.pid, // a wrapper may end as Python
		Kind: daemon.All(daemon.Script(i.prog), daemon.OnNode), Test: i.configured(i.r.Given(i.decl.Plugin.Param)),
		Claims: i.claims(),
	}
	on := i.params.config
	if i.params.plugin != "" {
		on += " and " + i.params.plugin
	}
	return service.Service{
		Name: i.prog, On: on, Identity: id,
		Answers: func(ctx context.Context) error {
			p, err := id.Find(ctx)
			if err != nil {
				return err
			}
			if p == nil {
				return ocf.Errorf(ocf.Generic, "its process is not there yet")
			}
			defer p.Close()
			return i.health(ctx, p)
		},
	}
}

// claims are why a process with other configuration files may be ours: it listens where ours would, or is the one
// that we started, before the parameters were changed.
func (i *instance) claims() []daemon.Claim {
	differs := func(ctx context.Context, p *daemon.Process) string {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return "its command line cannot be read"
		}
		return "was started with the configuration " + cmp.Or(strings.Join(configFiles(args), " "), i.decl.Config)
	}
	return []daemon.Claim{
		{Says: "is in our pid file", Test: daemon.NamedBy(i.pid), Differs: differs},
		{Says: "has our port", Test: func(ctx context.Context, p *daemon.Process) (bool, error) {
			if i.decl.API.Default == 0 || i.params.url != "" {
				return false, nil
			}
			conf, err := i.load(oslo.CommandLine{Prog: i.prog, Args: i.args})
			if err != nil {
				return false, err
			}
			where, err := i.endpoint(conf.cfg)
			if err != nil {
				return false, err
			}
			u, err := url.Parse(where)
			if err != nil {
				return false, err
			}
			port, err := strconv.ParseUint(u.Port(), 10, 16)
			if err != nil {
				return false, err
			}
			return daemon.Listens(uint16(port))(ctx, p)
		}, Differs: differs},
	}
}

// configured is the test for a process that was started with our configuration
// file, or with none where ours is the default. Where the operator names the
// second file (exact), that has to be the process's as well, if it has one: two
// agents of neutron may share the first.
func (i *instance) configured(exact bool) daemon.Test {
	return func(ctx context.Context, p *daemon.Process) (bool, error) {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return false, err
		}
		files := configFiles(args)
		if len(files) == 0 {
			return i.params.config == filepath.Clean(i.decl.Config) || i.retitled(ctx, p, args), nil
		}
		cwd, err := p.WorkDir()
		if err != nil {
			return false, err
		}
		is := func(want string) bool {
			return slices.ContainsFunc(files, func(f string) bool {
				if !filepath.IsAbs(f) {
					f = filepath.Join(cwd, f)
				}
				return resolved(f) == resolved(want)
			})
		}
		plugin := !exact || len(files) == 1 || is(i.params.plugin)
		return is(i.params.config) && plugin, nil
	}
}

// retitled is a process that we started, by its pid file, and whose title tells no arguments: some say for a moment, as they
// come up, who they are and no more.
func (i *instance) retitled(ctx context.Context, p *daemon.Process, args []string) bool {
	if _, told := untitled(args); told {
		return false
	}
	ours, err := daemon.NamedBy(i.pid)(ctx, p)
	return ours && err == nil
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// untitled are the arguments of a command line, or those within the one
// argument that is the title a service gave itself:
// "neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-file=...)",
// "ceilometer-polling: master process [/usr/bin/ceilometer-polling --config-file=...]".
// told is false for a title that does not tell them.
func untitled(args []string) (_ []string, told bool) {
	if len(args) != 1 {
		return args, len(args) > 0
	}
	for _, around := range []string{"()", "[]"} { // oslo.service's, and cotyledon's
		_, inner, titled := strings.Cut(args[0], " "+around[:1]+"/")
		if titled && strings.HasSuffix(inner, around[1:]) {
			return strings.Fields("/" + strings.TrimSuffix(inner, around[1:])), true
		}
	}
	if strings.HasPrefix(args[0], "/") {
		return strings.Fields(args[0]), true
	}
	return args, false
}

// configFiles are the configuration files on a command line or in a title.
func configFiles(args []string) []string {
	args, _ = untitled(args)
	var files []string
	for i, arg := range args {
		if file, ok := strings.CutPrefix(arg, "--config-file="); ok {
			files = append(files, file)
		} else if arg == "--config-file" && i+1 < len(args) {
			files = append(files, args[i+1])
		}
	}
	return files
}

package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// settings are what holds on this node, whatever the service's configuration says.
type settings struct {
	prog     string   // base name of the program
	args     []string // its command line
	pid, log string
}

func (a *agent) settings(r *ocf.Request) settings {
	s := settings{prog: filepath.Base(a.binary)}
	if v, ok := a.Variants[s.prog]; ok {
		a.Plugin.Files, a.Bus, a.Switch, a.Cleanup = v.Plugin, v.Bus, v.Switch, v.Cleanup
	}
	asPackaged := a.config == filepath.Clean(a.Config) && a.plugin == ""
	if a.plugin == "" {
		if i := slices.IndexFunc(a.Plugin.Files, service.Exists); i >= 0 {
			a.plugin = a.Plugin.Files[i]
		}
	}
	s.pid = cmp.Or(a.pid, filepath.Join(r.TempDir(), r.Instance+".pid"))
	a.pidFile = s.pid
	s.log = cmp.Or(a.log, filepath.Join("/var/log", a.Project, s.prog+".log"))
	s.args = a.files(s.prog, asPackaged)
	if a.web != "" {
		s.args = append(s.args, "--web="+a.web)
	}
	s.args = append(s.args, a.additional...)
	return s
}

// files are the options that name configuration files. Where the parameters name none they are those of the
// distribution's unit; where there is no unit, and the service would find more by itself, none.
func (a *agent) files(prog string, asPackaged bool) []string {
	if asPackaged {
		files, found := unitFiles("/", prog)
		if found && (len(configFiles(files)) == 0 || slices.Contains(files, "--config-file="+a.config)) {
			return files
		}
		own := oslo.CommandLine{Project: a.Project, Prog: prog, Args: a.additional}.Sources()
		finds := slices.ContainsFunc(own, func(s oslo.Source) bool { return s.String() == "--config-file="+a.config })
		if _, scripted := os.Stat(filepath.Join("/etc/init.d", prog)); finds && len(own) > 1 && a.plugin == "" && scripted != nil {
			return nil
		}
	}
	var files []string
	for _, file := range []string{a.dist(), a.config, a.plugin} {
		if file != "" {
			files = append(files, "--config-file="+file)
		}
	}
	return files
}

// unitFiles are the options by which the distribution's unit names the configuration files of the program, in
// their order, which decides. found is false where there is no unit, or where it runs a script that
// puts the command line together (Debian's).
func unitFiles(root, prog string) (files []string, found bool) {
	unit, found := systemd.Read(root, "openstack-"+prog+".service")
	if !found {
		unit, found = systemd.Read(root, prog+".service")
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

// load reads what a service with this command line reads. Its error means that
// the service would not start with it.
func (a *agent) load(line oslo.CommandLine) (configuration, error) {
	line.Project = a.Project
	if u, err := user.Lookup(a.user); err == nil && line.Home == "" {
		line.Home = u.HomeDir
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
	cfg.SetDefault("state_path", filepath.Join("/var/lib", a.Project))
	if name, err := os.Hostname(); err == nil {
		cfg.SetDefault("host", name)
	}
	switch c.hosts, err = a.hosts(cfg); {
	case errors.Is(err, oslo.ErrReference): // nova's my_ip and others have defaults in its code
		c.hosts, c.unnamed = nil, err
	case err != nil:
		return c, ocf.Errorf(ocf.BadArgument, "%w", err)
	}
	c.log = logFile(cfg, line.Prog)
	return c, nil
}

// loadOf reads what the process has read, by its own command line; what has changed since is in editedSince.
func (a *agent) loadOf(ctx context.Context, s settings, p *daemon.Process) (configuration, error) {
	line := oslo.CommandLine{Prog: s.prog, Args: s.args}
	args, err := p.Cmdline(ctx)
	if err != nil {
		return configuration{}, err
	}
	if args, told := untitled(args); told {
		line.Args = args
		if line.Dir, err = p.WorkDir(); err != nil {
			return configuration{}, err
		}
		if env, err := p.Environ(ctx); err == nil {
			for _, v := range env {
				if home, ok := strings.CutPrefix(v, "HOME="); ok && filepath.IsAbs(home) {
					line.Home = home
				}
			}
		}
	}
	return a.load(line)
}

// logs are the files that the service logs to, besides what it prints.
func (c configuration) logs(s settings) []string {
	if c.log == "" || c.log == s.log {
		return nil
	}
	return []string{c.log}
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
func (a *agent) dist() string {
	base := strings.TrimSuffix(filepath.Base(a.config), ".conf")
	if file := filepath.Join("/usr/share", a.Project, base+"-dist.conf"); service.Exists(file) {
		return file
	}
	return ""
}

// hosts are the names under which the service has rows and topics.
func (a *agent) hosts(cfg *oslo.Config) ([]string, error) {
	host, err := cfg.Host()
	if err != nil || a.Backends == "" {
		return []string{host}, err
	}
	v, err := cfg.Get(a.Backends)
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

// service is the service as it is on this node.
func (a *agent) service(r *ocf.Request) (svc service.Service, s settings) {
	s = a.settings(r)
	path := a.binary
	if found, err := r.LookPath(a.binary); err == nil {
		path = found
	}
	exes, _ := daemon.Program(path)
	id := daemon.Identity{
		Name: s.prog, Executables: append(exes, "python*"), PIDFile: s.pid, // a wrapper may end as Python
		Kind: daemon.All(daemon.Script(s.prog), onNode), Test: a.configured(r.Given(a.Plugin.Param)),
		Claims: a.claims(s),
	}
	on := a.config
	if a.plugin != "" {
		on += " and " + a.plugin
	}
	return service.Service{
		Name: s.prog, On: on, Identity: id,
		Answers: func(ctx context.Context) error {
			p, err := id.Find(ctx)
			if err != nil {
				return err
			}
			if p == nil {
				return ocf.Errorf(ocf.Generic, "its process is not there yet")
			}
			defer p.Close()
			return a.health(ctx, r, s, p)
		},
	}, s
}

// claims are why a process with other configuration files may be ours: it listens where ours would, or is the one
// that we started, before the parameters were changed.
func (a *agent) claims(s settings) []daemon.Claim {
	differs := func(ctx context.Context, p *daemon.Process) string {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return "its command line cannot be read"
		}
		return "was started with the configuration " + cmp.Or(strings.Join(configFiles(args), " "), a.Config)
	}
	return []daemon.Claim{
		{Says: "is in our pid file", Test: daemon.NamedBy(s.pid), Differs: differs},
		{Says: "has our port", Test: func(ctx context.Context, p *daemon.Process) (bool, error) {
			if a.API.Default == 0 || a.url != "" {
				return false, nil
			}
			conf, err := a.load(oslo.CommandLine{Prog: s.prog, Args: s.args})
			if err != nil {
				return false, err
			}
			where, err := a.endpoint(conf.cfg)
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
func (a *agent) configured(exact bool) daemon.Test {
	return func(ctx context.Context, p *daemon.Process) (bool, error) {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return false, err
		}
		files := configFiles(args)
		if len(files) == 0 {
			return a.config == filepath.Clean(a.Config) || a.retitled(ctx, p, args), nil
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
		plugin := !exact || len(files) == 1 || is(a.plugin)
		return is(a.config) && plugin, nil
	}
}

// retitled is a process that we started, by its pid file, and whose title tells no arguments: some say for a moment, as they
// come up, who they are and no more.
func (a *agent) retitled(ctx context.Context, p *daemon.Process, args []string) bool {
	if _, told := untitled(args); told || a.pidFile == "" {
		return false
	}
	ours, err := daemon.NamedBy(a.pidFile)(ctx, p)
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
// "neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-file=...)".
// told is false for a title that does not tell them.
func untitled(args []string) (_ []string, told bool) {
	if len(args) != 1 {
		return args, len(args) > 0
	}
	_, inner, titled := strings.Cut(args[0], " (/")
	switch {
	case titled && strings.HasSuffix(inner, ")"):
		return strings.Fields("/" + strings.TrimSuffix(inner, ")")), true
	case !titled && strings.HasPrefix(args[0], "/"):
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

// onNode leaves out what runs in a container: its paths are others than ours.
func onNode(_ context.Context, p *daemon.Process) (bool, error) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.PID))
	if err != nil {
		return false, err
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return theirs == ours, err
}

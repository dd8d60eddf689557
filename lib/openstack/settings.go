package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// settings are what holds on this node.
type settings struct {
	prog     string   // base name of the program
	args     []string // its command line
	pid, log string
	logs     []string // where the service's configuration sends its log
	hosts    []string // under which it registers; several with several backends
	cfg      *oslo.Config
}

// settings reads the service's configuration. Its error means that the service
// would not start with it; the settings are then what can be known without it.
func (a *agent) settings(r *ocf.Request) (settings, error) {
	s := settings{prog: filepath.Base(a.binary)}
	if v, ok := a.Variants[s.prog]; ok {
		a.Plugin.Files, a.Bus, a.Switch, a.Cleanup = v.Plugin, v.Bus, v.Switch, v.Cleanup
	}
	if a.plugin == "" {
		if i := slices.IndexFunc(a.Plugin.Files, service.Exists); i >= 0 {
			a.plugin = a.Plugin.Files[i]
		}
	}
	s.pid = cmp.Or(a.pid, filepath.Join(r.TempDir(), r.Instance+".pid"))
	s.log = cmp.Or(a.log, filepath.Join("/var/log", a.Project, s.prog+".log"))
	for _, file := range []string{a.dist(), a.config, a.plugin} {
		if file != "" {
			s.args = append(s.args, "--config-file="+file)
		}
	}
	if a.web != "" {
		s.args = append(s.args, "--web="+a.web)
	}
	s.args = append(s.args, a.additional...)

	cfg, err := oslo.Load(oslo.SourcesOf("/", "", a.Project, s.prog, s.args)...)
	if err != nil {
		code := ocf.Args
		if errors.Is(err, fs.ErrPermission) {
			code = ocf.Permission
		}
		return s, ocf.Errorf(code, "the service would not start: %w", err)
	}
	s.cfg = cfg
	cfg.SetDefault("state_path", filepath.Join("/var/lib", a.Project))
	if s.hosts, err = a.hosts(cfg); err != nil {
		return s, ocf.Errorf(ocf.Args, "%w", err)
	}
	if file := logFile(cfg, s.prog); file != "" && file != s.log {
		s.logs = []string{file}
	}
	return s, nil
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

// service is the service as it is on this node. unusable is why its
// configuration cannot be used, if it cannot.
func (a *agent) service(r *ocf.Request) (svc service.Service, s settings, unusable error) {
	s, unusable = a.settings(r)
	path := a.binary
	if found, err := r.LookPath(a.binary); err == nil {
		path = found
	}
	exes, _ := daemon.Program(path)
	id := daemon.Identity{
		Name: s.prog, Executables: append(exes, "python*"), PIDFile: s.pid, // a wrapper may end as Python
		Kind: daemon.All(daemon.Script(s.prog), onNode), Test: a.configured(r.Given(a.Plugin.Param)),
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
			return a.health(ctx, r, s, unusable, p)
		},
	}, s, unusable
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
			return a.config == filepath.Clean(a.Config), nil
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

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// configFiles are the configuration files on a command line, or within the
// one argument that is the title a service gave itself:
// "neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-file=...)".
func configFiles(args []string) []string {
	if len(args) == 1 {
		args = strings.FieldsFunc(args[0], func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
	}
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

package mysql

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// settings are what holds on this node: what the server says it would do with
// the parameters and its option file, and what the distribution does.
type settings struct {
	config                                 string // "" if there is none
	datadir, socket, pid, log, user, group string
	extraPort                              string // "" if it has none
	memlock                                bool
	names                                  bool     // the command line has a data directory: the option file's does not count
	warnings                               []string // the server's about its option files
}

var (
	configs  = []string{"/etc/mysql/my.cnf", "/etc/my.cnf"}
	servers  = []string{"mariadbd", "mysqld"}
	wrappers = []string{"mysqld_safe", "mariadbd-safe"}
	logs     = []string{"/var/log/mariadb/mariadb.log", "/var/log/mysql/error.log"}
	safeOpts = []string{"mysqld_safe", "safe_mysqld", "mariadbd-safe", "mariadb_safe"}
)

// settings asks the server what it would do. Its error is why it cannot be
// started so; the settings are then as far as they can be known.
func (p *params) settings(ctx context.Context, r *ocf.Request) (settings, error) {
	s := settings{config: p.optionFile()}
	var unit systemd.Unit
	if p.unit != "" {
		unit = p.byUnit(ctx)
		for _, arg := range unit.Exec {
			if file, ok := strings.CutPrefix(arg, "--defaults-file="); ok {
				s.config = file
			}
		}
	}
	said, err := p.answer(ctx, r, s.config, unit)
	if err != nil {
		err = s.unusable(err)
	}
	if said == nil {
		said = p.reckoned(s.config)
	}
	opt := func(name string) string { return said.Values[name] }
	s.datadir = filepath.Clean(cmp.Or(opt("datadir"), "/var/lib/mysql"))
	in := func(path string) string {
		if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "@") {
			return path
		}
		return filepath.Join(s.datadir, path)
	}
	s.user, s.group = cmp.Or(p.user, unit.User, said.User, "mysql"), cmp.Or(p.group, unit.Group)
	if s.socket = in(opt("socket")); s.socket == "" {
		s.socket = stockSocket(s.datadir)
	}
	s.pid = in(opt("pid-file"))
	// The server's own default is a file named after the node among the data.
	if host, _ := os.Hostname(); s.pid == "" || s.pid == filepath.Join(s.datadir, host+".pid") && p.pid == "" {
		s.pid = s.besideSocket()
	}
	s.log = p.logFile(in(opt("log-error")))
	s.extraPort = strings.TrimPrefix(opt("extra-port"), "0")
	s.memlock = opt("memlock") == "TRUE" || opt("large-pages") == "TRUE"
	s.warnings = said.Warnings
	s.names = slices.ContainsFunc(p.asked("", unit).Args, func(arg string) bool {
		return strings.HasPrefix(arg, "--datad") || strings.HasPrefix(arg, "-h")
	})
	return s, err
}

// optionFile is the one that the server reads, "" if there is none.
func (p *params) optionFile() string {
	if i := slices.IndexFunc(configs, files.Exists); p.config == "" && i >= 0 {
		return configs[i]
	}
	return p.config
}

// logFile is where the server's words are, or the command that shows them.
func (p *params) logFile(said string) string {
	switch {
	case said != "" && filepath.Base(said) != "stderr":
	case p.unit != "":
		return "journalctl -u " + p.unit
	default:
		said = stockLog()
	}
	if filepath.Ext(said) == "" {
		said += ".err" // as the server does
	}
	return said
}

// besideSocket is where the distribution's units have the pid file.
func (s settings) besideSocket() string {
	if s.abstract() {
		return filepath.Join(s.datadir, "mysqld.pid")
	}
	return strings.TrimSuffix(s.socket, filepath.Ext(s.socket)) + ".pid"
}

// abstract tells a socket that is no file: its name begins with @.
func (s settings) abstract() bool { return strings.HasPrefix(s.socket, "@") }

// unusable words why the server cannot say what it would do.
func (s settings) unusable(err error) error {
	var refused *mycnf.RefusedError
	var noUser user.UnknownUserError
	var noGroup user.UnknownGroupError
	switch {
	case errors.As(err, &noUser), errors.As(err, &noGroup):
		return ocf.Errorf(ocf.BadArgument, "the account that the server would run as: %w", err)
	case !errors.As(err, &refused):
		return ocf.Errorf(ocf.Generic, "the server does not say what it would do with its option file %s: %w", s.config, err)
	}
	return ocf.Errorf(ocf.BadArgument, "the server refuses its option file %s: %w", s.config, err)
}

// reckoned is what our own reading of the option file makes of it, where the
// server cannot be asked. It is right for most files, and never the last word.
func (p *params) reckoned(config string) *answer {
	a := &answer{Values: map[string]string{}}
	if config != "" {
		o, _ := mycnf.Read(config, mycnf.ServerGroups...)
		a.User, _ = o.First("user")
		for _, name := range kept {
			a.Values[name], _ = o.Get(name)
		}
	}
	for name, value := range map[string]string{"datadir": p.datadir, "socket": p.socket, "pid-file": p.pid, "log-error": p.log} {
		a.Values[name] = cmp.Or(value, a.Values[name])
	}
	return a
}

// wrapper are the options of mysqld_safe.
func (s settings) wrapper() (mycnf.Options, error) { return s.read(safeOpts) }

func (s settings) read(groups []string) (mycnf.Options, error) {
	if s.config == "" {
		return mycnf.Options{}, nil
	}
	o, err := mycnf.Read(s.config, groups...)
	if err != nil {
		code := ocf.BadArgument
		if errors.Is(err, fs.ErrPermission) {
			code = ocf.Permission
		}
		err = ocf.Errorf(code, "option file %s cannot be used, so that the server would not start: %w", s.config, err)
	}
	return o, err
}

// stockSocket is where the distribution's packages have it: beside the data on
// EL, under /run on Debian.
func stockSocket(datadir string) string {
	if files.Exists("/etc/debian_version") {
		return "/run/mysqld/mysqld.sock"
	}
	return filepath.Join(datadir, "mysql.sock")
}

func stockLog() string {
	if i := slices.IndexFunc(logs, func(f string) bool { return files.Exists(filepath.Dir(f)) }); i >= 0 {
		return logs[i]
	}
	return logs[len(logs)-1]
}

// server is the binary to run: never a wrapper, because one restarts the server
// behind the cluster's back.
func server(r *ocf.Request, binary string) (string, error) {
	if binary == "" || slices.Contains(wrappers, filepath.Base(binary)) {
		return r.LookPath(servers...)
	}
	return r.LookPath(binary)
}

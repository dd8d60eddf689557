package mysql

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// settings are what holds on this node: parameters first, then the option
// file, then what the distribution does.
type settings struct {
	config                                 string // "" if there is none
	datadir, socket, pid, log, user, group string
	address                                string // host:port of TCP, "" if the server has none
}

var (
	configs  = []string{"/etc/mysql/my.cnf", "/etc/my.cnf"}
	servers  = []string{"mariadbd", "mysqld"}
	wrappers = []string{"mysqld_safe", "mariadbd-safe"}
	logs     = []string{"/var/log/mariadb/mariadb.log", "/var/log/mysql/error.log"}
	safeOpts = []string{"mysqld_safe", "safe_mysqld", "mariadbd-safe", "mariadb_safe"}
)

// settings reads the option file. Its error means that the file cannot be
// used; the settings are then what can be known without it.
func (p *params) settings() (settings, error) {
	s := settings{config: p.config}
	if s.config == "" {
		i := slices.IndexFunc(configs, service.Exists)
		if i >= 0 {
			s.config = configs[i]
		}
	}
	server, err := s.read(mycnf.ServerGroups(""))
	opt := func(name string) string { v, _ := server.Get(name); return v }

	s.datadir = filepath.Clean(cmp.Or(p.datadir, opt("datadir"), "/var/lib/mysql"))
	in := func(dir, path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	s.user = cmp.Or(p.user, opt("user"), "mysql")
	s.group = p.group
	s.socket = cmp.Or(p.socket, in(s.datadir, opt("socket")), stockSocket(s.datadir))
	s.pid = cmp.Or(p.pid, in(s.datadir, opt("pid-file")), strings.TrimSuffix(s.socket, filepath.Ext(s.socket))+".pid")
	s.log = cmp.Or(p.log, in(s.datadir, cmp.Or(opt("log-error"), opt("log_error"))), stockLog())
	if filepath.Ext(s.log) == "" {
		s.log += ".err" // as the server does
	}
	if _, off := server.Get("skip-networking"); !off {
		s.address = "127.0.0.1:" + cmp.Or(portIn(p.additional), opt("port"), "3306")
	}
	return s, err
}

// wrapper are the options of mysqld_safe.
func (s settings) wrapper() (mycnf.Options, error) { return s.read(safeOpts) }

func (s settings) read(groups []string) (mycnf.Options, error) {
	if s.config == "" {
		return mycnf.Options{}, nil
	}
	o, err := mycnf.Read(s.config, groups...)
	if err != nil {
		code := ocf.Args
		if errors.Is(err, fs.ErrPermission) {
			code = ocf.Permission
		}
		err = ocf.Errorf(code, "option file %s cannot be used, so that the server would not start: %w", s.config, err)
	}
	return o, err
}

func portIn(args []string) string {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "--port="); ok {
			return v
		}
	}
	return ""
}

// stockSocket is where the distribution's packages have it: beside the data on
// EL, under /run on Debian.
func stockSocket(datadir string) string {
	if service.Exists("/etc/debian_version") {
		return "/run/mysqld/mysqld.sock"
	}
	return filepath.Join(datadir, "mysql.sock")
}

func stockLog() string {
	if i := slices.IndexFunc(logs, func(f string) bool { return service.Exists(filepath.Dir(f)) }); i >= 0 {
		return logs[i]
	}
	return logs[len(logs)-1]
}

// server is the binary to run: never a wrapper, because one restarts the server
// behind the cluster's back.
func (p *params) server(r *ocf.Request) (string, error) {
	if p.binary == "" || slices.Contains(wrappers, filepath.Base(p.binary)) {
		return r.LookPath(servers...)
	}
	return r.LookPath(p.binary)
}

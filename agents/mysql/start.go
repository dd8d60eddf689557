package mysql

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// guard checks what must be so before a start, whoever starts the server: its storage is here, and has databases.
func (a *agent) guard(ctx context.Context, r *ocf.Request, s settings) error {
	account, err := service.Account(s.user, s.group)
	if err != nil {
		return err
	}
	r.Step("asking the storage of %s", s.datadir)
	if err := a.storage.ForStart(ctx); err != nil {
		return err
	}
	if err := service.CanWrite(account, s.user, s.datadir); err != nil {
		return err
	}
	s.warn(r, account)
	_, err = a.empty(s, account)
	return err
}

// launch prepares this node for the server, creates the databases if there are none yet, and says how it is started.
func (a *agent) launch(ctx context.Context, r *ocf.Request, s settings, binary string) (daemon.Command, error) {
	account, err := service.Account(s.user, s.group)
	if err != nil {
		return daemon.Command{}, err
	}
	if err := service.OwnDirs(ctx, account, append(s.runDirs(), filepath.Dir(s.log))...); err != nil {
		return daemon.Command{}, err
	}
	if err := service.CanWrite(account, s.user, s.runDirs()...); err != nil {
		return daemon.Command{}, err
	}
	if empty, err := a.empty(s, account); err != nil {
		return daemon.Command{}, err
	} else if empty {
		if err := create(ctx, r, s, binary); err != nil {
			return daemon.Command{}, err
		}
	}
	wrapper, err := s.wrapper()
	return a.command(s, binary, wrapper), err
}

// runDirs are where the socket and the pid file are.
func (s settings) runDirs() []string {
	dirs := []string{filepath.Dir(s.pid)}
	if !s.abstract() {
		dirs = append(dirs, filepath.Dir(s.socket))
	}
	return dirs
}

// warn logs what the server said of its option files, and which of them root can
// read and it cannot: it passes over those, as mysqld_safe does not.
func (s settings) warn(r *ocf.Request, account daemon.Account) {
	for _, w := range s.warnings {
		r.Log.Warn("the server says of its option files: " + w)
	}
	if s.config == "" {
		return
	}
	o, _ := mycnf.Read(s.config)
	for _, file := range o.Files {
		open := func() error {
			f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				_ = f.Close()
			}
			return err
		}
		if err := account.Do(open); err != nil && open() == nil {
			r.Log.Warn("the server passes over an option file that its user "+s.user+" cannot read, which mysqld_safe would have read as root: let the user read it", "file", file)
		}
	}
}

// empty tells whether the databases are to be created. The error is that there are none, and that they are not.
func (a *agent) empty(s settings, account daemon.Account) (bool, error) {
	var entries []fs.DirEntry
	var tables []string
	err := account.Do(func() (err error) { // root may not, over a network
		tables, _ = filepath.Glob(filepath.Join(s.datadir, "mysql", "*.frm"))
		entries, err = os.ReadDir(s.datadir)
		return err
	})
	if err != nil {
		return false, ocf.Errorf(ocf.Generic, "data directory: %w", err)
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(names, e.Name()) })
	}
	if has("ibdata1", "mysql.ibd") || len(tables) > 0 {
		return false, nil
	}
	if !a.enableCreation {
		if a.unit != "" {
			return false, ocf.Errorf(ocf.Generic, "there are no databases in %s: is the right storage mounted?", s.datadir)
		}
		return false, ocf.Errorf(ocf.Generic, "there are no databases in %s: is the right storage mounted? To have them created there, set enable_creation=true", s.datadir)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "lost+found" })
	if len(entries) > 0 {
		return false, ocf.Errorf(ocf.Generic, "databases are to be created in %s, but it is not empty (%s): move away what is there, or name an empty directory", s.datadir, entries[0].Name())
	}
	return true, nil
}

// create makes the databases.
func create(ctx context.Context, r *ocf.Request, s settings, binary string) error {
	r.Step("creating the databases in %s", s.datadir)
	c := daemon.Command{Path: binary, Args: s.options("--initialize-insecure"), Dir: "/", User: s.user, Group: s.group, Umask: 0o007, Output: s.log, Log: r.Log}
	if install, err := r.LookPath("mariadb-install-db", "mysql_install_db"); err == nil {
		c.Path, c.User, c.Group = install, "", ""
		c.Args = slices.DeleteFunc(s.options("--user="+s.user, "--skip-test-db"), func(o string) bool {
			return !strings.HasPrefix(o, "--defaults-file=") && !strings.HasPrefix(o, "--datadir=") && !strings.HasPrefix(o, "--user=") && o != "--skip-test-db"
		})
	}
	if err := daemon.Run(ctx, c); err != nil {
		return ocf.Errorf(ocf.Generic, "the databases could not be created in %s: %w", s.datadir, err)
	}
	return nil
}

// options is the server's command line.
func (s settings) options(more ...string) []string {
	var o []string
	if s.config != "" {
		o = append(o, "--defaults-file="+s.config) // must be the first
	}
	o = append(o, "--datadir="+s.datadir, "--socket="+s.socket, "--pid-file="+s.pid, "--log-error="+s.log)
	return append(o, more...)
}

// command is how the server is run: as its unit and mysqld_safe would.
func (a *agent) command(s settings, binary string, wrapper mycnf.Options) daemon.Command {
	c := daemon.Command{
		Path: binary, Args: s.options(a.additional...), Dir: "/", User: s.user, Group: s.group,
		Umask: 0o007, Output: s.log,
		Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 32768}},
	}
	if s.memlock { // as its unit would
		c.Capabilities = []uintptr{unix.CAP_IPC_LOCK}
		c.Limits = append(c.Limits, daemon.Limit{Resource: unix.RLIMIT_MEMLOCK, Value: unix.RLIM_INFINITY})
	}
	safe := func(name string) string { v, _ := wrapper.Get(name); return v }
	if n, err := strconv.ParseUint(safe("open-files-limit"), 10, 64); err == nil && n > 0 {
		c.Limits[0].Value = n
	}
	if v := safe("core-file-size"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			n = unix.RLIM_INFINITY
		}
		c.Limits = append(c.Limits, daemon.Limit{Resource: unix.RLIMIT_CORE, Value: n})
	}
	if n, err := strconv.Atoi(safe("nice")); err == nil {
		c.Nice = n
	}
	if lib := malloc(safe("malloc-lib")); lib != "" {
		c.Env = append(c.Env, "LD_PRELOAD="+lib)
	}
	if tz := safe("timezone"); tz != "" {
		c.Env = append(c.Env, "TZ="+tz)
	}
	return c
}

// malloc is the library that mysqld_safe's malloc-lib names: a path, or the
// short name of one among the system's libraries.
func malloc(lib string) string {
	if lib == "" || filepath.IsAbs(lib) {
		return lib
	}
	for _, dir := range []string{"/usr/lib64", "/usr/lib", "/usr/lib/*-linux-gnu"} {
		for _, pattern := range []string{"lib" + lib + ".so*", "lib" + lib + "_minimal.so*"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return found[0]
			}
		}
	}
	return ""
}

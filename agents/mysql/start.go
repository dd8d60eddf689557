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

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	svc, s, err := a.service(r)
	if err != nil {
		return err
	}
	binary, err := a.server(r)
	if err != nil {
		return err
	}
	return svc.Start(ctx, r, func(ctx context.Context) (daemon.Command, error) {
		account, err := service.Account(s.user, s.group)
		if err != nil {
			return daemon.Command{}, err
		}
		r.Step("asking the storage of %s", s.datadir)
		if err := a.storage.ForStart(ctx); err != nil {
			return daemon.Command{}, err
		}
		if err := service.OwnDirs(account, filepath.Dir(s.socket), filepath.Dir(s.pid), filepath.Dir(s.log)); err != nil {
			return daemon.Command{}, err
		}
		if err := service.CanWrite(account, s.user, s.datadir, filepath.Dir(s.socket), filepath.Dir(s.pid)); err != nil {
			return daemon.Command{}, err
		}
		if err := a.databases(ctx, r, s, binary); err != nil {
			return daemon.Command{}, err
		}
		wrapper, err := s.wrapper()
		return a.command(s, binary, wrapper), err
	})
}

// databases makes sure that there are some, and makes them if that is wanted.
func (a *agent) databases(ctx context.Context, r *ocf.Request, s settings, binary string) error {
	entries, err := os.ReadDir(s.datadir)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "data directory: %w", err)
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(names, e.Name()) })
	}
	if has("ibdata1", "mysql", "mysql.ibd") {
		return nil
	}
	if !a.enableCreation {
		return ocf.Errorf(ocf.Generic, "there are no databases in %s: is the right storage mounted? To have them created there, set enable_creation=true", s.datadir)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "lost+found" })
	if len(entries) > 0 {
		return ocf.Errorf(ocf.Generic, "databases are to be created in %s, but it is not empty (%s): move away what is there, or name an empty directory", s.datadir, entries[0].Name())
	}
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
		Path: binary, Args: s.options(a.additional...), Dir: s.datadir, User: s.user, Group: s.group,
		Umask: 0o007, Output: s.log,
		Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 32768}},
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

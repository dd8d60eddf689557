package mysql

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	binary, err := a.server(r)
	if err != nil {
		return err
	}
	r.Step("waiting for another start or stop of the server on %s", s.datadir)
	release, err := lock.Take(ctx, lockFile(r, s))
	if err != nil {
		return err
	}
	defer release()

	r.Step("looking for the server's process")
	for {
		p, err := a.find(ctx, s, nil)
		if err != nil {
			return err
		}
		if p == nil {
			break
		}
		err = a.await(ctx, r, s, p)
		_ = p.Close()
		if !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}

	account, err := daemon.Lookup(s.user, s.group)
	if err != nil {
		return ocf.Errorf(ocf.Args, "user %s and group %q, as whom the server would run: %w", s.user, s.group, err)
	}
	if err := a.storageForStart(ctx, r, s); err != nil {
		return err
	}
	if err := prepare(s, account); err != nil {
		return err
	}
	if err := a.databases(ctx, r, s, binary); err != nil {
		return err
	}
	r.Step("waiting for %s to serve", filepath.Base(binary))
	p, err := daemon.Start(ctx, a.command(r, s, binary), func(ctx context.Context) error { return a.serving(ctx, r, s) })
	if err != nil {
		return startFailed(err, s)
	}
	return p.Close()
}

// serving is nil once the server answers, be it with a refusal.
func (a *agent) serving(ctx context.Context, r *ocf.Request, s settings) error {
	t, known, _ := a.target(r, s)
	err := a.ping(ctx, r, s, &daemon.Process{}, t, known)
	if ocf.CodeOf(err) == ocf.Degraded {
		return nil
	}
	return err
}

// await waits for a server that runs already, until it serves. The error is
// os.ErrProcessDone if it ends instead.
func (a *agent) await(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) error {
	r.Step("waiting for %s, which runs already, to serve", p)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := a.health(ctx, r, s, p)
		switch {
		case !p.Alive():
			return os.ErrProcessDone
		case err == nil, ocf.CodeOf(err) == ocf.Degraded && !strings.Contains(err.Error(), "shutting down"):
			return nil
		}
		if st, serr := p.Stat(); serr == nil && st.Stopped() {
			return err // it will not thaw by waiting
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// lockFile is one file per data directory, where resource-agents keep such things.
func lockFile(r *ocf.Request, s settings) string {
	dir := r.Env("HA_RSCTMP")
	if dir == "" {
		dir = "/run/resource-agents"
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.datadir))
	return filepath.Join(dir, fmt.Sprintf("openstack-mysql-%x.lock", h.Sum64()))
}

// storageForStart refuses to start on anything but the storage that was meant.
func (a *agent) storageForStart(ctx context.Context, r *ocf.Request, s settings) error {
	r.Step("asking the storage of %s", s.datadir)
	m, err := mount.On(ctx, s.datadir)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "data directory %s cannot be used: mount its storage first (a Filesystem resource before this one in the group): %w", s.datadir, err)
	}
	if a.sharedStorage && m.System {
		return ocf.Errorf(ocf.Generic, "data directory %s is on the node's own file system %s: its shared storage is not mounted; mount it first (a Filesystem resource before this one in the group), or set shared_storage=false if the data is local on purpose", s.datadir, m)
	}
	if m.ReadOnly {
		return ocf.Errorf(ocf.Generic, "storage %s is read-only: look at the kernel log for its errors, repair it, and mount it again", m)
	}
	if a.fstype != "" && a.fstype != m.FSType {
		return ocf.Errorf(ocf.Generic, "%s is not %s, as the parameter fstype wants it: the wrong storage is mounted", m, a.fstype)
	}
	if a.device != "" {
		same, err := m.From(ctx, a.device)
		if err != nil {
			return ocf.Errorf(ocf.Generic, "cannot tell whether %s comes from %s, as the parameter device wants it: %w", m, a.device, err)
		}
		if !same {
			return ocf.Errorf(ocf.Generic, "%s does not come from %s, as the parameter device wants it: the wrong storage is mounted", m, a.device)
		}
	}
	u, err := mount.Usage(ctx, s.datadir)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "storage %s does not answer: %w", m, err)
	}
	if u.Available < 1<<20 || (u.Inodes > 0 && u.FreeInodes == 0) {
		return ocf.Errorf(ocf.Generic, "storage %s is full (%d KiB and %d inodes left): the server would not come up, or not take writes; make room", m, u.Available>>10, u.FreeInodes)
	}
	return nil
}

// prepare makes the directories of socket, pid file and log where they are
// missing, and checks that the server will be able to write.
func prepare(s settings, account daemon.Account) error {
	for _, dir := range []string{filepath.Dir(s.socket), filepath.Dir(s.pid), filepath.Dir(s.log)} {
		if exists(dir) {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return ocf.Errorf(ocf.Args, "directory %s is missing and cannot be made: %w", dir, err)
		}
		if err := os.Chown(dir, account.UID, account.GID); err != nil {
			return ocf.Errorf(ocf.Permission, "%w", err)
		}
	}
	for what, dir := range map[string]string{"data directory": s.datadir, "socket directory": filepath.Dir(s.socket), "pid file's directory": filepath.Dir(s.pid)} {
		if err := account.CanWrite(dir); err != nil {
			return ocf.Errorf(ocf.Permission, "user %s cannot write to the %s: %w", s.user, what, err)
		}
	}
	return nil
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
func (a *agent) command(r *ocf.Request, s settings, binary string) daemon.Command {
	c := daemon.Command{
		Path: binary, Args: s.options(a.additional...), Dir: s.datadir, User: s.user, Group: s.group,
		Umask: 0o007, Output: s.log, Log: r.Log,
		Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 32768}},
	}
	safe := func(name string) string { v, _ := s.safe.Get(name); return v }
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

// startFailed says why in the daemon's words where there are some.
func startFailed(err error, s settings) error {
	var late *daemon.NotReadyError
	if errors.As(err, &late) && late.Process != nil {
		defer late.Process.Close()
		return ocf.Errorf(ocf.Generic, "%w; it may still be recovering (a stop follows): see %s, and give start a longer timeout", err, s.log)
	}
	return ocf.Errorf(ocf.Generic, "%w", err)
}

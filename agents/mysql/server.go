package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

type agent struct{ *params }

// service is the server as it is on this node. unusable is why it cannot be
// started as it is configured, if it cannot.
func (a *agent) service(ctx context.Context, r *ocf.Request) (svc service.Service, s settings, unusable error) {
	s, unusable = a.settings(ctx, r)
	a.storage.Dir = s.datadir
	return service.Service{
		Name: "MySQL server", On: s.datadir, Identity: a.identity(r, s),
		Answers: func(ctx context.Context) error { return a.answers(ctx, r, s, nil) },
	}, s, unusable
}

// identity says which process is the server.
func (a *agent) identity(r *ocf.Request, s settings) daemon.Identity {
	exes := []string{"mariadbd", "mysqld"}
	if b := a.binary; b != "" && !slices.Contains(wrappers, filepath.Base(b)) {
		exes = append(exes, b)
	}
	uses := daemon.UsesDir(s.datadir, "datadir")
	return daemon.Identity{Name: "MySQL server", Executables: exes, PIDFile: s.pid, Test: func(ctx context.Context, p *daemon.Process) (bool, error) {
		ours, err := uses(ctx, p)
		if age, aerr := p.Age(); ours && aerr == nil && age > time.Minute {
			return true, nil // so old is nobody who is only asked
		}
		if asked(ctx, p) {
			return false, nil
		}
		if ours || err != nil {
			return ours, err
		}
		return a.claimed(ctx, r, s, p)
	}}
}

// asked tells a server that was only asked for its options, as we do it too.
func asked(ctx context.Context, p *daemon.Process) bool {
	args, err := p.Cmdline(ctx)
	return err == nil && slices.ContainsFunc(args, func(arg string) bool {
		return slices.Contains([]string{"--help", "-?", "--version", "-V", "--print-defaults"}, arg)
	})
}

// differsError is a process on other data that our option file or our socket
// says is the server.
type differsError struct {
	process, why, dir, ours string
}

func (e *differsError) Error() string {
	return fmt.Sprintf("%s works on %s, not on %s, but %s: what it serves is in doubt: stop it, or correct the datadir", e.process, e.dir, e.ours, e.why)
}

// claimed is the rule of last resort: whatever was reckoned of the data
// directory, a server that was started by our option file, or listens on our
// socket, is not to be called absent. A parameter datadir is not reckoned, and
// option files may be shared. A stop takes it for ours if nothing on its command
// line says otherwise, or if both speak for it.
func (a *agent) claimed(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) (bool, error) {
	if contained(p.PID) {
		return false, nil // names are others there
	}
	args, err := p.Cmdline(ctx)
	if err != nil {
		return false, nil
	}
	has := func(prefix string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, prefix) })
	}
	named := a.datadir != "" || slices.ContainsFunc(a.additional, func(o string) bool {
		return strings.HasPrefix(o, "--datad") || strings.HasPrefix(o, "-h")
	})
	with, _ := startedWith(s.config)(ctx, p)
	file := !named && (with || slices.Contains(configs, s.config) && !has("--defaults-file=") && !has("--no-defaults"))
	listens, _ := sockets.Unix(p.PID)
	socket := slices.Contains(listens, s.socket)
	var why []string
	if file {
		why = append(why, "was started by our option file "+cmp.Or(s.config, "(the default ones)"))
	}
	if socket {
		why = append(why, "listens on our socket "+s.socket)
	}
	if len(why) == 0 {
		return false, nil
	}
	if r.Action == ocf.Stop && file && (socket || !has("--datadir=")) {
		return true, nil
	}
	dir, _ := p.WorkDir()
	return false, &differsError{p.String(), strings.Join(why, " and "), cmp.Or(dir, "other data"), s.datadir}
}

// contained tells whether a process lives in a container: in another pid namespace.
func contained(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	ours, oerr := os.Readlink("/proc/self/ns/pid")
	return err == nil && oerr == nil && theirs != ours
}

// differs puts first what decides, where a process was found on other data.
func differs(err error) error {
	var d *differsError
	if errors.As(err, &d) {
		return ocf.Errorf(ocf.Generic, "%w", d)
	}
	return err
}

func startedWith(config string) daemon.Test { return daemon.Names("--defaults-file", config) }

// supervisors are wrappers that would restart the server: a mysqld_safe that is
// the server's parent, or names its data or its option file, or runs the stock
// server if that is ours.
func (a *agent) supervisors(s settings, server *daemon.Process) []daemon.Identity {
	tests := []daemon.Test{startedWith(s.config), daemon.Names("--datadir", s.datadir), parentOf(server)}
	if a.config == "" && a.datadir == "" {
		tests = append(tests, plain)
	}
	return wrappersWith(tests...)
}

// parentOf matches the process that started the server; none if there is no server.
func parentOf(server *daemon.Process) daemon.Test {
	parent := 0
	if server != nil {
		if st, err := server.Stat(); err == nil {
			parent = st.PPID
		}
	}
	return func(_ context.Context, p *daemon.Process) (bool, error) { return p.PID == parent, nil }
}

func wrappersWith(tests ...daemon.Test) []daemon.Identity {
	var list []daemon.Identity
	for _, w := range wrappers {
		list = append(list, daemon.Identity{
			Name: w, Executables: []string{"sh", "dash", "bash", "busybox"},
			Test: daemon.All(daemon.Script(w), daemon.Any(tests...)),
		})
	}
	return list
}

// plain is a wrapper that names neither data nor option file.
func plain(ctx context.Context, p *daemon.Process) (bool, error) {
	args, err := p.Cmdline(ctx)
	return err == nil && !slices.ContainsFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "--datadir=") || strings.HasPrefix(arg, "--defaults-file=")
	}), err
}

// target is whom the health checks ask, and as whom. known is false when the
// operator named nobody to log in as, so that a refused login says nothing.
func (a *agent) target(r *ocf.Request, s settings) (t sqlping.Target, known bool, err error) {
	t = sqlping.Target{Socket: s.socket, User: a.testUser, Password: a.testPasswd}
	known = r.Given("test_user") || r.Given("test_passwd")
	if a.testDefaultsFile != "" {
		c, err := mycnf.LoadDefaults(a.testDefaultsFile)
		if err != nil {
			return t, true, err
		}
		t.User, t.Password, t.TLS, known = cmp.Or(c.User, t.User), c.Password, c.TLS, true
	}
	return t, known, nil
}

package mysql

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

type agent struct{ *params }

// service is the server as it is on this node. unreadable is why the option
// file cannot be used, if it cannot.
func (a *agent) service(r *ocf.Request) (svc service.Service, s settings, unreadable error) {
	s, unreadable = a.settings()
	a.storage.Dir = s.datadir
	return service.Service{
		Name: "MySQL server", On: s.datadir, Identity: a.identity(s, unreadable),
		Answers: func(ctx context.Context) error { return a.answers(ctx, r, s) },
	}, s, unreadable
}

// identity says which process is the server: one that works on the data
// directory, whatever its pid file and socket say. Without an option file the
// directory may be unknown, and a server started with that very file counts.
func (a *agent) identity(s settings, unreadable error) daemon.Identity {
	exes := []string{"mariadbd", "mysqld"}
	if b := a.binary; b != "" && !slices.Contains(wrappers, filepath.Base(b)) {
		exes = append(exes, b)
	}
	ours := daemon.UsesDir(s.datadir, "datadir")
	if unreadable != nil && a.datadir == "" {
		ours = daemon.Any(startedWith(s.config), ours)
	}
	return daemon.Identity{Name: "MySQL server", Executables: exes, PIDFile: s.pid, Test: ours}
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
		user, password, _, err := mycnf.LoadDefaults(a.testDefaultsFile)
		if err != nil {
			return t, true, err
		}
		if user != "" {
			t.User = user
		}
		t.Password, known = password, true
	}
	return t, known, nil
}

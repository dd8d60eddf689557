package mysql

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

type agent struct{ *params }

// daemon is all there is to say of the server on this node.
func (a *agent) daemon(ctx context.Context, r *ocf.Request) service.Daemon {
	s, unusable := a.settings(ctx, r)
	a.storage.Dir = s.datadir
	var handicap error // one that answers only so is not looked at further
	d := service.Daemon{
		Service: service.Service{
			Name: "MySQL server", On: s.datadir, Identity: a.identity(r, s),
			Answers: func(ctx context.Context) error { return a.answers(ctx, r, s, nil) },
		},
		Unusable: unusable, Unit: a.unit, Logs: []string{s.log}, User: s.user, Group: s.group, Stalled: stalled,
		Binary: func() (string, error) { return a.program(r) },
		Guard:  func(ctx context.Context) error { return a.guard(ctx, r, s) },
		Launch: func(ctx context.Context, binary string) (daemon.Command, error) { return a.launch(ctx, r, s, binary) },
		Questions: []service.Question{
			{Ask: func(ctx context.Context, p *daemon.Process) error {
				r.Step("asking the storage of %s", s.datadir)
				full, err := a.storage.Running(ctx, p)
				return cmp.Or(err, full)
			}},
			{Ask: func(ctx context.Context, p *daemon.Process) error {
				handicap = a.answers(ctx, r, s, p)
				return handicap
			}},
			{Level: 10, Ask: func(ctx context.Context, _ *daemon.Process) error {
				if handicap != nil {
					return nil
				}
				return a.look(ctx, r, s)
			}},
		},
		Patience: func(ctx context.Context, p *daemon.Process) daemon.StopOptions {
			o := daemon.StopOptions{First: a.supervisors(s, p)}
			if p != nil {
				o.Grace = a.grace(ctx, r, s, p)
			}
			return o
		},
		Blind: func(ctx context.Context, p *daemon.Process) daemon.StopOptions {
			return daemon.StopOptions{First: wrappersWith(parentOf(p)), Grace: service.Remaining(ctx) / 3}
		},
		Host: func(context.Context, string) error { return a.host(r, s) },
	}
	for param, test := range map[string]daemon.Test{
		"datadir": daemon.UsesDir(a.datadir, "datadir"), "config": startedWith(a.config),
		"socket": daemon.Names("--socket", a.socket), "pid": daemon.Names("--pid-file", a.pid),
	} {
		if r.Named(param) {
			d.Evidence = append(d.Evidence, test)
		}
	}
	return d
}

// stalled is longer than a server waits for a lock of Aria's files (30 s, without a word). MariaDB locks itself up where a SIGTERM comes
// at a certain moment of its start, in one of five tries, and does not end by another one.
const stalled = 40 * time.Second

// program is the binary that a start runs. To a monitor one that is named may be on the storage, which is not here then.
func (a *agent) program(r *ocf.Request) (string, error) {
	path, err := server(r, a.binary)
	if r.Action == ocf.Monitor && filepath.IsAbs(a.binary) {
		err = nil
	}
	return path, err
}

// identity says which process is the server.
func (a *agent) identity(r *ocf.Request, s settings) daemon.Identity {
	exes := servers
	if b := a.binary; b != "" && !slices.Contains(wrappers, filepath.Base(b)) {
		exes = append(slices.Clone(exes), b)
	}
	uses := daemon.UsesDir(s.datadir, "datadir")
	return daemon.Identity{
		Name: "MySQL server", Executables: exes, PIDFile: s.pid, Test: uses, Claims: a.claims(r, s),
		Kind: func(ctx context.Context, p *daemon.Process) (bool, error) {
			if !asked(ctx, p) {
				return true, nil
			}
			ours, err := uses(ctx, p)
			age, aerr := p.Age()
			return ours && err == nil && aerr == nil && age > time.Minute, nil // so old is nobody who is only asked
		},
	}
}

// asked tells a server that was only asked for its options, as we do it too.
func asked(ctx context.Context, p *daemon.Process) bool {
	args, err := p.Cmdline(ctx)
	return err == nil && slices.ContainsFunc(args, func(arg string) bool {
		return slices.Contains([]string{"--help", "-?", "--version", "-V", "--print-defaults"}, arg)
	})
}

// claims are the rule of last resort: whatever was reckoned of the data directory, a server that was started by our
// option file, or listens on our socket, is not to be called absent. A data directory on the command line is not
// reckoned, and option files may be shared. A stop takes it for ours if nothing on its command line says otherwise, or
// if both speak for it.
func (a *agent) claims(r *ocf.Request, s settings) []daemon.Claim {
	by := func(but ...string) daemon.Test {
		if s.names {
			return daemon.Any()
		}
		return daemon.StartedBy("--defaults-file", s.config, slices.Contains(configs, s.config), append(but, "--no-defaults")...)
	}
	differs := func(_ context.Context, p *daemon.Process) string {
		dir, _ := p.WorkDir()
		return fmt.Sprintf("works on %s, not on %s: stop it, or correct the datadir", cmp.Or(dir, "other data"), s.datadir)
	}
	const file, socket = "was started by our option file", "listens on our socket" // which they are crm_mon has no room for
	stop := r.Action == ocf.Stop
	listens := daemon.ListensOnUnix(s.socket)
	return []daemon.Claim{
		{Says: file, Test: by("--datadir"), Ours: stop, Differs: differs},
		{Says: file, Test: daemon.All(by(), listens), Ours: stop, Differs: differs},
		{Says: file, Test: by(), Differs: differs},
		{Says: socket, Test: listens, Differs: differs},
	}
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

// wrappersWith is one identity for all wrappers: each costs a stop two looks at all processes.
func wrappersWith(tests ...daemon.Test) []daemon.Identity {
	return []daemon.Identity{{
		Name: wrappers[0], Executables: []string{"sh", "dash", "bash", "busybox"},
		Test: daemon.All(daemon.Script(wrappers...), daemon.Any(tests...)),
	}}
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

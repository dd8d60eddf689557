package mysql

import (
	"context"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

// stop ends the server, and says 0 only when it is gone. It does not need the
// option file, the binary or the storage.
func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	svc, s, unusable := a.service(ctx, r)
	if unusable != nil {
		r.Log.Warn("stopping without a fresh answer of the server", "error", unusable)
	}
	p, err := svc.Find(ctx, r)
	if err != nil {
		r.Log.Warn("stopping what can be found", "error", err)
	}
	o := daemon.StopOptions{First: a.supervisors(s, p)}
	if p != nil {
		defer p.Close()
		o.Grace = a.grace(ctx, r, s, p)
	}
	return differs(svc.Stop(ctx, r, o))
}

// stopUnidentified is the stop without a parameter that says which server is meant.
func (a *agent) stopUnidentified(ctx context.Context, r *ocf.Request, cause error) error {
	var evidence []daemon.Test
	for _, e := range []struct {
		param string
		test  daemon.Test
	}{
		{"datadir", daemon.UsesDir(a.datadir, "datadir")},
		{"config", startedWith(a.config)},
		{"socket", daemon.Names("--socket", a.socket)},
		{"pid", daemon.Names("--pid-file", a.pid)},
	} {
		if r.Named(e.param) {
			evidence = append(evidence, e.test)
		}
	}
	svc, _, _ := a.service(ctx, r)
	svc, err := svc.Meant(ctx, r, cause, evidence...)
	if err != nil {
		return err
	}
	p, err := svc.Find(ctx, r)
	if err != nil {
		return err
	}
	defer p.Close()
	return svc.Stop(ctx, r, daemon.StopOptions{First: wrappersWith(parentOf(p)), Grace: service.Remaining(ctx) / 3})
}

// grace is how long the server may take to end when asked: 0, all the time
// there is, for one that answers and can write; less for one that may not end
// at all, so that the group is not kept from another node.
func (a *agent) grace(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) time.Duration {
	left := service.Remaining(ctx)
	if err := a.storage.Broken(ctx, min(3*time.Second, left/8)); err != nil {
		r.Log.Warn("no clean shutdown can be hoped for", "error", err)
		return min(5*time.Second, left/4)
	}
	// MariaDB may lose a SIGTERM that comes during its start, and a second one too. Nothing was acknowledged yet.
	if starting(s, p) {
		return min(5*time.Second, left/4)
	}
	// To ask a frozen server would only be waited for; the stop thaws it.
	if st, err := p.Stat(); err == nil && st.Stopped() || !a.preflushed(ctx, r, s) {
		return left / 3
	}
	return 0
}

// starting tells a server that has not served anybody yet: it listens nowhere, and has not written its pid file, which
// stays until a shutdown has written all pages.
func starting(s settings, p *daemon.Process) bool {
	if pid, err := daemon.ReadPID(s.pid); err == nil && pid == p.PID {
		return false
	}
	names, err := sockets.Unix(p.PID)
	ports, perr := sockets.Of(p.PID, sockets.Listen)
	return err == nil && perr == nil && len(names)+len(ports) == 0
}

// preflushed tells whether the server answers, and has it write dirty pages
// while it still serves, so that the stop itself is short.
func (a *agent) preflushed(ctx context.Context, r *ocf.Request, s settings) bool {
	t, _, err := a.target(r, s)
	if err != nil {
		r.Log.Warn("no preflush", "error", err)
	}
	ask, cancel := context.WithTimeout(ctx, min(3*time.Second, service.Remaining(ctx)/8))
	defer cancel()
	c, err := sqlping.Open(ask, t)
	if err != nil {
		return sqlping.StateOf(err) == sqlping.Degraded // alive, though it does not want us
	}
	defer c.Close()
	if d := min(a.preflush, service.Remaining(ctx)/3); d > 0 {
		r.Step("having dirty pages written before the stop")
		flush, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		if left, err := c.Preflush(flush, 64); err != nil {
			r.Log.Info("preflush ended early", "pages_left", left, "error", err)
		}
	}
	return true
}

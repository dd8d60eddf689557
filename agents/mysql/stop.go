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
		const enough = 64 // pages; those are written in no time
		if left, err := c.Preflush(flush, enough); err != nil || left > enough {
			r.Log.Info("preflush ended early", "pages_left", left, "error", err)
		}
	}
	return true
}

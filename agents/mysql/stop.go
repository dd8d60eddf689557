package mysql

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

// stop ends the server, and says 0 only when it is gone. It does not need the
// option file, the binary or the storage.
func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	s, unreadable := a.settings()
	if unreadable != nil {
		r.Log.Warn("stopping without the option file", "error", unreadable)
	}
	id := a.identity(s, unreadable)
	p, err := a.find(ctx, s, unreadable)
	if err != nil {
		r.Log.Warn("stopping what can be found", "error", err)
	}
	if p != nil {
		defer p.Close()
	}
	o := daemon.StopOptions{Log: r.Log, First: a.supervisors(s, p)}
	if p != nil {
		o.Grace = a.grace(ctx, r, s)
	}
	for {
		r.Step("waiting for the server on %s to end", s.datadir)
		if err := daemon.Stop(ctx, id, o); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return ocf.Errorf(ocf.Permission, "cannot look at or signal the server: run as root: %w", err)
			}
			return ocf.Errorf(ocf.Generic, "the server on %s could not be stopped: %w", s.datadir, err)
		}
		// A start that was under way sees its server die and gives up the lock.
		soon, cancel := context.WithTimeout(ctx, time.Second)
		release, err := lock.Take(soon, lockFile(r, s))
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			if err == nil {
				defer release()
			}
			break
		}
	}
	again, err := a.find(ctx, s, unreadable)
	if err != nil {
		return err
	}
	if again != nil {
		defer again.Close()
		return ocf.Errorf(ocf.Generic, "%s was started while the server was being stopped: find out what starts it (mysqld_safe, a systemd unit that is enabled)", again)
	}
	return nil
}

// grace is how long the server may take to end when asked: 0, all the time
// there is, for one that answers and can write; less for one that may not end
// at all, so that the group is not kept from another node.
func (a *agent) grace(ctx context.Context, r *ocf.Request, s settings) time.Duration {
	ask, cancel := context.WithTimeout(ctx, min(3*time.Second, remaining(ctx)/8))
	m, err := mount.On(ask, s.datadir)
	if err == nil {
		err = mount.Probe(ask, s.datadir)
	}
	cancel()
	switch {
	case err != nil || m.ReadOnly || a.sharedStorage && m.System:
		r.Log.Warn("the storage takes no writes, so that no clean shutdown can be hoped for", "storage", m.String(), "error", err)
		return min(5*time.Second, remaining(ctx)/4)
	case !a.preflushed(ctx, r, s):
		return remaining(ctx) / 3
	}
	return 0
}

func remaining(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return time.Minute
}

// preflushed tells whether the server answers, and has it write dirty pages
// while it still serves, so that the stop itself is short.
func (a *agent) preflushed(ctx context.Context, r *ocf.Request, s settings) bool {
	t, _, err := a.target(r, s)
	if err != nil {
		r.Log.Warn("no preflush", "error", err)
	}
	ask, cancel := context.WithTimeout(ctx, min(3*time.Second, remaining(ctx)/8))
	defer cancel()
	c, err := sqlping.Open(ask, t)
	if err != nil {
		return sqlping.StateOf(err) == sqlping.Degraded // alive, though it does not want us
	}
	defer c.Close()
	if d := min(a.preflush, remaining(ctx)/3); d > 0 {
		r.Step("having dirty pages written before the stop")
		flush, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		if left, err := c.Preflush(flush, 64); err != nil {
			r.Log.Info("preflush ended early", "pages_left", left, "error", err)
		}
	}
	return true
}

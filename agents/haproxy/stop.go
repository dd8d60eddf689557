package haproxy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/ocf"
)

// stop ends HAProxy, and says 0 only when it is gone. It does not need the
// configuration or the binary.
func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	s := a.settings()
	a.soft(ctx, r, s)
	for {
		r.Step("waiting for HAProxy to end")
		if err := daemon.Stop(ctx, a.identity(s), daemon.StopOptions{Grace: min(hardStop, remaining(ctx)/3), Log: r.Log}); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return ocf.Errorf(ocf.Permission, "cannot look at or signal HAProxy: run as root: %w", err)
			}
			return ocf.Errorf(ocf.Generic, "HAProxy could not be stopped: %w", err)
		}
		// A start that was under way sees its HAProxy die and gives up the lock.
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
	again, err := a.find(ctx, s)
	if err != nil {
		return err
	}
	defer again.Close()
	if len(again) > 0 {
		return ocf.Errorf(ocf.Generic, "%s was started while HAProxy was being stopped: find out what starts it (a systemd unit that is enabled)", again.current())
	}
	for _, f := range []string{s.pid, s.master, s.worker, s.extra, s.dir} {
		_ = os.Remove(f)
	}
	return nil
}

// hardStop is what SIGTERM may take; HAProxy ends at once on it.
const hardStop = 5 * time.Second

// soft has connections end by themselves, for a time.
func (a *agent) soft(ctx context.Context, r *ocf.Request, s settings) {
	limit := min(a.softStop, remaining(ctx)/3)
	if limit <= 0 {
		return
	}
	list, err := a.find(ctx, s)
	if err != nil {
		r.Log.Warn("stopping what can be found", "error", err)
	}
	defer list.Close()
	r.Step("waiting %s for connections to end", limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, in := range list {
		for _, p := range in.processes() {
			if errors.Is(frozen(p, ""), errFrozen) {
				r.Log.Warn("it was stopped by a signal: continued so that it can end", "process", p.String())
				_ = p.Signal(unix.SIGCONT)
			}
		}
		if err := in.head.Signal(unix.SIGUSR1); err != nil && !errors.Is(err, os.ErrProcessDone) {
			r.Log.Warn("no soft stop", "error", err)
		}
	}
	for _, in := range list {
		if err := in.head.Wait(ctx); err != nil {
			r.Log.Info("connections are left and will be cut", "process", in.String(), "after", limit)
		}
	}
}

func remaining(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return time.Minute
}

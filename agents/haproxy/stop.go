package haproxy

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// stop ends HAProxy, and says 0 only when it is gone. It does not need the
// configuration or the binary.
func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	s := a.settings()
	a.soft(ctx, r, s)
	if err := a.service(s).Stop(ctx, r, daemon.StopOptions{Grace: min(hardStop, service.Remaining(ctx)/3)}); err != nil {
		return err
	}
	for _, f := range []string{s.pid, s.master, s.worker, s.extra, s.refused, s.dir} {
		_ = os.Remove(f)
	}
	return nil
}

// stopUnidentified is the stop without a parameter that says which HAProxy is meant.
func (a *agent) stopUnidentified(ctx context.Context, r *ocf.Request, cause error) error {
	var evidence []daemon.Test
	if r.Named("config") || r.Named("conffile") {
		evidence = append(evidence, a.settings().runs)
	}
	if r.Named("pid") || r.Named("pidfile") {
		evidence = append(evidence, daemon.Names("-p", a.pid))
	}
	svc, err := a.service(a.settings()).Meant(ctx, r, cause, evidence...)
	if err != nil {
		return err
	}
	return svc.Stop(ctx, r, daemon.StopOptions{Grace: min(hardStop, service.Remaining(ctx)/3)})
}

// hardStop is what SIGTERM may take; HAProxy ends at once on it.
const hardStop = 5 * time.Second

// soft has connections end by themselves, for a time.
func (a *agent) soft(ctx context.Context, r *ocf.Request, s settings) {
	limit := min(a.softStop, service.Remaining(ctx)/3)
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

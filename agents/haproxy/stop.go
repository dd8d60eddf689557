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

// hardStop is what SIGTERM may take; HAProxy ends at once on it.
const hardStop = 5 * time.Second

func hard(ctx context.Context) daemon.StopOptions {
	return daemon.StopOptions{Grace: min(hardStop, service.Remaining(ctx)/3)}
}

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
	var asked instances
	for _, in := range list {
		if in.head.FrozenGroup() != "" {
			continue // it hears of nothing until it is thawed
		}
		asked = append(asked, in)
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
	for _, in := range asked {
		if err := in.head.Wait(ctx); err != nil {
			r.Log.Info("connections are left and will be cut", "process", in.String(), "after", limit)
			if a.unit == "" {
				continue
			}
			// HAProxy has told systemd that it is stopping: a stop by systemd would wait for that, and send no signal.
			for _, p := range in.processes() {
				_ = p.Signal(unix.SIGTERM)
			}
		}
	}
}

package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// trap is how long a service may take to end when asked: what the packages'
// units give it. One that is still connecting to a dead bus ignores SIGTERM.
const trap = 15 * time.Second

// daemon is all there is to say of the service on this node.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	svc, s := a.service(r)
	if r.Action == ocf.Start {
		a.began = time.Now()
		a.patience = a.began.Add(r.Timeout / 2)
	}
	d := service.Daemon{
		Service: svc,
		Unit:    a.unit,
		Binary:  func() (string, error) { return r.LookPath(a.binary) },
		Launch:  func(_ context.Context, binary string) (daemon.Command, error) { return a.launch(s, binary) },
		Questions: []service.Question{{Slow: true, Ask: func(ctx context.Context, p *daemon.Process) error {
			return a.health(ctx, r, s, p)
		}}},
		Workers:  true,
		Patience: func(ctx context.Context, _ *daemon.Process) daemon.StopOptions { return a.patient(ctx) },
		Stopped:  func(ctx context.Context) error { return a.tidy(ctx, r, s) },
		Host:     func(context.Context, string) error { return a.host(r, s) },
	}
	if r.Named("config") {
		d.Evidence = append(d.Evidence, a.configured(r.Named(a.Plugin.Param)))
	} else if r.Named(a.Plugin.Param) {
		d.Evidence = append(d.Evidence, daemon.Names("--config-file", a.plugin))
	}
	return d
}

// launch is how the service is started without a unit.
func (a *agent) launch(s settings, binary string) (daemon.Command, error) {
	c, err := a.load(oslo.CommandLine{Prog: s.prog, Args: s.args})
	if err != nil {
		return daemon.Command{}, err
	}
	account, err := service.Account(a.user, "")
	if err != nil {
		return daemon.Command{}, err
	}
	dirs := []string{filepath.Join("/run", a.Project), filepath.Join("/run/lock", a.Project), filepath.Dir(s.log)}
	return daemon.Command{
		Path: binary, Args: s.args, User: a.user, Output: s.log, Logs: c.logs(s), PIDFile: s.pid,
		Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 65535}},
	}, service.OwnDirs(account, dirs...)
}

func (a *agent) patient(ctx context.Context) daemon.StopOptions {
	o := daemon.StopOptions{Grace: trap}
	if a.cleanup == onStop {
		o.Reserve = service.Remaining(ctx) / 3
	}
	return o
}

// tidy removes what a service that is gone has left. What one that was stopped
// without knowing which it was has left on the node is not known, and stays.
func (a *agent) tidy(ctx context.Context, r *ocf.Request, s settings) error {
	if pid, err := daemon.ReadPID(s.pid); err == nil && !service.Exists(fmt.Sprintf("/proc/%d", pid)) {
		_ = os.Remove(s.pid)
	}
	if a.cleanup != onStop || a.Cleanup == "" {
		return nil
	}
	return Clean(ctx, r, a.user, s.log, append([]string{a.Cleanup}, s.args...)...)
}

// Clean runs one of neutron's programs that remove what an agent left on this
// node. Its failure fails the stop: the leftovers, gateway addresses among
// them, would be live on two nodes.
func Clean(ctx context.Context, r *ocf.Request, user, log string, argv ...string) error {
	program, err := r.LookPath(argv[0])
	if err != nil {
		return ocf.Errorf(ocf.Generic, "what the agent left on this node cannot be removed: %w", err)
	}
	r.Step("removing with %s what the agent left on this node", argv[0])
	if err := daemon.Run(ctx, daemon.Command{Path: program, Args: argv[1:], User: user, Output: log, Log: r.Log}); err != nil {
		return ocf.Errorf(ocf.Generic, "what the agent left on this node could not be removed: %w", err)
	}
	return nil
}

// host is what validate-all looks at on this node.
func (a *agent) host(r *ocf.Request, s settings) error {
	c, err := a.load(oslo.CommandLine{Prog: s.prog, Args: s.args})
	if err != nil {
		return err
	}
	if _, err := service.Account(a.user, ""); err != nil {
		return err
	}
	if a.Bus.Topic != "" && !a.zeromq {
		_, err := c.cfg.Transport(cmp.Or(a.Bus.Exchange, a.Project))
		if err != nil && !errors.Is(err, oslo.ErrDriver) && !errors.Is(err, oslo.ErrReference) {
			return ocf.Errorf(ocf.BadArgument, "%w", err)
		}
	}
	if a.unit == "" {
		service.UnitHints(r, s.prog+".service", "openstack-"+s.prog+".service")
	}
	return nil
}

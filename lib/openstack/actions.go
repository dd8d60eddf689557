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
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// trap is how long a service may take to end when asked: what the packages'
// units give it. One that is still connecting to a dead bus ignores SIGTERM.
const trap = 15 * time.Second

// daemon is all there is to say of the service on this node.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	i := a.resolve(r)
	d := service.Daemon{
		Service: i.service(),
		Unit:    i.params.unit,
		Binary:  func() (string, error) { return r.LookPath(i.params.binary) },
		Launch:  i.launch,
		Questions: []service.Question{{Ask: func(ctx context.Context, p *daemon.Process) error {
			return i.health(ctx, p)
		}}},
		Workers:  true,
		Patience: func(ctx context.Context, _ *daemon.Process) daemon.StopOptions { return i.patient(ctx) },
		Stopped:  i.tidy,
		Host:     func(context.Context, string) error { return i.host() },
	}
	if i.params.unit != "" && r.Action == ocf.Start {
		d.Logs = i.unitLogs()
		d.Guard = func(context.Context) error {
			_, err := i.load(oslo.CommandLine{Prog: i.prog, Args: i.args})
			return err
		}
	}
	if r.Named("config") {
		d.Evidence = append(d.Evidence, i.configured(r.Named(i.decl.Plugin.Param)))
	} else if r.Named(i.decl.Plugin.Param) {
		d.Evidence = append(d.Evidence, daemon.Names("--config-file", i.params.plugin))
	}
	return d
}

// launch is how the service is started without a unit.
func (i *instance) launch(ctx context.Context, binary string) (daemon.Command, error) {
	c, err := i.load(oslo.CommandLine{Prog: i.prog, Args: i.args})
	if err != nil {
		return daemon.Command{}, err
	}
	account, err := service.Account(i.params.user, "")
	if err != nil {
		return daemon.Command{}, err
	}
	dirs := []string{filepath.Join("/run", i.decl.Project), filepath.Join("/run/lock", i.decl.Project), filepath.Dir(i.log)}
	return daemon.Command{
		Path: binary, Args: i.args, User: i.params.user, Output: i.log, Logs: c.logs(i.log), PIDFile: i.pid,
		Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 65535}},
	}, service.OwnDirs(ctx, account, dirs...)
}

func (i *instance) patient(ctx context.Context) daemon.StopOptions {
	o := daemon.StopOptions{Grace: trap}
	if i.params.cleanup == onStop {
		o.Reserve = service.Remaining(ctx) / 3
	}
	return o
}

// tidy removes what a service that is gone has left. What one that was stopped
// without knowing which it was has left on the node is not known, and stays.
func (i *instance) tidy(ctx context.Context) error {
	if pid, err := daemon.ReadPID(i.pid); err == nil && !files.Exists(fmt.Sprintf("/proc/%d", pid)) {
		_ = os.Remove(i.pid)
	}
	if i.params.cleanup != onStop || i.decl.Cleanup == "" {
		return nil
	}
	return Clean(ctx, i.r, i.user(), i.log, append([]string{i.decl.Cleanup}, i.args...)...)
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
func (i *instance) host() error {
	c, err := i.load(oslo.CommandLine{Prog: i.prog, Args: i.args})
	if err != nil {
		return err
	}
	if _, err := service.Account(i.user(), ""); err != nil {
		return err
	}
	if i.decl.Bus.Topic != "" && !i.params.zeromq {
		_, err := c.cfg.Transport(cmp.Or(i.decl.Bus.Exchange, i.decl.Project))
		if err != nil && !errors.Is(err, oslo.ErrDriver) && !errors.Is(err, oslo.ErrReference) {
			return ocf.Errorf(ocf.BadArgument, "%w", err)
		}
	}
	if i.params.unit == "" {
		service.UnitHints(i.r, i.prog+".service", "openstack-"+i.prog+".service")
	}
	return nil
}

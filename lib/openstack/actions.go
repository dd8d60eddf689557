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

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	svc, s := a.service(r)
	binary, err := r.LookPath(a.binary)
	if err != nil {
		return err
	}
	a.began = time.Now()
	a.patience = a.began.Add(service.Remaining(ctx) / 2)
	return svc.Start(ctx, r, func(context.Context) (daemon.Command, error) {
		c, err := a.load(oslo.CommandLine{Prog: s.prog, Args: s.args})
		if err != nil {
			return daemon.Command{}, err
		}
		account, err := service.Account(a.user, "")
		if err != nil {
			return daemon.Command{}, err
		}
		dirs := []string{filepath.Join("/run", a.Project), filepath.Join("/run/lock", a.Project), filepath.Dir(s.log)}
		if err := service.OwnDirs(account, dirs...); err != nil {
			return daemon.Command{}, err
		}
		return daemon.Command{
			Path: binary, Args: s.args, User: a.user, Output: s.log, Logs: c.logs(s), PIDFile: s.pid,
			Limits: []daemon.Limit{{Resource: unix.RLIMIT_NOFILE, Value: 65535}},
		}, nil
	})
}

func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	svc, s := a.service(r)
	o := daemon.StopOptions{Grace: trap}
	if a.cleanup == onStop {
		o.Reserve = service.Remaining(ctx) / 3
	}
	if err := svc.Stop(ctx, r, o); err != nil {
		return err
	}
	if pid, err := daemon.ReadPID(s.pid); err == nil && !service.Exists(fmt.Sprintf("/proc/%d", pid)) {
		_ = os.Remove(s.pid)
	}
	if a.cleanup != onStop || a.Cleanup == "" {
		return nil
	}
	return Clean(ctx, r, a.user, s.log, append([]string{a.Cleanup}, s.args...)...)
}

// stopUnidentified is the stop without a parameter that says which process is
// meant. What that one left on the node is not known either, so nothing is cleaned.
func (a *agent) stopUnidentified(ctx context.Context, r *ocf.Request, cause error) error {
	var evidence []daemon.Test
	if r.Named("config") {
		evidence = append(evidence, a.configured(r.Named(a.Plugin.Param)))
	} else if r.Named(a.Plugin.Param) {
		evidence = append(evidence, daemon.Names("--config-file", a.plugin))
	}
	svc, _ := a.service(r)
	svc, err := svc.Meant(ctx, r, cause, evidence...)
	if err != nil {
		return err
	}
	return svc.Stop(ctx, r, daemon.StopOptions{Grace: trap})
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

func (a *agent) monitor(ctx context.Context, r *ocf.Request) error {
	svc, s := a.service(r)
	p, err := svc.Find(ctx, r)
	if err != nil {
		return err
	}
	if p == nil {
		if _, err := r.LookPath(a.binary); err != nil {
			return err
		}
		return svc.NotRunning()
	}
	defer p.Close()
	if err := service.Thawed(p); err != nil {
		return err
	}
	if err := service.Ask(ctx, p, func(ctx context.Context) error { return a.health(ctx, r, s, p) }); err != nil {
		return err
	}
	return service.Workers(p)
}

func (a *agent) reload(context.Context, *ocf.Request) error {
	return nil // health checks read their parameters anew each time
}

// validate looks at the host, at level 10. It is silent if all is well.
func (a *agent) validate(_ context.Context, r *ocf.Request) error {
	if r.Level < 10 {
		return nil
	}
	s := a.settings(r)
	c, err := a.load(oslo.CommandLine{Prog: s.prog, Args: s.args})
	if err != nil {
		return err
	}
	if _, err := r.LookPath(a.binary); err != nil {
		return err
	}
	if _, err := service.Account(a.user, ""); err != nil {
		return err
	}
	if a.Bus.Topic != "" && !a.zeromq {
		_, err := c.cfg.Transport(cmp.Or(a.Bus.Exchange, a.Project))
		if err != nil && !errors.Is(err, oslo.ErrDriver) && !errors.Is(err, oslo.ErrReference) {
			return ocf.Errorf(ocf.Args, "%w", err)
		}
	}
	service.UnitHints(r, s.prog+".service", "openstack-"+s.prog+".service")
	return nil
}

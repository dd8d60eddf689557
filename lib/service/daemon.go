package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/ocf"
)

// Daemon is a service, and all that its agent has to say of it. Of this are made
// start, stop, monitor and validate-all: see [Of]. Every function may be nil.
type Daemon struct {
	Service

	// Unusable is why the service cannot be started as it is configured here. A
	// stop and the look for its process do without the configuration: a monitor
	// that finds none says 7 all the same, but for the code ocf.NotConfigured.
	Unusable error
	// Guard checks what must be so on this node before a start, whoever starts it:
	// its storage. It is not called while the service runs.
	Guard func(ctx context.Context) error

	// Unit is the systemd unit that the service lives in, "" if this agent starts
	// the daemon itself, by Binary and Launch. With it those two are not called, and
	// User and Group not looked at; Guard, Answers, Questions, Patience and Stopped hold.
	Unit string
	// Logs are files that the service writes to by itself: run by its unit, it may say there what it dies of, and not to the journal.
	Logs []string
	// Binary is the path of the program that start runs; see [ocf.Request.LookPath].
	Binary func() (string, error)
	// User and Group are whom the program runs as, "" for root; they must be known here.
	User, Group string
	// Launch prepares this node for the daemon, and says how it is started.
	Launch func(ctx context.Context, binary string) (daemon.Command, error)
	// Stalled is how long the process may do nothing before it serves (see [daemon.Idle]): then it hangs, is killed, and started
	// once more. 0 is for ever, for what waits for others.
	Stalled time.Duration
	// Started is asked once the service serves; its error fails the start.
	Started func(ctx context.Context) error

	// Questions are what a monitor asks of the process, in this order; Answers comes
	// first where none of them is of level 0.
	Questions []Question
	// Workers: it is served by its child processes, so that a frozen one is a handicap.
	Workers bool
	// Judge has the last word about what a monitor found: of p, or of no process
	// where p is nil. Without it what was found is the monitor's answer.
	Judge func(ctx context.Context, p *daemon.Process, found error) error

	// Patience is how a stop goes about the process, nil if none is found, also
	// with a process that answers nobody: bound what you ask of it. The zero
	// StopOptions are what a stop does without it.
	Patience func(ctx context.Context, p *daemon.Process) daemon.StopOptions
	// Blind is Patience for a stop that does not know which one is meant: p is what it found, and our settings may be
	// another's. Without it Patience is asked, of no process.
	Blind func(ctx context.Context, p *daemon.Process) daemon.StopOptions
	// Stopped removes what a process that is gone left behind; its error fails the stop.
	Stopped func(ctx context.Context) error

	// Evidence tells the process by what is ocf.Request.Named, for a stop without a parameter that identifies it.
	Evidence []daemon.Test

	// Host is what validate-all looks at on this node, from level 10 on, besides
	// the configuration and the binary.
	Host func(ctx context.Context, binary string) error
}

// Question is one thing that a monitor asks of a process that runs.
type Question struct {
	Level int // from which on it is asked
	// Ask returns nil, a handicap (an error with the code ocf.Degraded), or what is
	// wrong. The first wrong ends the monitor; a handicap is told if nothing is wrong.
	// Its context ends when the process does, or is frozen: nobody is there to answer then.
	Ask func(ctx context.Context, p *daemon.Process) error
}

// Of makes the actions of an agent out of what it says of its daemon. It says
// so for each request anew, when the parameters have their values.
//
//	run := service.Of(a.daemon)
//	... ocf.Action{Name: ocf.Start, Timeout: time.Minute, Run: run.Start} ...
type Of func(*ocf.Request) Daemon

// Start returns nil once the service serves.
func (of Of) Start(ctx context.Context, r *ocf.Request) error {
	d := of(r)
	if d.Unusable != nil {
		return d.Unusable
	}
	binary, err := d.program()
	if err != nil {
		return err
	}
	if d.Unit != "" {
		err = d.startUnit(ctx, r)
	} else {
		err = d.Service.Start(ctx, r, func(ctx context.Context) (daemon.Command, error) {
			if err := d.account(); err != nil {
				return daemon.Command{}, err
			}
			if err := d.guard(ctx); err != nil {
				return daemon.Command{}, err
			}
			c, err := d.Launch(ctx, binary)
			c.Stalled = d.Stalled
			return c, err
		})
	}
	if err != nil || d.Started == nil {
		return err
	}
	return d.afterwards(ctx, r)
}

// afterwards asks what is to be asked of a service that has started. When it has died meanwhile, that is what the start says.
func (d Daemon) afterwards(ctx context.Context, r *ocf.Request) error {
	p, err := d.find(ctx, r)
	if err != nil {
		return err
	}
	if p == nil {
		return d.orStarved(r, ocf.Errorf(ocf.Generic, "%w: it died as soon as it served: see its log", d.NotRunning()))
	}
	defer p.Close()
	if err = d.Started(ctx); err != nil && p.Ended() {
		return d.orStarved(r, Because(p, err))
	}
	return err
}

// Stop returns nil once no process of the service is left. It needs neither
// configuration nor binary nor storage.
func (of Of) Stop(ctx context.Context, r *ocf.Request) error {
	d := of(r)
	if d.Unusable != nil {
		r.Log.Warn("stopping without the configuration", "error", d.Unusable)
	}
	var o daemon.StopOptions
	if d.Patience != nil {
		p, err := d.Find(ctx, r)
		if err != nil {
			r.Log.Warn("stopping what can be found", "error", err)
		}
		o = d.Patience(ctx, p)
		if p != nil {
			defer p.Close()
		}
	}
	if err := d.Stop(ctx, r, o); err != nil || d.Stopped == nil {
		return err
	}
	return d.Stopped(ctx)
}

// Stop returns nil once no process of the service is left, in its unit or beside it.
func (d Daemon) Stop(ctx context.Context, r *ocf.Request, o daemon.StopOptions) error {
	if d.Unit != "" {
		if err := d.stopUnit(ctx, r, o); err != nil {
			return err
		}
	}
	return d.Service.Stop(ctx, r, o)
}

// StopUnidentified is for [ocf.Agent]'s field of that name.
func (of Of) StopUnidentified(ctx context.Context, r *ocf.Request, cause error) error {
	d := of(r)
	svc, err := d.Meant(ctx, r, cause, d.Evidence...)
	if err != nil {
		return err
	}
	var o daemon.StopOptions
	switch {
	case d.Blind != nil:
		p, err := svc.Find(ctx, r)
		if err != nil {
			return err
		}
		o = d.Blind(ctx, p)
		_ = p.Close()
	case d.Patience != nil:
		o = d.Patience(ctx, nil)
	}
	return svc.Stop(ctx, r, o)
}

// Monitor asks all questions up to the request's level.
func (of Of) Monitor(ctx context.Context, r *ocf.Request) error {
	return Settled(ctx, r, func() (string, error) {
		d := of(r)
		return d.Unit, d.monitor(ctx, r)
	})
}

func (d Daemon) monitor(ctx context.Context, r *ocf.Request) error {
	p, err := d.find(ctx, r)
	switch {
	case p != nil:
		defer r.Release(p)
		err = d.Ask(ctx, r, p)
		if err != nil && p.Ended() {
			err = d.orStarved(r, err)
		}
	case err == nil:
		err = d.Absent(r)
	}
	if d.Judge == nil {
		return err
	}
	return d.Judge(ctx, p, err)
}

// ValidateAll looks at the host, from level 10 on; it is silent if all is well.
func (of Of) ValidateAll(ctx context.Context, r *ocf.Request) error {
	if r.Level < 10 {
		return nil
	}
	d := of(r)
	if d.Unusable != nil {
		return d.Unusable
	}
	binary, err := d.program()
	switch {
	case d.Unit != "":
		EnabledHint(r, d.Unit)
	case err == nil:
		err = d.account()
	}
	if err != nil {
		return err
	}
	LabelHint(ctx, r, d.Unit, binary)
	if d.Host == nil {
		return nil
	}
	return d.Host(ctx, binary)
}

// Reload does nothing: what may change without a restart are parameters of the
// health checks, and those are read anew by each.
func Reload(context.Context, *ocf.Request) error { return nil }

// program is what must be installed here: the unit, or the binary.
func (d Daemon) program() (string, error) {
	switch {
	case d.Unit != "":
		return "", hasUnit(d.Unit)
	case d.Binary == nil:
		return "", nil
	}
	return d.Binary()
}

func (d Daemon) account() error {
	if d.User == "" && d.Group == "" {
		return nil
	}
	_, err := Account(d.User, d.Group)
	return err
}

func (d Daemon) guard(ctx context.Context) error {
	if d.Guard == nil {
		return nil
	}
	return d.Guard(ctx)
}

// Absent is a monitor's answer when there is no process.
func (d Daemon) Absent(r *ocf.Request) error {
	if ocf.CodeOf(d.Unusable) == ocf.NotConfigured {
		return d.Unusable
	}
	if d.Unit != "" {
		if err := d.stray(); err != nil {
			return err
		}
	}
	if _, err := d.program(); err != nil {
		return err
	}
	return d.orStarved(r, d.NotRunning())
}

// orStarved is dead, an answer about a service that has died, with the lack of memory before it if that was the cause.
func (d Daemon) orStarved(r *ocf.Request, dead error) error {
	if cause := d.starved(r); cause != nil {
		return ocf.Errorf(ocf.CodeOf(dead), "%w: %w", cause, dead)
	}
	return dead
}

// Ask asks the process all questions up to the request's level.
func (d Daemon) Ask(ctx context.Context, r *ocf.Request, p *daemon.Process) error {
	if err := Thawed(p); err != nil {
		return err
	}
	if !slices.ContainsFunc(d.Questions, func(q Question) bool { return q.Level == 0 }) {
		d.Questions = append([]Question{{Ask: func(ctx context.Context, _ *daemon.Process) error { return d.Answers(ctx) }}}, d.Questions...)
	}
	var handicaps []error
	for _, q := range d.Questions {
		if q.Level > r.Level {
			continue
		}
		err := attended(ctx, p, func(ctx context.Context) error { return q.Ask(ctx, p) })
		switch {
		case err == nil:
		case ocf.CodeOf(err) == ocf.Degraded:
			handicaps = append(handicaps, err)
		default:
			return Because(p, err)
		}
	}
	switch {
	case len(handicaps) == 1:
		return Because(p, handicaps[0])
	case len(handicaps) > 1:
		return Because(p, ocf.Errorf(ocf.Degraded, "%w", errors.Join(handicaps...)))
	case d.Workers:
		return Workers(p)
	}
	return nil
}

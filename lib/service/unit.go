package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oom"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// A service lives in its unit: systemd gives it the arguments, environment,
// limits, sandbox, security domain and control group that its packager meant;
// the agent guards, asks, and ends what does not end.

// UnitParameter declares the parameter unit; example is what the distribution calls it.
func UnitParameter(unit *string, example string) ocf.Parameter {
	return ocf.Parameter{
		Name: "unit", UniqueGroup: "unit", Short: "systemd unit to run the service by",
		Value: ocf.Parsed(unit, func(name string) (string, error) {
			name, err := systemd.Name(name)
			return systemd.Real("/", name), err
		}),
		Long: "Such as " + example + ". The service is started and stopped by it, with the arguments, environment, limits and\n" +
			"control group that the unit gives it; how it runs is then the unit's to say (systemctl edit), and which\n" +
			"process it is and whether it serves is asked as without. Without it the agent starts the program itself.",
	}
}

// UnitAlone refuses parameters that say how the service is run beside a unit,
// which says so too.
func UnitAlone(r *ocf.Request, unit string, names ...string) error {
	for _, name := range names {
		if unit != "" && r.Given(name) {
			return ocf.Errorf(ocf.NotConfigured, "%s says how the service is run, and so does unit=%s: remove %s, and say it in the unit (systemctl edit %s)", name, unit, name, unit)
		}
	}
	return nil
}

// hasUnit fails with the code NotInstalled if there is no such unit.
func hasUnit(unit string) error {
	if !systemd.Booted() {
		return ocf.Errorf(ocf.NotInstalled, "systemd does not run this node, so that there is no unit %s: remove the parameter unit", unit)
	}
	if err := systemd.Installed(unit); err != nil {
		return ocf.Errorf(ocf.NotInstalled, "%w", err)
	}
	return nil
}

// find is Find, and looks into the unit's control group first. One that runs
// beside its unit is found too.
func (d Daemon) find(ctx context.Context, r *ocf.Request) (*daemon.Process, error) {
	d.Identity = d.hinted()
	return d.Find(ctx, r)
}

// hinted is Identity with the unit's control group for a hint that saves the scan.
func (d Daemon) hinted() daemon.Identity {
	id := d.Identity
	if d.Unit == "" {
		return id
	}
	if group := systemd.Group(d.Unit); group != "" {
		id.PIDFile, id.ReadPID = filepath.Join(group, "cgroup.procs"), systemd.FirstPID
	}
	return id
}

// thawed is nil unless the service's process is known and frozen.
func (d Daemon) thawed(ctx context.Context) error {
	p, err := d.hinted().Find(ctx)
	if err != nil || p == nil {
		return nil
	}
	defer p.Close()
	if err := Thawed(p); ocf.CodeOf(err) != ocf.NotRunning {
		return err
	}
	return nil // it has ended
}

// stray is nil if nothing runs in the unit: what does is the service or in doubt,
// never absent.
func (d Daemon) stray() error {
	pids, err := systemd.Processes(d.Unit)
	switch {
	case err != nil:
		return ocf.Errorf(ocf.Generic, "cannot tell whether anything runs in %s: %w", d.Unit, err)
	case len(pids) > 0:
		program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pids[0]))
		if program = filepath.Base(program); program == "systemd" || program == "systemd-executor" { // and the process's name may be anything, such as 8
			return ocf.Errorf(ocf.Generic, "systemd is about to run a command of %s (pid %d), which starts or ends it: see systemctl status %s", d.Unit, pids[0], d.Unit)
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pids[0]))
		return ocf.Errorf(ocf.Generic, "%s runs %s (pid %d), left there by one that died, or not known as the %s: see systemctl status %s", d.Unit, strings.Trim(string(comm), "()\n"), pids[0], d.Name, d.Unit)
	}
	return nil
}

// Settled has a monitor look at the service, and again after a failure if somebody else has had systemd start or stop its unit
// meanwhile: an upgrade of the package restarts it, and so does an operator. It waits for the end of that, and for the service to
// serve then, for half of the time that is left.
func Settled(ctx context.Context, r *ocf.Request, look func() (unit string, err error)) error {
	began := systemd.Now()
	unit, err := look()
	failed := func() bool { return ocf.CodeOf(err) == ocf.Generic || ocf.CodeOf(err) == ocf.NotRunning }
	if unit == "" || !failed() {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, Remaining(ctx)/2)
	defer cancel()
	for waited := false; ; waited = true {
		state, unknown := systemd.StateOf(soon, unit) // unknown, too, when the time is up
		if !waited && (unknown != nil || !state.Job && state.Changed < began) {
			return err
		}
		if !state.Job {
			if _, err = look(); !failed() || !state.Active {
				return err
			}
		}
		r.Step("waiting for %s, which somebody else has restarted", unit)
		select {
		case <-soon.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// startUnit has systemd start the unit, and returns as soon as the service
// serves, which may be before systemd calls the job done. One that is killed
// during its start is started once more, as without a unit.
func (d Daemon) startUnit(ctx context.Context, r *ocf.Request) error {
	return d.once(ctx, r, func(ctx context.Context) error {
		cause := d.guard(ctx)
		if cause != nil {
			return cause
		}
		r.Step("making %s the cluster's", d.Unit)
		if err := systemd.Claim(ctx, d.Unit); err != nil {
			return ocf.Errorf(ocf.Generic, "%s cannot be made the cluster's: %w", d.Unit, err)
		}
		r.Step("waiting for the %s, which systemd starts by %s, to serve", d.Name, d.Unit)
		for again := false; ; again = true {
			began, kernel, said := time.Now(), oom.Now(), daemon.Words(d.Logs...)
			hung, err := d.runUnit(ctx, r)
			var died *systemd.JobError
			if !errors.As(err, &died) || ctx.Err() != nil {
				return err
			}
			if words := said(ctx); len(words) > 0 {
				died.Words = strings.Join(words, " | ")
			}
			if died.Killed() {
				died.By = cmp.Or(hung, killed(kernel, d.Unit, d.Identity.Executables...))
			}
			err = ocf.Errorf(ocf.Generic, "%w", died)
			if cause = d.guard(ctx); cause != nil { // what it said last it said without knowing of its storage
				return ocf.Errorf(ocf.CodeOf(cause), "%w; so %w", cause, err)
			}
			if !died.Killed() || again || Remaining(ctx) < time.Since(began) {
				return err
			}
			r.Log.Warn("it was killed during its start and is started once more", "error", err)
		}
	})
}

// runUnit starts the unit's job, and follows it until the process is frozen, which does not thaw by waiting. hung is why it killed
// the process, if it did.
func (d Daemon) runUnit(ctx context.Context, r *ocf.Request) (hung, err error) {
	var idle daemon.Idle
	thawed := func(ctx context.Context) error {
		if p, _ := d.hinted().Find(ctx); p != nil {
			hung = cmp.Or(hung, idle.KillIdle(p, d.Stalled))
			_ = p.Close()
		}
		return d.thawed(ctx)
	}
	err = whileThawed(ctx, thawed, func(ctx context.Context) error {
		job := make(chan error, 1)
		go func() { job <- systemd.Do(ctx, "start", d.Unit) }()
		return d.follow(ctx, r, job)
	})
	return hung, err
}

// follow waits until the service serves, or its unit's job has failed, or its
// unit has nothing left that could serve. It goes on looking at these while the
// service is asked: whoever holds its address may accept, and never answer.
func (d Daemon) follow(ctx context.Context, r *ocf.Request, job <-chan error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	asked := error(ocf.Errorf(ocf.Generic, "%s has no process yet", d.Unit))
	q := question{ask: func(ctx context.Context) error { return d.serves(ctx, r) }}
	defer q.drop()
	for done := false; ; {
		pids, err := systemd.Processes(d.Unit)
		switch {
		case err != nil:
			return ocf.Errorf(ocf.Generic, "%w", err)
		case len(pids) > 0:
			q.put(ctx)
		case done:
			q.drop()
			if err := d.ended(ctx); err != nil {
				return err
			}
		default:
			q.drop() // the answer would be somebody else's
		}
		select {
		case err := <-q.answer:
			q.drop()
			if err == nil {
				return nil
			}
			if ctx.Err() == nil { // else it says only that time is up
				asked = err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		case err := <-job:
			var failed *systemd.JobError
			switch {
			case errors.As(err, &failed) || err != nil && ctx.Err() == nil:
				return ocf.Errorf(ocf.Generic, "%w", err)
			case err == nil:
				done, job = true, nil
			}
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "%w; %s may still be on its way: see journalctl -u %s, and give start a longer timeout", asked, d.Unit, d.Unit)
		}
	}
}

// ended is how a unit that was started and has no process left ended; nil if systemd does not know yet.
func (d Daemon) ended(ctx context.Context) error {
	err := systemd.Ended(ctx, d.Unit)
	if ctx.Err() != nil || err == nil {
		return nil
	}
	return ocf.Errorf(ocf.Generic, "%w", err)
}

// question is one that is asked in the background, while what it is about is watched.
type question struct {
	ask    func(context.Context) error
	answer chan error // nil while nothing is asked
	cancel context.CancelFunc
}

// put asks, if the former answer has been taken.
func (q *question) put(ctx context.Context) {
	if q.answer != nil {
		return
	}
	ctx, q.cancel = context.WithCancel(ctx)
	answer := make(chan error, 1)
	q.answer = answer
	go func() { answer <- q.ask(ctx) }()
}

// drop takes the question back, if there is one.
func (q *question) drop() {
	if q.answer != nil {
		q.cancel()
		q.answer = nil
	}
}

// serves is nil once the service answers, and is the one that a monitor will find: with settings of its own the unit may
// run another.
func (d Daemon) serves(ctx context.Context, r *ocf.Request) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	p, err := d.find(ctx, r)
	switch {
	case err != nil:
		return err
	case p == nil:
		return cmp.Or(d.stray(), error(d.NotRunning()))
	}
	d.Began(r, p)
	return p.Close()
}

// stopUnit has systemd stop the unit, and kills what is left in its control
// group when our time for that is up, whatever the unit's own time is. What runs
// beside the unit is not its concern.
func (d Daemon) stopUnit(ctx context.Context, r *ocf.Request, o daemon.StopOptions) error {
	if !systemd.Booted() {
		return nil
	}
	grace := o.Grace
	if left := Remaining(ctx); grace == 0 || grace > left*3/4 {
		grace = left * 3 / 4
	}
	r.Step("waiting for systemd to stop %s", d.Unit)
	patient, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	// One that was stopped by a signal or systemctl freeze is continued by systemd; one that a debugger holds, or that is
	// frozen with what is above its unit, cannot end by itself.
	if err := whileThawed(patient, d.thawed, func(ctx context.Context) error { return systemd.Do(ctx, "stop", d.Unit) }); err != nil {
		r.Log.Warn("systemd did not stop the unit", "unit", d.Unit, "error", err)
	}
	r.Step("ending what is left of %s", d.Unit)
	err := daemon.StopAll(ctx, d.Name, func() ([]int, error) { return systemd.Processes(d.Unit) }, daemon.StopOptions{Signal: unix.SIGKILL, Log: r.Log})
	if err != nil {
		return ocf.Errorf(ocf.Generic, "not stopped: %w (the %s in %s)", err, d.Name, d.Unit)
	}
	return nil
}

// Package service is how an agent runs one daemon: what start, stop and monitor
// have in common, whatever the daemon is. Errors are ocf.Errors, written for
// the operator.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/oom"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// ErrStopping, in the error of Answers, says that the service answers but is
// shutting down, so that it does not count as serving.
var ErrStopping = errors.New("it is shutting down")

// Service is one daemon on one node.
type Service struct {
	Name     string // for messages: "MySQL server"
	On       string // what makes it this one: its data directory, or its option file
	Identity daemon.Identity

	// Answers is the question of a level 0 monitor: nil if the service serves; an
	// error with the code ocf.Degraded if it serves with a handicap.
	Answers func(context.Context) error
}

// Find returns the service's process, nil if it surely does not run. The error
// carries the exit code.
func (s Service) Find(ctx context.Context, r *ocf.Request) (*daemon.Process, error) {
	r.Step("looking for the process of the %s on %s", s.Name, s.On)
	p, err := s.Identity.Find(ctx)
	if err != nil {
		return nil, s.unknown(err)
	}
	return p, nil
}

// unknown carries the exit code of a look at processes that failed.
func (s Service) unknown(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return ocf.Errorf(ocf.Permission, "cannot look at all processes of this node, so that nothing can be said of the %s: run as root: %w", s.Name, err)
	}
	if errors.As(err, new(*daemon.DoubtError)) {
		return ocf.Errorf(ocf.Generic, "%w", err) // it names the process, and comes first
	}
	return ocf.Errorf(ocf.Generic, "cannot tell whether the %s runs: %w", s.Name, err)
}

// Meant is the service for a stop in ocf.Agent.StopUnidentified, with its cause. Where none of its kind runs on this
// node, nobody has to know which one is meant. Otherwise it is the one that evidence points at: tests by parameters that
// are ocf.Request.Named. That only one runs does not make it the one: it may be another resource's.
func (s Service) Meant(ctx context.Context, r *ocf.Request, cause error, evidence ...daemon.Test) (Service, error) {
	r.Step("looking for every %s, since it is not known which one is meant", s.Name)
	s.Identity.PIDFile, s.Identity.Test, s.Identity.Claims = "", nil, nil
	kind, err := s.Identity.Elders(ctx)
	defer closeAll(kind)
	if err != nil {
		return s, s.unknown(err)
	}
	s.Identity.Test = daemon.Any(evidence...)
	meant, err := s.Identity.Elders(ctx)
	defer closeAll(meant)
	switch {
	case err != nil:
		return s, s.unknown(err)
	case len(kind) == 0:
		r.Log.Warn("no "+s.Name+" runs on this node, so that none has to be stopped, whichever is meant", "error", cause)
	case len(meant) == 1:
		r.Log.Warn("stopping the only "+s.Name+" that the other parameters point at", "process", meant[0].String(), "error", cause)
	case len(meant) == 0:
		return s, ocf.Errorf(ocf.Generic, "cannot tell which one to stop: %w; %s runs: stop it by hand if it is meant", cause, kind[0])
	default:
		return s, ocf.Errorf(ocf.Generic, "cannot tell which one to stop: %w; %d may be meant, such as %s and %s", cause, len(meant), meant[0], meant[1])
	}
	return s, nil
}

func closeAll(procs []*daemon.Process) {
	for _, p := range procs {
		_ = p.Close()
	}
}

// NotRunning is a monitor's answer when there is no process.
func (s Service) NotRunning() error {
	return ocf.Errorf(ocf.NotRunning, "no %s runs on %s on this node", s.Name, s.On)
}

// Thawed is nil unless the process was stopped by a signal, or its control group
// is frozen: it then answers nobody, and asking it would only take time.
func Thawed(p *daemon.Process) error {
	switch how, err := Frozen(p); {
	case err != nil:
		return ocf.Errorf(ocf.NotRunning, "%s has just died", p)
	case how != "":
		return ocf.Errorf(ocf.Generic, "%s %s: it answers nobody", p, how)
	}
	return nil
}

// Frozen says, to follow its name, by what a process is kept from running; "" if by nothing. The error is that it has ended.
func Frozen(p *daemon.Process) (how string, err error) {
	st, err := p.Stat()
	if err != nil {
		return "", err
	}
	if st.State == 't' {
		return fmt.Sprintf("is frozen (held by a debugger%s)", debugger(p)), nil
	}
	if st.Stopped() {
		return fmt.Sprintf("is frozen (state %c, stopped by a signal)", st.State), nil
	}
	if group := p.FrozenGroup(); group != "" {
		return "is frozen with its control group " + group, nil
	}
	return "", nil
}

// debugger names the process that holds another, for a reason.
func debugger(p *daemon.Process) string {
	pid := p.Tracer()
	if pid == 0 {
		return ""
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return fmt.Sprintf(", %s (pid %d)", strings.TrimSpace(string(comm)), pid)
}

// frozenLook is how often is looked, while a process is asked, whether it still can answer; twice in a row counts, for a
// debugger that attaches stops it for a moment.
const frozenLook = 200 * time.Millisecond

// whileThawed asks, and ends the question with the error of thawed once nobody is there to answer. Most questions are
// answered before the first look, and cost a timer.
func whileThawed(ctx context.Context, thawed func(context.Context) error, ask func(context.Context) error) error {
	asking, cancel := context.WithCancel(ctx)
	silent := make(chan error, 1)
	looking := time.AfterFunc(frozenLook, func() {
		err := frozenFor(asking, thawed)
		cancel()
		silent <- err
	})
	err := ask(asking)
	cancel()
	if looking.Stop() {
		return err
	}
	if why := <-silent; err != nil && why != nil { // waited for in any case: what thawed looks at is the caller's again
		return why
	}
	return err
}

// frozenFor looks until two looks in a row say the same, and returns what they said; nil once nobody is asked any more.
func frozenFor(asking context.Context, thawed func(context.Context) error) error {
	tick := time.NewTicker(frozenLook)
	defer tick.Stop()
	for looks := 0; asking.Err() == nil; {
		err := thawed(asking)
		if err == nil {
			looks = 0
		} else if looks++; looks == 2 {
			return err
		}
		select {
		case <-asking.Done():
		case <-tick.C:
		}
	}
	return nil
}

// attended asks a process, and looks at it meanwhile: the question ends once it is frozen, and the error says if it had no
// descriptor left, be it that some are free again when the question's time is over.
func attended(ctx context.Context, p *daemon.Process, ask func(context.Context) error) error {
	var full string
	looks := 0
	err := whileThawed(ctx, func(context.Context) error {
		if looks%5 == 0 { // it may have many to count
			full = cmp.Or(full, Exhausted(p))
		}
		looks++
		return Thawed(p)
	}, ask)
	if err == nil || ocf.CodeOf(err) == ocf.Degraded { // it has answered, and knows best
		return err
	}
	if full = cmp.Or(full, Exhausted(p)); full != "" {
		return fmt.Errorf("%s: %w", full, err)
	}
	return err
}

// Workers is nil unless a child of the process was stopped by a signal: the others serve, and the process does not know.
func Workers(p *daemon.Process) error {
	children, err := p.Children()
	if err != nil {
		return nil // how many serve is not what decides
	}
	var frozen []string
	for _, st := range children {
		if st.Stopped() {
			frozen = append(frozen, strconv.Itoa(st.PID))
		}
	}
	if len(frozen) == 0 {
		return nil
	}
	pids := strings.Join(frozen, " ")
	return ocf.Errorf(ocf.Degraded, "%d of %d child processes of %s are frozen (pid %s, stopped by a signal): what they have taken on is not answered: kill -CONT %s", len(frozen), len(children), p, pids, pids)
}

// Because names the process in the error of a question it was asked, and what
// became of it meanwhile if that is the cause.
func Because(p *daemon.Process, err error) error {
	switch {
	case err == nil:
		return nil
	case p.Ended():
		return ocf.Errorf(ocf.Generic, "%s has just died: see its log", p)
	}
	if frozen := Thawed(p); frozen != nil {
		return frozen
	}
	if frozen := Workers(p); frozen != nil {
		return ocf.Errorf(ocf.CodeOf(err), "%w; %w", frozen, err)
	}
	return fmt.Errorf("%s: %w", p, err)
}

// Exhausted says if the process has its file descriptors used up: nobody can connect then, and it may not even be
// able to say so. A few are free again by the time somebody looks.
func Exhausted(p *daemon.Process) string {
	open, most, err := p.Descriptors()
	if err != nil || open < most-most/20 {
		return ""
	}
	return fmt.Sprintf("%d of its %d file descriptors are in use: raise LimitNOFILE (ulimit -n)", open, most)
}

// Serves tells whether an answer means that clients are served, be it with a
// handicap.
func Serves(err error) bool {
	return err == nil || (ocf.CodeOf(err) == ocf.Degraded && !errors.Is(err, ErrStopping))
}

// Start returns nil once the service serves. If it runs already, it waits for
// that; otherwise launch checks what must be so on this node and says how the
// daemon is started. Of two starts at once, one waits for the other.
func (s Service) Start(ctx context.Context, r *ocf.Request, launch func(context.Context) (daemon.Command, error)) error {
	return s.once(ctx, r, func(ctx context.Context) error {
		r.Step("waiting for the %s to serve", s.Name)
		p, err := Launch(ctx, r, launch, s.ready)
		var late *daemon.NotReadyError
		switch {
		case err == nil:
			s.Began(r, p)
			return p.Close()
		case errors.As(err, &late) && late.Process != nil:
			_ = late.Process.Close()
			return ocf.Errorf(ocf.Generic, "%w; it may still be on its way: see its log, and give start a longer timeout", err)
		}
		return err
	})
}

// Launch starts a daemon as launch says, which checks what must be so on this
// node, and waits until it is ready. After a death launch checks again, for what
// the daemon said last was said without knowing that its storage went away: what
// it finds now comes first. A daemon that was killed, also by us because it hung, is started once more, if
// there is as much time left as it had: Pacemaker would ban its group from the
// node until somebody comes.
func Launch(ctx context.Context, r *ocf.Request, launch func(context.Context) (daemon.Command, error), ready func(context.Context) error) (*daemon.Process, error) {
	c, cause := launch(ctx)
	if cause != nil {
		return nil, cause
	}
	for again := false; ; again = true {
		if c.Log == nil {
			c.Log = r.Log
		}
		began, program := oom.Now(), c.Path
		p, err := daemon.Start(ctx, c, ready)
		var died *daemon.DiedError
		switch {
		case err == nil:
			return p, nil
		case !errors.As(err, &died):
			return nil, ocf.Errorf(ocf.Generic, "%w", err)
		}
		if died.Killed() {
			died.By = cmp.Or(died.By, killed(began, "", program))
		}
		if ctx.Err() != nil {
			return nil, ocf.Errorf(ocf.Generic, "%w", err)
		}
		if c, cause = launch(ctx); cause != nil {
			return nil, ocf.Errorf(ocf.CodeOf(cause), "%w; so %w", cause, err)
		}
		if !died.Killed() || again || Remaining(ctx) < died.After {
			return nil, ocf.Errorf(ocf.Generic, "%w", err)
		}
		r.Log.Warn("it was killed during its start and is started once more", "error", err)
	}
}

// once calls start unless the service runs; it then waits for that to serve.
func (s Service) once(ctx context.Context, r *ocf.Request, start func(context.Context) error) error {
	r.Step("waiting for another start of the %s on %s", s.Name, s.On)
	release, err := s.Lock(ctx, r)
	if err != nil {
		return err
	}
	defer release()
	for {
		p, err := s.Find(ctx, r)
		if err != nil {
			return err
		}
		if p == nil {
			break
		}
		if err = s.await(ctx, r, p); err == nil {
			s.Began(r, p)
		}
		_ = p.Close()
		if !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return start(ctx)
}

func (s Service) ready(ctx context.Context) error {
	err := s.Answers(ctx)
	if Serves(err) {
		return nil
	}
	return err
}

// await waits for a process that runs already to serve. The error is
// os.ErrProcessDone if it ends instead.
func (s Service) await(ctx context.Context, r *ocf.Request, p *daemon.Process) error {
	r.Step("waiting for %s, which runs already, to serve", p)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := Thawed(p)
		if err == nil {
			err = attended(ctx, p, s.ready)
		} else if p.Alive() {
			return err // it will not thaw by waiting
		}
		switch {
		case !p.Alive():
			return os.ErrProcessDone
		case err == nil:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// Stop returns nil once no process of the service is left.
func (s Service) Stop(ctx context.Context, r *ocf.Request, o daemon.StopOptions) error {
	o.Log = r.Log
	for {
		r.Step("waiting for the %s on %s to end", s.Name, s.On)
		if err := daemon.Stop(ctx, s.Identity, o); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return ocf.Errorf(ocf.Permission, "cannot look at or signal the %s: run as root: %w", s.Name, err)
			}
			return ocf.Errorf(ocf.Generic, "not stopped: %w (the %s on %s)", err, s.Name, s.On)
		}
		// A start that was under way sees its daemon die and gives up the lock.
		soon, cancel := context.WithTimeout(ctx, time.Second)
		release, err := s.Lock(soon, r)
		cancel()
		if err == nil {
			defer release()
		}
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	p, err := s.Find(ctx, r)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
		return ocf.Errorf(ocf.Generic, "%s was started while the %s was being stopped: find out what starts it (a supervisor, a systemd unit that is enabled)", p, s.Name)
	}
	return nil
}

// Remaining is the time until the action must end.
func Remaining(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return time.Minute
}

// Lock waits until no other start, stop or reload of the service is under way.
// Its file is one per service, where resource agents keep such things.
func (s Service) Lock(ctx context.Context, r *ocf.Request) (release func(), err error) {
	return lock.Take(ctx, s.lockFile(r))
}

func (s Service) lockFile(r *ocf.Request) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.On))
	return filepath.Join(r.TempDir(), fmt.Sprintf("openstack-%s-%x.lock", r.Agent, h.Sum64()))
}

// OwnDirs makes the directories that are missing, for the account.
func OwnDirs(ctx context.Context, account daemon.Account, dirs ...string) error {
	var made []string
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return ocf.Errorf(ocf.BadArgument, "directory %s is missing and cannot be made: %w", dir, err)
		}
		if err := os.Chown(dir, account.UID, account.GID); err != nil {
			return ocf.Errorf(ocf.Permission, "%w", err)
		}
		made = append(made, dir)
	}
	_ = daemon.Relabel(ctx, made...) // it fails where there are no labels, such as on NFS
	return nil
}

// Account resolves who the service runs as.
func Account(user, group string) (daemon.Account, error) {
	a, err := daemon.Lookup(user, group)
	if err != nil {
		code := ocf.BadArgument
		if errors.Is(err, daemon.ErrNameService) {
			code = ocf.Generic
		}
		return a, ocf.Errorf(code, "user %q and group %q, as whom the service would run: %w", user, group, err)
	}
	return a, nil
}

// CanWrite checks that the account may write to directories that are there.
func CanWrite(account daemon.Account, user string, dirs ...string) error {
	for _, dir := range dirs {
		if err := account.CanWrite(dir); err != nil {
			return ocf.Errorf(ocf.Permission, "user %s cannot write: %w", user, err)
		}
	}
	return nil
}

// EnabledHint logs a warning if systemd starts the unit at boot, be it the one that the agent runs the service by.
func EnabledHint(r *ocf.Request, unit string) {
	if links := systemd.Enabled("/", unit); len(links) > 0 {
		r.Log.Warn("systemd starts the service as well, behind the cluster's back: systemctl disable "+unit, "link", links[0])
	}
}

// LabelHint logs a warning if what is run, by the unit if there is one, has not the label that SELinux' policy has for it.
func LabelHint(ctx context.Context, r *ocf.Request, unit, binary string) {
	if u, found := systemd.Read("/", unit); unit != "" && found {
		binary = u.Exec[0]
	}
	if w := daemon.Mislabelled(ctx, "/", binary); w != "" {
		r.Log.Warn(w)
	}
}

// UnitHints logs a warning for systemd units that would run the service behind
// the cluster's back, or do so now.
func UnitHints(r *ocf.Request, units ...string) {
	for _, unit := range units {
		EnabledHint(r, unit)
		if b, err := os.ReadFile("/sys/fs/cgroup/system.slice/" + unit + "/cgroup.procs"); err == nil && len(b) > 0 {
			r.Log.Warn("the service runs under systemd's " + unit + ": stop it there before the cluster manages it")
		}
	}
}

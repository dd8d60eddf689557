package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StopOptions is how a daemon is stopped.
type StopOptions struct {
	// Signal asks it to end; 0 is SIGTERM.
	Signal syscall.Signal
	// Grace is how long it has before SIGKILL; 0 is all the time there is but Reserve.
	Grace time.Duration
	// Reserve is what is left of the context's time for SIGKILL and the check afterwards; 0 is a quarter of
	// it, at most 10 s.
	Reserve time.Duration
	// First are supervisors that would start the daemon again (mysqld_safe). They get SIGKILL at once,
	// for mysqld_safe ignores all else, and a supervisor that is asked to end may take its time.
	First []Identity
	// LeaveChildren spares processes that the daemon left in its session and process group, such as the
	// keepalived and haproxy that serve a neutron agent's networks while it restarts.
	LeaveChildren bool
	// Log is told what is done; nil drops it.
	Log *slog.Logger
}

// defaultTime is what a stop may take when the context has no deadline: Pacemaker's default action timeout.
const defaultTime = 20 * time.Second

// Stop ends every process of the daemon and returns nil once none is left on this node, which a last scan
// verifies. It asks, waits, kills, and waits until the context ends. A daemon that was stopped by SIGSTOP is
// continued, so that it can end as asked.
//
// The error is a *StillAlive for a process that outlived SIGKILL, a *DoubtError for one that may be the daemon
// and hence was not touched, or wraps fs.ErrPermission.
func Stop(ctx context.Context, id Identity, o StopOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Signal == 0 {
		o.Signal = unix.SIGTERM
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTime)
		defer cancel()
	}
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	if o.Reserve == 0 {
		o.Reserve = min(left/4, 10*time.Second)
	}
	if o.Grace == 0 || o.Grace > left-o.Reserve {
		o.Grace = max(left-o.Reserve, 0)
	}
	graceEnds := time.Now().Add(o.Grace)

	var errs []error
	for _, supervisor := range o.First {
		so := o
		so.Signal, so.LeaveChildren = unix.SIGKILL, true
		if err := stop(ctx, supervisor, so, graceEnds); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, stop(ctx, id, o, graceEnds))...)
}

// stop ends what it finds until it finds nothing.
func stop(ctx context.Context, id Identity, o StopOptions, graceEnds time.Time) error {
	for round := 0; ; round++ {
		found, dying, err := id.scan(ctx)
		switch {
		case round > 0 && len(found) > 0 && ctx.Err() != nil:
			return errors.Join(respawned(found[0]), err)
		case len(found)+len(dying) > 0:
			o.Grace = max(time.Until(graceEnds), 0)
			killed := end(ctx, found, o)
			killed = errors.Join(killed, outlived(ctx, dying))
			for _, p := range slices.Concat(found, dying) {
				p.Close()
			}
			if killed != nil {
				return errors.Join(killed, err)
			}
		default:
			return err
		}
	}
}

// respawned is the error for a daemon that was there again whenever it had been stopped.
func respawned(p *Process) error {
	by := "a process unknown"
	if st, err := p.Stat(); err == nil {
		by = fmt.Sprintf("process %d", st.PPID)
		if parent, err := ReadStat(filepath.Join(filepath.Dir(p.dir), strconv.Itoa(st.PPID))); err == nil {
			by += fmt.Sprintf(" (%s)", parent.Comm)
		}
	}
	return fmt.Errorf("%s was started again while it was being stopped, by %s: disable that first", p, by)
}

// end asks the processes to end, waits, kills, and waits for all. Of a family the eldest are asked first: a
// server that is told to end tells its workers.
func end(ctx context.Context, procs []*Process, o StopOptions) error {
	elders, young := families(procs)
	if !o.LeaveChildren {
		// Collected now, for with its leader gone a process group tells nothing about whose it was.
		children := members(procs)
		defer func() {
			for _, p := range children {
				p.Close()
			}
		}()
		young = append(young, children...)
	}
	grace, cancel := context.WithTimeout(ctx, o.Grace)
	defer cancel()
	var errs []error
	if o.Signal != unix.SIGKILL && o.Grace > 0 {
		frozen := slices.ContainsFunc(slices.Concat(elders, young), func(p *Process) bool { st, err := p.Stat(); return err == nil && st.State == 'T' })
		for _, p := range young { // elders wait for their workers, also for those that are about to freeze and do not show it yet
			if frozen {
				_ = p.Signal(unix.SIGCONT)
			}
		}
		for _, generation := range [][]*Process{elders, young} {
			errs = append(errs, askAll(generation, o)...)
			wait(grace, generation)
		}
	}
	all := slices.Concat(elders, young)
	for _, p := range all {
		if !p.Alive() {
			continue
		}
		if o.Signal != unix.SIGKILL {
			o.Log.Warn("sending SIGKILL", "process", p.String(), "after", o.Grace.Round(time.Millisecond))
		}
		if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	// An error of asking is no matter if the process is gone all the same.
	alive := outlived(ctx, all)
	if alive == nil {
		return nil
	}
	return errors.Join(append([]error{alive}, errs...)...)
}

func askAll(procs []*Process, o StopOptions) (errs []error) {
	for _, p := range procs {
		st, err := p.Stat()
		if err == nil {
			err = p.Signal(o.Signal)
		}
		if err == nil && st.State == 'T' {
			o.Log.Warn("it was stopped by a signal: continued so that it can end", "process", p.String())
			err = p.Signal(unix.SIGCONT)
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	return errs
}

func wait(ctx context.Context, procs []*Process) {
	for _, p := range procs {
		_ = p.Wait(ctx)
	}
}

// outlived waits for the processes and describes those that are alive when the context ends.
func outlived(ctx context.Context, procs []*Process) error {
	wait(ctx, procs)
	var errs []error
	for _, p := range procs {
		if p.Alive() {
			errs = append(errs, p.stuck())
		}
	}
	return errors.Join(errs...)
}

// families parts processes into those whose parent is not among them and the rest.
func families(procs []*Process) (elders, young []*Process) {
	for _, p := range procs {
		st, err := p.Stat()
		if err == nil && slices.ContainsFunc(procs, func(q *Process) bool { return q.PID == st.PPID }) {
			young = append(young, p)
			continue
		}
		elders = append(elders, p)
	}
	return elders, young
}

// members finds the other processes in the sessions and process groups that the given processes lead. Never
// this process, its own group or ancestors, nor kernel threads.
func members(leaders []*Process) []*Process {
	if len(leaders) == 0 || leaders[0].fixture {
		return nil
	}
	self, err := ReadStat("/proc/self")
	if err != nil {
		return nil
	}
	since := led(leaders)
	delete(since, self.Session)
	delete(since, self.PGID)
	spared := ancestors(self)
	for _, p := range leaders {
		spared[p.PID] = true
	}
	names, err := readNames("/proc")
	if err != nil || len(since) == 0 {
		return nil
	}
	var found []*Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || spared[pid] {
			continue
		}
		if p := member(pid, since, leaders[0].name); p != nil {
			found = append(found, p)
		}
	}
	return found
}

// led are the processes that lead a session or group, with when they were started.
func led(leaders []*Process) map[int]uint64 {
	since := map[int]uint64{}
	for _, p := range leaders {
		if st, err := p.Stat(); err == nil && (st.Session == p.PID || st.PGID == p.PID) {
			since[p.PID] = p.StartTime
		}
	}
	return since
}

// ancestors are a process and those that it stems from.
func ancestors(self Stat) map[int]bool {
	all := map[int]bool{0: true, 1: true, self.PID: true}
	for pid := self.PPID; pid > 1; {
		all[pid] = true
		st, err := ReadStat("/proc/" + strconv.Itoa(pid))
		if err != nil {
			break
		}
		pid = st.PPID
	}
	return all
}

// member is the process if it is in a session or group of one of the leaders, else nil.
func member(pid int, since map[int]uint64, leader string) *Process {
	st, err := ReadStat("/proc/" + strconv.Itoa(pid))
	if err != nil || st.Flags&kernelThread != 0 || st.Dead() || !follows(st, since) {
		return nil
	}
	p, err := open("", pid)
	if err != nil {
		return nil
	}
	// Once more with the process in hand.
	if st, err := p.Stat(); err != nil || !follows(st, since) {
		p.Close()
		return nil
	}
	p.name = fmt.Sprintf("%s, a child of %s", cmp.Or(filepath.Base(p.Exe), st.Comm), leader)
	return p
}

// follows says whether a process is in a session or group of one of the leaders, and not older than it.
func follows(st Stat, since map[int]uint64) bool {
	for _, leader := range []int{st.Session, st.PGID} {
		if start, ok := since[leader]; ok && st.StartTime >= start {
			return true
		}
	}
	return false
}

// StopAll ends the processes that list names, as Stop does, until it names none: those of a control group.
func StopAll(ctx context.Context, name string, list func() ([]int, error), o StopOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for {
		procs, named, err := holdAll(list, name)
		if err != nil || len(named) == 0 {
			return err
		}
		err = end(ctx, procs, o)
		closeAll(procs)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes of %s are started again and again: %v", name, named)
		case <-time.After(firstAsk):
		}
	}
}

// SignalAll sends the processes that list names a signal, and gives them some time to end.
func SignalAll(ctx context.Context, list func() ([]int, error), sig syscall.Signal, wait time.Duration) error {
	procs, _, err := holdAll(list, "")
	defer closeAll(procs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, p := range procs {
		if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	for _, p := range procs {
		_ = p.Wait(ctx)
	}
	return nil
}

// holdAll takes hold of the processes that list names. A pid that is still named then, with the process in hand, is no other's.
func holdAll(list func() ([]int, error), name string) (procs []*Process, named []int, err error) {
	named, err = list()
	if err != nil || len(named) == 0 {
		return nil, nil, err
	}
	for _, pid := range named {
		if p, err := open("", pid); err == nil {
			p.name = cmp.Or(filepath.Base(p.Exe), name)
			procs = append(procs, p)
		}
	}
	again, err := list()
	if err != nil {
		closeAll(procs)
		return nil, named, err
	}
	procs = slices.DeleteFunc(procs, func(p *Process) bool {
		other := !slices.Contains(again, p.PID)
		if other {
			p.Close()
		}
		return other
	})
	return procs, named, nil
}

func closeAll(procs []*Process) {
	for _, p := range procs {
		p.Close()
	}
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/files"
)

// Command is how a daemon is started.
type Command struct {
	Name string   // for messages; "" is the base name of Path
	Path string   // absolute
	Args []string // without the name of the program
	// Env is added to PATH, HOME, USER, LOGNAME and LANG=C. Nothing is inherited: the environment of an agent
	// holds its parameters, secrets among them.
	Env []string
	Dir string // working directory; "" is /
	// User and Group are names or numbers; "" is who runs the agent, and the user's own group. The user's
	// supplementary groups are set as well, from /etc/group.
	User, Group string
	Umask       int // 0 is 022
	Nice        int // 0 leaves it as it is
	Limits      []Limit
	// Capabilities are kept over the change of user, such as unix.CAP_IPC_LOCK; one that we have not is left out.
	Capabilities []uintptr
	// Output is a file that standard output and error are appended to; it is created for User, mode 0640.
	// "" is /dev/null.
	Output string
	// Errors gets standard error in its place, if not nil.
	Errors *os.File
	// Logs are other files the daemon writes to, such as mysqld's --log-error, searched for its last words.
	Logs []string
	// PIDFile is written by Start if not "", for daemons that do not do it themselves.
	PIDFile string
	// Forks says that the child leaves the daemon behind and exits with 0 (qpidd --daemon); the daemon is
	// then what this Identity finds.
	Forks *Identity
	// KillUnready kills what was started if the context ends before it is ready.
	KillUnready bool
	// Stalled is how long the daemon may do nothing (see Idle) before it is ready; then it is killed. 0 is for ever. Not with Forks.
	Stalled time.Duration
	// Log gets warnings, such as of a limit that could not be raised; nil drops them.
	Log *slog.Logger
}

// Limit is a resource limit, setrlimit(2). Value becomes the soft limit, and the hard limit if that is lower.
// If the kernel refuses, it is raised as far as it goes.
type Limit struct {
	Resource int // unix.RLIMIT_NOFILE, ...
	Value    uint64
}

// The pace at which Start asks whether the daemon is ready.
const (
	firstAsk = 5 * time.Millisecond
	lastAsk  = 100 * time.Millisecond
)

// freezeLook is how often Start looks whether the daemon was stopped by a signal; twice in a row counts, for a
// debugger that attaches stops it for a moment.
const freezeLook = 300 * time.Millisecond

// Start starts a daemon and returns it as soon as ready returns nil; a nil ready asks nothing. The daemon has
// a session of its own and inherits no file descriptor, so it outlives the caller and whoever waits for that.
//
// The error is a *DiedError as soon as the daemon died, a *FrozenError if it was stopped by a signal, a
// *NotReadyError if the context ended first. What
// keeps it from being started wraps fs.ErrNotExist, fs.ErrPermission or user.UnknownUserError.
func Start(ctx context.Context, c Command, ready func(context.Context) error) (*Process, error) {
	if c.Name == "" {
		c.Name = filepath.Base(c.Path)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := starting{Command: c, began: time.Now(), words: rememberLogs(slices.Concat([]string{c.Output}, c.Logs))}
	child, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", c.Name, err)
	}
	s.pid = child.Pid
	// The child cannot be reaped before follow does it, so its pid is its own until then.
	s.process, err = hold("", child.Pid)
	if err == nil {
		s.process.name = c.Name
		err = s.process.readExe()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.Log.Warn("cannot look at the process that was started", "daemon", c.Name, "pid", child.Pid, "err", err)
	}
	if c.PIDFile != "" {
		if err := files.Replace(c.PIDFile, fmt.Appendln(nil, child.Pid), 0o644); err != nil {
			c.Log.Warn("cannot write the pid file", "daemon", c.Name, "err", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.fate = c.follow(ctx, child, s.process)
	return s.wait(ctx, ready)
}

// starting is a daemon that was launched and is not ready yet.
type starting struct {
	Command
	began   time.Time
	words   logs
	pid     int      // of the child
	process *Process // the child, nil if it could not be looked at
	fate    *fate
	last    error // the last answer
	looks   int   // in a row at which it was frozen
	idle    Idle
	hung    error // why it was killed
}

// wait asks whether the daemon is ready until one of four things happens: it is, it died, it froze, the time is up.
func (s *starting) wait(ctx context.Context, ready func(context.Context) error) (*Process, error) {
	frozen := time.NewTicker(freezeLook)
	defer frozen.Stop()
	ask := time.NewTimer(0)
	defer ask.Stop()
	var answer chan error      // of the question under way
	var daemon <-chan *Process // is heard once the answer was good, which may be somebody else's
	pause := firstAsk
	for {
		select {
		case how := <-s.fate.died:
			return nil, s.died(ctx, how)
		case <-ctx.Done():
			return nil, s.unready(ctx, s.pid, s.process, s.began, s.last)
		case <-frozen.C:
			if err := s.frozen(ctx); err != nil {
				return nil, err
			}
			if s.Forks == nil && s.hung == nil {
				s.hung = s.idle.KillIdle(s.process, s.Stalled)
			}
		case <-ask.C:
			answer = make(chan error, 1)
			go func() { answer <- asks(ctx, ready) }()
		case s.last = <-answer:
			answer = nil
			if s.last == nil {
				daemon = s.fate.daemon
				continue
			}
			ask.Reset(pause)
			pause = min(pause*3/2, lastAsk)
		case p := <-daemon:
			if p != nil && p.Alive() {
				return p, nil
			}
			daemon = nil // its death is about to be told
		}
	}
}

func asks(ctx context.Context, ready func(context.Context) error) error {
	if ready == nil {
		return nil
	}
	return ready(ctx)
}

func (s *starting) died(ctx context.Context, how ending) error {
	return &DiedError{
		Name: s.Name, PID: s.pid, After: time.Since(s.began), Status: how.status, Signal: how.signal, By: s.hung,
		Words: s.words.last(ctx), Logs: s.words.names(),
	}
}

// frozen is an error if a signal stopped the daemon, twice in a row.
func (s *starting) frozen(ctx context.Context) error {
	state := frozenState(s.process)
	if state == 0 {
		s.looks = 0
		return nil
	}
	if s.looks++; s.looks < 2 {
		return nil
	}
	if s.KillUnready {
		_ = end(ctx, []*Process{s.process}, StopOptions{Signal: unix.SIGKILL, Log: s.Log})
	}
	return &FrozenError{s.Name, s.pid, state}
}

// frozenState is the process's state if a signal stopped it, else 0; p may be nil.
func frozenState(p *Process) byte {
	if p == nil {
		return 0
	}
	if st, err := p.Stat(); err == nil && st.Stopped() {
		return st.State
	}
	return 0
}

// fate is what becomes of a started child.
type fate struct {
	daemon chan *Process // gets the daemon once
	died   chan ending   // gets how it ended
}

type ending struct {
	status string
	signal syscall.Signal
}

// orphanSearch is how long the daemon of a child that exited with 0 is looked for.
const orphanSearch = 500 * time.Millisecond

// follow reaps the child and, if it forks, finds the daemon it leaves behind. The goroutine lives as long
// as the child, so that a caller that stays around sees no zombie.
func (c Command) follow(ctx context.Context, child *os.Process, p *Process) *fate {
	f := &fate{daemon: make(chan *Process, 1), died: make(chan ending, 1)}
	if c.Forks == nil {
		f.daemon <- p
	}
	go func() {
		state, err := child.Wait()
		switch {
		case err != nil:
			f.died <- ending{status: err.Error()}
			return
		case c.Forks == nil || !state.Success():
			how := ending{status: state.String()}
			if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
				how.signal = w.Signal()
			}
			f.died <- how
			return
		}
		search, cancel := context.WithTimeout(ctx, orphanSearch)
		defer cancel()
		for {
			daemon, err := c.Forks.Find(ctx)
			if daemon != nil {
				f.daemon <- daemon
				if daemon.Wait(ctx) == nil {
					f.died <- ending{status: vanished}
				}
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(2 * firstAsk):
			}
			if search.Err() != nil && err == nil {
				f.died <- ending{status: "it exited with status 0 and left no daemon behind"}
				return
			}
		}
	}()
	return f
}

// unready makes the error for a context that ended too early.
func (c Command) unready(ctx context.Context, pid int, p *Process, began time.Time, last error) error {
	e := &NotReadyError{Name: c.Name, PID: pid, Process: p, After: time.Since(began), Last: last, Cause: context.Cause(ctx)}
	// The caller's time is up: a little extra is cheaper than a stray daemon, or an error that explains nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if c.Forks != nil {
		if daemon, err := c.Forks.Find(ctx); daemon != nil {
			e.Process, e.PID = daemon, daemon.PID
		} else if err != nil {
			e.Last = err
		}
	}
	if !c.KillUnready {
		return e
	}
	kill := StopOptions{Signal: unix.SIGKILL, Log: c.Log}
	if p != nil {
		e.Kill = end(ctx, []*Process{p}, kill)
	}
	if c.Forks != nil {
		e.Kill = errors.Join(e.Kill, Stop(ctx, *c.Forks, kill))
	}
	if e.Kill == nil {
		e.Killed = true
		e.Process.Close()
		e.Process = nil
		if c.PIDFile != "" {
			_ = os.Remove(c.PIDFile)
		}
	}
	return e
}

// launching serialises what is changed about the whole process around a fork: the resource limits.
var launching sync.Mutex

// launch forks and executes.
func (c Command) launch() (*os.Process, error) {
	if !filepath.IsAbs(c.Path) {
		return nil, fmt.Errorf("%q is no absolute path", c.Path)
	}
	// Asked here, for the error of a fork does not say which of them is missing.
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	for _, path := range []string{c.Path, dir} {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	who, err := resolveUser(c.User, c.Group)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out := null
	if c.Output != "" {
		if out, err = openLog(c.Output, who); err != nil {
			return nil, err
		}
		defer out.Close()
	}
	errs := out
	if c.Errors != nil {
		errs = c.Errors
	}
	if err := closeOnExec(); err != nil {
		return nil, err
	}

	attr := &os.ProcAttr{
		Dir:   dir,
		Env:   append(who.env(), c.Env...),
		Files: []*os.File{null, out, errs},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: who.credential, AmbientCaps: held(c.Capabilities)},
	}
	argv := append([]string{c.Path}, c.Args...)

	launching.Lock()
	defer launching.Unlock()
	defer c.limit()()
	type result struct {
		child *os.Process
		err   error
	}
	done := make(chan result)
	go func() {
		// Umask and nice value are a thread's own on Linux, and inherited from the thread that forks. This
		// one is never unlocked, and so ends with the goroutine.
		runtime.LockOSThread()
		child, err := c.fork(argv, attr)
		done <- result{child, err}
	}()
	r := <-done
	if r.err != nil {
		var of *fs.PathError
		if errors.As(r.err, &of) { // whose path is of the program, or of the directory
			return nil, fmt.Errorf("%w (%s %s, as user %s in %s)", of.Err, of.Op, c.Path, who.name, dir)
		}
		return nil, fmt.Errorf("%w (%s, as user %s in %s)", r.err, c.Path, who.name, dir)
	}
	return r.child, nil
}

// held are those of the capabilities that we have.
func held(capabilities []uintptr) (list []uintptr) {
	var data [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return nil
	}
	for _, c := range capabilities {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			list = append(list, c)
		}
	}
	return list
}

// fork must run on a locked thread that is thrown away afterwards.
func (c Command) fork(argv []string, attr *os.ProcAttr) (*os.Process, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	umask := c.Umask
	if umask == 0 {
		umask = 0o022
	}
	unix.Umask(umask)
	if c.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, c.Nice); err != nil {
			c.Log.Warn("cannot set the nice value", "daemon", c.Name, "nice", c.Nice, "err", err)
		}
	}
	return os.StartProcess(c.Path, argv, attr)
}

// limit sets the limits for this process, which the child inherits, and returns what sets them back. Hard limits
// are never lowered, or they could not be set back.
func (c Command) limit() (restore func()) {
	var undo []func()
	for _, l := range c.Limits {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.Resource, &old); err != nil {
			c.Log.Warn("cannot read a resource limit", "daemon", c.Name, "resource", l.Resource, "err", err)
			continue
		}
		err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Value, Max: max(l.Value, old.Max)})
		if err != nil {
			got := min(l.Value, old.Max)
			c.Log.Warn("cannot raise a resource limit as far as wanted", "daemon", c.Name, "resource", l.Resource,
				"want", l.Value, "got", got, "err", err)
			err = unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: got, Max: old.Max})
		}
		if err == nil {
			undo = append(undo, func() { _ = unix.Setrlimit(l.Resource, &old) })
		}
	}
	return func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
}

// account is who a daemon runs as.
type account struct {
	name       string
	home       string
	uid, gid   int
	credential *syscall.Credential // nil: as we are
}

func (a *account) env() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C", "HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name,
	}
}

// openLog opens a file for appending. The daemon's user may own the folder, so a symlink put there must not
// make root write elsewhere: it is followed with the rights of that user. Nor must a named pipe keep us waiting.
func openLog(path string, who *account) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags|unix.O_CREAT|unix.O_EXCL, 0o640)
	created := err == nil
	if errors.Is(err, unix.EEXIST) {
		fd, err = unix.Open(path, flags|unix.O_NOFOLLOW, 0)
	}
	if errors.Is(err, unix.ELOOP) {
		err = who.account().Do(func() (err error) {
			fd, err = unix.Open(path, flags|unix.O_CREAT, 0o640)
			return err
		})
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open log file", Path: path, Err: err}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open log file", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if created && who.credential != nil {
		if err := f.Chown(who.uid, who.gid); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// closeOnExec marks every descriptor that we were started with, so that the daemon does not inherit them. Go opens
// its own that way.
func closeOnExec() error {
	fds, err := readNames("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, name := range fds {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
)

// Flags of a task, field 9 of /proc/PID/stat (the kernel's include/linux/sched.h).
const (
	kernelThread = 0x00200000
	exitingTask  = 0x00000004
)

// ticks is USER_HZ, the unit of Stat.StartTime; 100 on every architecture Go runs on.
const ticks = 100

// Stat is what this package uses of /proc/PID/stat, see proc_pid_stat(5).
type Stat struct {
	PID       int
	Comm      string // at most 15 bytes; a process may set it as it likes
	State     byte   // R running, S sleeping, D uninterruptible, Z zombie, T stopped, t traced, ...
	PPID      int
	PGID      int
	Session   int
	Flags     uint64
	Threads   int
	StartTime uint64 // in ticks (1/100 s) since boot
	CPU       uint64 // that all its threads have used, in ticks
}

// Dead says whether nothing of the process is left but its exit status. A zombie whose other threads live is
// not dead: they hold its files.
func (s Stat) Dead() bool {
	return (s.State == 'Z' || s.State == 'X' || s.State == 'x') && s.Threads <= 1
}

// Exiting says whether it is about to end: the kernel takes it apart, and closes its files last.
func (s Stat) Exiting() bool { return s.Flags&exitingTask != 0 }

// Stopped says whether the process was stopped by a signal (SIGSTOP) or a tracer.
func (s Stat) Stopped() bool { return s.State == 'T' || s.State == 't' }

// parseStat reads a /proc/PID/stat line. The name may hold spaces and parentheses, so the last one closes it.
func parseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, fmt.Errorf("stat line %.80q has no name in parentheses", b)
	}
	// The fields after the name; the first one is field 3, the state.
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return Stat{}, fmt.Errorf("stat line %.80q is too short", b)
	}
	s := Stat{Comm: string(b[open+1 : end]), State: f[0][0]}
	var err error
	for _, n := range []struct {
		text string
		to   *int
	}{
		{strings.TrimSpace(string(b[:open])), &s.PID},
		{f[1], &s.PPID},
		{f[2], &s.PGID},
		{f[3], &s.Session},
		{f[17], &s.Threads},
	} {
		if *n.to, err = strconv.Atoi(n.text); err != nil {
			return Stat{}, fmt.Errorf("stat line %.80q: %w", b, err)
		}
	}
	var user, system uint64
	for _, n := range []struct {
		text string
		to   *uint64
	}{{f[6], &s.Flags}, {f[11], &user}, {f[12], &system}, {f[19], &s.StartTime}} {
		if *n.to, err = strconv.ParseUint(n.text, 10, 64); err != nil {
			return Stat{}, fmt.Errorf("stat line %.80q: %w", b, err)
		}
	}
	s.CPU = user + system
	return s, nil
}

// ReadStat reads the stat of a process or a thread, whose directory in /proc it is given. The error is os.ErrProcessDone if it has
// gone. Any user may ask.
func ReadStat(dir string) (Stat, error) {
	b, err := readProc(dir + "/stat")
	if err != nil {
		return Stat{}, goneOr(err)
	}
	return parseStat(b)
}

// readProc is os.ReadFile for files of /proc: without what os does to wait for other kinds of files, which costs more than
// the reading, and a scan reads hundreds of these.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return b, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return b, nil
		default:
			b = slices.Grow(b[:len(b)+n], 512)
		}
	}
}

// goneOr turns the errors by which /proc says that a process ended into os.ErrProcessDone.
func goneOr(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Process is one process that was seen alive. Its methods return os.ErrProcessDone once it is gone.
type Process struct {
	PID       int
	StartTime uint64 // in ticks (1/100 s) since boot; with PID it names a process for good
	Exe       string // path of its executable, without the kernel's " (deleted)"; "" if it is exiting
	Deleted   bool   // the file was deleted or replaced since the process started

	name    string   // of the Identity it was found by
	dir     string   // /proc/PID
	task    string   // dir, or /proc/PID/task/TID of a live thread when the leader has ended
	pidfd   *os.File // nil on kernels without pidfd_open, and for fixtures
	fixture bool     // no process of this node: never signalled
}

// open takes hold of the process pid, whatever it is, and reads what it executes. The error is
// os.ErrProcessDone if there is none.
func open(proc string, pid int) (*Process, error) {
	p, err := hold(proc, pid)
	if err != nil {
		return nil, err
	}
	if err := p.readExe(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func hold(proc string, pid int) (*Process, error) {
	p := &Process{PID: pid, fixture: proc != ""}
	if proc == "" {
		proc = "/proc"
	}
	p.dir = filepath.Join(proc, strconv.Itoa(pid))
	p.task = p.dir
	if !p.fixture {
		// The pidfd comes first: as long as it says "alive", all that is read belongs to the same process.
		fd, err := unix.PidfdOpen(pid, 0)
		switch {
		case err == nil:
			p.pidfd = os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))
		case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL):
			return nil, os.ErrProcessDone
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			// An old kernel, or a container's seccomp filter.
		default:
			return nil, fmt.Errorf("pidfd_open of process %d: %w", pid, err)
		}
	}
	st, err := ReadStat(p.dir)
	if err == nil && st.Dead() {
		err = os.ErrProcessDone
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.StartTime = st.StartTime
	if st.State == 'Z' {
		p.task = liveTask(p.dir)
	}
	return p, nil
}

// liveTask is the folder of a thread that still runs in a process whose leader has ended.
func liveTask(dir string) string {
	tids, err := readNames(dir + "/task")
	if err != nil {
		return dir
	}
	for _, tid := range tids {
		task := dir + "/task/" + tid
		if st, err := ReadStat(task); err == nil && st.State != 'Z' && st.State != 'X' {
			if _, err := os.Readlink(task + "/exe"); err == nil {
				return task
			}
		}
	}
	return dir
}

func (p *Process) readExe() error {
	link, err := os.Readlink(p.task + "/exe")
	if errors.Is(err, fs.ErrNotExist) && p.Alive() {
		return nil // exiting: its memory is gone already, its files may not be
	}
	if err != nil {
		return goneOr(err)
	}
	p.Exe, p.Deleted = strings.CutSuffix(link, " (deleted)")
	return p.check()
}

// check tells whether what was just read is of this process.
func (p *Process) check() error {
	if !p.Alive() {
		return os.ErrProcessDone
	}
	return nil
}

// Close lets go of the process. It does nothing to it.
func (p *Process) Close() error {
	if p == nil || p.pidfd == nil {
		return nil
	}
	return p.pidfd.Close()
}

// String names the process for messages: "mysqld (pid 12)".
func (p *Process) String() string {
	name := p.name
	if name == "" {
		name = filepath.Base(p.Exe)
	}
	return fmt.Sprintf("%s (pid %d)", name, p.PID)
}

// Alive says whether the process has not ended. A zombie has, a stopped or stuck process has not.
func (p *Process) Alive() bool {
	if p.pidfd != nil {
		if conn, err := p.pidfd.SyscallConn(); err == nil {
			alive := true
			if conn.Control(func(fd uintptr) { alive = !readable(int(fd)) }) == nil {
				return alive
			}
		}
	}
	st, err := ReadStat(p.dir)
	if err != nil {
		// Only its absence shows that a process ended; an unreadable one counts as alive.
		return !errors.Is(err, os.ErrProcessDone)
	}
	return !st.Dead() && (p.StartTime == 0 || st.StartTime == p.StartTime)
}

// readable says whether a pidfd reports the end of its process.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// Stat reads the process's state, parent, group, session and so on.
func (p *Process) Stat() (Stat, error) {
	st, err := ReadStat(p.dir)
	if err != nil {
		return Stat{}, err
	}
	if st.StartTime != p.StartTime || st.Dead() {
		return st, os.ErrProcessDone
	}
	return st, nil
}

// Exiting says whether the process is ending: it still may hold files, but what /proc tells of it goes piece by piece.
func (p *Process) Exiting() bool {
	st, err := ReadStat(p.task)
	if err == nil && st.State == 'Z' && st.Threads > 1 { // only its leader has ended
		p.task = liveTask(p.dir)
		st, err = ReadStat(p.task)
	}
	return err == nil && st.Exiting() && p.Alive()
}

// Ended says whether the process has ended or is ending: it hangs up before the kernel has taken it apart.
func (p *Process) Ended() bool { return !p.Alive() || p.Exiting() }

// FrozenGroup is the control group (version 2) that the process is frozen with, "" if it is not: cgroup.freeze, systemctl
// freeze. Its state does not tell.
func (p *Process) FrozenGroup() string {
	b, _ := readProc(p.dir + "/cgroup")
	for line := range strings.Lines(string(b)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && group != "/" {
			for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} { // version 2 alone, and beside version 1
				events, _ := os.ReadFile(filepath.Join(root, group, "cgroup.events"))
				if strings.Contains(string(events), "frozen 1") {
					return group
				}
			}
		}
	}
	return ""
}

// Tracer is the pid of the process that traces it, such as a debugger; 0 if none does, or none that can be seen from here.
func (p *Process) Tracer() int {
	b, _ := readProc(p.dir + "/status")
	_, rest, _ := strings.Cut(string(b), "\nTracerPid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}

// Children are the states of the processes that it started and that live: /proc/PID/task/TID/children in
// proc_pid_task(5). A kernel without CONFIG_PROC_CHILDREN tells of none.
func (p *Process) Children() (list []Stat, err error) {
	threads, err := readNames(p.dir + "/task")
	if err != nil {
		return nil, p.failed("task", err)
	}
	for _, tid := range threads {
		b, err := readProc(p.dir + "/task/" + tid + "/children")
		if err != nil && !errors.Is(goneOr(err), os.ErrProcessDone) {
			return nil, p.failed("children", err)
		}
		for pid := range strings.FieldsSeq(string(b)) {
			st, err := ReadStat(filepath.Join(filepath.Dir(p.dir), pid))
			if err == nil && !st.Dead() && st.PPID == p.PID {
				list = append(list, st)
			}
		}
	}
	return list, p.check()
}

// Age is the time since the process started, with a resolution of 10 ms.
func (p *Process) Age() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("clock_gettime: %w", err)
	}
	return time.Duration(now.Nano()) - time.Duration(p.StartTime)*(time.Second/ticks), nil
}

// Waited is how long of its age the process would have run, had there been a CPU for it: of its first thread. 0 where the kernel
// does not tell.
func (p *Process) Waited() time.Duration {
	b, err := readProc(p.task + "/schedstat")
	if f := strings.Fields(string(b)); err == nil && len(f) > 1 {
		ns, _ := strconv.ParseInt(f[1], 10, 64)
		return time.Duration(ns)
	}
	return 0
}

// WorkDir reads the link to the working directory. The kernel appends " (deleted)" to the name of a deleted
// directory; a name on a lazily unmounted file system begins at that file system's root.
func (p *Process) WorkDir() (string, error) {
	link, err := os.Readlink(p.task + "/cwd")
	if err != nil {
		return "", p.failed("cwd", err)
	}
	return link, p.check()
}

// Cmdline reads the command line. A process may overwrite it; a rewritten title often is one long argument.
// The kernel may keep the reader waiting for as long as the process is stuck, hence the context.
func (p *Process) Cmdline(ctx context.Context) ([]string, error) {
	return p.strings(ctx, "cmdline")
}

// Environ reads the environment the process was started with. As to the context see Cmdline.
func (p *Process) Environ(ctx context.Context) ([]string, error) {
	return p.strings(ctx, "environ")
}

func (p *Process) strings(ctx context.Context, name string) ([]string, error) {
	b, err := bounded(ctx, "/proc", func() ([]byte, error) { return readProc(p.task + "/" + name) })
	if err != nil {
		return nil, p.failed(name, err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil, nil
	}
	return strings.Split(string(b), "\x00"), nil
}

// switches counts the times that the process began to wait for something, "" if that is not known.
func (p *Process) switches() string {
	b, _ := readProc(p.task + "/status")
	_, count, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
	count, _, _ = strings.Cut(count, "\n")
	return count
}

// UID is the effective user id the process runs as.
func (p *Process) UID() (int, error) {
	b, err := readProc(p.task + "/status")
	if err != nil {
		return 0, p.failed("status", err)
	}
	for line := range strings.Lines(string(b)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			// Real, effective, saved and file system uid, proc_pid_status(5).
			if f := strings.Fields(ids); len(f) == 4 {
				uid, err := strconv.Atoi(f[1])
				if err != nil {
					return 0, fmt.Errorf("status of %s: %w", p, err)
				}
				return uid, p.check()
			}
		}
	}
	return 0, fmt.Errorf("status of %s has no Uid line", p)
}

// Files lists what the process has open: descriptor to link text, such as a path or "socket:[4711]".
func (p *Process) Files() (map[int]string, error) {
	names, err := readNames(p.task + "/fd")
	if err != nil {
		return nil, p.failed("fd", err)
	}
	files := make(map[int]string, len(names))
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		link, err := os.Readlink(p.task + "/fd/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return nil, p.failed("fd/"+name, err)
		}
		files[fd] = link
	}
	return files, p.check()
}

// Descriptors is how many files the process has open, and how many it may have: RLIMIT_NOFILE, getrlimit(2).
func (p *Process) Descriptors() (open, most int, err error) {
	names, err := readNames(p.task + "/fd")
	if err != nil {
		return 0, 0, p.failed("fd", err)
	}
	limits, err := readProc(p.dir + "/limits")
	if err != nil {
		return 0, 0, p.failed("limits", err)
	}
	_, rest, _ := strings.Cut(string(limits), "\nMax open files")
	if _, err := fmt.Sscan(rest, &most); err != nil {
		return 0, 0, fmt.Errorf("limits of %s: no number of open files: %w", p, err)
	}
	return len(names), most, p.check()
}

// failed words an error of reading something in /proc/PID.
func (p *Process) failed(what string, err error) error {
	if !p.Alive() {
		return os.ErrProcessDone
	}
	return fmt.Errorf("cannot read %s of %s: %w", what, p, err)
}

// WChan is the kernel function the process sleeps in, "" if it does not or the kernel does not tell.
func (p *Process) WChan() string { return wchan(p.task) }

func wchan(task string) string {
	b, err := readProc(task + "/wchan")
	if w := string(bytes.TrimSpace(b)); err == nil && w != "0" {
		return w
	}
	return ""
}

// stuck describes a process that does not end; of several threads the one in uninterruptible sleep counts.
func (p *Process) stuck() *StillAlive {
	e := &StillAlive{PID: p.PID, Name: p.name, State: '?', WChan: p.WChan()}
	if e.Name == "" {
		e.Name = filepath.Base(p.Exe)
	}
	st, err := p.Stat()
	if err != nil {
		return e
	}
	e.State = st.State
	tids, _ := readNames(p.dir + "/task")
	for _, tid := range tids {
		task := p.dir + "/task/" + tid
		if st, err := ReadStat(task); err == nil && st.State == 'D' {
			e.State, e.WChan = 'D', wchan(task)
			break
		}
	}
	return e
}

// Signal sends a signal, to this process or to none: os.ErrProcessDone if it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	switch {
	case p.fixture:
		return fmt.Errorf("%s is not a process but a fixture: not signalled", p)
	case p.PID <= 1, p.PID == os.Getpid():
		return fmt.Errorf("process %d is never signalled", p.PID)
	}
	if _, err := p.Stat(); err != nil {
		return err
	}
	var err error
	if p.pidfd == nil {
		err = unix.Kill(p.PID, sig)
	} else {
		conn, cerr := p.pidfd.SyscallConn()
		if cerr != nil {
			return cerr
		}
		if cerr := conn.Control(func(fd uintptr) {
			err = unix.PidfdSendSignal(int(fd), sig, nil, 0)
		}); cerr != nil {
			return cerr
		}
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot send %s to %s: %w", unix.SignalName(sig), p, err)
	}
	return goneOr(err)
}

// Wait returns nil once the process has ended, or the context's error.
func (p *Process) Wait(ctx context.Context) error {
	if p.pidfd == nil {
		return p.waitPolling(ctx)
	}
	// A descriptor of its own, for its deadline must not be another waiter's.
	watch, err := p.watch()
	if err != nil {
		return fmt.Errorf("wait for %s: %w", p, err)
	}
	defer watch.Close()
	conn, err := watch.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for %s: %w", p, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = watch.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool { return readable(int(fd)) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p.aliveOr(ctx.Err())
	}
	// The poller does not take this descriptor.
	return p.waitPolling(ctx)
}

// Descriptor is where poll(2) finds the process's end; -1 where the kernel has no pidfds (before 5.3).
func (p *Process) Descriptor() (fd int, events int16) {
	if p.pidfd == nil {
		return -1, 0
	}
	conn, err := p.pidfd.SyscallConn()
	if err != nil || conn.Control(func(d uintptr) { fd = int(d) }) != nil {
		return -1, 0
	}
	return fd, unix.POLLIN
}

func (p *Process) watch() (*os.File, error) {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup, duperr := -1, error(nil)
	if err := conn.Control(func(fd uintptr) {
		dup, duperr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if duperr != nil {
		return nil, duperr
	}
	// Go's poller watches non-blocking descriptors only; with it Wait costs no thread.
	if err := unix.SetNonblock(dup, true); err != nil {
		unix.Close(dup)
		return nil, err
	}
	return os.NewFile(uintptr(dup), p.pidfd.Name()), nil
}

func (p *Process) waitPolling(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.Alive() {
		select {
		case <-ctx.Done():
			return p.aliveOr(ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// aliveOr is nil if the process has ended, else err.
func (p *Process) aliveOr(err error) error {
	if p.Alive() {
		return err
	}
	return nil
}

// readNames lists a folder without sorting it or asking for types.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// patience bounds each look at something that may sit on storage that does not answer.
const patience = time.Second

// bounded runs f, which may hang in the kernel, for as long as the context and patience allow. See hang.Bound.
func bounded[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return hang.Bound(ctx, what, f)
}

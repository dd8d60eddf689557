package daemon

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
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
)

// Test decides whether a process with the right executable is the one looked for. It returns an error
// when it cannot tell, never a false for it. See UsesDir, Script and All.
type Test func(ctx context.Context, p *Process) (bool, error)

// Identity says which process is the daemon.
type Identity struct {
	// Name is for messages: "mysqld".
	Name string
	// Executables are absolute paths, base names or patterns for those (path.Match): "/usr/sbin/mysqld",
	// "mysqld", "python3*". A path matches as given and with its symlinks resolved, deleted or not. If there is
	// a Test, it is asked about the path's base name in other folders too, and about every name with a suffix
	// ("mysqld.old", "mysqld-8.0", "mysqld;65a1"). A bare name is that of the file which runs, and is not looked
	// for: where it is a link (Debian's redis-server) say the target's name too.
	Executables []string
	// PIDFile is a hint that may save the scan; nothing is believed that it says.
	PIDFile string
	// ReadPID reads PIDFile; nil is ReadPID of this package.
	ReadPID func(path string) (int, error)
	// Kind tells processes of this kind from others with the same executable, such as the scripts of one
	// interpreter; nil takes any.
	Kind Test
	// Test tells this daemon from others of its kind; nil takes any.
	Test Test
	// Claims are reasons to doubt a no of the Test: what is ours by them may be ours.
	Claims []Claim
	// Proc replaces /proc, for fixtures.
	Proc string
}

// Find returns the daemon's process; of several the one that was started first. It returns nil and no error
// only if no such process exists on this node. Otherwise the error is a *DoubtError, or wraps fs.ErrPermission
// if processes could not be looked at. The caller closes the Process.
func (id Identity) Find(ctx context.Context) (*Process, error) {
	if p := id.hinted(ctx); p != nil {
		return p, nil
	}
	all, err := id.FindAll(ctx)
	if len(all) == 0 {
		return nil, err
	}
	for _, p := range all[1:] {
		p.Close()
	}
	return all[0], nil
}

// exiting is how long a process may take to let go of what it holds before that is a doubt worth telling.
const exiting = 2 * time.Second

// FindAll returns every process of the daemon, the oldest first: a server and its workers, or two servers
// where there should be one. An error as of Find means that there may be more.
func (id Identity) FindAll(ctx context.Context) ([]*Process, error) {
	found, dying, err := id.scan(ctx)
	soon, cancel := context.WithTimeout(ctx, exiting)
	defer cancel()
	for _, p := range dying {
		if p.Wait(soon) == nil {
			p.Close()
			continue
		}
		err = errors.Join(err, &DoubtError{PID: p.PID, Name: id.Name, Err: errors.New("it is exiting and may still hold its files")})
		p.Close()
	}
	return found, err
}

// Elders are those of FindAll whose parent is none of them: one a server, whatever workers it has.
func (id Identity) Elders(ctx context.Context) ([]*Process, error) {
	all, err := id.FindAll(ctx)
	elders, young := families(all)
	for _, p := range young {
		p.Close()
	}
	return elders, err
}

// ReadPID reads a pid file: a decimal number, or the 4 raw bytes that qpidd --daemon writes.
func ReadPID(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if pid, err := strconv.Atoi(string(bytes.TrimSpace(b))); err == nil && pid > 0 {
		return pid, nil
	}
	if len(b) == 4 {
		if pid := int32(binary.NativeEndian.Uint32(b)); pid > 0 {
			return int(pid), nil
		}
	}
	return 0, fmt.Errorf("%s holds no pid but %.40q", path, b)
}

// hinted returns the process the pid file names, if it is the daemon beyond doubt.
func (id Identity) hinted(ctx context.Context) *Process {
	if id.PIDFile == "" {
		return nil
	}
	read := id.ReadPID
	if read == nil {
		read = ReadPID
	}
	pid, err := bounded(ctx, "its file system", func() (int, error) { return read(id.PIDFile) })
	if err != nil || pid <= 1 || pid == os.Getpid() {
		return nil
	}
	p, err := open(id.Proc, pid)
	if err != nil {
		return nil
	}
	if ours, err := id.is(ctx, id.matcher(), p); err != nil || !ours {
		p.Close()
		return nil
	}
	return p
}

// is applies the executable and the Test to a process in hand.
func (id Identity) is(ctx context.Context, m *matcher, p *Process) (bool, error) {
	p.name = id.Name
	if p.Exe == "" || !m.match(p.Exe, p.task+"/exe") {
		return false, nil
	}
	ours, err := true, error(nil)
	for _, test := range []Test{id.Kind, id.Test} {
		if test != nil && ours && err == nil {
			ours, err = test(ctx, p)
		}
	}
	if err == nil && !ours {
		ours, err = id.claimed(ctx, p)
	}
	if err != nil && !p.Alive() {
		return false, nil
	}
	return ours, err
}

// claimed is for a process that the Test says no to: an error if one of the claims holds for it, unless that makes it ours.
func (id Identity) claimed(ctx context.Context, p *Process) (bool, error) {
	if len(id.Claims) == 0 {
		return false, nil
	}
	if id.Kind != nil {
		if kin, err := id.Kind(ctx, p); !kin || err != nil {
			return false, err
		}
	}
	for _, c := range id.Claims {
		if ours, err := c.Test(ctx, p); !ours || err != nil {
			continue // what cannot be told is no reason
		}
		if c.Ours {
			return true, nil
		}
		differs := "is not known by what else tells ours"
		if c.Differs != nil {
			differs = c.Differs(ctx, p)
		}
		return false, fmt.Errorf("it %s, but %s", c.Says, differs)
	}
	return false, nil
}

// moment is how long a doubt is looked into: a process may be starting, or about to end.
const moment = 200 * time.Millisecond

// look is is, but a doubt of a moment is none: what is told is true twice, of a process that is not ending.
func (id Identity) look(ctx context.Context, m *matcher, p *Process) (ours bool, err error) {
	began, doubts := time.Now(), 0
	for {
		ours, err = id.is(ctx, m, p)
		if errors.Is(err, fs.ErrPermission) {
			err = asOwner(p.dir, func() (err error) {
				ours, err = id.is(ctx, m, p)
				return err
			})
			return ours && err == nil, err
		}
		if err == nil || p.Exiting() {
			return ours, err
		}
		if doubts++; doubts > 1 && time.Since(began) > moment {
			return false, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return false, err
		}
	}
}

// asOwner looks with the rights of the account that a process runs as. Root may be without the right to look at other
// accounts' processes (CAP_DAC_OVERRIDE, CAP_SYS_PTRACE), and a stranger's must not keep us from knowing.
func asOwner(dir string, look func() error) error {
	info, err := os.Stat(dir)
	if err != nil {
		return goneOr(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 || os.Geteuid() != 0 {
		return look()
	}
	return Account{UID: int(st.Uid), GID: int(st.Gid)}.Do(look)
}

// scan looks at every process. dying are processes that have the daemon's name, or its executable, and are ending,
// so that they cannot be recognised any more; they may hold files until they are gone.
func (id Identity) scan(ctx context.Context) (found, dying []*Process, err error) {
	// A daemon that forks behind the scan's back, the parent gone before its turn, is seen by a second look.
	kernel := kernelThreads(cmp.Or(id.Proc, "/proc"))
	for range 2 {
		if found, dying, err = id.scanOnce(ctx, kernel); len(found)+len(dying) > 0 || err != nil {
			break
		}
	}
	slices.SortFunc(found, func(a, b *Process) int {
		return cmp.Or(cmp.Compare(a.StartTime, b.StartTime), cmp.Compare(a.PID, b.PID))
	})
	return found, dying, err
}

// kernelThreads are the children of kthreadd, to be skipped: half of all processes, and the dear half to look
// at. In a container, or on a kernel that does not list children, it is empty and they are told one by one.
func kernelThreads(proc string) map[int]bool {
	threads := map[int]bool{}
	if st, err := ReadStat(proc + "/2"); err != nil || st.Flags&kernelThread == 0 {
		return threads
	}
	children, err := readProc(proc + "/2/task/2/children")
	if err != nil {
		return threads
	}
	for _, pid := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(pid); err == nil {
			threads[n] = true
		}
	}
	return threads
}

// scanOnce skips the pids in kernel and adds the kernel threads that it meets.
func (id Identity) scanOnce(ctx context.Context, kernel map[int]bool) (found, dying []*Process, _ error) {
	root := cmp.Or(id.Proc, "/proc")
	dir, err := os.Open(root)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list processes: %w", err)
	}
	s := scan{Identity: id, root: root, dir: int(dir.Fd()), m: id.matcher(), kernel: kernel, buf: make([]byte, unix.PathMax+len(" (deleted)"))}
	self := os.Getpid()
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && !kernel[pid] && (pid != self || id.Proc != "") && s.candidate(pid, name) {
			s.look(ctx, pid)
		}
	}
	return s.found, s.dying, errors.Join(append(s.errs, blind(root, s.denied))...)
}

// scan is one look at all processes.
type scan struct {
	Identity
	root   string
	dir    int // descriptor of root
	m      *matcher
	kernel map[int]bool
	buf    []byte

	found, dying []*Process
	denied       int // a process that may not be looked at
	errs         []error
}

// candidate tells whether a process may be the daemon, by what it runs. It is asked of every process there is, so it
// opens none.
func (s *scan) candidate(pid int, name string) bool {
	n, err := unix.Readlinkat(s.dir, name+"/exe", s.buf)
	switch {
	case err == nil:
		exe, _ := bytes.CutSuffix(s.buf[:n], []byte(" (deleted)"))
		return s.m.match(string(exe), s.root+"/"+name+"/exe")
	case errors.Is(err, unix.ENOENT):
		// A kernel thread, a zombie, or a process that is exiting. Only the last matters.
		st, err := ReadStat(s.root + "/" + name)
		if err == nil && st.Flags&kernelThread != 0 {
			s.kernel[pid] = true
			return false
		}
		return err == nil && !st.Dead()
	case errors.Is(err, unix.ESRCH):
		return false
	}
	return !s.m.dismiss(s.root+"/"+name, s.Name)
}

// look opens a candidate, and keeps it if it is the daemon.
func (s *scan) look(ctx context.Context, pid int) {
	p, err := open(s.Proc, pid)
	if errors.Is(err, fs.ErrPermission) {
		err = asOwner(s.root+"/"+strconv.Itoa(pid), func() (err error) {
			p, err = open(s.Proc, pid)
			return err
		})
	}
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EINVAL):
		s.denied = pid
		return
	case err != nil:
		s.errs = append(s.errs, &DoubtError{PID: pid, Name: s.Name, Err: err})
		return
	}
	if p.Exe == "" {
		p.name = s.Name
		if st, err := p.Stat(); err == nil && s.m.matchComm(st.Comm, s.Name) {
			s.dying = append(s.dying, p)
			return
		}
	}
	ours, err := s.Identity.look(ctx, s.m, p)
	switch {
	case ours && err == nil:
		s.found = append(s.found, p)
		return
	case p.Exiting() && (err != nil || p.Exe != "" && s.m.match(p.Exe, p.task+"/exe")): // a stranger may hang in the kernel for ever
		s.dying = append(s.dying, p)
		return
	case err != nil:
		s.errs = append(s.errs, &DoubtError{PID: pid, Name: s.Name, Err: err})
	}
	p.Close()
}

// blind says whether processes are hidden from us: denied is the pid of one that may not be looked at, or 0.
func blind(root string, denied int) error {
	if denied != 0 {
		return fmt.Errorf("cannot see which program process %d runs: %w: be root, with CAP_SYS_PTRACE where SELinux or a container restricts that", denied, fs.ErrPermission)
	}
	// With /proc mounted hidepid=2 the processes of others, such as init, are not even listed.
	if _, err := os.Stat(root + "/1"); err != nil && os.Geteuid() != 0 {
		return fmt.Errorf("cannot see the processes of other users: %w: be root", fs.ErrPermission)
	}
	return nil
}

// matcher is an Identity's Executables, resolved.
type matcher struct {
	paths    []string
	patterns []string
	bases    []string // of both
	tested   bool     // a Test follows
}

func (id Identity) matcher() *matcher {
	m := &matcher{tested: id.Kind != nil || id.Test != nil}
	for _, exe := range id.Executables {
		if !filepath.IsAbs(exe) {
			m.patterns = append(m.patterns, exe)
			m.bases = append(m.bases, exe)
			continue
		}
		m.paths = append(m.paths, filepath.Clean(exe))
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			m.paths = append(m.paths, real)
		}
	}
	for _, path := range m.paths {
		m.bases = append(m.bases, filepath.Base(path))
	}
	return m
}

// match says whether exe, the path that the link shows, may be the daemon's.
func (m *matcher) match(exe, link string) bool {
	if slices.Contains(m.paths, exe) {
		return true
	}
	base := filepath.Base(exe)
	for _, pattern := range m.patterns {
		if ok, _ := filepath.Match(pattern, base); ok {
			return true
		}
	}
	for _, b := range m.bases {
		if rest, ok := strings.CutPrefix(base, b); ok && m.tested && (rest == "" || strings.ContainsAny(rest[:1], ".;-~")) {
			return true
		}
	}
	return slices.ContainsFunc(m.paths, func(path string) bool {
		return filepath.Base(path) == base && sameFile(link, path)
	})
}

// matchComm does what can be done with the 15 bytes that the kernel keeps of a name.
func (m *matcher) matchComm(comm, name string) bool {
	for _, pattern := range append(slices.Clone(m.bases), name) {
		if len(comm) == 15 && strings.HasPrefix(pattern, comm) {
			return true
		}
		if ok, _ := filepath.Match(pattern, comm); ok {
			return true
		}
	}
	return false
}

// dismiss says that a process whose executable is hidden from us is another: by its name as well as by its
// argument 0, which everybody may read. A daemon that changes both beyond recognition is not known.
func (m *matcher) dismiss(dir, name string) bool {
	st, err := ReadStat(dir)
	if err != nil {
		return errors.Is(err, os.ErrProcessDone)
	}
	if m.matchComm(st.Comm, name) {
		return false
	}
	args, err := readProc(dir + "/cmdline")
	if err != nil {
		return errors.Is(goneOr(err), os.ErrProcessDone)
	}
	arg0, _, _ := strings.Cut(string(args), "\x00")
	base := filepath.Base(arg0)
	return !m.match(base, "") && !m.matchComm(base, name) && !strings.HasPrefix(base, name)
}

func sameFile(a, b string) bool {
	ai, err := os.Stat(a)
	if err != nil {
		return false
	}
	bi, err := os.Stat(b)
	return err == nil && os.SameFile(ai, bi)
}

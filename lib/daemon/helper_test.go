package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is its own daemon: called as "BINARY helper MODE ARG..." it plays a part instead of testing.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		if err := helpers[os.Args[2]](os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func init() {
	// The main goroutine keeps the main thread, so that halfDead can end it.
	runtime.LockOSThread()
}

// work reads a little, again and again.
func work([]string) error {
	for {
		if _, err := os.ReadFile("/proc/self/comm"); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var helpers map[string]func(args []string) error

func init() {
	helpers = map[string]func(args []string) error{
		"serve":    serve,
		"stubborn": stubborn,
		"die":      die,
		"freeze":   func([]string) error { return unix.Kill(os.Getpid(), unix.SIGSTOP) },
		"hang":     func([]string) error { return unix.Pause() },
		"work":     work,
		"report":   report,
		"fork":     fork,
		"respawn":  respawn,
		"family":   family,
		"unlink":   unlink,
		"halfdead": halfDead,
		"zombie":   zombie,
		"open":     openFile,
		"touch":    func(args []string) error { return os.WriteFile(args[0], nil, 0o600) },
	}
}

// mark tells the test that the helper has come so far.
func mark(name string) error {
	return os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())), 0o644)
}

// serve is ready after a delay (argument 1) and ends on TERM.
func serve(args []string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	if len(args) > 0 {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		time.Sleep(d)
	}
	if err := mark("ready"); err != nil {
		return err
	}
	<-term
	return os.WriteFile("clean", nil, 0o644)
}

func stubborn([]string) error {
	signal.Ignore(unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	if err := mark("ready"); err != nil {
		return err
	}
	return forever()
}

// forever waits; a bare select is a deadlock to a runtime without cgo's threads.
func forever() error {
	for {
		time.Sleep(time.Hour)
	}
}

// die prints its arguments and ends with status 3.
func die(args []string) error {
	for _, arg := range args {
		fmt.Println(arg)
	}
	os.Exit(3)
	return nil
}

// state is what a helper sees of how it was started.
type state struct {
	Umask, Nice, Session, PGID, PID, UID, GID int
	Groups                                    []int
	Dir                                       string
	Env                                       []string
	Files                                     map[string]string
	Core                                      unix.Rlimit
}

func report([]string) error {
	var s state
	var err error
	s.Umask = unix.Umask(0o022)
	if s.Nice, err = unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil {
		return err
	}
	s.Nice = 20 - s.Nice // the system call counts from 40 down to 1
	s.Session, _ = unix.Getsid(0)
	s.PGID, s.PID, s.UID, s.GID = unix.Getpgrp(), os.Getpid(), os.Getuid(), os.Getgid()
	s.Groups, _ = os.Getgroups()
	s.Dir, _ = os.Getwd()
	s.Env = os.Environ()
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &s.Core); err != nil {
		return err
	}
	s.Files = map[string]string{}
	names, err := readNames("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, name := range names {
		if link, err := os.Readlink("/proc/self/fd/" + name); err == nil {
			s.Files[name] = link
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile("state.tmp", b, 0o644); err != nil {
		return err
	}
	if err := os.Rename("state.tmp", "state"); err != nil {
		return err
	}
	return serve(nil)
}

// again starts another helper in a session of its own or in ours.
func again(setsid bool, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, append([]string{"helper"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	return cmd, cmd.Start()
}

// fork leaves a daemon behind (the mode in its arguments, if any) and exits with 0.
func fork(args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, err := again(true, args...)
	return err
}

// respawn is a supervisor that nothing but SIGKILL impresses, as mysqld_safe is.
func respawn([]string) error {
	signal.Ignore(unix.SIGTERM)
	for {
		cmd, err := again(true, "serve")
		if err != nil {
			return err
		}
		_ = cmd.Wait()
	}
}

// family has a child in its own session that ignores TERM; it ends on TERM itself and leaves that child.
func family([]string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	if err := os.Mkdir("child", 0o755); err != nil {
		return err
	}
	if err := os.Chdir("child"); err != nil {
		return err
	}
	if _, err := again(false, "stubborn"); err != nil {
		return err
	}
	if err := os.Chdir(".."); err != nil {
		return err
	}
	if err := mark("ready"); err != nil {
		return err
	}
	<-term
	return nil
}

// unlink deletes its own executable and its working directory's name.
func unlink([]string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Remove(exe); err != nil {
		return err
	}
	return serve(nil)
}

// halfDead ends its main thread and lives on in others: a zombie that is none.
func halfDead([]string) error {
	go func() {
		for st, err := ReadStat("/proc/self"); err == nil && st.State != 'Z'; st, err = ReadStat("/proc/self") {
			time.Sleep(time.Millisecond)
		}
		_ = mark("ready")
		forever()
	}()
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return errors.New("the main thread did not end")
}

// zombie has a child that is dead and not reaped, in the same directory.
func zombie([]string) error {
	cmd, err := again(false, "die")
	if err != nil {
		return err
	}
	for st, err := ReadStat(fmt.Sprintf("/proc/%d", cmd.Process.Pid)); err == nil && st.State != 'Z'; st, err = ReadStat(fmt.Sprintf("/proc/%d", cmd.Process.Pid)) {
		time.Sleep(time.Millisecond)
	}
	if err := os.WriteFile("zombie", []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return err
	}
	// Another program from here on, so that of this executable only the zombie is left.
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return err
	}
	return syscall.Exec(sleep, []string{"sleep", "60"}, nil)
}

// openFile works on the file given, not the directory it is in, as qpidd does.
func openFile(args []string) error {
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.WriteFile(args[0]+".ready", nil, 0o644); err != nil {
		return err
	}
	return forever()
}

// site is one daemon's world in a test.
type site struct {
	t   *testing.T
	ctx context.Context
	exe string
	dir string
	id  Identity
}

// newSite makes a data directory that everybody may enter, and ends what is left on it when the test is over.
func newSite(t *testing.T) *site {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "daemon-test-")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	s := &site{t: t, ctx: ctx, exe: exe, dir: dir, id: Identity{Name: "testd", Executables: []string{exe}, Test: UsesDir(dir)}}
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := Stop(ctx, Identity{Name: "left over", Executables: []string{exe, "sleep"}, Test: usesBelow(dir)}, StopOptions{Signal: unix.SIGKILL}); err != nil && !(os.Geteuid() != 0 && errors.Is(err, fs.ErrPermission)) {
			t.Errorf("cleaning up: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// usesBelow matches whatever works in the directory or below, for cleaning up.
func usesBelow(dir string) Test {
	return func(_ context.Context, p *Process) (bool, error) {
		cwd, err := p.WorkDir()
		if err != nil {
			return false, err
		}
		files, err := p.Files()
		if err != nil {
			return false, err
		}
		links := append(slices.Collect(maps.Values(files)), cwd)
		return isDir(cwd, []string{dir}) || isBelow(links, []string{dir}), nil
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) command(args ...string) Command {
	return Command{Name: "testd", Path: s.exe, Args: append([]string{"helper"}, args...), Dir: s.dir}
}

// ready is for Start: the helper has left its mark.
func (s *site) ready(context.Context) error {
	_, err := os.Stat(s.path("ready"))
	return err
}

func (s *site) start(args ...string) *Process {
	s.t.Helper()
	p, err := Start(s.ctx, s.command(args...), s.ready)
	if err != nil {
		s.t.Fatalf("Start: %v", err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}

// find wants exactly one process.
func (s *site) find() *Process {
	s.t.Helper()
	p, err := s.id.Find(s.ctx)
	if err != nil || p == nil {
		s.t.Fatalf("Find = %v, %v, want a process", p, err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}

// gone wants none.
func (s *site) gone() {
	s.t.Helper()
	if p, err := s.id.Find(s.ctx); p != nil || err != nil {
		s.t.Fatalf("Find = %v, %v, want nothing", p, err)
	}
}

// until polls for a condition.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for !ok() {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("it never came true that %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (s *site) exists(name string) bool {
	_, err := os.Stat(s.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return err == nil
}

// pid reads a pid that a helper has written.
func (s *site) pid(name string) int {
	s.t.Helper()
	var pid int
	s.until(name+" holds a pid", func() bool {
		b, _ := os.ReadFile(s.path(name))
		pid, _ = strconv.Atoi(string(b))
		return pid > 0
	})
	return pid
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root")
	}
}

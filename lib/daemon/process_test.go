package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 4242 4241 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 31 0 123456 1000 200 18446744073709551615 0"
	want := Stat{PID: 4243, Comm: "mysqld", State: 'S', PPID: 1, PGID: 4242, Session: 4241, Flags: 4194560, Threads: 31, StartTime: 123456, CPU: 11}
	for _, comm := range []string{"mysqld", "a b", "((x)", ") S 1 2 3", "", "\n", "(deleted)"} {
		want.Comm = comm
		if got, err := parseStat([]byte("4243 (" + comm + ")" + rest + "\n")); err != nil || got != want {
			t.Errorf("comm %q: got %+v, %v", comm, got, err)
		}
	}
	for _, bad := range []string{
		"", "4243", "4243 (x", ")(", "(x)" + rest, "4243 (x) S 1 2 3",
		"x (mysqld)" + rest, "4243 (mysqld) SS" + rest[2:], strings.Replace("4243 (m)"+rest, "123456", "-1", 1),
	} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (systemd) S 0 1 1 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 5 1000 200 18446744073709551615")
	f.Add("7 (a) b (c)) Z 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 2 0 99 0 0 0")
	f.Fuzz(func(t *testing.T, line string) {
		st, err := parseStat([]byte(line))
		if err != nil {
			return
		}
		if !strings.Contains(line, "("+st.Comm+")") {
			t.Errorf("comm %q is not in %q", st.Comm, line)
		}
		if strings.Contains(line[strings.LastIndex(line, ")")+1:], ")") {
			t.Errorf("the name of %q ends too early", line)
		}
	})
}

func TestStatDead(t *testing.T) {
	for _, c := range []struct {
		state   byte
		threads int
		dead    bool
	}{
		{'S', 1, false},
		{'D', 1, false},
		{'T', 1, false},
		{'Z', 1, true},
		{'X', 0, true},
		{'Z', 2, false}, // a thread is left that holds all files
	} {
		if got := (Stat{State: c.state, Threads: c.threads}).Dead(); got != c.dead {
			t.Errorf("state %c, %d threads: Dead = %v", c.state, c.threads, got)
		}
	}
}

func TestProcess(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	st, err := p.Stat()
	if err != nil || st.PID != p.PID || st.Session != p.PID || st.PGID != p.PID || st.Stopped() {
		t.Errorf("Stat = %+v, %v; want the leader of a session", st, err)
	}
	if args, err := p.Cmdline(s.ctx); err != nil || strings.Join(args[1:], " ") != "helper serve" {
		t.Errorf("Cmdline = %q, %v", args, err)
	}
	if cwd, err := p.WorkDir(); err != nil || cwd != s.dir {
		t.Errorf("WorkDir = %q, %v", cwd, err)
	}
	if uid, err := p.UID(); err != nil || uid != os.Geteuid() {
		t.Errorf("UID = %d, %v", uid, err)
	}
	if age, err := p.Age(); err != nil || age < 0 || age > time.Minute {
		t.Errorf("Age = %v, %v", age, err)
	}
	if p.Exe != s.exe || p.Deleted || !p.Alive() {
		t.Errorf("Exe = %q, Deleted = %v, Alive = %v", p.Exe, p.Deleted, p.Alive())
	}
	if got, want := p.String(), "testd (pid "; !strings.HasPrefix(got, want) {
		t.Errorf("String = %q", got)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(s.ctx); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Signal":  p.Signal(unix.SIGTERM),
		"Stat":    second(p.Stat()),
		"WorkDir": second(p.WorkDir()),
		"Cmdline": second(p.Cmdline(s.ctx)),
		"Files":   second(p.Files()),
		"UID":     second(p.UID()),
	} {
		if !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s of a dead process: %v, want os.ErrProcessDone", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// On a kernel without pidfds the same must hold.
func TestProcessWithoutPidfd(t *testing.T) {
	s := newSite(t)
	s.start("serve")
	p := s.find()
	p.Close()
	p.pidfd = nil
	short, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	if err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for a live process = %v", err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := p.Wait(s.ctx); err != nil || p.Alive() {
		t.Errorf("Wait = %v, Alive = %v", err, p.Alive())
	}
	// Its pid used again looks like this.
	q, err := open("", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	q.pidfd = nil
	q.StartTime--
	if q.Alive() || !errors.Is(q.Signal(0), os.ErrProcessDone) && q.PID != os.Getpid() {
		t.Error("a process with another start time passes for the same")
	}
}

func TestWait(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	for _, c := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want error
	}{
		{"deadline", func() (context.Context, context.CancelFunc) { return context.WithTimeout(s.ctx, 10*time.Millisecond) }, context.DeadlineExceeded},
		{"over already", func() (context.Context, context.CancelFunc) { return context.WithTimeout(s.ctx, -1) }, context.DeadlineExceeded},
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(s.ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled},
	} {
		ctx, cancel := c.ctx()
		if err := p.Wait(ctx); !errors.Is(err, c.want) {
			t.Errorf("%s: Wait = %v, want %v", c.name, err, c.want)
		}
		cancel()
	}
	// Several waiters, one of which gives up, do not disturb each other.
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- p.Wait(s.ctx) }()
	}
	short, cancel := context.WithTimeout(s.ctx, 10*time.Millisecond)
	defer cancel()
	if err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait = %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("Wait = %v with the process alive", err)
	default:
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSignalNever(t *testing.T) {
	for _, p := range []*Process{{PID: 1, dir: "/proc/1"}, {PID: 0, dir: "/proc/0"}, {PID: -1}, {PID: os.Getpid()}, {PID: os.Getppid(), fixture: true}} {
		if err := p.Signal(syscall.Signal(0)); err == nil || errors.Is(err, os.ErrProcessDone) {
			t.Errorf("pid %d, fixture %v: Signal = %v, want a refusal", p.PID, p.fixture, err)
		}
	}
}

// A process whose main thread has ended is a zombie to ps, yet it holds its files.
func TestHalfDead(t *testing.T) {
	s := newSite(t)
	started := s.start("halfdead")
	p := s.find()
	if st, err := p.Stat(); p.PID != started.PID || err != nil || st.State != 'Z' || st.Threads < 2 {
		t.Fatalf("found %v, Stat = %+v, %v", p, st, err)
	}
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	s.gone()
}

func TestStuck(t *testing.T) {
	f := newFixture(t)
	f.add(100, proc{comm: "mysqld", exe: "/usr/sbin/mysqld", state: 'Z', threads: 3})
	task := filepath.Join(f.dir, "100", "task", "102")
	f.write(filepath.Join("100", "task", "102", "stat"), statLine(102, proc{comm: "mysqld", state: 'D', threads: 3}))
	f.write(filepath.Join("100", "task", "102", "wchan"), "nfs_wait_bit_killable")
	if err := os.Symlink("/usr/sbin/mysqld", filepath.Join(task, "exe")); err != nil {
		t.Fatal(err)
	}
	p, err := open(f.dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	p.name = "mysqld"
	err = p.stuck()
	want := "mysqld (pid 100) is stuck in the kernel (state D in nfs_wait_bit_killable) and outlived SIGKILL, most likely on storage that does not answer"
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

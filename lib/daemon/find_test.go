package daemon

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fixture is a /proc made by hand.
type fixture struct {
	t   *testing.T
	dir string
}

// proc is a process of a fixture; the zero value of a field leaves it out or is the usual.
type proc struct {
	comm    string
	exe     string
	cwd     string
	cmdline []string
	fds     map[int]string
	mounts  map[int]string // fd to mnt_id in fdinfo
	state   byte
	threads int
	flags   uint64
	start   uint64
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t, t.TempDir()}
	f.add(1, proc{comm: "systemd", exe: "/usr/lib/systemd/systemd", cwd: "/"})
	f.add(2, proc{comm: "kthreadd", flags: kernelThread})
	return f
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) link(name, target string) {
	f.t.Helper()
	if target == "" {
		return
	}
	path := filepath.Join(f.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		f.t.Fatal(err)
	}
}

func statLine(pid int, p proc) string {
	return fmt.Sprintf("%d (%s) %c 1 %d %d 0 -1 %d 0 0 0 0 0 0 0 0 20 0 %d 0 %d 0 0 0 0",
		pid, p.comm, cmp.Or(p.state, 'S'), pid, pid, p.flags, cmp.Or(p.threads, 1), cmp.Or(p.start, 100))
}

func (f *fixture) add(pid int, p proc) {
	f.t.Helper()
	n := strconv.Itoa(pid)
	f.write(n+"/stat", statLine(pid, p))
	f.write(n+"/cmdline", strings.Join(append(p.cmdline, ""), "\x00"))
	f.write(n+"/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 8:16 / /srv rw - ext4 /dev/sdb rw\n")
	f.link(n+"/exe", p.exe)
	f.link(n+"/cwd", p.cwd)
	if err := os.MkdirAll(filepath.Join(f.dir, n, "fd"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	for fd, link := range p.fds {
		f.link(fmt.Sprintf("%d/fd/%d", pid, fd), link)
		f.write(fmt.Sprintf("%d/fdinfo/%d", pid, fd), fmt.Sprintf("pos:\t0\nflags:\t0100002\nmnt_id:\t%s\n", cmp.Or(p.mounts[fd], "22")))
	}
}

// justNow stands for now, for tables that are made before.
const justNow = ^uint64(0)

// now is the start time of a process that starts right now.
func now(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano()) * ticks / uint64(time.Second)
}

// What Find says of one process in a fixture, looking for the mysqld on /srv/mysql.
func TestFind(t *testing.T) {
	const (
		ours   = "ours"
		none   = "none"
		doubt  = "doubt"
		daemon = "/usr/sbin/mysqld"
		data   = "/srv/mysql"
	)
	// A server whose storage was lazily unmounted: names begin at the root of what was mounted.
	detached := map[int]string{0: "/dev/null", 4: "/ibdata1", 5: "/ib_logfile0", 6: "socket:[77]"}
	away := map[int]string{4: "99", 5: "99"}
	for _, c := range []struct {
		name string
		proc proc
		want string
	}{
		{"plain", proc{exe: daemon, cwd: data}, ours},
		{"binary replaced", proc{exe: daemon + " (deleted)", cwd: data}, ours},
		{"binary moved away", proc{exe: "/usr/sbin/mysqld.old", cwd: data}, ours},
		{"binary under rpm's temporary name", proc{exe: "/usr/sbin/mysqld;65a1b2c3 (deleted)", cwd: data}, ours},
		{"binary elsewhere", proc{exe: "/opt/mysql-8.0/bin/mysqld-debug", cwd: data}, ours},
		{"mysqldump in the data directory", proc{comm: "mysqldump", exe: "/usr/bin/mysqldump", cwd: data}, none},
		{"a shell in the data directory", proc{comm: "bash", exe: "/bin/bash", cwd: data}, none},
		{"named so but another program", proc{comm: "mysqld", exe: "/bin/bash", cwd: data}, none},
		{"data directory deleted", proc{exe: daemon, cwd: data + " (deleted)"}, ours},
		{"another data directory", proc{exe: daemon, cwd: "/srv/mysql2"}, none},
		{"a parent of it", proc{exe: daemon, cwd: "/srv"}, none},
		{"open files only", proc{exe: daemon, cwd: "/", fds: map[int]string{3: "/srv/mysql/ibdata1"}}, ours},
		{"deleted open files only", proc{exe: daemon, cwd: "/", fds: map[int]string{3: "/srv/mysql/ibtmp1 (deleted)"}}, ours},
		{"open files of a similar name", proc{exe: daemon, cwd: "/", fds: map[int]string{3: "/srv/mysql2/ibdata1"}}, none},
		{"option =", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir=/srv/mysql/"}}, ours},
		{"option and value", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir", "/srv/mysql"}}, ours},
		{"option without value", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir"}}, none},
		{"the last option counts", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir=/srv/mysql", "--datadir=/srv/b"}}, none},
		{"unmounted under it, says so", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir=/srv/mysql"}, fds: detached, mounts: away}, ours},
		{"unmounted under it, says another", proc{exe: daemon, cwd: "/", cmdline: []string{"mysqld", "--datadir=/srv/b"}, fds: detached, mounts: away}, none},
		{"unmounted under it, says nothing", proc{exe: daemon, cwd: "/", fds: detached, mounts: away}, doubt},
		{"memfd is no lost mount", proc{exe: daemon, cwd: "/srv/b", fds: map[int]string{3: "/memfd:x (deleted)"}, mounts: map[int]string{3: "7"}}, none},
		{"just started, and then nothing", proc{exe: daemon, cwd: "/", start: justNow}, none},
		{"just started, says another", proc{exe: daemon, cwd: "/", start: justNow, cmdline: []string{"mysqld", "--datadir=/srv/b"}}, none},
		{"just started, works elsewhere", proc{exe: daemon, cwd: "/", start: justNow, fds: map[int]string{3: "/srv/b/ibdata1"}}, none},
		{"stuck before it opened anything", proc{exe: daemon, cwd: "/", state: 'D'}, doubt},
		{"stuck but settled elsewhere", proc{exe: daemon, cwd: "/srv/b", state: 'D', fds: map[int]string{3: "/srv/b/ibdata1"}}, none},
		{"stopped", proc{exe: daemon, cwd: data, state: 'T'}, ours},
		{"zombie", proc{state: 'Z'}, none},
		{"exiting", proc{state: 'R'}, doubt},
		{"exiting, a stranger", proc{comm: "bash", state: 'R'}, none},
		{"exiting and stuck, a stranger", proc{comm: "bash", state: 'D', flags: exitingTask}, none},
		{"exiting and stuck, a stranger whose program can still be read", proc{comm: "bash", exe: "/bin/bash", cwd: "/", state: 'D', flags: exitingTask}, none},
		{"exiting and stuck, of that program, and known no more", proc{comm: "renamed", exe: daemon, cwd: "/", state: 'D', flags: exitingTask}, doubt},
		{"killed but for a stuck thread that has let go of all", proc{state: 'Z', threads: 2}, doubt},
		{"kernel thread of that name", proc{flags: kernelThread}, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a doubt over an exiting process takes a while
			f := newFixture(t)
			c.proc.comm = cmp.Or(c.proc.comm, "mysqld")
			if c.proc.start == justNow {
				c.proc.start = now(t)
			}
			f.add(4711, c.proc)
			id := Identity{Name: "MySQL server", Executables: []string{daemon}, Test: UsesDir(data, "datadir"), Proc: f.dir}
			p, err := id.Find(t.Context())
			var d *DoubtError
			got := none
			switch {
			case p != nil && err == nil && p.PID == 4711:
				got = ours
			case errors.As(err, &d) && p == nil && d.PID == 4711:
				got = doubt
			case err != nil:
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
			if c.want == doubt {
				return
			}
			// The pid file does not make a stranger ours.
			f.write("pid", "4711\n")
			id.PIDFile = filepath.Join(f.dir, "pid")
			if p, err := id.Find(t.Context()); (p != nil) != (c.want == ours) || err != nil {
				t.Errorf("with a pid file: %v, %v, want %s", p, err, c.want)
			}
		})
	}
}

// A daemon that starts as Find looks is waited for, until it shows what it works on or the context ends.
func TestFindStarting(t *testing.T) {
	f := newFixture(t)
	f.add(100, proc{comm: "mysqld", exe: "/usr/sbin/mysqld", cwd: "/", start: now(t) + 3600*ticks})
	id := Identity{Name: "mysqld", Executables: []string{"mysqld"}, Test: UsesDir("/srv/mysql"), Proc: f.dir}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var doubt *DoubtError
	if p, err := id.Find(ctx); !errors.As(err, &doubt) {
		t.Fatalf("Find = %v, %v, want a doubt", p, err)
	}
	timer := time.AfterFunc(50*time.Millisecond, func() { f.link("100/fd/3", "/srv/mysql/ibdata1") })
	defer timer.Stop()
	if p, err := id.Find(t.Context()); err != nil || p == nil {
		t.Errorf("Find = %v, %v, want 100", p, err)
	}
}

// Names that are links, other names for the same directory, and a directory that is a link itself.
func TestUsesDirByInode(t *testing.T) {
	base := t.TempDir()
	data, alias := filepath.Join(base, "data"), filepath.Join(base, "alias")
	if err := errors.Join(os.Mkdir(data, 0o755), os.Symlink(data, alias), os.WriteFile(filepath.Join(data, "lock"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	f.add(100, proc{comm: "qpidd", exe: "/usr/sbin/qpidd", cwd: data})
	// As if bind mounted: the text of the link tells nothing, what it leads to does.
	other := filepath.Join(base, "other")
	if err := errors.Join(os.Mkdir(other, 0o755), os.Link(filepath.Join(data, "lock"), filepath.Join(other, "lock"))); err != nil {
		t.Fatal(err)
	}
	f.add(200, proc{comm: "qpidd", exe: "/opt/qpidd", cwd: "/", fds: map[int]string{5: filepath.Join(other, "lock")}})
	for _, c := range []struct {
		dir, exe string
		pid      int
	}{
		{alias, "/usr/sbin/qpidd", 100},
		{data + "/", "/usr/sbin/qpidd", 100},
		{data, "/opt/qpidd", 100}, // the base name is enough where there is a test; 100 comes first
	} {
		p, err := Identity{Name: "qpidd", Executables: []string{c.exe}, Test: UsesDir(c.dir), Proc: f.dir}.Find(t.Context())
		if err != nil || p == nil || p.PID != c.pid {
			t.Errorf("%s in %s: %v, %v, want %d", c.exe, c.dir, p, err, c.pid)
		}
	}
	all, err := Identity{Name: "qpidd", Executables: []string{"qpidd"}, Test: UsesDir(data), Proc: f.dir}.FindAll(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("FindAll = %v, %v, want both", all, err)
	}
}

func TestScript(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"/usr/bin/python3", "/usr/bin/nova-conductor", "--config-file", "x"}, true},
		{[]string{"/usr/bin/python3", "-s", "/usr/bin/nova-conductor"}, true},
		{[]string{"/usr/bin/python3", "/usr/bin/other", "nova-conductor"}, false},
		{[]string{"nova-conductor: worker (/usr/bin/python3 /usr/bin/nova-conductor)"}, true},
		{[]string{"nova-conductor"}, true},
		{[]string{"nova-conductor-old: x"}, false},
		{[]string{"/usr/bin/python3"}, false},
		{nil, false},
	} {
		f := newFixture(t)
		f.add(100, proc{comm: "x", exe: "/usr/bin/python3.11", cwd: "/", cmdline: c.args})
		p, err := Identity{Name: "conductor", Executables: []string{"python3*"}, Test: Script("nova-conductor"), Proc: f.dir}.Find(t.Context())
		if err != nil || (p != nil) != c.want {
			t.Errorf("%q: found %v, %v, want %v", c.args, p, err, c.want)
		}
	}
}

func TestAllAny(t *testing.T) {
	yes := func(context.Context, *Process) (bool, error) { return true, nil }
	no := func(context.Context, *Process) (bool, error) { return false, nil }
	eh := func(context.Context, *Process) (bool, error) { return false, errors.New("eh") }
	for _, c := range []struct {
		name  string
		test  Test
		yes   bool
		doubt bool
	}{
		{"all yes", All(yes, yes), true, false},
		{"all no", All(yes, no, eh), false, false},
		{"all in doubt", All(yes, eh), false, true},
		{"any yes", Any(no, eh, yes), true, false},
		{"any no", Any(no, no), false, false},
		{"any in doubt", Any(no, eh), false, true},
	} {
		if got, err := c.test(t.Context(), nil); got != c.yes || (err != nil) != c.doubt {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestFindOldestOfSeveral(t *testing.T) {
	f := newFixture(t)
	f.add(300, proc{comm: "mysqld", exe: "/usr/sbin/mysqld", cwd: "/srv/mysql", start: 500})
	f.add(200, proc{comm: "mysqld", exe: "/usr/sbin/mysqld", cwd: "/srv/mysql", start: 700})
	f.add(250, proc{comm: "mysqld", exe: "/usr/sbin/mysqld", cwd: "/", start: now(t)}) // a doubt that does not matter
	p, err := Identity{Name: "mysqld", Executables: []string{"mysqld"}, Test: UsesDir("/srv/mysql"), Proc: f.dir}.Find(t.Context())
	if err != nil || p == nil || p.PID != 300 {
		t.Errorf("Find = %v, %v, want 300", p, err)
	}
}

func TestReadPID(t *testing.T) {
	raw := binary.NativeEndian.AppendUint32(nil, 4711)
	for _, c := range []struct {
		content string
		want    int
	}{
		{"4711\n", 4711},
		{" 4711 ", 4711},
		{"4711", 4711},
		{string(raw), 4711},
		{"", 0},
		{"0", 0},
		{"-5", 0},
		{"mysqld", 0},
		{"47 11", 0},
		{"\xff\xff\xff\xff", 0},
		{"99999999999999999999", 0},
	} {
		path := filepath.Join(t.TempDir(), "pid")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadPID(path); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%q: %d, %v, want %d", c.content, got, err, c.want)
		}
	}
}

// Pid files that are wrong in every way, with the daemon running all the same, and with it gone.
func TestPIDFileIsAHint(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	stranger := exec.Command("sleep", "60")
	stranger.Dir = s.dir
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	fifo := s.path("fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"right": strconv.Itoa(p.PID), "stranger": strconv.Itoa(stranger.Process.Pid), "ourselves": strconv.Itoa(os.Getpid()),
		"init": "1", "garbage": "x\x00y", "empty": "", "stale": "4194304",
	}
	paths := []string{fifo, s.path("missing"), s.dir}
	for name, content := range files {
		paths = append(paths, s.path(name))
		if err := os.WriteFile(s.path(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range paths {
		s.id.PIDFile = path
		if q, err := s.id.Find(s.ctx); err != nil || q == nil || q.PID != p.PID {
			t.Errorf("%s: Find = %v, %v, want %v", path, q, err, p)
		}
	}
	s.id.PIDFile = s.path("stranger")
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths[1:] { // not the pipe: once is slow enough
		s.id.PIDFile = path
		s.gone()
	}
	s.id.PIDFile = s.path("stranger")
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Error(err)
	}
	if err := stranger.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the stranger whose pid was in the file: %v", err)
	}
}

func TestDeletedExecutable(t *testing.T) {
	s := newSite(t)
	b, err := os.ReadFile(s.exe)
	if err != nil {
		t.Fatal(err)
	}
	s.exe = s.path("testd")
	if err := os.WriteFile(s.exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	s.id.Executables = []string{s.exe}
	p := s.start("unlink")
	// An upgrade puts another file in its place.
	if err := os.WriteFile(s.exe, []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if q := s.find(); q.PID != p.PID || !q.Deleted || q.Exe != s.exe {
		t.Errorf("found %v, Exe %s, Deleted %v", q, q.Exe, q.Deleted)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	s.gone()
}

func TestZombieIsDead(t *testing.T) {
	s := newSite(t)
	if _, err := Start(s.ctx, s.command("zombie"), func(context.Context) error {
		if !s.exists("zombie") {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	pid := s.pid("zombie")
	if st, err := ReadStat("/proc/" + strconv.Itoa(pid)); err != nil || st.State != 'Z' {
		t.Fatalf("the child is no zombie: %+v, %v", st, err)
	}
	s.until("the parent runs another program", func() bool { p, err := s.id.Find(s.ctx); p.Close(); return p == nil && err == nil })
	s.id.PIDFile = s.path("zombie")
	s.gone()
	if _, err := open("", pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("open of a zombie: %v", err)
	}
}

func TestFindWithoutPrivilege(t *testing.T) {
	f := newFixture(t)
	f.add(100, proc{comm: "mysqld", cmdline: []string{"mysqld"}})
	f.add(101, proc{comm: "bash", cmdline: []string{"-bash"}})
	// Even for root a link that cannot be read: it is none.
	for _, pid := range []string{"100", "101"} {
		f.write(pid+"/exe", "")
	}
	_, err := Identity{Name: "mysqld", Executables: []string{"/usr/sbin/mysqld"}, Proc: f.dir}.Find(t.Context())
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "process 100 ") {
		t.Errorf("err = %v, want a refusal that names process 100", err)
	}
	p, err := Identity{Name: "qpidd", Executables: []string{"/usr/sbin/qpidd"}, Proc: f.dir}.Find(t.Context())
	if p != nil || err != nil {
		t.Errorf("qpidd: %v, %v; neither hidden process can be it", p, err)
	}
}

// BenchmarkFind is the worst case, nothing to be found: all of /proc, twice.
func BenchmarkFind(b *testing.B) {
	for _, c := range []struct {
		name string
		id   Identity
	}{
		{"absent", Identity{Name: "absentd", Executables: []string{"/usr/sbin/absentd"}, Test: UsesDir("/srv/absent")}},
		{"scan", Identity{Name: "self", Executables: []string{"sleep"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			cmd := exec.Command("sleep", "600")
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			names, err := os.ReadDir("/proc")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(names)), "entries")
			for b.Loop() {
				p, err := c.id.Find(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				p.Close()
			}
		})
	}
}

// TestRootWithoutCapabilities: root may be without the right to look at other accounts' processes. A stranger's is told
// from ours all the same, and ours is found.
func TestRootWithoutCapabilities(t *testing.T) {
	needRoot(t)
	const stage = "DAEMON_TEST_WITHOUT"
	if os.Getenv(stage) == "" {
		for _, without := range []string{"-dac_override,-dac_read_search", "-dac_override,-dac_read_search,-sys_ptrace"} {
			cmd := exec.Command("setpriv", "--bounding-set="+without, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
			cmd.Env = append(os.Environ(), stage+"="+without)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", without, err, out)
			}
		}
		return
	}
	top, err := os.MkdirTemp("", "daemon-test-") // not newSite's, whose end looks at everybody's processes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	data, exe := filepath.Join(top, "data"), filepath.Join(top, "served")
	if err := errors.Join(os.Chmod(top, 0o755), os.WriteFile(exe, program, 0o755), os.Mkdir(data, 0o755)); err != nil {
		t.Fatal(err)
	}
	id := Identity{Name: "served", Executables: []string{exe}, Test: UsesDir(data, "datadir")}
	find := func(dir string) *Process {
		t.Helper()
		p, err := Start(t.Context(), Command{Path: exe, Args: []string{"600"}, Dir: dir, User: "nobody"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.Signal(unix.SIGKILL)
			p.Close()
		})
		found, err := id.Find(t.Context())
		if err != nil {
			t.Errorf("one that works in %s: %v", dir, err)
		}
		if found != nil && found.PID != p.PID {
			t.Errorf("found %v, want %v", found, p)
		}
		return found
	}
	if p := find("/"); p != nil {
		t.Errorf("the stranger %v is taken for ours", p)
	}
	if p := find(data); p == nil {
		t.Error("ours is not found")
	}
}

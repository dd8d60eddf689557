package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a daemon inherits, and what not.
func TestStartAttributes(t *testing.T) {
	s := newSite(t)
	// Such as Pacemaker may leave open in the agent.
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	t.Setenv("OCF_RESKEY_passwd", "secret")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	c := s.command("report")
	c.Env = []string{"EXTRA=1"}
	c.Umask = 0o037
	c.Nice = 15 // also where the tests themselves are niced
	c.Limits = []Limit{{unix.RLIMIT_NOFILE, 777}, {unix.RLIMIT_CORE, 7 << 20}}
	c.Output = s.path("out")
	c.PIDFile = s.path("pid")
	p, err := Start(s.ctx, c, s.ready)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b, err := os.ReadFile(s.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	var got state
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.PID != p.PID || got.Session != p.PID || got.PGID != p.PID {
		t.Errorf("pid %d, session %d, group %d; want all %d", got.PID, got.Session, got.PGID, p.PID)
	}
	if got.Umask != 0o037 || got.Nice != 15 || got.Dir != s.dir || got.UID != os.Getuid() {
		t.Errorf("umask %03o, nice %d, dir %s, uid %d", got.Umask, got.Nice, got.Dir, got.UID)
	}
	if got.Core.Cur != 7<<20 {
		t.Errorf("core limit %+v", got.Core)
	}
	for fd, link := range got.Files {
		want := map[string]string{"0": "/dev/null", "1": c.Output, "2": c.Output}[fd]
		// The Go runtime's own, and the listing of descriptors itself.
		if want == "" && (strings.HasPrefix(link, "anon_inode:") || strings.HasPrefix(link, "/proc/") || strings.HasPrefix(link, "/sys/fs/cgroup")) {
			continue
		}
		if link != want {
			t.Errorf("descriptor %s is %s, want %q", fd, link, want)
		}
	}
	if !slices.Contains(got.Env, "EXTRA=1") || strings.Contains(strings.Join(got.Env, " "), "OCF_") {
		t.Errorf("environment %q", got.Env)
	}
	if pid, err := ReadPID(c.PIDFile); err != nil || pid != p.PID {
		t.Errorf("pid file: %d, %v", pid, err)
	}
	// Nothing of it may stick to the agent.
	var after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil || after != before {
		t.Errorf("our own limit was %+v and is %+v, %v", before, after, err)
	}
	if err := os.WriteFile(s.path("ours"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(s.path("ours")); err != nil || fi.Mode().Perm()&^0o022 != 0o644 {
		t.Errorf("our own umask changed: %v, %v", fi.Mode(), err)
	}
}

func TestStartAsUser(t *testing.T) {
	needRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("SKIP: needs a user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	s := newSite(t)
	if err := os.Chown(s.dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	// Where nobody may execute it.
	b, err := os.ReadFile(s.exe)
	if err != nil {
		t.Fatal(err)
	}
	s.exe = s.path("testd")
	if err := os.WriteFile(s.exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	s.id.Executables = append(s.id.Executables, s.exe)
	c := s.command("report")
	c.User, c.Group, c.Output = "nobody", "daemon", s.path("out")
	p, err := Start(s.ctx, c, s.ready)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got state
	if b, err = os.ReadFile(s.path("state")); err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroup("daemon")
	if err != nil {
		t.Fatal(err)
	}
	gids, err := nobody.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	var groups []int
	for _, g := range gids {
		n, _ := strconv.Atoi(g)
		groups = append(groups, n)
	}
	if got.UID != uid || strconv.Itoa(got.GID) != group.Gid || !slices.Equal(got.Groups, groups) {
		t.Errorf("uid %d, gid %d, groups %v; want %d, %s, %v", got.UID, got.GID, got.Groups, uid, group.Gid, groups)
	}
	if u, err := p.UID(); err != nil || u != uid {
		t.Errorf("UID = %d, %v", u, err)
	}
	fi, err := os.Stat(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != uid || fi.Mode().Perm() != 0o640 {
		t.Errorf("the log belongs to %d, mode %v", st.Uid, fi.Mode())
	}
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Error(err)
	}
}

func TestStartReadyLate(t *testing.T) {
	s := newSite(t)
	began := time.Now()
	p, err := Start(s.ctx, s.command("serve", "300ms"), s.ready)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if d := time.Since(began); d < 300*time.Millisecond || d > 2*time.Second {
		t.Errorf("Start took %v", d)
	}
	if q := s.find(); q.PID != p.PID {
		t.Errorf("found %v, started %v", q, p)
	}
}

func TestStartDied(t *testing.T) {
	s := newSite(t)
	c := s.command("die", "starting", "2026-11-23  7:08:19 1 [ERROR] InnoDB: Unable to lock ./ibdata1 error: 11",
		"2026-11-24T07:08:19.123456Z 2 [ERROR] InnoDB: Unable to lock ./ibdata1 error: 11", "bye")
	c.Output = s.path("out")
	if err := os.WriteFile(c.Output, []byte("[ERROR] of yesterday\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ready := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } // one that does not return by itself
	began := time.Now()
	_, err := Start(s.ctx, c, ready)
	var died *DiedError
	if !errors.As(err, &died) {
		t.Fatalf("err = %v, want a DiedError", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("its death was told after %v", d)
	}
	want := []string{"InnoDB: Unable to lock ./ibdata1 error: 11"}
	if died.Status != "exit status 3" || !slices.Equal(died.Words, want) || !slices.Equal(died.Logs, []string{c.Output}) {
		t.Errorf("%+v", died)
	}
	s.gone()
}

// To wait for a frozen daemon is in vain, whatever the question does.
func TestStartFrozen(t *testing.T) {
	for name, ready := range map[string]func(context.Context) error{
		"no answer":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"bad answer": func(context.Context) error { return errors.New("not yet") },
	} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kill=%t", name, kill), func(t *testing.T) {
				s := newSite(t)
				c := s.command("freeze")
				c.KillUnready = kill
				_, err := Start(s.ctx, c, ready)
				var frozen *FrozenError
				if !errors.As(err, &frozen) || !strings.Contains(err.Error(), "state T") {
					t.Fatalf("err = %v, want a FrozenError", err)
				}
				if kill {
					s.gone()
				} else {
					s.find()
				}
			})
		}
	}
}

// One that does nothing before it is ready is killed; one that works is waited for.
func TestStartHung(t *testing.T) {
	notYet := func(context.Context) error { return errors.New("not yet") }
	s := newSite(t)
	c := s.command("hang")
	c.Stalled = 300 * time.Millisecond
	_, err := Start(s.ctx, c, notYet)
	var died *DiedError
	if !errors.As(err, &died) || !died.Killed() || !errors.As(died.By, new(*HungError)) || !strings.Contains(err.Error(), "it did nothing for") {
		t.Fatalf("err = %v, want a DiedError for it hung", err)
	}
	s.gone()
	c = s.command("work")
	c.Stalled = 5 * time.Second
	began := time.Now()
	p, err := Start(s.ctx, c, func(context.Context) error {
		if time.Since(began) < c.Stalled*3/2 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// An answer that comes from another than the daemon, which is dead.
func TestStartDeadButReady(t *testing.T) {
	s := newSite(t)
	_, err := Start(s.ctx, s.command("die"), func(context.Context) error {
		for s.ctx.Err() == nil {
			p, err := s.id.Find(s.ctx)
			p.Close()
			if p == nil && err == nil {
				break
			}
		}
		return nil
	})
	var died *DiedError
	if !errors.As(err, &died) {
		t.Errorf("err = %v, want a DiedError", err)
	}
}

func TestStartNotReady(t *testing.T) {
	s := newSite(t)
	refused := errors.New("connection refused")
	for _, kill := range []bool{false, true} {
		c := s.command("stubborn")
		c.KillUnready = kill
		c.PIDFile = s.path("pid")
		ctx, cancel := context.WithCancel(s.ctx)
		_, err := Start(ctx, c, func(context.Context) error {
			if s.exists("ready") {
				cancel()
			}
			return refused
		})
		var e *NotReadyError
		if !errors.As(err, &e) || !errors.Is(err, context.Canceled) {
			t.Fatalf("err = %v, want a NotReadyError", err)
		}
		if !errors.Is(err, refused) && e.Last != nil {
			t.Errorf("Last = %v", e.Last)
		}
		if e.Killed != kill || (e.Process == nil) != kill || s.exists("pid") == kill {
			t.Errorf("kill %v: %+v, pid file %v", kill, e, s.exists("pid"))
		}
		if kill {
			s.gone()
			continue
		}
		if q := s.find(); q.PID != e.PID || !e.Process.Alive() {
			t.Errorf("it is not there any more: %v, %+v", q, e)
		}
		e.Process.Close()
		if err := Stop(s.ctx, s.id, StopOptions{Signal: unix.SIGKILL}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(s.path("ready")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartForks(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		died string // how, if it did
	}{
		{"a daemon", []string{"fork", "serve", "100ms"}, ""},
		{"none", []string{"fork"}, "left no daemon behind"},
		{"one that dies at once", []string{"fork", "die"}, ""},
		{"fails itself", []string{"die"}, "exit status 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			cmd := s.command(c.args...)
			cmd.Forks = &s.id
			p, err := Start(s.ctx, cmd, s.ready)
			if c.args[len(c.args)-1] == "100ms" {
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				if pid := s.pid("ready"); p.PID != pid {
					t.Errorf("got %v, the daemon is %d", p, pid)
				}
				return
			}
			var died *DiedError
			if !errors.As(err, &died) || !strings.Contains(died.Status, c.died) {
				t.Errorf("err = %v, want a DiedError %q", err, c.died)
			}
		})
	}
}

func TestStartForksNotReady(t *testing.T) {
	s := newSite(t)
	c := s.command("fork", "stubborn")
	c.Forks, c.KillUnready = &s.id, true
	ctx, cancel := context.WithCancel(s.ctx)
	_, err := Start(ctx, c, func(context.Context) error {
		if s.exists("ready") {
			cancel()
		}
		return errors.New("not yet")
	})
	var e *NotReadyError
	if !errors.As(err, &e) || !e.Killed {
		t.Fatalf("err = %v, want a NotReadyError with the daemon killed", err)
	}
	s.gone()
}

func TestStartRefused(t *testing.T) {
	s := newSite(t)
	if err := errors.Join(os.WriteFile(s.path("private"), nil, 0o600), os.Symlink(s.path("private"), s.path("link"))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(s.path("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Command)
		want   string
		is     error
	}{
		{"no such program", func(c *Command) { c.Path = "/nonexistent/testd" }, "/nonexistent/testd", fs.ErrNotExist},
		{"relative", func(c *Command) { c.Path = "testd" }, "absolute", nil},
		{"not executable", func(c *Command) { c.Path = "/etc/passwd" }, "/etc/passwd", fs.ErrPermission},
		{"no such directory", func(c *Command) { c.Dir = s.path("nodir") }, "nodir", fs.ErrNotExist},
		{"no such user", func(c *Command) { c.User = "nosuchuser" }, "nosuchuser", user.UnknownUserError("nosuchuser")},
		{"no such group", func(c *Command) { c.Group = "nosuchgroup" }, "nosuchgroup", user.UnknownGroupError("nosuchgroup")},
		{"log is a pipe nobody reads", func(c *Command) { c.Output = s.path("fifo") }, "fifo", unix.ENXIO},
		{"no directory for the log", func(c *Command) { c.Output = s.path("nodir/log") }, "nodir/log", fs.ErrNotExist},
	} {
		cmd := s.command("serve")
		c.change(&cmd)
		p, err := Start(s.ctx, cmd, s.ready)
		if p != nil || err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, %v; want an error about %q that is %v", c.name, p, err, c.want, c.is)
		}
	}
	if os.Geteuid() == 0 { // root's rights are not lent to a user who puts a symlink in the log's place
		cmd := s.command("serve")
		cmd.Output, cmd.User = s.path("link"), "nobody"
		if p, err := Start(s.ctx, cmd, s.ready); p != nil || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("log is a symlink to another's file: %v, %v", p, err)
		}
	}
	s.gone()
}

// A limit beyond what is allowed is set as far as it goes. Asked of a shell, for a Go program raises its own.
func TestStartLimits(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, soft uint64 }{
		{777, 777},
		{1 << 40, old.Max}, // beyond fs.nr_open, so for root too
	} {
		s := newSite(t)
		cmd := Command{
			Path: "/bin/sh", Args: []string{"-c", "ulimit -Sn >out; ulimit -Hn >>out; mv out ready; exec sleep 60"}, Dir: s.dir,
			Limits: []Limit{{unix.RLIMIT_NOFILE, c.value}},
		}
		p, err := Start(s.ctx, cmd, s.ready)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		b, err := os.ReadFile(s.path("ready"))
		if want := fmt.Sprintf("%d\n%d\n", c.soft, old.Max); err != nil || string(b) != want {
			t.Errorf("limits %q, %v, want %q", b, err, want)
		}
	}
}

func TestRun(t *testing.T) {
	s := newSite(t)
	if err := Run(s.ctx, s.command("fork")); err != nil {
		t.Error(err)
	}
	c := s.command("die", "ERROR: no space left")
	c.Output = s.path("out")
	var died *DiedError
	if err := Run(s.ctx, c); !errors.As(err, &died) || !slices.Equal(died.Words, []string{"ERROR: no space left"}) {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer cancel()
	var late *NotReadyError
	if err := Run(ctx, s.command("stubborn")); !errors.As(err, &late) || !late.Killed {
		t.Errorf("err = %v", err)
	}
	s.gone()
}

// Only what was added since counts, also when the file was rotated, cut or made anew meanwhile.
func TestLogsSince(t *testing.T) {
	s := newSite(t)
	write := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"grown", "rotated", "cut", "gone"} {
		write(name, "old error\n")
	}
	l := rememberLogs([]string{"", os.DevNull, s.path("grown"), s.path("grown"), s.path("rotated"), s.path("cut"), s.path("new"), s.path("gone")})
	if got := len(l.names()); got != 5 {
		t.Fatalf("%d logs: %q", got, l.names())
	}
	if err := errors.Join(os.Rename(s.path("rotated"), s.path("rotated.1")), os.Truncate(s.path("cut"), 0), os.Remove(s.path("gone"))); err != nil {
		t.Fatal(err)
	}
	write("grown", strings.Repeat("filler\n", maxTail)+"error in grown\n")
	write("rotated", "error in rotated\n")
	write("cut", "error\n")
	write("new", "error in new\n")
	want := []string{"error in grown", "error in rotated", "error", "error in new"}
	if got := l.last(s.ctx); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

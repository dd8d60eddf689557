package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs the calling test once more in a mount namespace of its own, and says whether this is
// that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	needRoot(t)
	if os.Getenv("DAEMON_TEST_NAMESPACE") != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DAEMON_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("SKIP: needs leave to make a mount namespace")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// The storage is unmounted lazily under a running daemon. It is running all the same.
func TestUnmounted(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, c := range []struct {
		name string
		args func(s *site) []string
		want string
	}{
		{"works in it", func(*site) []string { return []string{"serve"} }, "doubt"},
		{"has a file open", func(s *site) []string { return []string{"open", s.path("f")} }, "doubt"},
		{"names it", func(s *site) []string { return []string{"serve", "1ms", "--datadir=" + s.dir} }, "ours"},
		{"names another", func(s *site) []string { return []string{"serve", "1ms", "--datadir=/srv/other"} }, "none"},
	} {
		s := newSite(t)
		if err := unix.Mount("test", s.dir, "tmpfs", 0, "mode=755"); err != nil {
			t.Fatal(err)
		}
		cmd := s.command(c.args(s)...)
		if cmd.Args[1] == "open" {
			cmd.Dir = "/"
		}
		p, err := Start(s.ctx, cmd, func(ctx context.Context) error {
			if s.exists("f.ready") {
				return nil
			}
			return s.ready(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s.id.Test = UsesDir(s.dir, "datadir")
		if q := s.find(); c.want != "none" && q.PID != p.PID {
			t.Errorf("%s: found %v with the storage mounted, want %v", c.name, q, p)
		}
		if err := unix.Unmount(s.dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		checkFind(t, s, p.PID, c.name, c.want)
		if c.want == "ours" {
			if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			s.gone()
		}
		if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		if err := p.Wait(s.ctx); err != nil {
			t.Error(err)
		}
	}
}

func checkFind(t *testing.T, s *site, pid int, name, want string) {
	t.Helper()
	q, err := s.id.Find(s.ctx)
	var d *DoubtError
	got := "none"
	switch {
	case q != nil && q.PID == pid:
		got = "ours"
	case errors.As(err, &d):
		got = "doubt"
	case err != nil || q != nil:
		got = fmt.Sprint(q, err)
	}
	q.Close()
	if got != want {
		t.Errorf("%s: got %s (%v), want %s", name, got, err, want)
	}
}

// Daemons in other namespaces: what a systemd unit with a private mount namespace, or a container, runs.
func TestForeign(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name    string
		flags   uintptr
		private bool // its own storage under the same name
		want    string
	}{
		{"sandbox on the same storage", unix.CLONE_NEWNS, false, "ours"},
		{"sandbox on something else of that name", unix.CLONE_NEWNS, true, "doubt"},
		{"container on the same storage", unix.CLONE_NEWNS | unix.CLONE_NEWPID, false, "ours"},
		{"container with its own", unix.CLONE_NEWNS | unix.CLONE_NEWPID, true, "none"},
	} {
		s := newSite(t)
		script := `set -e; mount --make-rprivate /; if [ "$2" = true ]; then mount -t tmpfs test "$1"; fi; cd "$1"; exec "$3" helper stubborn`
		cmd := exec.Command("sh", "-c", script, "sh", s.dir, fmt.Sprint(c.private), s.exe)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: c.flags}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); errors.Is(err, unix.EPERM) {
			t.Skip("SKIP: needs leave to make namespaces")
		} else if err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		s.until("it is ready", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root%s/ready", pid, s.dir))
			return err == nil
		})
		checkFind(t, s, pid, c.name, c.want)
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
}

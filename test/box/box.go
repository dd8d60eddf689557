// Package box runs a test binary inside namespaces of its own: processes,
// mounts, network, hostname. What the tests start, mount or configure in there
// dies with them, also after a crash, a Ctrl-C or kill -9, and nothing on the
// machine sees it. It is one host without a cluster; for a cluster see package
// cluster.
package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stage = "OPENSTACK_OCF_BOX"
	tmp   = "/run/tmp"
)

// Main is for TestMain: it runs the tests inside a box. dirs are hidden behind
// empty tmpfs mounts in the box, as /run is.
//
// Without root it runs the tests outside; those that need the box call [Need].
func Main(m *testing.M, dirs ...string) {
	switch os.Getenv(stage) {
	case "":
		if os.Geteuid() != 0 {
			os.Exit(m.Run())
		}
		os.Exit(enter())
	case "init":
		os.Exit(initBox(dirs))
	default:
		os.Exit(m.Run())
	}
}

// Need skips the test unless it runs inside a box.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(stage) != "inside" {
		t.Skip("SKIP: needs root")
	}
}

func self(as string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stage+"="+as)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// enter starts the box's init, and dies with it as it dies with this process.
func enter() int {
	cmd := self("init")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM, unix.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 1
	}
	go func() {
		s := <-signals
		if s == unix.SIGQUIT { // go test's own time-out: let the tests print their stacks
			_ = cmd.Process.Signal(s)
			return
		}
		_ = cmd.Process.Kill()
	}()
	return exitCode(cmd.Wait())
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "box:", err)
	return 1
}

// initBox is pid 1 of the box: it makes the place, runs the tests, and reaps.
func initBox(dirs []string) int {
	if err := furnish(dirs); err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 1
	}
	cmd := self("inside")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp) // /tmp itself holds what go test runs and writes
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 1
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGQUIT)
	go func() { _ = cmd.Process.Signal(<-signals) }()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "box: wait:", err)
			return 1
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		case pid == cmd.Process.Pid && status.Signaled():
			return 128 + int(status.Signal())
		}
	}
}

func furnish(dirs []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, d := range append([]string{"/run"}, dirs...) {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("box", d, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", d, err)
		}
	}
	for _, d := range []string{"/run/lock", "/run/resource-agents", tmp} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o1777); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("box")); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// Sh runs a shell command and fails the test if it fails.
func Sh(t testing.TB, format string, args ...any) string {
	t.Helper()
	script := fmt.Sprintf(format, args...)
	out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Until polls, for half a minute at most, and fails the test if it waited in vain.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Signal sends processes a signal. SIGSTOP and SIGKILL it sees through, for they
// have their effect a moment later: when every thread has stopped, or is gone.
func Signal(t testing.TB, sig syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatalf("sending %v to %d: %v", sig, pid, err)
		}
	}
	states := map[syscall.Signal]string{syscall.SIGSTOP: "T", syscall.SIGKILL: "ZX"}[sig]
	if states == "" {
		return
	}
	for _, pid := range pids {
		Until(t, fmt.Sprintf("%v has had its effect on %d", sig, pid), func() bool {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
			for _, stat := range threads {
				b, err := os.ReadFile(stat)
				_, rest, _ := strings.Cut(string(b), ") ")
				if err == nil && rest != "" && !strings.Contains(states, rest[:1]) {
					return false
				}
			}
			return true
		})
	}
}

// Background runs a command, in a session of its own, until the test ends.
func Background(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	return cmd
}

// Forks runs a command under strace, wants that exit code, and returns the
// system calls that made processes, and programs beyond the first.
func Forks(t testing.TB, env []string, code int, argv ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIP: needs strace")
	}
	file := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", append([]string{"-f", "-o", file, "-e", "trace=execve,execveat,fork,vfork,clone,clone3", "--"}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit %d, want %d: %s", argv, got, code, out)
	}
	calls, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	execs := 0
	for _, line := range strings.Split(string(calls), "\n") {
		switch {
		case strings.Contains(line, "execve"):
			if execs++; execs > 1 {
				found = append(found, line)
			}
		case forks.MatchString(line) && !strings.Contains(line, "CLONE_THREAD"):
			found = append(found, line)
		}
	}
	if execs == 0 {
		t.Fatalf("strace saw nothing: %s", out)
	}
	return found
}

var forks = regexp.MustCompile(`\b(fork|vfork|clone3?)\(`)

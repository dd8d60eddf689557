package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/needs"
)

// Process is one that runs in the box.
type Process struct {
	Exe  string // its program's file, which may be deleted
	Args []string
}

// Pids are those of the processes that match, in ascending order. The dead are
// none, reaped or not.
func Pids(match func(Process) bool) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		exe, err := os.Readlink(d + "/exe")
		if err != nil {
			continue
		}
		args, err := os.ReadFile(d + "/cmdline")
		if err != nil || len(args) == 0 { // none yet: the kernel is still laying out a program that was just started
			continue
		}
		if match(Process{Exe: strings.TrimSuffix(exe, " (deleted)"), Args: strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")}) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// Programs finds the processes of programs of these names. One that is a link here (Debian's redis-server, to
// redis-check-rdb) has the name of what it leads to as well: the kernel knows a process by no other.
func Programs(names ...string) func() []int {
	all := slices.Clone(names)
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				all = append(all, filepath.Base(path))
			}
		}
	}
	return func() []int {
		return Pids(func(p Process) bool { return slices.Contains(all, filepath.Base(p.Exe)) })
	}
}

// Signal sends processes a signal. SIGSTOP and SIGKILL it sees through, for they
// have their effect a moment later: when every thread has stopped, or is gone.
func Signal(t testing.TB, sig syscall.Signal, pids ...int) {
	t.Helper()
	for i, pid := range pids {
		err := syscall.Kill(pid, sig)
		if i > 0 && sig == syscall.SIGKILL && errors.Is(err, syscall.ESRCH) {
			continue // of the death of those before
		}
		if err != nil {
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
	return background(t, exec.Command(name, args...))
}

func background(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	return cmd
}

// Unharmed fails the test unless a command in the background still runs.
func Unharmed(t testing.TB, stranger *exec.Cmd) {
	t.Helper()
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("%v was stopped: %v", stranger.Args, err)
	}
}

// Occupy has another process, of python3, listen on a port of 127.0.0.1 until the test ends.
func Occupy(t testing.TB, port int) {
	t.Helper()
	Background(t, "python3", "-c", fmt.Sprintf("import socket,time; s=socket.create_server(('127.0.0.1',%d)); time.sleep(600)", port))
	Until(t, "the port is taken", func() bool { return strings.Contains(Sh(t, "ss -ltn"), fmt.Sprintf(":%d ", port)) })
}

const stubborn = "stubborn in "

// Stubborn runs, as the program at path, a server in the directory dir that
// ignores SIGTERM and answers nobody.
func Stubborn(t testing.TB, path, dir string) {
	t.Helper()
	Sh(t, "cp /proc/%d/exe %s", os.Getpid(), path)
	t.Cleanup(func() { Sh(t, "rm %s", path) })
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), stage+"="+stubborn+dir)
	background(t, cmd)
	Until(t, "it is in its directory", func() bool {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", cmd.Process.Pid))
		return cwd == dir
	})
}

func beStubborn(dir string) {
	signal.Ignore(unix.SIGTERM, unix.SIGINT)
	if err := os.Chdir(dir); err != nil { // last: it says that all is ready
		panic(err)
	}
	for {
		time.Sleep(time.Hour)
	}
}

// LetIn has all users reach and read a file.
func LetIn(t testing.TB, path string) {
	t.Helper()
	Sh(t, "chmod a+r %[1]s; d=%[1]s; while d=$(dirname $d); [ $d != / ]; do chmod a+rx $d; done", path)
}

// Forks runs a command under strace, wants that exit code, and returns the
// system calls that made processes, and programs beyond the first.
func Forks(t testing.TB, env []string, code int, argv ...string) []string {
	t.Helper()
	needs.Program(t, "strace", "strace")
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

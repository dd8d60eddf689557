// Package box runs a test binary inside namespaces of its own: processes,
// mounts, network, hostname. What the tests start, mount or configure in there
// dies with them, also after a crash, a Ctrl-C or kill -9, and nothing on the
// machine sees it. It is one host without a cluster; for a cluster see package
// cluster.
//
// # Testing an agent
//
// The tests of an agent for a daemon are a package test/<daemon>. [Main] puts
// them into a box; a host of the package's own embeds [Agent], the installed
// agent, and adds what only this daemon has:
//
//	func TestMain(m *testing.M) { box.Main(m) } // box.Main(m, "/etc/redis") hides what the machine has there
//
//	type host struct{ *box.Agent }
//
//	func newHost(t testing.TB) *host {
//		needs.Program(t, "redis-server", "redis-server")
//		h := &host{box.NewAgent(t, box.Agent{
//			Name: "redis", Params: ocftest.Params{"port": "6399", "config": config, "log": logFile}, Log: logFile,
//			Pids: box.Programs("redis-server"), Processes: 1, Limit: 30 * time.Second, Watch: 6 * time.Second,
//		})}
//		box.Sh(t, "rm -rf %[1]s; mkdir -p %[1]s; chown redis: %[1]s; echo 'dir %[1]s' >%[2]s", dataDir, config)
//		return h
//	}
//
// Every host begins with nothing running, and at its end a stop must leave
// nothing. What every agent owes are then tests of one line:
//
//	func TestContract(t *testing.T) {
//		newHost(t).Contract(t, agent.New, ocftest.Params{"degraded_memory_percent": "many"}, ocftest.Params{"port": "many"})
//	}
//	func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }
//	func TestNoForks(t *testing.T)   { newHost(t).NoForks(0, 10) }
//	func TestMemory(t *testing.T)    { newHost(t).Memory(10) }
//
// The faults, which are the better part, are a table, with the exit code of
// each and the words that crm_mon must show:
//
//	box.Rows(t, newHost, []box.Row[*host]{
//		{"frozen by SIGSTOP", func(h *host) {
//			h.Start()
//			h.Signal(syscall.SIGSTOP)
//			h.Monitor(0, ocf.Generic, "frozen")
//			h.Stop()
//		}},
//		{"no such user", func(h *host) {
//			h.With("user", "nobody-by-that-name").Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
//		}},
//		{"port taken", func(h *host) {
//			box.Occupy(h.T, 6399)
//			h.Want(ocf.Start, ocf.Generic, "Address already in use")
//		}},
//	})
//
// Where the agent has a parameter unit, the same table runs once more with the service in a unit of systemd, in a box that
// systemd runs: [Unit] says how, [ByUnit] which rows do so always, [NotByUnit] in a row why it would make no sense there.
//
//	func TestByUnit(t *testing.T) { box.ByUnit(t, "frozen by SIGSTOP", "port taken") }
//
// [Stubborn] is a server that ignores SIGTERM, [Background] anything else that
// runs beside, [Until] waits. test/mysql is the model for a daemon with data,
// test/osagents for services that need others.
package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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
	if dir, ok := strings.CutPrefix(os.Getenv(stage), stubborn); ok {
		beStubborn(dir)
	}
	switch os.Getenv(stage) {
	case "":
		if os.Geteuid() != 0 {
			os.Exit(m.Run())
		}
		os.Exit(enter())
	case "init":
		os.Exit(initBox(dirs))
	default:
		if InUnit() {
			os.Exit(underSystemd(m))
		}
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
	outcome, told, err := os.Pipe()
	if err == nil && InUnit() {
		cmd.ExtraFiles = []*os.File{told}
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 1
	}
	_ = told.Close()
	go func() {
		s := <-signals
		if s == unix.SIGQUIT { // go test's own time-out: let the tests print their stacks
			_ = cmd.Process.Signal(s)
			return
		}
		_ = cmd.Process.Kill()
	}()
	if InUnit() {
		return awaitOutcome(cmd, outcome)
	}
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
	if InUnit() {
		fmt.Fprintln(os.Stderr, "box:", becomeSystemd(cmd))
		return 1
	}
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
		// Hidden below a new one, what a box around this one has mounted there would be known to systemd all the same, which then
		// ends what is mounted at the same place.
		for InUnit() && unix.Unmount(d, unix.MNT_DETACH) == nil {
		}
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

// Until polls, for as long as a busy machine may need, and fails the test if it waited in vain.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute) // Neutron's agent was seen to need half a minute for its first child
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

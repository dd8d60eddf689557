package openstack

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// python is Debian's interpreter, which has the OpenStack libraries; a bare
// "python3" may be another.
const python = "/usr/bin/python3"

// Process is a running daemon, the leader of its own process group.
type Process struct {
	Name string
	Log  string // file with its stdout and stderr
	Pid  int

	t    testing.TB
	done chan struct{}
}

// start runs argv until the test ends. The process dies with the test binary,
// whatever ends that.
func start(t testing.TB, name, dir string, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), t: t, done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + dir}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal comes when the starting thread ends, so that must last.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.Pid = cmd.Process.Pid
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s: last words:\n%s", name, p.Tail(2000))
		}
	})
	return p
}

// Signal goes to the process and its children.
func (p *Process) Signal(s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }

// Term asks the process alone to end, as an init script does.
func (p *Process) Term() { _ = syscall.Kill(p.Pid, syscall.SIGTERM) }

// Freeze stops the process and its children (SIGSTOP).
func (p *Process) Freeze() { p.Signal(syscall.SIGSTOP) }

// Thaw lets them go on.
func (p *Process) Thaw() { p.Signal(syscall.SIGCONT) }

// Kill ends the process and its children at once, and waits for that.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Gone is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} { return p.done }

// Tail is the end of the log, at most n bytes.
func (p *Process) Tail(n int) string {
	text, _ := os.ReadFile(p.Log)
	return string(text[max(0, len(text)-n):])
}

// Await polls until ready is nil, and fails the test when the process ends
// before or the time is up.
func (p *Process) Await(limit time.Duration, what string, ready func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var last error
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil { // a look that the end of the time cut short says less than the one before
			last = err
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s ended while waiting for %s: %v\n%s", p.Name, what, last, p.Tail(4000))
		case <-ctx.Done():
			p.t.Fatalf("%s: no %s within %v: %v\n%s", p.Name, what, limit, last, p.Tail(4000))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ports finds n free TCP ports on loopback.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all open until the last is found: no port twice
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// write makes a file of lines and returns its path.
func write(t testing.TB, dir, name string, mode os.FileMode, lines ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// run executes a command to its end and returns what it printed.
func run(t testing.TB, dir string, env []string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + dir}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out))
	}
	return string(out)
}

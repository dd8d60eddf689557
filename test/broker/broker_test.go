package broker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/broker"
)

// run runs the broker's binary to its end.
func run(t *testing.T, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = broker.Env()
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v", path, args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errb.String()
}

// lockHolder is the process that holds a lock on the file, or 0.
func lockHolder(t *testing.T, path string) int {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		t.Fatal(err)
	}
	if l.Type == unix.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}

// eventually waits until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not so: %s", what)
		}
	}
}

// Daemons whose parent has ended become children of this process, so that it
// can wait for them: not every pid 1 does.
func TestMain(m *testing.M) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	code := m.Run()
	for pid := 1; pid > 0; {
		pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
	}
	os.Exit(code)
}

// gone waits for a daemon, and says whether it has ended.
func gone(pid int) func() bool {
	return func() bool {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		return got == pid || errors.Is(err, unix.ECHILD)
	}
}

func TestSignals(t *testing.T) {
	for _, tc := range []struct {
		name string
		sig  syscall.Signal
		code int // -1: ended by the signal
	}{
		{"TERM", syscall.SIGTERM, 0},
		{"INT", syscall.SIGINT, 0},
		{"KILL", syscall.SIGKILL, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := broker.Start(t, broker.Options{})
			if got := lockHolder(t, filepath.Join(b.DataDir, "lock")); got != b.PID {
				t.Errorf("the data directory is locked by pid %d, want %d", got, b.PID)
			}
			b.Signal(syscall.SIGHUP) // ignored
			c, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatalf("after SIGHUP: %v", err)
			}
			c.Close()
			b.Signal(tc.sig)
			if got := b.Wait().ExitCode(); got != tc.code {
				t.Errorf("exit code %d, want %d", got, tc.code)
			}
			if got := lockHolder(t, filepath.Join(b.DataDir, "lock")); got != 0 {
				t.Errorf("the data directory is still locked by pid %d", got)
			}
		})
	}
}

// A daemon's parent ends when the broker listens; its pid file is binary, goes
// with TERM and --quit, and stays with KILL.
// TestEndingThread: a thread ends with a goroutine that is locked to it, but not a broker that was started there.
func TestEndingThread(t *testing.T) {
	var b *broker.Broker
	var thread int
	for thread == 0 || thread == os.Getpid() { // the first thread of a process stays
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			if thread = unix.Gettid(); thread != os.Getpid() {
				b = broker.Start(t, broker.Options{})
			}
		}()
		<-done
	}
	if b == nil {
		t.FailNow()
	}
	eventually(t, "the starting thread has ended", func() bool {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(thread))
		return errors.Is(err, os.ErrNotExist)
	})
	b.Signal(syscall.SIGTERM)
	if state := b.Wait(); state.ExitCode() != 0 {
		t.Errorf("the broker had ended with its starter's thread: %s", state)
	}
}

func TestDaemon(t *testing.T) {
	path, kind := broker.Binary(t)
	t.Log("kind:", kind)
	for _, tc := range []struct {
		name     string
		end      func(t *testing.T, pid int, id []string)
		pidStays bool
	}{
		{"TERM", func(t *testing.T, pid int, _ []string) { _ = syscall.Kill(pid, syscall.SIGTERM) }, false},
		{"KILL", func(t *testing.T, pid int, _ []string) { _ = syscall.Kill(pid, syscall.SIGKILL) }, true},
		{"quit", func(t *testing.T, pid int, id []string) {
			go unix.Wait4(pid, nil, 0, nil) // --quit waits, for good, until there is not even a zombie
			if code, _, errs := run(t, path, append(id, "--quit")...); code != 0 {
				t.Errorf("--quit: exit code %d: %s", code, errs)
			}
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			pidDir, data, text := filepath.Join(dir, "pid"), filepath.Join(dir, "data"), filepath.Join(dir, "text.pid")
			code, out, errs := run(t, path, "--daemon", "--port", "0", "--interface", "127.0.0.1", "--auth", "no",
				"--data-dir", data, "--pid-dir", pidDir, "--pidfile", text)
			port := strings.TrimSpace(out)
			if code != 0 || port == "" {
				t.Fatalf("exit code %d, port %q: %s", code, port, errs)
			}
			holder := lockHolder(t, filepath.Join(data, "lock"))
			if holder <= 1 {
				t.Fatalf("nobody holds the data directory")
			}
			t.Cleanup(func() { _ = syscall.Kill(holder, syscall.SIGKILL) })
			pidFile := filepath.Join(pidDir, "qpidd."+port+".pid")
			raw, err := os.ReadFile(pidFile)
			if err != nil || len(raw) != 4 {
				t.Fatalf("pid file: %q, %v; want 4 bytes", raw, err)
			}
			if pid := int(binary.NativeEndian.Uint32(raw)); pid != holder {
				t.Errorf("pid file says %d, the data directory's lock %d", pid, holder)
			}
			// The parent does not wait for this one.
			eventually(t, "--pidfile has the pid in decimal", func() bool {
				got, _ := os.ReadFile(text)
				return strings.TrimSpace(string(got)) == strconv.Itoa(holder)
			})
			if sid, err := unix.Getsid(holder); err != nil || sid != holder {
				t.Errorf("session %d, %v; want its own, %d", sid, err, holder)
			}
			c, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatalf("the parent ended, but: %v", err)
			}
			c.Close()

			id := []string{"--port", port, "--pid-dir", pidDir}
			if code, out, _ := run(t, path, append(id, "--check")...); code != 0 || strings.TrimSpace(out) != strconv.Itoa(holder) {
				t.Errorf("--check: exit code %d, %q; want 0, %d", code, out, holder)
			}
			tc.end(t, holder, id)
			eventually(t, "the daemon is gone", gone(holder))
			if _, err := os.Stat(pidFile); (err == nil) != tc.pidStays {
				t.Errorf("pid file afterwards: %v; stays: %v", err, tc.pidStays)
			}
			if code, _, _ := run(t, path, append(id, "--check")...); code != 1 {
				t.Errorf("--check afterwards: exit code %d, want 1", code)
			}
		})
	}
}

// All failures to start have exit code 1; the last words tell them apart.
func TestLastWords(t *testing.T) {
	path, kind := broker.Binary(t)
	t.Log("kind:", kind)
	running := broker.Start(t, broker.Options{})
	dir := t.TempDir()
	file := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	free := filepath.Join(dir, "free")
	port := strconv.Itoa(running.Port)
	for _, tc := range []struct {
		name string
		args []string
		want string // on stderr; "" is no word at all
	}{
		{"data directory in use", []string{"--port", "0", "--data-dir", running.DataDir}, "Cannot lock " + running.DataDir + "/lock: Resource temporarily unavailable"},
		{"data directory in use, daemon", []string{"--daemon", "--port", "0", "--data-dir", running.DataDir, "--pid-dir", dir}, "Daemon startup failed: Cannot lock "},
		{"port taken", []string{"--port", port, "--interface", "127.0.0.1", "--data-dir", free}, "Couldn't find any network address to listen to"},
		{"port taken, daemon", []string{"--daemon", "--port", port, "--interface", "127.0.0.1", "--data-dir", free, "--pid-dir", dir}, "Daemon startup failed: Couldn't find any network address to listen to"},
		{"spaces in the configuration", []string{"--config", file("spaces", "auth = no\n")}, "Bad argument: |auth = no|"},
		{"unknown key", []string{"--config", file("key", "bogus=1\n")}, "Bad argument: |bogus=1|"},
		{"module not loaded", []string{"--config", file("ha", "ha-cluster=yes\n"), "--no-module-dir"}, "Bad argument: |ha-cluster=yes|"},
		{"unknown option", []string{"--bogus", "1"}, "unrecognised option '--bogus'"},
		{"no such configuration", []string{"--config", filepath.Join(dir, "none")}, "cannot read configuration file"},
		{"data directory is a file", []string{"--port", "0", "--data-dir", file("file", "")}, "is not a directory"},
		{"data directory cannot be made", []string{"--port", "0", "--data-dir", "/proc/none/data"}, "Can't create directory: /proc/none/data"},
		{"no parent of the pid directory", []string{"--daemon", "--port", "0", "--data-dir", free, "--pid-dir", filepath.Join(dir, "no", "such")}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, stderr := run(t, path, tc.args...)
			if code != 1 || !strings.Contains(stderr, tc.want) || tc.want == "" && stderr != "" {
				t.Errorf("exit code %d: %q; want 1: %q", code, stderr, tc.want)
			}
		})
	}
}

func TestConfigFileAndEnvironment(t *testing.T) {
	path, _ := broker.Binary(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "qpidd.conf")
	if err := os.WriteFile(conf, []byte("# a comment\nport=0\nauth=no\ninterface=127.0.0.1\ndata-dir="+dir+"/from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The command line wins over the file.
	data := filepath.Join(dir, "from-line")
	code, out, stderr := run(t, path, "--daemon", "--config", conf, "--data-dir", data, "--pid-dir", dir+"/pid")
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	pid := lockHolder(t, filepath.Join(data, "lock"))
	if pid <= 1 {
		t.Fatal("nobody holds the data directory of the command line")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "the daemon is gone", gone(pid))
}

// Package broker starts an AMQP 1.0 broker for a test: a real qpidd where
// there is one (environment variable QPIDD, else PATH), otherwise a stand-in
// of our own that keeps qpidd's command line, files, signals, refusals, HA
// states and QMF2 answers. The same tests run on both; [Broker.Kind] says
// which one it was.
//
// The stand-in is a script for Debian's /usr/bin/python3 with
// python3-qpid-proton. It does not replicate, and keeps nothing on disk but
// its pid and lock files.
package broker

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
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

	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// Kind says what a broker is.
type Kind string

const (
	Real    Kind = "qpidd"
	StandIn Kind = "stand-in"
)

//go:embed qpidd-standin
var standIn []byte

// startTimeout is how long a broker may take to listen, and to end when told
// to: a real one takes 20 ms, a stand-in 300 ms on an idle machine.
const startTimeout = 20 * time.Second

// Find looks for a real qpidd: QPIDD, else PATH. Without one path is "", and
// the error says what the stand-in lacks, if it lacks anything.
func Find() (path string, err error) {
	if path := os.Getenv("QPIDD"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("qpidd"); err == nil {
		return path, nil
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import proton").Run(); err != nil {
		return "", errors.New("needs qpidd, or /usr/bin/python3 with python3-qpid-proton for the stand-in")
	}
	return "", nil
}

// Replicates says whether the qpidd at path has its module ha.
func Replicates(path string) bool {
	// It loads its modules, and shows their options among its own.
	out, err := exec.Command(path, "--help").Output()
	return err == nil && bytes.Contains(out, []byte("--ha-cluster"))
}

// Script is the stand-in.
func Script() []byte { return bytes.Clone(standIn) }

// Binary returns an executable that takes qpidd's command line. It skips the
// test if there is neither a qpidd nor what the stand-in needs.
func Binary(t testing.TB) (path string, kind Kind) {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Skip("SKIP: " + err.Error())
	}
	if path != "" {
		return path, Real
	}
	path = filepath.Join(t.TempDir(), "qpidd")
	if err := os.WriteFile(path, standIn, 0o755); err != nil {
		t.Fatal(err)
	}
	return path, StandIn
}

// Options is how to start a broker. The zero value is one that lets everybody
// in, on a port of its own on 127.0.0.1, in a new data directory.
type Options struct {
	Port    int               // 0: the kernel's choice
	DataDir string            // "": a new one
	Users   map[string]string // user: password; makes it auth=yes
	Mechs   string            // SASL mechanisms offered with Users; "" is "PLAIN ANONYMOUS"
	ACL     string            // content of the ACL file
	Files   int               // limit of open files; 0: the test's own
	Args    []string          // further arguments, such as "--ha-cluster=yes"
}

// Broker is a running broker. It is killed when the test ends.
type Broker struct {
	Port    int
	PID     int
	DataDir string

	t    testing.TB
	kind Kind
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once cmd has been waited for
}

// Start starts a broker and returns once it listens.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	needs.Installed(t, "qpidd")
	path, kind := Binary(t)
	if o.DataDir == "" {
		o.DataDir = filepath.Join(t.TempDir(), "data")
	}
	b := &Broker{DataDir: o.DataDir, t: t, kind: kind, log: filepath.Join(t.TempDir(), "log"), done: make(chan struct{})}
	args := []string{
		"--port", strconv.Itoa(o.Port), "--interface", "127.0.0.1",
		"--data-dir", o.DataDir, "--log-to-file", b.log, "--log-to-stderr", "no",
	}
	if o.Users == nil {
		args = append(args, "--auth", "no")
	} else {
		args = append(args, "--auth", "yes", "--sasl-config", saslConfig(t, kind, o))
	}
	if o.ACL != "" {
		args = append(args, "--acl-file", writeFile(t, "acl", o.ACL))
	}
	argv := append([]string{path}, append(args, o.Args...)...)
	if o.Files > 0 {
		argv = append([]string{"/bin/sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(o.Files)}, argv...)
	}
	b.cmd = exec.Command(argv[0], argv[1:]...)
	b.cmd.Env = Env()
	// In a session of its own like a daemon, but never outliving the test.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	b.cmd.Stderr = &stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	first, started := make(chan string, 1), make(chan error)
	go func() {
		// The death signal comes when the starting thread ends, which Go ends with a goroutine that was locked to it: of
		// another process that was started so. So this goroutine has it to itself, and lasts.
		runtime.LockOSThread()
		err := b.cmd.Start()
		if started <- err; err != nil {
			return
		}
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n') // with port 0: the port
		first <- strings.TrimSpace(line)
		_, _ = r.WriteTo(new(bytes.Buffer))
		_ = b.cmd.Wait()
		close(b.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", kind, err)
	}
	b.PID = b.cmd.Process.Pid
	t.Cleanup(b.Kill)
	if b.Port = o.Port; b.Port == 0 {
		select {
		case line := <-first:
			if b.Port, err = strconv.Atoi(line); err != nil {
				<-b.done
				t.Fatalf("%s did not start: %s%s", kind, stderr.String(), b.Log())
			}
		case <-time.After(startTimeout):
			t.Fatalf("%s did not say its port in %s: %s", kind, startTimeout, b.Log())
		}
	}
	if err := b.waitListening(); err != nil {
		t.Fatalf("%s: %v\n%s", kind, err, b.Log())
	}
	return b
}

// Env is the test's environment without settings for qpidd.
func Env() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "QPID_") && !strings.HasPrefix(e, "QPIDD=") {
			env = append(env, e)
		}
	}
	return env
}

func (b *Broker) waitListening() error {
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := net.Dial("tcp", b.Addr())
		if err == nil {
			return c.Close()
		}
		select {
		case <-b.done:
			return errors.New("it ended instead of listening")
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not listen after %s: %w", startTimeout, err)
		}
	}
}

// Kind says what this broker is.
func (b *Broker) Kind() Kind { return b.kind }

// Addr is the broker's host:port.
func (b *Broker) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port)) }

// Log is what the broker has logged so far, at most the last 64 KiB.
func (b *Broker) Log() string {
	data, err := os.ReadFile(b.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-1<<16):])
}

// Signal sends the broker a signal.
func (b *Broker) Signal(sig syscall.Signal) { b.t.Helper(); box.Signal(b.t, sig, b.cmd.Process.Pid) }

// Kill ends the broker with SIGKILL and waits until it is gone. It may be
// called again.
func (b *Broker) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.done
}

// Wait waits until the broker has ended by itself and returns how.
func (b *Broker) Wait() *os.ProcessState {
	b.t.Helper()
	select {
	case <-b.done:
	case <-time.After(startTimeout):
		b.t.Fatalf("the broker (pid %d) has not ended after %s", b.PID, startTimeout)
	}
	return b.cmd.ProcessState
}

// saslConfig writes a SASL configuration with o.Users and returns its directory.
func saslConfig(t testing.TB, kind Kind, o Options) string {
	t.Helper()
	dir := t.TempDir()
	mechs := o.Mechs
	if mechs == "" {
		mechs = "PLAIN ANONYMOUS"
	}
	db, users := filepath.Join(dir, "sasldb"), filepath.Join(dir, "users")
	var plain strings.Builder
	for user, password := range o.Users {
		fmt.Fprintf(&plain, "%s:%s\n", user, password)
		if kind != Real {
			continue
		}
		cmd := exec.Command("saslpasswd2", "-c", "-p", "-f", db, "-u", "QPID", user)
		cmd.Stdin = strings.NewReader(password)
		if out, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
			t.Skip("SKIP: needs saslpasswd2 (package sasl2-bin) for logins to a real qpidd")
		} else if err != nil {
			t.Fatalf("saslpasswd2: %v: %s", err, out)
		}
	}
	conf := fmt.Sprintf("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: %s\nmech_list: %s\nstandin_users: %s\n", db, mechs, users)
	for name, content := range map[string]string{"qpidd.conf": conf, "users": plain.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

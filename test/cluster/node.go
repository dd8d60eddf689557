package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrOff is returned by what needs a node that is on.
var ErrOff = errors.New("the node is off")

// Node is one host of a cluster.
type Node struct {
	Name string
	Addr string // its own address, on eth0
	c    *Cluster

	mu   sync.Mutex
	held *os.File // a pidfd of the node's PID 1, see pid

	starting sync.RWMutex // held by who starts a command in the node's cgroup, and against them by who freezes it
}

// group is a cgroup that a command is put into. What is made in a frozen one never gets as far as to execute its program, and until it
// does, Go stops this whole process: so it is not frozen, nor is it to be until started is called.
type group struct {
	dir     *os.File
	started func()
}

// nodeNamespaces are those a command in a node runs in.
const nodeNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP

// init returns a pidfd of the node's PID 1; the caller closes it.
func (n *Node) init(ctx context.Context) (*os.File, error) {
	rep, err := call(ctx, n.c.name, request{Op: "pidfd", Node: n.Name})
	if err != nil && strings.HasSuffix(err.Error(), ErrOff.Error()) {
		err = fmt.Errorf("%s: %w", n.Name, ErrOff)
	}
	return rep.Fd, err
}

// Run runs a command in the node. The error is an *ExitError if the exit code is not 0, errors.Is ErrOff if the
// node is off, or exec.ErrWaitDelay if a process it left behind holds its stdout or stderr open. When ctx ends,
// the command's process group is killed; daemons it has put into a session of their own stay.
func (n *Node) Run(ctx context.Context, cmd Cmd) (Result, error) {
	pidfd, err := n.init(ctx)
	if err != nil {
		return Result{Code: -1}, err
	}
	defer pidfd.Close()
	cgroup, err := n.cgroup()
	if err != nil {
		return Result{Code: -1}, err
	}
	defer cgroup.Close()
	started, err := n.thawed(ctx)
	if err != nil {
		return Result{Code: -1}, err
	}
	res, err := cmd.run(ctx, pidfd, nodeNamespaces, &group{cgroup, started})
	if err != nil {
		err = fmt.Errorf("%s: %w", n.Name, err)
	}
	return res, err
}

// cgroup opens the cgroup of what is run in the node from outside, a leaf beside systemd's own.
func (n *Node) cgroup() (*os.File, error) {
	base, err := cgroup2()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, cgroupPrefix+n.c.name, n.Name, "harness")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Open(dir)
}

// Exec runs argv in the node, as Run does.
func (n *Node) Exec(ctx context.Context, argv ...string) (Result, error) {
	return n.Run(ctx, Cmd{Argv: argv})
}

// Shell runs a script with bash in the node, as Run does.
func (n *Node) Shell(ctx context.Context, script string) (Result, error) {
	return n.Run(ctx, Cmd{Argv: []string{"/bin/bash", "-c", script}})
}

// MustExec runs argv in the node, fails the test if that fails, and returns stdout.
func (n *Node) MustExec(ctx context.Context, t TB, argv ...string) string {
	t.Helper()
	res, err := n.Exec(ctx, argv...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return res.Stdout
}

// ReadFile reads a file of a node that is on.
func (n *Node) ReadFile(ctx context.Context, path string) (data []byte, err error) {
	err = n.inRoot(ctx, func() error {
		data, err = os.ReadFile(path)
		return err
	})
	return data, err
}

// WriteFile replaces a file of a node that is on, with the directories above it.
func (n *Node) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	return n.inRoot(ctx, func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, mode); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// inRoot runs do with the node's file systems, so that symbolic links lead to where they lead in the node.
func (n *Node) inRoot(ctx context.Context, do func() error) error {
	pidfd, err := n.init(ctx)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	if err := inNamespaces(pidfd, unix.CLONE_NEWNS, do); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// pid is the machine's process ID of the node's PID 1. Whoever looks often does not have to ask the rack each time: the pidfd of that
// process is kept, and tells when it has ended.
func (n *Node) pid(ctx context.Context) (pid int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held != nil {
		if pid, err = pidOf(n.held); err == nil {
			return pid, nil
		}
		n.held.Close()
		n.held = nil
	}
	pidfd, err := n.init(ctx)
	if err != nil {
		return 0, err
	}
	if pid, err = pidOf(pidfd); err != nil {
		pidfd.Close()
		return 0, err
	}
	n.held = pidfd
	return pid, nil
}

// letGo closes what pid keeps.
func (n *Node) letGo() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held != nil {
		n.held.Close()
		n.held = nil
	}
}

// procFile opens a file of /proc/PID of the node's init.
func (n *Node) procFile(ctx context.Context, name string) (*os.File, error) {
	pid, err := n.pid(ctx)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // it is dying
		return nil, ErrOff
	}
	return f, err
}

// mounts says whether the node's init sees the device of that number mounted, whatever it is called there.
func (n *Node) mounts(ctx context.Context, rdev uint64) (bool, error) {
	table, err := n.procFile(ctx, "mountinfo")
	if err != nil {
		return false, err
	}
	defer table.Close()
	found, err := mountinfo.GetMountsFromReader(table, func(m *mountinfo.Info) (skip, stop bool) {
		here := uint32(m.Major) == unix.Major(rdev) && uint32(m.Minor) == unix.Minor(rdev)
		return !here, here
	})
	return len(found) > 0, err
}

// holds says whether the IPv4 address is one of the node's own.
func (n *Node) holds(ctx context.Context, addr string) (bool, error) {
	table, err := n.procFile(ctx, "net/fib_trie")
	if err != nil {
		return false, err
	}
	defer table.Close()
	text, err := io.ReadAll(table)
	// "|-- ADDRESS", and the routes to it below: /32 host LOCAL is to the node itself.
	_, below, _ := strings.Cut(string(text), "|-- "+addr+"\n")
	route, _, _ := strings.Cut(below, "\n")
	return strings.TrimSpace(route) == "/32 host LOCAL", err
}

// Pause stops all that runs on the node, as a virtual machine is paused, until Resume. A paused node can be powered off; what is
// run on it waits.
func (n *Node) Pause() error { return n.freeze("1") }

// Resume ends a pause.
func (n *Node) Resume() error { return n.freeze("0") }

func (n *Node) freeze(state string) error {
	file, err := n.freezer()
	if err != nil {
		return err
	}
	n.starting.Lock()
	defer n.starting.Unlock()
	return os.WriteFile(file, []byte(state), 0)
}

// thawed returns once the node is not frozen, nor will be until started is called.
func (n *Node) thawed(ctx context.Context) (started func(), err error) {
	file, err := n.freezer()
	if err != nil {
		return nil, err
	}
	for {
		n.starting.RLock()
		if state, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(state)) != "1" {
			return n.starting.RUnlock, nil // or the node is off, which whoever starts is told
		}
		n.starting.RUnlock()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is paused: %w", n.Name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freezer is the file that freezes the node.
func (n *Node) freezer() (string, error) {
	base, err := cgroup2()
	return filepath.Join(base, cgroupPrefix+n.c.name, n.Name, "cgroup.freeze"), err
}

// PowerOff pulls the mains plug: the node is dead, with all that ran on it, when this returns.
func (n *Node) PowerOff(ctx context.Context) error { return n.do(ctx, "off") }

// PowerOn boots a node that is off and returns when its init runs.
func (n *Node) PowerOn(ctx context.Context) error { return n.do(ctx, "on") }

// Cut pulls the network cable. It stays out over power cycles, until Heal.
func (n *Node) Cut(ctx context.Context) error { return n.do(ctx, "cut") }

// Heal plugs the network cable in.
func (n *Node) Heal(ctx context.Context) error { return n.do(ctx, "heal") }

func (n *Node) do(ctx context.Context, op string) error {
	_, err := call(ctx, n.c.name, request{Op: op, Node: n.Name})
	return err
}

// Alive says whether the node is on.
func (n *Node) Alive(ctx context.Context) (bool, error) {
	states, err := n.c.States(ctx)
	for _, s := range states {
		if s.Name == n.Name {
			return s.On, err
		}
	}
	return false, err
}

// HostPID returns the machine's process ID of the process that is pid in the node, to signal or trace it from outside.
func (n *Node) HostPID(ctx context.Context, pid int) (int, error) {
	pidfd, err := n.init(ctx)
	if err != nil {
		return 0, err
	}
	defer pidfd.Close()
	top, err := pidOf(pidfd)
	if err != nil {
		return 0, err
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", top))
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		if s, err := os.Readlink(dir + "/ns/pid"); err != nil || s != space {
			continue
		}
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			// NSpid: the process's ID in each of its nested PID namespaces, ending with its own (proc_pid_status(5)).
			if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] == strconv.Itoa(pid) {
				return strconv.Atoi(f[1])
			}
		}
	}
	return 0, fmt.Errorf("%s has no process %d", n.Name, pid)
}

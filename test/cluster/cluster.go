package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cluster is a handle on a running cluster. Its methods may be called from several goroutines.
type Cluster struct {
	name  string
	nodes []*Node

	askMu    sync.Mutex
	avoided  []string // nodes not to be asked
	answered string   // the node that answered last

	rackMu sync.Mutex
	rackNS *os.File // the rack's network namespace, nil until it is needed

	look look

	diskMu sync.Mutex
	disks  map[string]map[string]uint64 // device numbers by path and node, which never change

	// Of the cluster's owner only, nil after Open.
	process  *exec.Cmd
	lifeline *os.File
	died     chan struct{}
}

// bootTimeout is how long the nodes may take to become a cluster: about 6 s on an idle machine, a hundred times that on one
// that has much else to do.
const bootTimeout = 10 * time.Minute

// TB is what New needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
	Failed() bool
	Cleanup(func())
	Context() context.Context
}

// New starts a cluster for a test and closes it at the test's end. It skips the test if the machine cannot
// run one. When the test fails, the ends of the nodes' logs are logged, and with the environment variable
// CLUSTER_LOGS set to a directory, all logs are put there.
func New(t TB, cfg Config) *Cluster {
	t.Helper()
	if err := Missing(cfg.Root); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.logFailure(t)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return c
}

// Start builds a cluster and returns when it is stable (see WaitStable), or with Config.Bare when all nodes have booted.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := Missing(cfg.Root); err != nil {
		return nil, err
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := sweep(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:6])
	}
	c, err := spawnSupervisor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	_, err = call(ctx, cfg.Name, request{Op: "up", Config: &cfg})
	if err == nil {
		err = c.attach(ctx)
	}
	if err == nil && cfg.Bare {
		err = c.waitBooted(ctx)
	} else if err == nil {
		err = c.WaitStable(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.diagnose(), c.Close())
	}
	return c, nil
}

// Open attaches to a cluster that another program started. Close ends it all the same.
func Open(ctx context.Context, name string) (*Cluster, error) {
	c := &Cluster{name: name}
	return c, c.attach(ctx)
}

func (c *Cluster) attach(ctx context.Context) error {
	rep, err := call(ctx, c.name, request{Op: "status"})
	for _, n := range rep.Nodes {
		c.nodes = append(c.nodes, &Node{Name: n.Name, Addr: n.Addr, c: c})
	}
	return err
}

// spawnSupervisor executes this program again as the cluster's supervisor.
func spawnSupervisor(cfg Config) (*Cluster, error) {
	listener, err := net.Listen("unix", socketPrefix+cfg.Name)
	if err != nil {
		return nil, err // the name is taken
	}
	defer listener.Close()
	control, err := listener.(*net.UnixListener).File()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	c := &Cluster{name: cfg.Name}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{roleSupervisor}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{control}
	if cfg.Keep {
		cmd.Args = append(cmd.Args, argKeep)
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, r)
		c.lifeline = w
	}
	// A file of the supervisor's own: a pipe would break when the owner dies, a terminal would hang up.
	fd, err := unix.MemfdCreate("cluster-log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	log := os.NewFile(uintptr(fd), "cluster-log")
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.process, c.died = cmd, make(chan struct{})
	go func() {
		cmd.Wait()
		close(c.died)
	}()
	return c, nil
}

// Close powers all nodes off, ends the supervisor and returns when nothing of the cluster is left. A cluster
// that is gone already is closed.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c.rackMu.Lock()
	if c.rackNS != nil {
		c.rackNS.Close()
		c.rackNS = nil
	}
	c.rackMu.Unlock()
	for _, n := range c.nodes {
		n.letGo()
	}
	_, err := call(ctx, c.name, request{Op: "down"})
	if errors.Is(err, unix.ECONNREFUSED) {
		err = nil
	}
	if c.lifeline != nil {
		c.lifeline.Close()
	}
	if c.died != nil {
		select {
		case <-c.died:
		case <-ctx.Done():
			c.process.Process.Kill()
			<-c.died
			err = errors.Join(err, fmt.Errorf("cluster %s: the supervisor did not end by itself", c.name))
		}
	}
	gone := poll(ctx, 5*time.Millisecond, func() error {
		live, err := List()
		for _, name := range live {
			if name == c.name {
				return fmt.Errorf("cluster %s: the supervisor is still there", name)
			}
		}
		return err
	})
	return errors.Join(err, gone, sweep())
}

// Name returns the cluster's name, for Open.
func (c *Cluster) Name() string { return c.name }

// Nodes returns all nodes in order of their names.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns a node by its name; it panics if there is none.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	panic(fmt.Sprintf("cluster %s has no node %q", c.name, name))
}

// States returns the power and cable of every node, in order of their names.
func (c *Cluster) States(ctx context.Context) ([]NodeState, error) {
	rep, err := call(ctx, c.name, request{Op: "status"})
	return rep.Nodes, err
}

// Events returns what the BMC was asked to do so far, by the fence agent or by hand; Node.PowerOff and the like do not ask the BMC.
func (c *Cluster) Events(ctx context.Context) ([]Event, error) {
	rep, err := call(ctx, c.name, request{Op: "events"})
	return rep.Events, err
}

// Disk makes a disk of size bytes that all nodes share, with an ext4 file system, and returns its path in the
// nodes, /dev/loopN, which is another device in each: as on hardware, a node sees neither what another one has not written to
// the disk yet, nor that it has it mounted, and two that mount it at once destroy it. A power-off loses no write that reached the
// file system: the kernel, which lives on, writes it out before the node counts as dead.
func (c *Cluster) Disk(ctx context.Context, size int64) (device string, err error) {
	rep, err := call(ctx, c.name, request{Op: "disk", Size: size})
	return rep.Device, err
}

// MountedOn returns the names of the nodes that have the device mounted; more than one is a disaster elsewhere.
func (c *Cluster) MountedOn(ctx context.Context, device string) ([]string, error) {
	numbers, err := c.numbers(ctx, device)
	if err != nil {
		return nil, err
	}
	return c.where(func(n *Node) (bool, error) { return n.mounts(ctx, numbers[n.Name]) })
}

// HeldBy returns the names of the nodes that have the address; more than one is a disaster elsewhere.
func (c *Cluster) HeldBy(ctx context.Context, addr string) ([]string, error) {
	return c.where(func(n *Node) (bool, error) { return n.holds(ctx, addr) })
}

// where returns the names of the nodes that are on and have something. One after the other is asked, and what moves meanwhile is seen on two
// nodes that never had it at once: of several only those count, but for the last, that still have it when the last had it.
func (c *Cluster) where(has func(*Node) (bool, error)) (at []string, err error) {
	for _, n := range c.nodes {
		here, err := hasOn(n, has)
		if err != nil {
			return at, err
		}
		if here {
			at = append(at, n.Name)
		}
	}
	for i := len(at) - 2; i >= 0; i-- {
		still, err := hasOn(c.Node(at[i]), has)
		if err != nil {
			return at, err
		}
		if !still {
			at = slices.Delete(at, i, i+1)
		}
	}
	return at, nil
}

// hasOn is false for a node that is off.
func hasOn(n *Node, has func(*Node) (bool, error)) (bool, error) {
	here, err := has(n)
	if errors.Is(err, ErrOff) {
		return false, nil
	}
	return here, err
}

// numbers are a shared disk's device numbers, by node.
func (c *Cluster) numbers(ctx context.Context, device string) (map[string]uint64, error) {
	c.diskMu.Lock()
	defer c.diskMu.Unlock()
	if known := c.disks[device]; known != nil {
		return known, nil
	}
	states, err := c.States(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]uint64{}
	for _, s := range states {
		if rdev, ok := s.Disks[device]; ok {
			found[s.Name] = rdev
		}
	}
	if len(found) == len(states) {
		if c.disks == nil {
			c.disks = map[string]map[string]uint64{}
		}
		c.disks[device] = found
	}
	return found, nil
}

// rack returns the rack's network namespace, which Close closes.
func (c *Cluster) rack(ctx context.Context) (*os.File, error) {
	c.rackMu.Lock()
	defer c.rackMu.Unlock()
	if c.rackNS == nil {
		rep, err := call(ctx, c.name, request{Op: "rack"})
		if err != nil {
			return nil, err
		}
		c.rackNS = rep.Fd
	}
	return c.rackNS, nil
}

// Dial connects from the rack to an address in the cluster's network; the host may be a node's name. It has the form of
// net.Dialer.DialContext, which clients such as net/http take for a dialer of one's own.
func (c *Cluster) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if n.Name == host {
			host = n.Addr
		}
	}
	if net.ParseIP(host) == nil { // a look-up would run on another thread, outside of the rack
		return nil, fmt.Errorf("dial %s: neither an address nor a node of cluster %s", addr, c.name)
	}
	rack, err := c.rack(ctx)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = inNamespaces(rack, unix.CLONE_NEWNET, func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, net.JoinHostPort(host, port))
		return err
	})
	return conn, err
}

// Client runs a command of the machine in the rack's network. The result is as of Node.Run.
func (c *Cluster) Client(ctx context.Context, cmd Cmd) (Result, error) {
	rack, err := c.rack(ctx)
	if err != nil {
		return Result{}, err
	}
	return cmd.run(ctx, rack, unix.CLONE_NEWNET, nil)
}

// supervisorPID returns the supervisor's process ID on the machine.
func (c *Cluster) supervisorPID(ctx context.Context) (int, error) {
	rep, err := call(ctx, c.name, request{Op: "pidfd"})
	if err != nil {
		return 0, err
	}
	defer rep.Fd.Close()
	return pidOf(rep.Fd)
}

// diagnose returns the supervisor's log and the nodes' consoles as an error, for a cluster that did not come up.
func (c *Cluster) diagnose() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	pid, err := c.supervisorPID(ctx)
	if err != nil {
		return err
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/*/console", pid, stateDir))
	for _, f := range append(files, fmt.Sprintf("/proc/%d/fd/2", pid)) {
		if text, rerr := tail(f, 2000); rerr == nil && text != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", filepath.Base(filepath.Dir(f)), text))
		}
	}
	return err
}

// tail returns the last max bytes of a file.
func tail(path string, max int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(io.NewSectionReader(f, info.Size()-min(max, info.Size()), max))
	return string(out), err
}

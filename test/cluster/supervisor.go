package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stateDir is where the supervisor mounts its tmpfs, in its own mount namespace: a directory that every root has and
// that nobody's Config.Root or Config.Files lies in.
const stateDir = "/media"

// The supervisor's inherited descriptors: the control socket's listener, and a pipe whose other end the owner holds.
const (
	fdControl  = 3
	fdLifeline = 4 // absent with Config.Keep
)

// argKeep tells a supervisor to outlive its owner.
const argKeep = "keep"

// supervisor is PID 1 of a PID namespace and lives in the rack's network namespace: all of the cluster dies with it.
type supervisor struct {
	log    *slog.Logger
	cgroup string // the cluster's cgroup directory

	mu       sync.Mutex // guards what follows; taken before a machine's
	cfg      Config     // does not change after up, nor does machines
	machines []*machine
	events   []Event

	diskMu sync.Mutex // taken after a machine's
	disks  []*disk
}

// downTimeout is how long an orderly end may take once the owner has gone.
const downTimeout = 20 * time.Second

// supervise is the main of the supervisor; it returns when the owner has gone or has sent down.
func supervise() int {
	s := &supervisor{log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	os.Setenv("PATH", defaultPath)
	listener, err := net.FileListener(os.NewFile(fdControl, "control"))
	if err != nil {
		s.log.Error("control socket", "err", err)
		return 1
	}
	unix.CloseOnExec(fdControl)
	if len(os.Args) < 2 || os.Args[1] != argKeep {
		unix.CloseOnExec(fdLifeline)
		go func() { // end of file: the owner has gone
			io.Copy(io.Discard, os.NewFile(fdLifeline, "lifeline"))
			stop()
		}()
	}
	downed := make(chan struct{}, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				down := false
				err := answer(conn.(*net.UnixConn), func(req request) reply {
					down = req.Op == "down"
					return s.handle(req)
				})
				if err != nil {
					s.log.Error("request", "err", err)
				}
				if down {
					select {
					case downed <- struct{}{}:
					default: // somebody asked already
					}
				}
			}()
		}
	}()
	select {
	case <-downed:
		return 0
	case <-ctx.Done():
	}
	orderly := make(chan struct{})
	go func() {
		s.down()
		close(orderly)
	}()
	select {
	case <-orderly:
	case <-time.After(downTimeout): // the exit kills all the same; the next cluster's sweep removes the cgroups
	}
	return 0
}

func (s *supervisor) handle(req request) (rep reply) {
	ops := map[string]func(request) (reply, error){
		"up":      s.up,
		"status":  s.status,
		"on":      s.onNode((*machine).powerOn),
		"off":     s.onNode((*machine).powerOff),
		"cut":     s.onNode(func(m *machine) error { return m.cable(false) }),
		"heal":    s.onNode(func(m *machine) error { return m.cable(true) }),
		"pidfd":   s.pidfd,
		"rack":    s.rack,
		"disk":    s.disk,
		"events":  func(request) (reply, error) { s.mu.Lock(); defer s.mu.Unlock(); return reply{Events: s.events}, nil },
		"cluster": func(request) (reply, error) { return reply{}, nil },
		"down":    func(request) (reply, error) { return reply{}, s.down() },
	}
	op, ok := ops[req.Op]
	if !ok {
		return reply{Error: "unknown operation"}
	}
	rep, err := op(req)
	if err != nil {
		s.log.Error(req.Op, "node", req.Node, "err", err)
		rep.Error = err.Error()
	}
	return rep
}

// up builds the rack and powers every node on.
func (s *supervisor) up(req request) (reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Nodes != 0 {
		return reply{}, errors.New("the cluster is up already")
	}
	s.cfg = *req.Config
	base, err := cgroup2()
	if err != nil {
		return reply{}, err
	}
	s.cgroup = filepath.Join(base, cgroupPrefix+s.cfg.Name)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return reply{}, fmt.Errorf("make mounts private: %w", err)
	}
	letGoOfLoops()
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return reply{}, fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", stateDir, "tmpfs", 0, "mode=755,size=75%"); err != nil {
		return reply{}, fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := ipBatch("link set lo up",
		// An address of its own: a bridge without one takes a port's, and changes it when a node's power does.
		"link add br0 address 02:00:0a:4c:00:fe type bridge stp_state 0 forward_delay 0",
		"addr add "+RackAddr+"/24 dev br0",
		"link set br0 up"); err != nil {
		return reply{}, err
	}
	bmc, err := net.Listen("tcp", bmcAddr)
	if err != nil {
		return reply{}, fmt.Errorf("BMC: %w", err)
	}
	go s.serveBMC(bmc)
	for i := 1; i <= s.cfg.Nodes; i++ {
		m, err := newMachine(s, i)
		if err != nil {
			return reply{}, err
		}
		s.machines = append(s.machines, m)
	}
	return reply{}, s.each((*machine).powerOn)
}

// each runs do for all machines at once.
func (s *supervisor) each(do func(*machine) error) error {
	errs := make([]error, len(s.machines))
	var wg sync.WaitGroup
	for i, m := range s.machines {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// down powers everything off for good and removes what the kernel would not remove by itself: the cgroups.
func (s *supervisor) down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.each((*machine).retire)
	s.diskMu.Lock()
	defer s.diskMu.Unlock()
	for _, d := range s.disks {
		err = errors.Join(err, d.Close())
	}
	s.disks = nil
	return errors.Join(err, removeCgroup(s.cgroup))
}

func (s *supervisor) machine(name string) (*machine, error) {
	for _, m := range s.machines {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q", name)
}

func (s *supervisor) locked(name string) (*machine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine(name)
}

func (s *supervisor) onNode(do func(*machine) error) func(request) (reply, error) {
	return func(req request) (reply, error) {
		m, err := s.locked(req.Node)
		if err != nil {
			return reply{}, err
		}
		return reply{}, do(m)
	}
}

func (s *supervisor) status(request) (reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rep reply
	for _, m := range s.machines {
		rep.Nodes = append(rep.Nodes, m.state())
	}
	return rep, nil
}

// pidfd hands out a pidfd of a node's init, or of the supervisor itself if no node is named.
func (s *supervisor) pidfd(req request) (reply, error) {
	if req.Node == "" {
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		return reply{Fd: os.NewFile(uintptr(fd), "pidfd")}, err
	}
	m, err := s.locked(req.Node)
	if err != nil {
		return reply{}, err
	}
	f, err := m.handle()
	return reply{Fd: f}, err
}

// rack hands out the rack's network namespace.
func (s *supervisor) rack(request) (reply, error) {
	f, err := os.Open("/proc/self/ns/net")
	return reply{Fd: f}, err
}

// ipBatch runs ip(8) commands in this process's network namespace, up to the first that fails.
func ipBatch(commands ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// letGoOfLoops unmounts, in this mount namespace, what lies on loop devices: a copy of someone's mount would keep
// the device busy after they unmounted it.
func letGoOfLoops() {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "/dev/loop") && f[1] != "/" {
			unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

// cgroupPrefix begins the name of every cluster's cgroup directory.
const cgroupPrefix = "openstack-ocf-cluster-"

// cgroup2 returns where the cgroup2 hierarchy is mounted, which does not change while a program runs.
var cgroup2 = sync.OnceValues(func() (string, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("needs a mounted cgroup2 hierarchy")
})

// removeCgroup removes a cgroup and all below it once its last process has been reaped.
func removeCgroup(dir string) error {
	if dir == "" {
		return nil
	}
	var remove func(string) error
	remove = func(dir string) error {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for _, e := range entries {
			if e.IsDir() {
				remove(filepath.Join(dir, e.Name())) // a failure shows below: the parent is not empty
			}
		}
		return unix.Rmdir(dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return poll(ctx, 5*time.Millisecond, func() error {
		if err := remove(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		return nil
	})
}

// sweep removes the cgroups of clusters that live no more.
func sweep() error {
	base, err := cgroup2()
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(base, cgroupPrefix+"*"))
	if err != nil {
		return err
	}
	live, err := List()
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, name := range live {
		alive[name] = true
	}
	for _, dir := range dirs {
		if !alive[strings.TrimPrefix(filepath.Base(dir), cgroupPrefix)] {
			err = errors.Join(err, removeCgroup(dir))
		}
	}
	return err
}

// poll calls try until it succeeds or ctx ends; then it returns what try said last.
func poll(ctx context.Context, every time.Duration, try func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// machine is a node's hardware: power, network cable and, in dir, what a disk would hold.
type machine struct {
	s      *supervisor
	name   string
	addr   string
	mac    string
	dir    string // upper, work and root of the overlay, and the console's log
	cgroup string

	mu       sync.Mutex // guards what follows, and every change of power and cable
	cmd      *exec.Cmd
	pidfd    *os.File
	dead     chan struct{} // closed when the init is dead and the NIC gone
	prepared bool          // the first boot has put its files in place
	cut      bool
	retired  bool
}

func newMachine(s *supervisor, i int) (*machine, error) {
	name := nodeName(i)
	m := &machine{
		s: s, name: name, addr: nodeAddr(i), mac: fmt.Sprintf("02:00:0a:4c:00:%02x", 10+i),
		dir: filepath.Join(stateDir, name), cgroup: filepath.Join(s.cgroup, name),
	}
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(m.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	return m, os.MkdirAll(m.cgroup, 0o755)
}

// alive says whether the init lives; m.mu is held.
func (m *machine) alive() bool {
	if m.dead == nil {
		return false
	}
	select {
	case <-m.dead:
		return false
	default:
		return true
	}
}

func (m *machine) state() NodeState {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := NodeState{Name: m.name, Addr: m.addr, On: m.alive(), Cut: m.cut, Disks: map[string]uint64{}}
	for _, d := range m.devices() {
		st.Disks[d.Path] = d.Rdev
	}
	return st
}

// handle returns a duplicate of the pidfd of the node's init.
func (m *machine) handle() (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.alive() {
		return nil, ErrOff
	}
	fd, err := unix.FcntlInt(m.pidfd.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), "pidfd"), err
}

// powerOn boots the node and returns when its init runs; a node that is on stays on.
func (m *machine) powerOn() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alive() || m.retired {
		return nil
	}
	if err := m.spawn(); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.prepared = true
	return nil
}

func (m *machine) spawn() error {
	cgroup, err := os.Open(m.cgroup)
	if err != nil {
		return err
	}
	defer cgroup.Close()
	console, err := os.OpenFile(filepath.Join(m.dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	orderR, orderW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer orderR.Close()
	defer orderW.Close()
	bootR, bootW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer bootR.Close()
	defer bootW.Close()

	var pidfd int
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{roleNode}
	cmd.Env = []string{"PATH=" + defaultPath}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{orderR, bootW}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		// Unshared only when the child is in its cgroup, which so becomes the root of what it sees.
		Unshareflags: unix.CLONE_NEWCGROUP,
		UseCgroupFD:  true,
		CgroupFD:     int(cgroup.Fd()),
		Setsid:       true,
		PidFD:        &pidfd,
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd, m.dead = cmd, make(chan struct{})
	m.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	go m.reap(cmd, m.pidfd, m.dead)
	orderR.Close()
	bootW.Close()

	fail := func(err error) error {
		cmd.Process.Kill()
		<-m.dead
		return err
	}
	commands := []string{
		fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d", m.name, m.mac, cmd.Process.Pid),
		fmt.Sprintf("link set %s master br0", m.name),
	}
	if !m.cut {
		commands = append(commands, fmt.Sprintf("link set %s up", m.name))
	}
	if err := ipBatch(commands...); err != nil {
		return fail(err)
	}
	if err := json.NewEncoder(orderW).Encode(m.order()); err != nil {
		return fail(err)
	}
	orderW.Close()
	// End of file without a word: exec closed the descriptor, the node's init runs.
	words, err := io.ReadAll(bootR)
	if err == nil && len(words) > 0 {
		err = errors.New(string(words))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// reap waits for the death of the node's whole PID namespace and takes its NIC away, with all addresses on it.
func (m *machine) reap(cmd *exec.Cmd, pidfd *os.File, dead chan struct{}) {
	m.watchMounts(cmd.Process.Pid, pidfd)
	cmd.Wait()
	m.closed()
	if err := ipBatch("link del " + m.name); err != nil && !strings.Contains(err.Error(), "Cannot find device") {
		m.s.log.Error("take the NIC away", "node", m.name, "err", err)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	m.s.log.Info("node is off", "node", m.name, "how", cmd.ProcessState.String())
	pidfd.Close()
	close(dead)
	// reboot(2) in a PID namespace kills its init with SIGHUP for a restart, with SIGINT for a power-off.
	if status.Signaled() && status.Signal() == syscall.SIGHUP {
		if err := m.powerOn(); err != nil {
			m.s.log.Error("reboot", "node", m.name, "err", err)
		}
	}
}

// powerOff kills the node and returns when it is dead; a node that is off stays off.
func (m *machine) powerOff() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kill()
}

func (m *machine) kill() error {
	if !m.alive() {
		return nil
	}
	thaw := m.thawer()
	err := m.cmd.Process.Kill()
	thaw()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-m.dead
	return nil
}

// retire powers the node off for good.
func (m *machine) retire() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retired = true
	return m.kill()
}

// cable plugs the network cable in or pulls it, which stays so over power cycles.
func (m *machine) cable(in bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = !in
	if !m.alive() {
		return nil
	}
	if in {
		return ipBatch("link set " + m.name + " up")
	}
	return ipBatch("link set " + m.name + " down")
}

// order is what the boot of this node needs to know.
func (m *machine) order() bootOrder {
	return bootOrder{
		Name: m.name, Addr: m.addr, Dir: m.dir, First: !m.prepared,
		Disks: m.devices(), Config: m.s.cfg,
	}
}

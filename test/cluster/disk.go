package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// disk is a shared disk: an unlinked sparse file, and for each node a loop device on it. So each node has a superblock and a
// page cache of its own, as nodes with a kernel each have. The kernel frees all of it with the last user.
type disk struct {
	path  string              // in every node
	loops map[string]*os.File // by node; held open: with LO_FLAGS_AUTOCLEAR a device goes when this and its last mount are closed
}

// blockDevice is a disk as a node's /dev has it.
type blockDevice struct {
	Path string
	Rdev uint64
}

// disk makes an ext4 file system of req.Size bytes and shows it to every node.
func (s *supervisor) disk(req request) (reply, error) {
	d, err := newDisk(req.Size, s.machines)
	if err != nil {
		return reply{}, err
	}
	// From here on, a node that boots finds the disk by itself; those that are on are shown it.
	s.diskMu.Lock()
	s.disks = append(s.disks, d)
	s.diskMu.Unlock()
	return reply{Device: d.path}, s.each(func(m *machine) error { return m.show(d) })
}

func newDisk(size int64, machines []*machine) (*disk, error) {
	back, err := os.CreateTemp(stateDir, "disk")
	if err != nil {
		return nil, err
	}
	defer back.Close()
	defer os.Remove(back.Name())
	if err := back.Truncate(size); err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", back.Name()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	d := &disk{loops: map[string]*os.File{}}
	for _, m := range machines {
		loop, err := loopOn(back)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.path = cmp.Or(d.path, loop.Name())
		d.loops[m.name] = loop
	}
	return d, nil
}

func (d *disk) Close() (err error) {
	for _, loop := range d.loops {
		err = errors.Join(err, loop.Close())
	}
	return err
}

// of is the disk as a node has it.
func (d *disk) of(m *machine) (blockDevice, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(d.loops[m.name].Fd()), &st)
	return blockDevice{d.path, st.Rdev}, err
}

// loopOn is a new loop device on a file.
func loopOn(back *os.File) (*os.File, error) {
	control, err := os.Open("/dev/loop-control")
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("free loop device: %w", err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		conf := unix.LoopConfig{Fd: uint32(back.Fd())}
		conf.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		copy(conf.Info.File_name[:], back.Name())
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &conf)
		if errors.Is(err, unix.EBUSY) { // somebody else was quicker
			loop.Close()
			continue
		}
		if err != nil {
			loop.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return loop, nil
	}
}

// show puts the disk into the /dev of a node that is on.
func (m *machine) show(d *disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.alive() {
		return nil
	}
	device, err := d.of(m)
	if err != nil {
		return err
	}
	return device.make(filepath.Join("/proc", fmt.Sprint(m.cmd.Process.Pid), "root"))
}

func (d blockDevice) make(root string) error {
	return makeNode(filepath.Join(root, d.Path), unix.S_IFBLK|0o660, d.Rdev)
}

// devices are the disks as a node has them.
func (m *machine) devices() (list []blockDevice) {
	m.s.diskMu.Lock()
	defer m.s.diskMu.Unlock()
	for _, d := range m.s.disks {
		if device, err := d.of(m); err == nil {
			list = append(list, device)
		}
	}
	return list
}

// forget has the kernel forget, of the node's disks that it has not got mounted, what another node may write meanwhile. It does
// so by itself when the last user closes a device, which the loops never see; mounted says which are in use.
func (m *machine) forget(mounted func(rdev uint64) bool) {
	m.s.diskMu.Lock()
	defer m.s.diskMu.Unlock()
	for _, d := range m.s.disks {
		device, err := d.of(m)
		if err != nil || mounted(device.Rdev) {
			continue
		}
		if err := unix.IoctlSetInt(int(d.loops[m.name].Fd()), unix.BLKFLSBUF, 0); err != nil {
			m.s.log.Error("forget what is on a disk", "node", m.name, "err", err)
		}
	}
}

// forgetEvery is how often what a node has read of a disk without mounting it is forgotten.
const forgetEvery = 500 * time.Millisecond

// watchMounts forgets what is on a disk when the node has unmounted it, until the node is dead: poll(2) tells a change of a mount
// table, see proc_pid_mounts(5), and the end of a process. The table holds the node's mounts, which go when this has returned.
func (m *machine) watchMounts(pid int, pidfd *os.File) {
	table, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return // it is dead already
	}
	defer table.Close()
	for {
		fds := []unix.PollFd{{Fd: int32(table.Fd()), Events: unix.POLLPRI}, {Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, int(forgetEvery.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			m.s.log.Error("watch mounts", "node", m.name, "err", err)
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if _, err := table.Seek(0, io.SeekStart); err != nil {
			return
		}
		in := map[uint64]bool{}
		if _, err := mountinfo.GetMountsFromReader(table, func(i *mountinfo.Info) (skip, stop bool) {
			in[unix.Mkdev(uint32(i.Major), uint32(i.Minor))] = true
			return true, false
		}); err != nil {
			return // the node has died
		}
		m.forget(func(rdev uint64) bool { return in[rdev] })
	}
}

// fithaw is FITHAW of linux/fs.h.
const fithaw = 0xc0045878

// thawer takes hold of the file systems on the node's disks. What it returns ends a freeze of them, see fsfreeze(8), and lets go: what
// waits in the kernel for the end of one cannot be killed, and a power cut does not wait.
func (m *machine) thawer() func() {
	proc := fmt.Sprintf("/proc/%d", m.cmd.Process.Pid)
	table, err := os.Open(proc + "/mountinfo")
	if err != nil {
		return func() {} // it is dead already
	}
	defer table.Close()
	ours := map[uint64]bool{}
	for _, d := range m.devices() {
		ours[d.Rdev] = true
	}
	var held []*os.File
	_, _ = mountinfo.GetMountsFromReader(table, func(i *mountinfo.Info) (skip, stop bool) {
		if ours[unix.Mkdev(uint32(i.Major), uint32(i.Minor))] {
			if f, err := os.Open(filepath.Join(proc, "root", i.Mountpoint)); err == nil {
				held = append(held, f)
			}
		}
		return true, false
	})
	mounted := map[uint64]bool{}
	for _, f := range held {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil {
			mounted[st.Dev] = true
		}
	}
	return func() {
		for rdev := range ours {
			if !mounted[rdev] {
				held = append(held, m.aside(rdev)...)
			}
		}
		for _, f := range held {
			_ = unix.IoctlSetInt(int(f.Fd()), fithaw, 0) // EINVAL: it is not frozen
			f.Close()
		}
	}
}

// aside takes hold of a file system that is unmounted, and that the kernel has open all the same: one that was unmounted lazily while
// it was frozen is open until that ends, whoever dies. A mount for a moment, of the same superblock, is the way to it.
func (m *machine) aside(rdev uint64) []*os.File {
	loop := fmt.Sprintf("loop%d", unix.Minor(rdev))
	if _, err := os.Stat("/sys/fs/ext4/" + loop); err != nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "aside")
	if err == nil {
		defer os.Remove(dir)
		err = unix.Mount("/dev/"+loop, dir, "ext4", 0, "")
	}
	if err == nil {
		defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
		var f *os.File
		if f, err = os.Open(dir); err == nil {
			return []*os.File{f}
		}
	}
	m.s.log.Error("a dead node's disk may be frozen", "node", m.name, "disk", loop, "err", err)
	return nil
}

// closed waits until the kernel has closed the file systems of a dead node's disks: it does so when the last of its mounts goes.
func (m *machine) closed() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := poll(ctx, time.Millisecond, func() error {
		for _, d := range m.devices() {
			dir := fmt.Sprintf("/sys/fs/ext4/loop%d", unix.Minor(d.Rdev))
			if _, err := os.Stat(dir); err == nil {
				return fmt.Errorf("%s is open", dir)
			}
		}
		return nil
	})
	if err != nil {
		m.s.log.Error("a dead node has its disk open", "node", m.name, "err", err)
	}
	m.forget(func(uint64) bool { return false })
}

// makeNode makes a device node, unless it is there.
func makeNode(path string, mode uint32, rdev uint64) error {
	if err := unix.Mknod(path, mode, int(rdev)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mknod %s: %w", path, err)
	}
	return os.Chmod(path, os.FileMode(mode&0o777)) // whatever the umask
}

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is a shared disk: a loop device on an unlinked sparse file. The kernel frees it with its last user.
type disk struct {
	*os.File // held open: with LO_FLAGS_AUTOCLEAR the device goes when this and the last mount are closed
	device   blockDevice
}

// blockDevice is a disk as a node's /dev has it.
type blockDevice struct {
	Path string
	Rdev uint64
}

// disk makes an ext4 file system of req.Size bytes on a loop device and shows it to every node.
func (s *supervisor) disk(req request) (reply, error) {
	d, err := newDisk(req.Size)
	if err != nil {
		return reply{}, err
	}
	// From here on, a node that boots finds the disk by itself; those that are on are shown it.
	s.diskMu.Lock()
	s.disks = append(s.disks, d)
	s.diskMu.Unlock()
	return reply{Device: d.device.Path}, s.each(func(m *machine) error { return m.show(d.device) })
}

func newDisk(size int64) (*disk, error) {
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
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(loop.Fd()), &st)
		}
		if err != nil {
			loop.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &disk{File: loop, device: blockDevice{path, st.Rdev}}, nil
	}
}

// show puts the disk into the /dev of a node that is on.
func (m *machine) show(d blockDevice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.alive() {
		return nil
	}
	return d.make(filepath.Join("/proc", fmt.Sprint(m.cmd.Process.Pid), "root"))
}

func (d blockDevice) make(root string) error {
	return makeNode(filepath.Join(root, d.Path), unix.S_IFBLK|0o660, d.Rdev)
}

// makeNode makes a device node, unless it is there.
func makeNode(path string, mode uint32, rdev uint64) error {
	if err := unix.Mknod(path, mode, int(rdev)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mknod %s: %w", path, err)
	}
	return os.Chmod(path, os.FileMode(mode&0o777)) // whatever the umask
}

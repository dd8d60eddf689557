package sharedstorage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// exclusive says whether the device can be opened alone: nothing has it mounted, nor is still writing to it.
func exclusive(t testing.TB, device string) bool {
	t.Helper()
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	return true
}

// TestStillClosing is a file system that is mounted nowhere any more, whose last user was killed, and of which the kernel has the
// last still to write, to a disk that is slow: for ext4 it shows nothing in /sys then.
func TestStillClosing(t *testing.T) {
	h := newHost(t)
	// A disk that takes no writes for a while: an image on a file system that is frozen.
	box.Sh(t, "mkdir -p /run/slow; mount %s /run/slow; truncate -s 16M /run/slow/image", loop(t, "xfs"))
	t.Cleanup(func() { box.Sh(t, "umount /run/slow") })
	device := box.Loop(t, "/run/slow/image")
	mkfs(t, "ext4", device)
	there := h.With("device", device)
	there.Want(ocf.Start, ocf.OK)
	user := h.in("exec 3>file")
	box.Sh(t, "umount -l '%s'; sync; fsfreeze -f /run/slow", dir)
	thaw := func() { _ = exec.Command("fsfreeze", "-u", "/run/slow").Run() }
	defer thaw() // whatever comes: a process that waits for it ends no box
	_ = syscall.Kill(user.Process.Pid, syscall.SIGKILL)
	box.Until(t, "the kernel shows it no more", func() bool {
		_, err := os.Stat("/sys/fs/ext4/" + filepath.Base(device))
		return err != nil
	})
	if exclusive(t, device) {
		t.Fatal("the kernel has closed it already: this tests nothing")
	}
	there.Monitor(0, ocf.Generic, "the kernel has it open")
	there.Want(ocf.Start, ocf.Generic, "the kernel has it open")
	there.Within(3*time.Second).Want(ocf.Stop, ocf.Generic, "the kernel")
	done := there.Go(ocftest.Call{Action: ocf.Stop, Timeout: 20 * time.Second})
	time.AfterFunc(4*time.Second, thaw) // longer than what is waited for who is not seen
	if r := <-done; r.Code != ocf.OK {
		t.Error(r)
	}
	if !exclusive(t, device) {
		t.Error("stop said 0, and the kernel still has it open")
	}
	there.Monitor(0, ocf.NotRunning)
}

// TestBtrfs is a type whose mounts show another device than the one that they are on.
func TestBtrfs(t *testing.T) {
	box.Need(t)
	needs.Program(t, "mkfs.btrfs", "btrfs-progs")
	h := newHost(t)
	image := filepath.Join(t.TempDir(), "image")
	box.Sh(t, "truncate -s 120M '%s'", image)
	device := box.Loop(t, image)
	box.Sh(t, "mkfs.btrfs -q %s", device)
	there := h.With("device", device, "fstype", "btrfs")
	cycle := func() { there.Want(ocf.Start, ocf.OK); there.Monitor(20, ocf.OK) }
	free := func(what string) {
		t.Helper()
		there.Want(ocf.Stop, ocf.OK)
		if !exclusive(t, device) {
			t.Errorf("%s: stop said 0, and the kernel has it open", what)
		}
		there.Monitor(0, ocf.NotRunning)
	}
	cycle()
	free("nobody")
	cycle()
	h.in("true")
	free("a working directory")
	cycle()
	other := h.namespace()
	free("another mount namespace")
	box.Unharmed(t, other)
	box.Sh(t, "mkdir -p /run/other; mount %s /run/other", device)
	there.Monitor(0, ocf.Generic, "is mounted on /run/other")
	free("mounted elsewhere")
}

// busyFaults are about who else may hold it.
func busyFaults() []box.Row[*host] {
	return []box.Row[*host]{
		{"a socket in it", func(h *host) {
			h.Start()
			listen := fmt.Sprintf("import os, socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('%s/socket')\nos.chdir('/')\ntime.sleep(1000)", dir)
			for _, in := range [][]string{nil, {"unshare", "--net"}} { // of another network namespace, too
				command := append(in, "python3", "-c", listen)
				user := box.Background(h.T, command[0], command[1:]...)
				box.Until(h.T, "it is bound", func() bool { _, err := os.Stat(dir + "/socket"); return err == nil })
				box.Until(h.T, "it works elsewhere", func() bool {
					cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", user.Process.Pid))
					return cwd == "/"
				})
				h.With("force_unmount", "false").Want(ocf.Stop, ocf.Generic, "in use by python3", "the socket "+dir+"/socket")
				h.Want(ocf.Stop, ocf.OK)
				h.Start()
				box.Sh(h.T, "rm '%s/socket'", dir)
			}
			h.Stop()
		}},
		{"something over the directory above it", func(h *host) {
			h.Start()
			for _, of := range []string{"/run/nothing", dir} { // the directory may be there too, and nothing mounted on that
				box.Sh(h.T, "mount -t tmpfs none /run/srv; mkdir -p '%s'", of)
				const over = "is covered by other storage that was mounted later, /run/srv (tmpfs on none)"
				h.Monitor(0, ocf.Generic, over)
				if r := h.Want(ocf.Stop, ocf.Generic, over); r.Elapsed > h.Limit/2 {
					h.T.Errorf("it took %v to say so", r.Elapsed)
				}
				box.Sh(h.T, "umount /run/srv; rm -rf /run/nothing")
			}
			h.Monitor(0, ocf.OK)
			h.Stop()
		}},
		{"in another mount namespace, by who is in a chroot", func(h *host) {
			h.Start()
			jailed := box.Background(h.T, "unshare", "--mount", "--propagation=private", "python3", "-c", "import os, time\nos.chroot('/run/srv')\nos.chdir('/')\ntime.sleep(1000)")
			box.Until(h.T, "it is in there", func() bool {
				root, _ := os.Readlink(fmt.Sprintf("/proc/%d/root", jailed.Process.Pid))
				return root == "/run/srv"
			})
			h.Stop()
			box.Unharmed(h.T, jailed)
		}},
	}
}

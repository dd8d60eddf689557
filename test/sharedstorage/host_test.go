// Package sharedstorage tests ocf:openstack:shared-storage on real file systems on loop devices, in a box: a host of its own.
package sharedstorage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	agent "github.com/openstack-ocf/agents/agents/sharedstorage"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

func TestMain(m *testing.M) { box.Main(m) }

// dir is where it is mounted.
var dir = "/run/srv/my data"

// host has a file system on a loop device of its own.
type host struct {
	*box.Agent
	device string
}

func newHost(t testing.TB) *host { t.Helper(); return on(t, "ext4") }

// on is a host whose device has a file system of that type.
func on(t testing.TB, fstype string) *host {
	t.Helper()
	box.Need(t)
	needs.Program(t, "mkfs."+fstype, map[string]string{"ext4": "e2fsprogs", "xfs": "xfsprogs"}[fstype])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &host{device: loop(t, fstype)}
	h.Agent = box.NewAgent(t, box.Agent{
		Name: "shared-storage", Params: ocftest.Params{"device": h.device, "directory": dir, "fstype": fstype},
		Pids: func() []int {
			if h.open() {
				return []int{os.Getpid()} // there is no process; this stands for the kernel
			}
			return nil
		}, Processes: 1, Limit: 20 * time.Second, Watch: 10 * time.Second,
	})
	return h
}

// loop is a new loop device with a file system.
func loop(t testing.TB, fstype string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	box.Sh(t, "truncate -s %s '%s'", map[string]string{"ext4": "16M", "xfs": "310M"}[fstype], image)
	path := box.Loop(t, image)
	mkfs(t, fstype, path)
	return path
}

// mkfs makes a file system.
func mkfs(t testing.TB, fstype, path string) {
	t.Helper()
	if fstype == "xfs" {
		box.Sh(t, "mkfs.xfs -q -f -L data %s", path)
	} else {
		box.Sh(t, "mkfs.ext4 -q -F -L data %s", path)
	}
}

// open says that the kernel has the file system open.
func (h *host) open() bool {
	for _, t := range []string{"ext4", "xfs"} {
		if _, err := os.Stat("/sys/fs/" + t + "/" + filepath.Base(h.device)); err == nil {
			return true
		}
	}
	return false
}

// in runs something beside, with the storage as its working directory.
func (h *host) in(script string) *exec.Cmd {
	h.T.Helper()
	ready := filepath.Join(h.T.TempDir(), "ready")
	cmd := box.Background(h.T, "bash", "-c", fmt.Sprintf("cd '%s'; %s; touch '%s'; while :; do read -t 1000 <> <(:); done", dir, script, ready))
	box.Until(h.T, "it is there", func() bool { _, err := os.Stat(ready); return err == nil })
	return cmd
}

// namespace has a process with a mount namespace of its own, in which the storage stays mounted.
func (h *host) namespace() *exec.Cmd {
	h.T.Helper()
	other := box.Background(h.T, "unshare", "--mount", "--propagation=private", "sleep", "1000")
	box.Until(h.T, "it has a namespace of its own", func() bool {
		a, _ := os.Readlink("/proc/self/ns/mnt")
		b, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", other.Process.Pid))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", other.Process.Pid))
		return err == nil && a != b && string(comm) == "sleep\n"
	})
	return other
}

// hanging is how many threads of this program wait for something in the kernel that no signal interrupts.
func hanging() (n int) {
	tasks, _ := filepath.Glob("/proc/[0-9]*/task/*/stat")
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(task), "exe"))
		if strings.Contains(string(b), ") D ") && strings.Contains(exe, "openstack-ocf") {
			n++
		}
	}
	return n
}

// clear unmounts by hand what a test left, of the storage and over it, and ends who uses it.
func (h *host) clear() {
	h.T.Helper()
	box.Until(h.T, "all is unmounted", func() bool {
		_, err := exec.Command("sh", "-c", fmt.Sprintf("umount '%[1]s/a' /run/bound '%[1]s' /run/of-nobody /run/other 2>/dev/null; ! grep -qE ' (/run/srv|/run/bound|/run/other|/run/of-nobody)' /proc/mounts", dir)).CombinedOutput()
		return err == nil
	})
	_ = os.Remove("/run/of-nobody")
}

func TestContract(t *testing.T) {
	h := newHost(t)
	ocftest.Run(t, ocftest.Subject{
		New: agent.New, Program: h.Path, Params: h.Params,
		Kill:   func(t testing.TB) { t.Helper(); box.Sh(t, "umount '%s'", dir) },
		Broken: ocftest.Params{"run_fsck": "perhaps"}, Unidentified: ocftest.Params{"directory": "no path"},
	})
}
func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }

// Level 0 alone: what the deeper ones ask, once a minute, may hang in the kernel, and a process of its own asks it.
func TestNoForks(t *testing.T) { newHost(t).NoForks(0) }

func TestMemory(t *testing.T) { newHost(t).Memory(20) }

func TestFaults(t *testing.T) {
	for _, fstype := range []string{"ext4", "xfs"} {
		t.Run(fstype, func(t *testing.T) {
			box.Rows(t, func(t testing.TB) *host { t.Helper(); return on(t, fstype) }, append(faults(), busyFaults()...))
		})
	}
}

// faults are the same for all types.
func faults() []box.Row[*host] {
	return []box.Row[*host]{
		{"started twice at once, stopped twice", func(h *host) {
			h.Want(ocf.Monitor, ocf.NotRunning, "not mounted on "+dir)
			h.StartTwice()
			for _, level := range []int{0, 10, 20} {
				h.Monitor(level, ocf.OK)
			}
			h.Stop()
			h.Stop()
		}},
		{"device missing", func(h *host) {
			gone := h.With("device", "/dev/of-nobody").Within(3 * time.Second)
			gone.Want(ocf.Monitor, ocf.NotRunning)
			gone.Want(ocf.Start, ocf.Generic, "device /dev/of-nobody is not there")
			gone.Want(ocf.Stop, ocf.OK)
		}},
		{"device that comes late", func(h *host) {
			link := filepath.Join(h.T.TempDir(), "link")
			late := h.With("device", link)
			done := late.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			if err := os.Symlink(h.device, link); err != nil {
				h.T.Fatal(err)
			}
			if r := <-done; r.Code != ocf.OK {
				h.T.Errorf("start: %s", r)
			}
			late.Monitor(0, ocf.OK)
			h.Monitor(0, ocf.OK) // the same by another name
			late.Stop()
		}},
		{"directory missing", func(h *host) {
			defer os.Remove("/run/of-nobody")
			none := h.With("directory", "/run/of-nobody")
			none.Want(ocf.Monitor, ocf.NotRunning)
			none.Want(ocf.Start, ocf.OK)
			none.Want(ocf.Monitor, ocf.OK)
			none.Want(ocf.Stop, ocf.OK)
		}},
		{"the directories above missing too", func(h *host) { // resource-agents issue 1370
			defer os.RemoveAll("/run/of-nobody")
			none := h.With("directory", "/run/of-nobody/a/b")
			none.Want(ocf.Monitor, ocf.NotRunning)
			none.Want(ocf.Stop, ocf.OK)
			none.Want(ocf.Start, ocf.OK)
			none.Want(ocf.Monitor, ocf.OK)
			none.Want(ocf.Stop, ocf.OK)
		}},
		{"a neighbour whose name begins like it", func(h *host) { // resource-agents pull request 2041
			box.Sh(h.T, "mkdir -p '%[1]s2'; mount -t tmpfs none '%[1]s2'", dir)
			defer box.Sh(h.T, "umount '%s2'", dir)
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.Start()
			h.Stop()
			box.Sh(h.T, "mountpoint '%s2'", dir)
		}},
		{"a file in its place", func(h *host) {
			defer os.Remove("/run/of-nobody")
			box.Sh(h.T, "touch /run/of-nobody")
			h.With("directory", "/run/of-nobody").Want(ocf.Start, ocf.Generic, "directory /run/of-nobody cannot be made")
		}},
		{"wrong type", func(h *host) {
			other := map[string]string{"ext4": "xfs", "xfs": "ext4"}[h.Params["fstype"]]
			h.With("fstype", other).Want(ocf.Start, ocf.Generic, "has "+h.Params["fstype"]+" on it, and not "+other)
		}},
		{"no file system", func(h *host) {
			box.Sh(h.T, "dd if=/dev/zero of=%s bs=1M count=2 status=none", h.device)
			h.Want(ocf.Start, ocf.Generic, "no file system that is known")
		}},
		{"an option that nobody knows", func(h *host) {
			h.With("options", "of-nobody").Want(ocf.Start, ocf.Generic, "cannot be mounted")
			bad := map[string]string{"ext4": "commit=many", "xfs": "logbufs=1"}[h.Params["fstype"]]
			h.With("options", "noatime,"+bad).Want(ocf.Start, ocf.Generic, "cannot be mounted", strings.SplitN(bad, "=", 2)[0])
		}},
		{"options", func(h *host) {
			o := h.With("options", "noatime,nosuid,nodev")
			o.Start()
			table, _ := os.ReadFile("/proc/self/mounts")
			if !strings.Contains(string(table), "nosuid,nodev,noatime") {
				h.T.Errorf("%s", table)
			}
			o.Stop()
		}},
		{"read-only on purpose", func(h *host) {
			ro := h.With("options", "ro")
			ro.Start()
			ro.Monitor(20, ocf.OK)
			h.Monitor(0, ocf.Generic, "read-only")
			ro.Stop()
		}},
		{"by label, by UUID", func(h *host) {
			uuid := strings.TrimSpace(box.Sh(h.T, "blkid -p -o value -s UUID %s", h.device))
			for _, name := range []string{"LABEL=data", "-L data", "-Ldata", "--label=data", "UUID=" + uuid, "-U " + uuid} {
				if strings.Contains(name, "data") && labels(h.T) > 1 {
					continue // another's on this machine
				}
				l := h.With("device", name)
				l.Start()
				l.Monitor(0, ocf.OK)
				h.Monitor(0, ocf.OK)
				l.Stop()
			}
			h.With("device", "LABEL=of-nobody").Within(15*time.Second).Want(ocf.Start, ocf.Generic, "no device has LABEL=of-nobody")
			// Where udev runs, what it has no link to may be half of a DRBD or md that is not up. What is mounted is known all the same.
			l := h.With("device", "UUID="+uuid)
			l.Start()
			box.Sh(h.T, "mkdir -p /run/udev; touch /run/udev/control")
			l.Monitor(0, ocf.OK)
			l.Stop()
			l.Within(15*time.Second).Want(ocf.Start, ocf.Generic, "device UUID="+uuid+" is not there: look at the SAN, DRBD")
			box.Sh(h.T, "rm -r /run/udev")
		}},
		{"mounted somewhere else", func(h *host) {
			box.Sh(h.T, "mkdir -p /run/other; mount %s /run/other", h.device)
			h.Want(ocf.Monitor, ocf.Generic, "is mounted on /run/other")
			h.Want(ocf.Start, ocf.Generic, "is mounted on /run/other")
			h.Stop()
		}},
		{"something else on the directory", func(h *host) {
			box.Sh(h.T, "mount -t tmpfs none '%s'", dir)
			h.Want(ocf.Monitor, ocf.NotRunning, "other storage is mounted there")
			h.Want(ocf.Start, ocf.Generic, "is mounted on the directory already")
			h.Want(ocf.Stop, ocf.OK)
			box.Sh(h.T, "umount '%s'", dir)
		}},
		{"not root", func(h *host) {
			h.Start()
			box.LetIn(h.T, h.Path)
			cmd := exec.Command("setpriv", "--reuid=nobody", "--clear-groups", h.Path, ocf.Stop)
			for name, value := range h.Params {
				cmd.Env = append(cmd.Env, "OCF_RESKEY_"+name+"="+value)
			}
			out, _ := cmd.CombinedOutput()
			if code := ocf.Code(cmd.ProcessState.ExitCode()); code != ocf.Permission {
				h.T.Errorf("stop: exit %d: %s", code, out)
			}
			h.Monitor(0, ocf.OK)
			h.Stop()
		}},
		{"something over it", func(h *host) {
			h.Start()
			box.Sh(h.T, "mount -t tmpfs none '%s'", dir)
			h.Monitor(0, ocf.Generic, "is covered by other storage")
			h.Stop()
		}},
		{"mounts below and beside", func(h *host) {
			h.Start()
			box.Sh(h.T, "mkdir -p '%[1]s/a' '%[1]s/b' /run/bound; mount -t tmpfs none '%[1]s/a'; mkdir '%[1]s/a/c'; mount -t tmpfs none '%[1]s/a/c'; mount --bind '%[1]s/b' /run/bound", dir)
			h.Monitor(0, ocf.OK)
			h.Stop()
		}},
		{"a mount below, before it", func(h *host) {
			box.Sh(h.T, "mkdir -p '%[1]s/a'; mount -t tmpfs none '%[1]s/a'", dir)
			h.Want(ocf.Start, ocf.Generic, "would be hidden")
			box.Sh(h.T, "umount '%[1]s/a'", dir)
		}},
		{"a working directory in it", func(h *host) {
			h.Start()
			h.in("true")
			h.Stop()
		}},
		{"an open file, and its name is gone", func(h *host) {
			h.Start()
			h.in("exec 3>file; rm file; cd /")
			h.Stop()
		}},
		{"a process that ignores SIGTERM", func(h *host) {
			h.Start()
			h.in("trap '' TERM")
			h.Stop()
		}},
		{"a process that ignores SIGTERM, and little time", func(h *host) {
			h.Start()
			h.in("trap '' TERM")
			h.With("fast_stop", "true").Stop()
		}},
		{"a process that heeds another signal", func(h *host) {
			h.Start()
			h.in("trap '' TERM")
			if r := h.With("term_signals", "TERM SIGUSR1", "signal_delay", "200ms").Stop(); r.Elapsed > 5*time.Second {
				h.T.Errorf("SIGUSR1 did not end it: the stop took %v", r.Elapsed)
			}
		}},
		{"a frozen process", func(h *host) {
			h.Start()
			box.Signal(h.T, syscall.SIGSTOP, h.in("true").Process.Pid)
			h.Stop()
		}},
		{"nobody may be ended", func(h *host) {
			h.Start()
			stranger := h.in("true")
			h.With("force_unmount", "false").Want(ocf.Stop, ocf.Generic, "in use by bash")
			box.Unharmed(h.T, stranger)
			h.Monitor(0, ocf.OK)
			h.Stop()
		}},
		{"lazily unmounted", func(h *host) {
			h.Start()
			h.in("exec 3>file")
			box.Sh(h.T, "umount -l '%s'", dir)
			h.Monitor(0, ocf.Generic, "the kernel has it open", "used by bash")
			h.Want(ocf.Monitor, ocf.Generic, "the kernel has it open")
			h.Want(ocf.Start, ocf.Generic, "the kernel has it open")
			h.Stop()
			h.Start()
			h.Stop()
		}},
		{"unmounted while a monitor stays", func(h *host) {
			h.Start()
			h.Stays(func() { box.Sh(h.T, "umount '%s'", dir) }, ocf.NotRunning, dir)
		}},
		{"mounted in another mount namespace", func(h *host) {
			h.Start()
			other := h.namespace()
			box.Sh(h.T, "umount '%s'", dir)
			h.Monitor(0, ocf.Generic, "the kernel has it open", "mounted in the mount namespace of sleep")
			h.With("force_unmount", "false").Want(ocf.Stop, ocf.Generic, "the kernel still has", "the mount namespace of sleep")
			h.Stop()
			box.Unharmed(h.T, other)
			if h.Start(); strings.Contains(box.Sh(h.T, "cat /proc/%d/mounts", other.Process.Pid), h.device) {
				h.T.Error("it is mounted there again")
			}
			h.Stop()
		}},
		{"a loop device of a file on it", func(h *host) {
			h.Start()
			box.Sh(h.T, "truncate -s 1M '%s/disk'", dir)
			loop := strings.TrimSpace(box.Sh(h.T, "losetup -f --show '%s/disk'", dir))
			h.T.Cleanup(func() { _ = exec.Command("losetup", "-d", loop).Run() })
			h.Want(ocf.Stop, ocf.Generic, "is in use by the loop device of "+dir+"/disk")
			h.Monitor(0, ocf.OK)
			box.Sh(h.T, "losetup -d %s", loop)
			h.Stop()
		}},
		{"frozen by fsfreeze", func(h *host) {
			h.Start()
			box.Sh(h.T, "fsfreeze -f '%s'", dir)
			h.Monitor(0, ocf.OK)
			h.Within(6*time.Second).Monitor(20, ocf.Generic, "no answer from it within")
			h.Within(6*time.Second).Monitor(20, ocf.Generic, "what an earlier monitor asked of it still hangs in the kernel")
			// Nothing ends a process that waits for this in the kernel: it is the one that was to ask, and the only one.
			if n := hanging(); n != 1 {
				h.T.Errorf("%d threads wait for the frozen file system, want 1", n)
			}
			h.Stop()
			box.Until(h.T, "it waits no longer", func() bool { return hanging() == 0 })
			h.Start()
			h.Monitor(20, ocf.OK)
		}},
		{"frozen while a monitor stays", func(h *host) {
			h.Start()
			level0 := ocftest.Call{Action: ocf.Monitor, Interval: 8 * time.Second, Timeout: 40 * time.Second}
			h.Call(level0, ocf.OK)
			deeper := ocftest.Call{Action: ocf.Monitor, Interval: 5 * time.Second, Level: 20, Timeout: 10 * time.Second}
			h.Call(deeper, ocf.OK)
			time.Sleep(level0.Interval) // as the cluster does
			box.Sh(h.T, "fsfreeze -f '%s'", dir)
			// It asks in the deeper one's place, and ends all the same, for the deeper one to tell.
			if r := h.Call(level0, ocf.OK); r.Elapsed < 2*time.Second || r.Elapsed > 20*time.Second {
				h.T.Errorf("the one that stays: %s", r)
			}
			h.Call(deeper, ocf.Generic, "what an earlier monitor asked of it still hangs in the kernel")
			h.Stop()
			h.Start()
			h.Monitor(20, ocf.OK)
		}},
		{"asked by hand, which takes its time", func(h *host) {
			h.Start()
			h.Monitor(20, ocf.OK)
			asked, _ := filepath.Glob("/run/resource-agents/openstack-*.asked")
			if len(asked) != 1 {
				h.T.Fatalf("the lock: %q", asked)
			}
			release, err := lock.Take(h.T.Context(), asked[0])
			if err != nil {
				h.T.Fatal(err)
			}
			defer time.AfterFunc(3*time.Second, release).Stop()
			h.Monitor(20, ocf.OK)
		}},
		{"remounted read-only", func(h *host) {
			h.Start()
			box.Sh(h.T, "mount -o remount,ro '%s'", dir)
			h.Monitor(0, ocf.Generic, "gone read-only")
			h.Stop()
		}},
		{"a file system that was shut down", func(h *host) {
			h.Start()
			shutdown(h.T)
			h.Monitor(0, ocf.Generic, "storage "+dir)
			h.Stop()
			h.Start()
			h.Monitor(20, ocf.OK)
		}},
		{"the device is the node's own", func(h *host) {
			own := h.With("device", strings.TrimSpace(box.Sh(h.T, "findmnt -n -o SOURCE -T /usr")))
			own.Want(ocf.Monitor, ocf.NotRunning)
			own.Want(ocf.Start, ocf.BadArgument, "what this node itself runs on")
			own.Want(ocf.Stop, ocf.OK)
		}},
		{"a symlink for a directory", func(h *host) {
			link := filepath.Join(h.T.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				h.T.Fatal(err)
			}
			l := h.With("directory", link)
			l.Start()
			h.Monitor(0, ocf.OK)
			l.Monitor(20, ocf.OK)
			l.Stop()
		}},
		{"a clone", func(h *host) {
			h.Call(ocftest.Call{Action: ocf.Start, Env: []string{"OCF_RESKEY_CRM_meta_clone=0"}}, ocf.NotConfigured, "destroys it")
		}},
	}
}

// TestBind is a bind mount: its file system stays in use elsewhere, and who uses it there is left alone.
func TestBind(t *testing.T) {
	h := newHost(t)
	h.Start()
	box.Sh(t, "mkdir -p '%s/part' /run/bound", dir)
	stranger := h.in("true")
	for _, part := range []string{dir, dir + "/part"} {
		bind := h.With("device", part, "directory", "/run/bound", "fstype", "none", "options", "bind")
		bind.Want(ocf.Monitor, ocf.NotRunning)
		bind.Start()
		bind.Monitor(0, ocf.OK)
		bind.Monitor(20, ocf.OK)
		user := box.Background(t, "sh", "-c", "cd /run/bound && exec sleep 1000")
		box.Until(t, "it is there", func() bool {
			cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", user.Process.Pid))
			return cwd == "/run/bound"
		})
		bind.Want(ocf.Stop, ocf.OK)
		bind.Want(ocf.Monitor, ocf.NotRunning)
		h.Monitor(0, ocf.OK)
		box.Unharmed(t, stranger)
	}
	h.Stop()
}

// labels are how many devices of the machine have the label that the tests use.
func labels(t testing.TB) int {
	return len(strings.Fields(box.Sh(t, "blkid -c /dev/null -o device -t LABEL=data || true")))
}

// shutdown has the kernel end all work on the file system, as it does by itself after an error: FS_IOC_SHUTDOWN.
func shutdown(t testing.TB) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const goingDown = 0x8004587d // _IOR('X', 125, __u32)
	if err := unix.IoctlSetPointerInt(int(d.Fd()), goingDown, 2); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherNodeWrote is a device that another node has written to since this one read it, and that somebody here has open.
func TestAnotherNodeWrote(t *testing.T) {
	h := newHost(t)
	image := filepath.Join(t.TempDir(), "image")
	box.Sh(t, "truncate -s 310M '%s'", image)
	h.device = box.Loop(t, image)
	other := box.Loop(t, image)
	mkfs(t, "ext4", other)
	box.Sh(t, "blkid -p %s", h.device) // and it is remembered, for the test has it open
	mkfs(t, "xfs", other)
	box.Sh(t, "blockdev --flushbufs %s", other)
	if seen := box.Sh(t, "blkid -p -o value -s TYPE %s", h.device); strings.TrimSpace(seen) != "ext4" {
		t.Fatalf("the kernel has not remembered it: %s", seen)
	}
	there := h.With("device", h.device, "fstype", "xfs")
	there.Start()
	there.Stop()
}

// TestSecondNode is ext4's own protection: a file system that another node has mounted, as its MMP block says.
func TestSecondNode(t *testing.T) {
	h := newHost(t)
	box.Sh(t, "tune2fs -O mmp -E mmp_update_interval=1 %s", h.device)
	h.Start()
	h.Monitor(20, ocf.OK)
	copy := h.device
	// The image as it is while it is mounted, on another device: the other node's view of the shared disk.
	h.device = loop(t, "ext4")
	box.Sh(t, "dd if=%s of=%s bs=1M conv=fsync status=none", copy, h.device)
	second := h.With("device", h.device, "directory", "/run/second")
	box.Sh(t, "mkdir -p /run/second")
	// A second writer to that block, as the first node is to the shared one.
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
				_ = exec.Command("dd", "if="+copy, "of="+h.device, "bs=1k", "conv=notrunc", "oflag=direct", "status=none").Run()
			}
		}
	}()
	second.Within(60*time.Second).Want(ocf.Start, ocf.Generic, "is in use by ", "multi-mount protection")
	close(stop)
	<-done
	h.device = copy
}

func TestErrors(t *testing.T) {
	h := newHost(t)
	h.With("options", "errors=continue").Start()
	box.Sh(t, "echo of-the-test >/sys/fs/ext4/%s/trigger_fs_error", filepath.Base(h.device))
	box.Until(t, "the kernel has noted it", func() bool { // it does so in the background
		return strings.TrimSpace(box.Sh(t, "cat /sys/fs/ext4/%s/errors_count", filepath.Base(h.device))) != "0"
	})
	h.Monitor(0, ocf.Degraded, "ext4 has recorded an error on it")
	h.Stop()
	h.With("options", "errors=remount-ro").Start()
	box.Sh(t, "echo of-the-test >/sys/fs/ext4/%s/trigger_fs_error", filepath.Base(h.device))
	h.Monitor(0, ocf.Generic, "gone read-only")
	h.Stop()
	// fsck mends it.
	h.With("run_fsck", "force").Start()
	h.Monitor(0, ocf.OK)
}

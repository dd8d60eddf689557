package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/mount"
)

// namespace is a mount namespace other than ours, by a process that is in it.
type namespace struct {
	pid   int
	table mount.Table
}

func (ns namespace) String() string { return fmt.Sprintf("%s (pid %d)", comm(ns.pid), ns.pid) }

// namespaces are those in which a device is mounted: what is unmounted in ours stays mounted in one that was made private, such
// as a container's.
func namespaces(n Number) (list []namespace) {
	self, _ := os.Readlink("/proc/self/ns/mnt")
	seen := map[string]bool{self: true}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		ns, err := os.Readlink(p + "/ns/mnt")
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		pid, _ := strconv.Atoi(filepath.Base(p))
		table, err := mount.ReadOf(p)
		if err == nil && len(table.Of(n.Major, n.Minor)) > 0 {
			list = append(list, namespace{pid, table})
		}
	}
	return list
}

// unmount takes the mounts of a device away there, on a thread of its own that ends with it. It is not lazy: who uses it keeps it.
func (ns namespace) unmount(n Number) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: no other goroutine may run in that namespace
		done <- func() error {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", ns.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
				return err
			}
			var errs []error
			for _, m := range ns.table.Tree(ns.table.Of(n.Major, n.Minor)...) {
				if err := unix.Unmount(m.Point, unix.UMOUNT_NOFOLLOW); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", m, err))
				}
			}
			return errors.Join(errs...)
		}()
	}()
	return <-done
}

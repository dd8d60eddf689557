package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mount"
)

// namespace is a mount namespace other than ours, by a process that is in it.
type namespace struct{ pid int }

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
		pid, _ := strconv.Atoi(filepath.Base(p))
		table, err := mount.ReadOf(p) // who is in a chroot does not see all of it, and another process may
		if err == nil && len(table.Of(n.Major, n.Minor)) > 0 {
			seen[ns] = true
			list = append(list, namespace{pid})
		}
	}
	return list
}

// unmount takes the mounts of a device away there, on a thread of its own that ends with it. It is not lazy: who uses it keeps it.
func (ns namespace) unmount(ctx context.Context, n Number) error {
	_, err := hang.Bound(ctx, "the unmount", func() (struct{}, error) {
		runtime.LockOSThread() // for good: no other goroutine may run in that namespace
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", ns.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return struct{}{}, err
		}
		defer unix.Close(fd)
		proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return struct{}{}, err
		}
		defer unix.Close(proc)
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return struct{}{}, err
		}
		if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
			return struct{}{}, err
		}
		// Its mounts from its own root: the process may be in a chroot. There may be no /proc.
		if err := unix.Fchdir(proc); err != nil {
			return struct{}{}, err
		}
		table, err := mount.ReadOf("thread-self")
		if err != nil {
			return struct{}{}, err
		}
		var errs []error
		for _, m := range table.Tree(table.Of(n.Major, n.Minor)...) {
			if err := unix.Unmount(m.Point, unix.UMOUNT_NOFOLLOW); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m, err))
			}
		}
		return struct{}{}, errors.Join(errs...)
	})
	return err
}

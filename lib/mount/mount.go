// Package mount tells what storage a directory is on, whether it answers, and how full it is.
//
// A directory whose file system was unmounted, be it lazily (umount -l), simply is on another mount: the
// one its mount point lies on. Mount.Root and Mount.System tell that from shared storage.
//
// Asking storage that does not answer (a dead NFS server, a hung disk) blocks in the kernel and cannot be
// called off. So whatever asks it takes a context and returns its error when it ends; the system call is left
// behind in its goroutine. The package is Linux only.
package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
)

// Mount is one entry of the mount table, proc_pid_mountinfo(5).
type Mount struct {
	ID, Parent   int    // as long as it is mounted
	Point        string // where it is mounted
	Source       string // "/dev/sdb1", "server:/export", "tmpfs"
	FSType       string // "ext4", "nfs4"
	Options      string // of this mount, comma-separated
	SuperOptions string // of the file system, comma-separated
	Dir          string // the directory of the file system that is mounted; not "/" for a bind mount
	Major, Minor int    // the device, as in stat(2); anonymous for network file systems and the like

	// ReadOnly says that this mount or its file system takes no writes, as asked for or after an error
	// (ext4's errors=remount-ro).
	ReadOnly bool
	// Root says that it is the node's root file system, or another mount of the same device.
	Root bool
	// System says that it is Root or mounted on a directory every node has for itself (/usr, /var, /var/lib,
	// /var/log, /tmp, /run, /home and the like), so hardly shared storage. /srv and /opt are not among them.
	System bool
}

// String describes the mount for messages: "/srv (ext4 on /dev/sdb1)".
func (m Mount) String() string { return fmt.Sprintf("%s (%s on %s)", m.Point, m.FSType, m.Source) }

// system are the directories meant by Mount.System.
var system = []string{
	"/", "/boot", "/dev", "/etc", "/home", "/root", "/run", "/sysroot", "/tmp", "/usr", "/var",
	"/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool", "/var/tmp",
}

// noWrites are the super options of a file system that takes none. Since Linux 6.15 ext4 says emergency_ro where
// errors=remount-ro struck, and the mount goes on saying rw; a file system that was shut down says shutdown.
var noWrites = []string{"ro", "emergency_ro", "shutdown"}

// On returns the mount that dir is on, its symlinks resolved. If dir or a part of its path does not exist, it
// returns the mount of what does, and an error that wraps fs.ErrNotExist.
func On(ctx context.Context, dir string) (Mount, error) {
	m, _, err := Stack(ctx, dir)
	return m, err
}

// Stack is the same, and what that is mounted over, if it has been mounted on the directory of other mounts.
func Stack(ctx context.Context, dir string) (m Mount, below []Mount, err error) {
	path, missing := resolve(ctx, dir)
	if path == "" {
		return Mount{}, nil, missing
	}
	table, err := readTable("/proc/self")
	if err != nil {
		return Mount{}, nil, fmt.Errorf("cannot read the mount table: %w", err)
	}
	if m, err = lookup(table, path); err != nil {
		return Mount{}, nil, err
	}
	for _, i := range table {
		if i.Mountpoint == m.Point && i.ID != m.ID {
			below = append(below, entry(i, nil))
		}
	}
	return m, below, missing
}

// readTable is mountinfo.GetMounts without the two threads that one costs: for reading /proc/thread-self, and because Go
// polls a mount table that os.Open opened.
func readTable(proc string) ([]*mountinfo.Info, error) {
	name := proc + "/mountinfo"
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// resolve returns what exists of a path, without symlinks. The path is "" if nothing can be said.
func resolve(ctx context.Context, dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%q is no absolute path", dir)
	}
	var missing error
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		real, err := hang.Bound(ctx, "the path "+path, func() (string, error) { return filepath.EvalSymlinks(path) })
		switch {
		case err == nil:
			return real, missing
		case !errors.Is(err, fs.ErrNotExist) || path == "/":
			return "", err
		case missing == nil:
			missing = fmt.Errorf("%s does not exist: %w", dir, err)
		}
	}
}

// lookup finds the mount a resolved path is on. It descends from the root as the kernel does, so that neither stacked
// mounts nor those hidden below a later one lead astray.
func lookup(table []*mountinfo.Info, path string) (Mount, error) {
	parents := map[int]bool{}
	for _, m := range table {
		parents[m.ID] = true
	}
	// step picks the mount that is met first on the way to path.
	step := func(from func(*mountinfo.Info) bool) (first *mountinfo.Info) {
		for _, m := range table {
			if from(m) && covers(m.Mountpoint, path) && (first == nil || len(m.Mountpoint) < len(first.Mountpoint)) {
				first = m
			}
		}
		return first
	}
	root := step(func(m *mountinfo.Info) bool { return m.Parent == m.ID || !parents[m.Parent] })
	if root == nil {
		return Mount{}, fmt.Errorf("the mount table has nothing that %s is on", path)
	}
	var top *mountinfo.Info // what is mounted on / in the end
	on := root
	for range table { // at most that deep, whatever the table says
		if on.Mountpoint == "/" {
			top = on
		}
		next := step(func(m *mountinfo.Info) bool { return m.Parent == on.ID && m.ID != on.ID })
		if next == nil {
			break
		}
		on = next
	}
	return entry(on, top), nil
}

// entry is a line of the mount table, where top is mounted on /.
func entry(on, top *mountinfo.Info) Mount {
	m := Mount{
		ID: on.ID, Parent: on.Parent,
		Point: on.Mountpoint, Source: on.Source, FSType: on.FSType, Options: on.Options, SuperOptions: on.VFSOptions,
		Dir: on.Root, Major: on.Major, Minor: on.Minor,
		ReadOnly: has(on.Options, "ro") || slices.ContainsFunc(noWrites, func(o string) bool { return has(on.VFSOptions, o) }),
	}
	m.Root = on.Mountpoint == "/" || top != nil && on.Major == top.Major && on.Minor == top.Minor
	m.System = m.Root || slices.Contains(system, on.Mountpoint)
	return m
}

func covers(point, path string) bool {
	return point == "/" || point == path || strings.HasPrefix(path, point+"/")
}

func has(options, option string) bool {
	return slices.Contains(strings.Split(options, ","), option)
}

// Space is how full a file system is. Available is what users other than root can still use.
type Space struct {
	Total, Free, Available uint64 // bytes
	Inodes, FreeInodes     uint64 // 0 of 0 on file systems without a fixed number
}

// UsedPercent is the share that df(1) shows: used / (used + available). It is 0 for a file system of no size.
func (s Space) UsedPercent() float64 { return percent(s.Total-s.Free, s.Available) }

// InodesUsedPercent is the share of inodes in use.
func (s Space) InodesUsedPercent() float64 { return percent(s.Inodes-s.FreeInodes, s.FreeInodes) }

func percent(used, available uint64) float64 {
	if used+available == 0 {
		return 0
	}
	return 100 * float64(used) / float64(used+available)
}

// Usage asks the file system that dir is on how full it is, statfs(2).
func Usage(ctx context.Context, dir string) (Space, error) {
	return hang.Bound(ctx, "the storage of "+dir, func() (Space, error) {
		var st unix.Statfs_t
		for {
			err := unix.Statfs(dir, &st)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
			}
			break
		}
		unit := uint64(st.Frsize)
		return Space{
			Total: st.Blocks * unit, Free: st.Bfree * unit, Available: st.Bavail * unit,
			Inodes: st.Files, FreeInodes: st.Ffree,
		}, nil
	})
}

// Probe says whether the file system that dir is on answers. A network file system has to ask its server
// for that; a local one answers from memory, so a hung disk below it goes unnoticed.
func Probe(ctx context.Context, dir string) error {
	_, err := Usage(ctx, dir)
	return err
}

// From says whether the mount is of the given device, in the forms that mount(8) and fstab(5) take: the path of
// a block device or a link to it (/dev/disk/by-*, /dev/drbd/by-res/*), LABEL=, UUID=, PARTLABEL=, PARTUUID=, an
// image file on a loop device, a directory that is bind mounted, "host:/path", "//host/share", or whatever
// name a file system gives its source. A device that does not exist is an error that wraps fs.ErrNotExist.
func (m Mount) From(ctx context.Context, device string) (bool, error) {
	if tag, value, ok := strings.Cut(device, "="); ok {
		if _, ok := tags()[tag]; ok {
			device = TagLink(tag, strings.Trim(value, `"`))
		}
	}
	if sameSource(m.Source, device) {
		return true, nil
	}
	if !strings.HasPrefix(device, "/") || strings.HasPrefix(device, "//") {
		return false, nil
	}
	return hang.Bound(ctx, "the device "+device, func() (bool, error) {
		var dev unix.Stat_t
		if err := unix.Stat(device, &dev); err != nil {
			return false, &fs.PathError{Op: "stat", Path: device, Err: err}
		}
		switch dev.Mode & unix.S_IFMT {
		case unix.S_IFBLK:
			if unix.Major(dev.Rdev) == uint32(m.Major) && unix.Minor(dev.Rdev) == uint32(m.Minor) {
				return true, nil
			}
			// btrfs and the like show an anonymous device, but name the real one as the source.
			var src unix.Stat_t
			err := unix.Stat(m.Source, &src)
			return err == nil && src.Mode&unix.S_IFMT == unix.S_IFBLK && src.Rdev == dev.Rdev, nil
		case unix.S_IFREG:
			// sysfs(5) tells a loop device's file.
			backing, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/loop/backing_file", m.Major, m.Minor))
			if err != nil {
				return false, nil
			}
			real, err := filepath.EvalSymlinks(device)
			return real == strings.TrimSuffix(string(backing), "\n"), err
		case unix.S_IFDIR:
			var here unix.Stat_t
			err := unix.Stat(m.Point, &here)
			return err == nil && here.Dev == dev.Dev && here.Ino == dev.Ino, nil
		}
		return false, nil
	})
}

// TagLink is where udev keeps its link to the device of a tag, such as LABEL.
func TagLink(tag, value string) string { return "/dev/disk/" + tags()[tag] + "/" + udevName(value) }

// tags are the prefixes that fstab(5) knows and where udev keeps their links.
func tags() map[string]string {
	return map[string]string{"LABEL": "by-label", "UUID": "by-uuid", "PARTLABEL": "by-partlabel", "PARTUUID": "by-partuuid"}
}

// udevName escapes a label as udev does in the names of its links: all but letters, digits, #+-.:=@_ and UTF-8
// becomes \xNN.
func udevName(label string) string {
	var b strings.Builder
	for _, c := range []byte(label) {
		switch {
		case c >= 0x80, '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', strings.IndexByte("#+-.:=@_", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// sameSource compares names but for slashes at their end: "host:/export/" is "host:/export".
func sameSource(a, b string) bool {
	trim := func(s string) string {
		if t := strings.TrimRight(s, "/"); t != "" && !strings.HasSuffix(t, ":") {
			return t
		}
		return s
	}
	return a != "" && trim(a) == trim(b)
}

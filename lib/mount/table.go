package mount

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
)

// Table is the mount table as it was at one moment.
type Table struct {
	infos []*mountinfo.Info
	All   []Mount // in the kernel's order
}

// Read reads the mount table of this process.
func Read() (Table, error) { return ReadOf("/proc/self") }

// ReadOf reads that of a process, whose folder in /proc it is: of another mount namespace.
func ReadOf(proc string) (Table, error) {
	infos, err := readTable(proc)
	if err != nil {
		return Table{}, fmt.Errorf("cannot read the mount table: %w", err)
	}
	t := Table{infos: infos}
	var top *mountinfo.Info
	if root, err := lookup(infos, "/"); err == nil {
		for _, i := range infos {
			if i.ID == root.ID {
				top = i
			}
		}
	}
	for _, i := range infos {
		t.All = append(t.All, entry(i, top))
	}
	return t, nil
}

// At is what is mounted on a directory, the last if there is more than one, and the directory without symlinks. ok is false
// where nothing is. What is mounted there is asked nothing, so that a server that is gone holds up nobody; the
// directories above are.
func (t Table) At(ctx context.Context, dir string) (m Mount, path string, ok bool, err error) {
	above, err := resolve(ctx, filepath.Dir(dir))
	if err != nil {
		return Mount{}, dir, false, err
	}
	path = filepath.Join(above, filepath.Base(dir))
	if m, err = lookup(t.infos, path); err != nil || m.Point == path {
		return m, path, err == nil, err
	}
	// It may be a link itself.
	real, err := hang.Bound(ctx, "the path "+path, func() (string, error) { return filepath.EvalSymlinks(path) })
	if err != nil || real == path {
		return Mount{}, path, false, err
	}
	m, err = lookup(t.infos, real)
	return m, real, err == nil && m.Point == real, err
}

// Of are the mounts of a device, wherever they are.
func (t Table) Of(major, minor int) (list []Mount) {
	for _, m := range t.All {
		if m.Of(major, minor) {
			list = append(list, m)
		}
	}
	return list
}

// Of tells whether the mount is of a block device. btrfs shows an anonymous one, and names the real one as its source.
func (m Mount) Of(major, minor int) bool {
	if m.Major != 0 || m.FSType != "btrfs" {
		return m.Major == major && m.Minor == minor
	}
	var st unix.Stat_t
	return unix.Stat(m.Source, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && int(unix.Major(st.Rdev)) == major && int(unix.Minor(st.Rdev)) == minor
}

// Over is what hides a mount: another one that was mounted on its directory or above it, but not on itself. ok is false if nothing does.
func (t Table) Over(m Mount) (over Mount, ok bool) {
	over, err := lookup(t.infos, m.Point)
	if err != nil {
		return over, false
	}
	for _, on := range t.Tree(m) {
		if on.ID == over.ID {
			return over, false
		}
	}
	return over, true
}

// Tree are mounts and all that is mounted on them, in an order in which they can be unmounted.
func (t Table) Tree(roots ...Mount) (list []Mount) {
	seen := map[int]bool{}
	var visit func(m Mount)
	visit = func(m Mount) {
		if seen[m.ID] {
			return
		}
		seen[m.ID] = true
		for i := len(t.All) - 1; i >= 0; i-- {
			if t.All[i].Parent == m.ID {
				visit(t.All[i])
			}
		}
		list = append(list, m)
	}
	for _, m := range roots {
		visit(m)
	}
	return list
}

// Opens says whether the file system that a directory is on answers, and lets the directory be opened, which one that was
// shut down after an error does not.
func Opens(ctx context.Context, dir string) error {
	_, err := hang.Bound(ctx, "the storage of "+dir, func() (struct{}, error) {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return struct{}{}, &fs.PathError{Op: "open", Path: dir, Err: err}
		}
		defer unix.Close(fd)
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return struct{}{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
		}
		return struct{}{}, nil
	})
	return err
}

// Network says that a server has to answer for the file system.
func (m Mount) Network() bool {
	switch m.FSType {
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "lustre", "glusterfs", "fuse":
		return true
	}
	return strings.HasPrefix(m.FSType, "fuse.") // by a process, or somebody behind it
}

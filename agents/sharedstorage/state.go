package sharedstorage

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/ocf"
)

// state is what is so on this node.
type state struct {
	table mount.Table
	dir   string // without symlinks
	// at is what is mounted on the directory, and mounted that there is something.
	at      mount.Mount
	mounted bool
	ours    bool  // at is the resource's
	doubt   error // why it cannot be told whether it is

	path    string // of the device
	number  filesystem.Number
	block   bool  // it is a block device, of that number
	missing error // why there is no such device

	own       bool          // the node itself runs on it (/, /var): the name means another device here
	elsewhere []mount.Mount // other mounts of it that we see
	open      string        // by what it is seen that the kernel has it open; "" if it has not
}

// look finds out.
func (a *agent) look(ctx context.Context) (s state, err error) {
	if s.table, err = mount.Read(); err != nil {
		return s, err
	}
	s.at, s.dir, s.mounted, err = s.table.At(ctx, a.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if s.mounted {
		if s.ours, s.doubt = a.isOurs(ctx, s.at); s.ours {
			s.path, s.number, s.block = a.deviceOf(ctx, s.at)
		}
	}
	if !s.ours {
		s.path, s.number, s.block, s.missing = filesystem.Find(ctx, a.device)
		if s.missing != nil && !errors.Is(s.missing, fs.ErrNotExist) {
			return s, s.missing
		}
	}
	s.block = s.block && s.number.Major != 0 && s.missing == nil
	if !s.block {
		return s, nil
	}
	for _, m := range s.table.Of(s.number.Major, s.number.Minor) {
		if m.ID != s.at.ID || !s.ours {
			s.elsewhere = append(s.elsewhere, m)
			s.own = s.own || m.System && m.Point != s.dir
		}
	}
	if !s.ours && !s.own {
		s.open, err = filesystem.Open(ctx, s.path, s.number)
	}
	return s, err
}

// deviceOf is what a mount on the directory is of; block says that it is a block device, and that it is mounted nowhere else is
// the resource's concern.
func (a *agent) deviceOf(ctx context.Context, m mount.Mount) (path string, n filesystem.Number, block bool) {
	path, n = m.Source, filesystem.Number{Major: m.Major, Minor: m.Minor}
	if m.Major == 0 && m.FSType == "btrfs" {
		path, n, block, _ = filesystem.Find(ctx, m.Source)
	}
	return path, n, (block || n.Major != 0) && !filesystem.Binds(a.options)
}

// isOurs tells whether a mount is of the device. The links of LABEL= and UUID= come and go with udev; what is on the
// mounted device itself counts as well.
func (a *agent) isOurs(ctx context.Context, m mount.Mount) (bool, error) {
	ours, err := m.From(ctx, a.device)
	tag, value, tagged := strings.Cut(a.device, "=")
	if ours || !tagged || strings.Contains(tag, "/") {
		return ours, err
	}
	if sb, e := filesystem.Look(ctx, m.Source); e == nil && sb.Is(tag, value) {
		return true, nil
	}
	return false, err
}

// inUse is why the storage is in use on this node though it is not mounted where it should be: nil if it is not.
func (a *agent) inUse(ctx context.Context, s state) error {
	switch {
	case s.own:
		return nil
	case len(s.elsewhere) > 0:
		m := s.elsewhere[0]
		if over, ok := s.table.Over(m); ok {
			return ocf.Errorf(ocf.Generic, "%s is covered by other storage that was mounted later, %s: unmount that", a.device, over)
		}
		if m.Point == s.dir {
			return ocf.Errorf(ocf.Generic, "%s is covered by other storage that was mounted on its directory, %s: unmount that", a.device, s.at)
		}
		return ocf.Errorf(ocf.Generic, "%s is mounted on %s in place of %s: nobody else may mount it until it is unmounted there", a.device, m.Point, a.dir)
	case s.open != "":
		by := s.holders(ctx)
		return ocf.Errorf(ocf.Generic, "%s is not mounted on %s, but the kernel has it open (umount -l?)%s: no other node may mount it; stop frees it; seen by %s", a.device, a.dir, by, s.open)
	}
	return nil
}

// holders names who holds storage that is not mounted.
func (s state) holders(ctx context.Context) string {
	use := filesystem.Use{Device: s.number}
	if users, _ := filesystem.Users(ctx, use); len(users) > 0 {
		return ", used by " + users[0].String()
	}
	if others := filesystem.Holders(use); len(others) > 0 {
		return ", mounted in " + others[0]
	}
	return ""
}

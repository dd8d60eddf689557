// Package filesystem mounts and unmounts a file system that one node at a time may use, and says who uses it.
//
// A file system is in use on a node for as long as the kernel has its superblock open, mounted or not: after umount -l
// the processes that have files of it open go on writing, and a mount in another mount namespace is in no table that
// we read. So [Open] asks the kernel, and not the mount table.
//
// The package is Linux only.
package filesystem

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mount"
)

// ParseDevice brings the forms in which mount(8) and ocf:heartbeat:Filesystem take a device ("-L data", "-Udead-beef",
// "--label=data", `LABEL="data"`) to that of fstab(5): LABEL=data. Others stay as they are.
func ParseDevice(s string) (string, error) {
	s = strings.TrimSpace(s)
	for _, form := range [][2]string{{"--label", "LABEL="}, {"--uuid", "UUID="}, {"-L", "LABEL="}, {"-U", "UUID="}} {
		if value, ok := strings.CutPrefix(s, form[0]); ok {
			s = form[1] + strings.TrimSpace(strings.TrimPrefix(value, "="))
			break
		}
	}
	if tag, value, ok := tagged(s); ok {
		s = tag + "=" + value
		if value == "" {
			return "", fmt.Errorf("%s= names no device", tag)
		}
	}
	if strings.HasPrefix(s, "-") {
		return "", fmt.Errorf("%q is no device: give its path, LABEL=, UUID= or server:/path", s)
	}
	return s, nil
}

// tagged parts LABEL=data and its kin.
func tagged(device string) (tag, value string, ok bool) {
	tag, value, ok = strings.Cut(device, "=")
	switch tag {
	case "LABEL", "UUID", "PARTLABEL", "PARTUUID":
		return tag, strings.Trim(value, `"`), ok
	}
	return "", "", false
}

// Number is a block device's, as in stat(2) and the mount table.
type Number struct{ Major, Minor int }

// Name is what the kernel calls the device: "sdb1", "dm-3"; "" if it has none of that number.
func (n Number) Name() string {
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", n.Major, n.Minor))
	if err != nil {
		return ""
	}
	return filepath.Base(link)
}

// Find is the path and number of a block device. Of one that is no block device, such as server:/export or a directory that is
// to be bind mounted, the path is as given and block is false. A device that is not there is an error that wraps
// fs.ErrNotExist.
func Find(ctx context.Context, device string) (path string, n Number, block bool, err error) {
	path = device
	tag, value, ok := tagged(device)
	if ok {
		if path, err = hang.Bound(ctx, "the device "+device, func() (string, error) { return search(tag, value) }); err != nil {
			return device, n, true, err
		}
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return path, n, false, nil
	}
	st, err := hang.Bound(ctx, "the device "+path, func() (st unix.Stat_t, err error) { err = unix.Stat(path, &st); return st, err })
	switch {
	case err != nil:
		return path, n, true, fmt.Errorf("the device %s: %w", device, err)
	case st.Mode&unix.S_IFMT != unix.S_IFBLK:
		return path, n, false, nil
	}
	return path, Number{int(unix.Major(st.Rdev)), int(unix.Minor(st.Rdev))}, true, nil
}

// search finds the device of a tag: by udev's link, or where no udev runs by looking at every device, as mount(8) does. udev has
// no link to a part of something that has still to be put together (DRBD, md), which shows the same label: to mount it would
// change it behind the other's back.
func search(tag, value string) (string, error) {
	link := mount.TagLink(tag, value)
	if _, err := os.Stat(link); err == nil {
		return link, nil
	}
	if exists("/run/udev/control") {
		return "", fmt.Errorf("no device has %s=%s: udev has no %s: %w", tag, value, link, fs.ErrNotExist)
	}
	var path string
	if err := eachOf(tag, value, func(is string) bool { path = is; return false }); err != nil || path != "" {
		return path, err
	}
	return "", fmt.Errorf("no device has %s=%s, and %s is not there: %w", tag, value, link, fs.ErrNotExist)
}

// eachOf looks at every device, and names those of a LABEL or UUID until it is told that this is enough.
func eachOf(tag, value string, more func(path string) bool) error {
	devices, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return err
	}
	for _, d := range devices {
		if holders(d.Name()) { // part of another device (multipath, md), which shows the same
			continue
		}
		path := "/dev/" + strings.ReplaceAll(d.Name(), "!", "/")
		if sb, err := ReadSuperblock(path); err == nil && sb.Is(tag, value) && !more(path) {
			break
		}
	}
	return nil
}

// Await waits for a device to appear, such as one that another resource has just made, and udev is about to.
func Await(ctx context.Context, device string) (path string, n Number, block bool, err error) {
	for absent := error(nil); ; absent = err {
		path, n, block, err = Find(ctx, device)
		if absent != nil && errors.Is(err, context.DeadlineExceeded) { // the last look was cut short, and those before were answered
			return "", Number{}, false, absent
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return path, n, block, err
		}
		select {
		case <-ctx.Done():
			return path, n, block, err
		case <-time.After(50 * time.Millisecond): // udev's links come by rename, in directories that may not be there yet
		}
	}
}

// Superblock is what is known of the file system on a device.
type Superblock struct {
	Type        string // "ext4" (which ext2 and ext3 are as well) or "xfs"; "" any other
	Label, UUID string
	// MMP says that ext4 guards it against a second node (tune2fs -O mmp).
	MMP bool
	// By is who had it mounted last, or has: the node's name, by MMP.
	By string
}

// Is tells whether the file system has this LABEL or UUID.
func (s Superblock) Is(tag, value string) bool {
	return value != "" && (tag == "LABEL" && s.Label == value || tag == "UUID" && strings.EqualFold(s.UUID, value))
}

// ReadSuperblock reads what is on a device. It may hang where the device does.
func ReadSuperblock(path string) (Superblock, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return Superblock{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b := make([]byte, 2048)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return Superblock{}, err
	}
	le := binary.LittleEndian
	ext := b[1024:] // struct ext4_super_block
	switch {
	case bytes.HasPrefix(b, []byte("XFSB")): // struct xfs_dsb
		return Superblock{Type: "xfs", UUID: uuid(b[32:48]), Label: text(b[108:120])}, nil
	case le.Uint16(ext[0x38:]) == 0xEF53:
		s := Superblock{Type: "ext4", UUID: uuid(ext[0x68:0x78]), Label: text(ext[0x78:0x88])}
		s.MMP = le.Uint32(ext[0x60:])&0x100 != 0
		if s.MMP { // struct mmp_struct
			block := make([]byte, 80)
			if _, err := f.ReadAt(block, int64(le.Uint64(ext[0x168:]))*(1024<<le.Uint32(ext[0x18:]))); err == nil {
				s.By = text(block[16:80])
			}
		}
		return s, nil
	}
	return Superblock{}, nil
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// Open says by what it is seen that the kernel has the file system of a block device open, mounted or not; "" is that it has not.
// What /sys shows is gone before the kernel has written the last of it, and most types show nothing there. So the device is asked
// too: it is then held for a moment, in which nobody else can mount it.
func Open(ctx context.Context, path string, n Number) (string, error) {
	name := n.Name()
	if name == "" {
		return "", nil // there is no such device any more
	}
	for _, t := range []string{"ext4", "xfs"} {
		if dir := "/sys/fs/" + t + "/" + name; exists(dir) {
			return dir, nil
		}
	}
	return hang.Bound(ctx, "the device "+path, func() (string, error) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, unix.EBUSY):
			if holders(name) {
				return "", nil // it is not mounted by this name
			}
			return "it cannot be opened alone", nil
		case err != nil: // a DRBD secondary, a device without a medium: nothing can be mounted from it
			return "", nil
		}
		return "", unix.Close(fd)
	})
}

// holders says whether other block devices are made of this one.
func holders(name string) bool {
	list, err := os.ReadDir("/sys/class/block/" + name + "/holders")
	return err == nil && len(list) > 0
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

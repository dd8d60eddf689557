package filesystem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
)

// block is what is read and written past the page cache.
const block = 4096

// Look is [ReadSuperblock] for as long as there is time.
func Look(ctx context.Context, path string) (Superblock, error) {
	return hang.Bound(ctx, "the device "+path, func() (Superblock, error) { return ReadSuperblock(path) })
}

// Forget drops what the kernel remembers of a device that is not mounted: another node may have written to it since, and somebody
// who has it open (multipathd) keeps the kernel from forgetting by itself.
func Forget(ctx context.Context, path string) error {
	_, err := hang.Bound(ctx, "the device "+path, func() (struct{}, error) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return struct{}{}, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		defer unix.Close(fd)
		return struct{}{}, unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0)
	})
	return err
}

// ReadRaw reads the first block from the device itself, not from memory.
func ReadRaw(ctx context.Context, path string) error {
	_, err := hang.Bound(ctx, "the device "+path, func() (struct{}, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
		if err != nil {
			return struct{}{}, err
		}
		defer f.Close()
		_, err = f.ReadAt(aligned(), 0)
		return struct{}{}, err
	})
	return err
}

// WriteAndRead writes a file through to the storage and reads it back from there; the folder is made if it is not there.
func WriteAndRead(ctx context.Context, path string, content []byte) error {
	_, err := hang.Bound(ctx, "the storage of "+path, func() (struct{}, error) { return struct{}{}, writeAndRead(path, content) })
	return err
}

func writeAndRead(path string, content []byte) error {
	err := os.Mkdir(filepath.Dir(path), 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	const flags = os.O_RDWR | os.O_CREATE | unix.O_SYNC
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0o644)
	if errors.Is(err, unix.EINVAL) { // a file system without direct I/O
		f, err = os.OpenFile(path, flags, 0o644)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	out, in := aligned(), aligned()
	copy(out, content)
	if _, err := f.WriteAt(out, 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(in, 0); err != nil {
		return err
	}
	if !bytes.Equal(in, out) {
		return fmt.Errorf("%s holds something else than was written to it", path)
	}
	return f.Close()
}

// aligned is a block of memory as direct I/O wants it.
func aligned() []byte {
	b := make([]byte, 2*block)
	off := -uintptr(unsafe.Pointer(&b[0])) & (block - 1)
	return b[off : off+block]
}

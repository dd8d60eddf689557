package filesystem

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/words"
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

// AskCommand is this program's command by which a [Question] is asked in a process of its own.
const AskCommand = "ask-storage"

// Question is to be answered by the storage itself, and not from memory. It may hang in the kernel for ever, as it does where a
// file system is frozen or a disk is gone, and then nothing ends the process that has asked it.
type Question struct {
	// Lock is a file that is locked while it is asked: while one question hangs, no other one is asked. For the lock half of the time
	// is waited: slow storage may yet answer what somebody has asked by hand.
	Lock    string
	Device  string // whose first block is read; "" is none
	File    string // that is written and read; likewise
	Content string // of the file
}

// Ask asks it in a process of its own, until ctx ends.
func (q Question) Ask(ctx context.Context) error {
	long := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		long = time.Until(deadline)
	}
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	said, warned, err := daemon.Apart(ctx, AskCommand, long.String(), string(text))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer from it within %s: %s", long.Round(time.Second/10), frozen)
	case err == nil && len(said) > 0:
		return errors.New(strings.TrimSpace(string(said)))
	case err == nil:
		return nil
	}
	why, _, _ := strings.Cut(string(warned), "\n") // of a crash: the rest is where
	return fmt.Errorf("the process that asks it failed: %w: %s", err, cmp.Or(words.Line(why), "it said nothing"))
}

// frozen is what to do where the kernel does not answer.
const frozen = "look at the kernel log, and for who has frozen it (fsfreeze, a snapshot)"

// Answer answers it in this process, by the arguments of [AskCommand]: what is wrong with the storage is written to out.
func Answer(ctx context.Context, out io.Writer, args []string) error {
	if len(args) != 2 {
		return errors.New("this is for a monitor to call")
	}
	long, err := time.ParseDuration(args[0])
	var q Question
	if err = cmp.Or(err, json.Unmarshal([]byte(args[1]), &q)); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, long/2)
	defer cancel()
	release, err := lock.Take(soon, q.Lock)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("what an earlier monitor asked of it still hangs in the kernel: " + frozen)
	case err != nil: // without the lock it can be asked as well
		err = q.answer()
	default:
		err = q.answer()
		release()
	}
	if err != nil {
		fmt.Fprintln(out, err)
	}
	return nil
}

func (q Question) answer() error {
	if q.Device != "" {
		if err := readRaw(q.Device); err != nil {
			return fmt.Errorf("its device cannot be read: %w", err)
		}
	}
	if q.File != "" {
		if err := writeAndRead(q.File, []byte(q.Content)); err != nil {
			return fmt.Errorf("it does not take and give back a file: %w", err)
		}
	}
	return nil
}

// readRaw reads the first block from the device itself.
func readRaw(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(aligned(), 0)
	return err
}

// writeAndRead writes a file through to the storage and reads it back from there; the folder is made if it is not there.
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

package filesystem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/words"
)

// MountError is a mount that failed, with what the kernel or mount(8) said of it.
type MountError struct {
	Err  error
	Said string // "" if nothing
}

func (e *MountError) Error() string {
	if e.Said == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s (%v)", e.Said, e.Err)
}

func (e *MountError) Unwrap() error { return e.Err }

// Mount mounts what is at path on a directory: by mount(2) if all that is asked for is known to mean the same to it, else by the program
// mount(8), whose path is asked of find.
func Mount(ctx context.Context, path, name, dir, fstype, options string, find func() (string, error)) error {
	flags, data, ok := ParseOptions(fstype, options)
	if !ok {
		return mount8(ctx, path, dir, fstype, options, find)
	}
	kernel := listen()
	defer kernel.close()
	_, err := hang.Bound(ctx, "the mount of "+path, func() (struct{}, error) {
		return struct{}{}, unix.Mount(path, dir, fstype, flags, data)
	})
	if err != nil {
		return &MountError{err, kernel.said("("+name+")", fstype+": ")}
	}
	return nil
}

func mount8(ctx context.Context, path, dir, fstype, options string, find func() (string, error)) error {
	program, err := find()
	if err != nil {
		return err
	}
	var args []string
	switch fstype {
	case "", "none": // a bind mount has no type
	default:
		args = append(args, "-t", fstype)
	}
	if options != "" {
		args = append(args, "-o", options)
	}
	return Run(ctx, program, append(args, "--", path, dir)...)
}

// Run runs a program to its end. The error of one that failed is a MountError with its last words.
func Run(ctx context.Context, program string, args ...string) error {
	out, err := os.CreateTemp("", "openstack-ocf-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	err = daemon.Run(ctx, daemon.Command{Path: program, Args: args, Output: out.Name()})
	if err == nil {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(out, 4<<10))
	var died *daemon.DiedError
	if errors.As(err, &died) {
		err = &ExitError{Program: program, Status: died.Status}
	}
	return &MountError{err, words.Line(string(said))}
}

// ExitError is a program that ended with another status than 0.
type ExitError struct {
	Program string
	Status  string // "exit status 4"
}

func (e *ExitError) Error() string { return e.Program + ": " + e.Status }

// kernelLog is the kernel's log from a moment on, see Documentation/ABI/testing/dev-kmsg.
type kernelLog int

func listen() kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		if _, err = unix.Seek(fd, 0, io.SeekEnd); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return -1
	}
	return kernelLog(fd)
}

func (k kernelLog) close() {
	if k >= 0 {
		_ = unix.Close(int(k))
	}
}

// said is what the kernel has said since in lines with one of the marks: "XFS (sdb1): Filesystem has duplicate UUID",
// "ext4: Bad value for 'commit'".
func (k kernelLog) said(marks ...string) string {
	var all []string
	buf := make([]byte, 8<<10)
	for range 1000 { // one record each
		n, err := unix.Read(int(k), buf)
		if errors.Is(err, unix.EPIPE) {
			continue // overwritten meanwhile
		}
		if k < 0 || err != nil || n <= 0 {
			break
		}
		_, line, _ := bytes.Cut(buf[:n], []byte{';'})
		line, _, _ = bytes.Cut(line, []byte{'\n'})
		if text := string(line); slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(text, m) }) {
			all = append(all, text)
		}
	}
	return words.Line(strings.Join(all[max(0, len(all)-2):], "; "))
}

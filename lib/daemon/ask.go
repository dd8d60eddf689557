package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ask runs a program to its end and returns what it said, and an error if its status was not 0. It runs as Start
// would run it, by Path, Args, Env, Dir, User and Group, but sees every file system read-only where the kernel lets us
// arrange that (mount_setattr, Linux 5.12): a server that is asked for its options tries to write in its data directory.
// When the context ends it is killed, and not waited for if it hangs in the kernel.
func Ask(ctx context.Context, c Command) (stdout, stderr []byte, err error) {
	who, err := resolveUser(c.User, c.Group)
	if err != nil {
		return nil, nil, err
	}
	if err := closeOnExec(); err != nil {
		return nil, nil, err
	}
	var said, warned bytes.Buffer
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, append(who.env(), c.Env...)
	cmd.Stdout, cmd.Stderr = &said, &warned
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: who.credential}
	started := make(chan error, 1)
	aside(func() {
		readOnly()
		started <- cmd.Start()
	})
	if err := <-started; err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return said.Bytes(), warned.Bytes(), err
	case <-ctx.Done():
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // not waited for yet, so the pid is its own
		return nil, nil, fmt.Errorf("%s does not answer: %w", c.Path, ctx.Err())
	}
}

// aside runs f on a thread that is thrown away afterwards, so that what f changes about it stays with f and its
// children. Never on the main thread: /proc/self is that one's.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			aside(f)
			close(done)
			return
		}
		defer close(done)
		f()
	}()
	<-done
}

// readOnly gives the calling thread a view of its own of all file systems, without leave to write. What is unmounted
// on this node meanwhile goes from it too.
func readOnly() {
	if unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS) != nil {
		return
	}
	if unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return
	}
	_ = unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// Do runs f with the account's rights to files, as the server at the other end of a network file system sees them
// too. Without the right to change identity it runs with our own. f must not start goroutines that look at files.
func (a Account) Do(f func() error) error {
	var err error
	aside(func() {
		if os.Geteuid() == 0 {
			// Of this package, not of syscall: that one's changes every thread.
			if err = unix.Setgroups(append([]int{a.GID}, a.Groups...)); err != nil {
				return
			}
			if err = errors.Join(unix.Setfsgid(a.GID), unix.Setfsuid(a.UID)); err != nil {
				return
			}
		}
		err = f()
	})
	return err
}

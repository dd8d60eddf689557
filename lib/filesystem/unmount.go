package filesystem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mount"
)

// Unmounting is how a file system is taken from those who use it.
type Unmounting struct {
	Force   bool             // processes that use it are ended
	Signals []syscall.Signal // that ask them to, one after the other
	Delay   time.Duration    // between two of them
	Grace   time.Duration    // from the last one to SIGKILL
	Log     *slog.Logger
}

// settle is how long a file system may be busy without a process that uses it, for the kernel's own work. In vain it is not
// waited longer, unless a process has yet to end.
const settle = 2 * time.Second

// BusyError is a file system that somebody uses who was not ended.
type BusyError struct {
	What string
	By   []string // none: it is not seen who
}

func (e *BusyError) Error() string {
	if len(e.By) == 0 {
		return e.What + " is in use, and it is not seen by whom: an NFS export of it, or something of the kernel's"
	}
	by := strings.Join(e.By[:min(3, len(e.By))], ", ")
	if n := len(e.By) - 3; n > 0 {
		by += fmt.Sprintf(" and %d more", n)
	}
	return e.What + " is in use by " + by
}

// patience is how long a server may take for an unmount before its requests are given up.
const patience = 5 * time.Second

// Unmount takes a mount away, and ends who keeps it busy. It is never lazy: when it returns nil the mount is gone. own is the block
// device that is to become free, by which its users are known, whatever name they know it by; those of other mounts are by
// the directory alone, for the same file system may be in use elsewhere (a bind mount).
func (u Unmounting) Unmount(ctx context.Context, m mount.Mount, own Number) error {
	use := Use{Dir: m.Point}
	if m.Of(own.Major, own.Minor) {
		u.thaw(ctx, m)
	}
	if own == (Number{m.Major, m.Minor}) { // of btrfs, files show another one
		use = Use{Device: own}
	}
	flags, within := unix.UMOUNT_NOFOLLOW, ctx
	if m.Network() {
		soon, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		within = soon
	}
	return u.until(ctx, m.Point, use, func() (bool, error) {
		_, err := hang.Bound(within, "the unmount of "+m.Point, func() (struct{}, error) {
			return struct{}{}, unix.Unmount(m.Point, flags)
		})
		again := errors.Is(err, unix.EBUSY) || within != ctx && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
		if again && m.Network() {
			flags |= unix.MNT_FORCE // ends requests that the server does not answer; who waits for one can be ended then
			within = ctx
		}
		switch {
		case again:
			return false, nil
		case err == nil, errors.Is(err, unix.EINVAL): // no mount any more
			u.Log.Info("unmounted", "mount", m.String())
			return true, nil
		}
		return false, fmt.Errorf("cannot unmount %s: %w", m, err)
	})
}

// thaw ends a freeze, fsfreeze(8). A frozen file system can be unmounted, but the kernel then has it open until the freeze ends,
// which nobody can do any more.
func (u Unmounting) thaw(ctx context.Context, m mount.Mount) {
	done, _ := hang.Bound(ctx, "the storage of "+m.Point, func() (bool, error) {
		fd, err := unix.Open(m.Point, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		const fithaw = 0xc0045878 // _IOWR('X', 120, int)
		return unix.IoctlSetInt(fd, fithaw, 0) == nil, nil
	})
	if done {
		u.Log.Warn("it was frozen (fsfreeze, a snapshot under way?), and is no longer", "mount", m.String())
	}
}

// Release ends who has the file system of a block device open that is not mounted here any more.
func (u Unmounting) Release(ctx context.Context, path string, n Number) error {
	told := map[namespace]bool{}
	return u.until(ctx, path, Use{Device: n}, func() (bool, error) {
		open, err := Open(ctx, path, n)
		if open == "" || err != nil || !u.Force {
			return open == "", err
		}
		for _, ns := range namespaces(n) {
			if err := ns.unmount(ctx, n); err == nil || !told[ns] {
				u.Log.Warn("unmounting it in another mount namespace", "device", path, "of", ns.String(), "error", err)
				told[ns] = true
			}
		}
		open, err = Open(ctx, path, n)
		return open == "", err
	})
}

// until ends the users of a file system until it is free.
func (u Unmounting) until(ctx context.Context, what string, use Use, free func() (bool, error)) error {
	var idle time.Time // since when nobody was to be seen
	waited := false    // for a process that has yet to end
	for {
		if done, err := free(); done || err != nil {
			return err
		}
		users, err := Users(ctx, use)
		if err != nil {
			return err
		}
		busy := &BusyError{What: what}
		for _, user := range users {
			if user.Spared || !u.Force {
				busy.By = append(busy.By, user.String())
			}
		}
		switch {
		case len(users) > len(busy.By):
			idle = time.Time{}
			if err := u.end(ctx, what, use, users); err != nil {
				return err
			}
			continue
		case len(users) > 0 && !u.Force:
			return busy
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) > settle:
			still := ending()
			if !still && !waited {
				busy.By = append(busy.By, Holders(use)...)
				return busy
			}
			idle, waited = time.Now(), still // what it had open is closed a moment after it has ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", busy, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end ends the users that may be ended.
func (u Unmounting) end(ctx context.Context, what string, use Use, users []User) error {
	for _, user := range users {
		u.Log.Warn("still in use, and to be ended for it", "storage", what, "by", user.String(), "spared", user.Spared)
	}
	list := func() (pids []int, err error) {
		users, err := Users(ctx, use)
		for _, user := range users {
			if !user.Spared {
				pids = append(pids, user.PID)
			}
		}
		return pids, err
	}
	last := len(u.Signals) - 1
	for _, sig := range u.Signals[:last] {
		if err := daemon.SignalAll(ctx, list, sig, u.Delay); err != nil {
			return err
		}
	}
	return daemon.StopAll(ctx, what, list, daemon.StopOptions{Signal: u.Signals[last], Grace: u.Grace, LeaveChildren: true, Log: u.Log})
}

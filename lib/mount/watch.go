package mount

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Changes waits for a change of what is mounted in this process' mount namespace.
type Changes struct{ fd int }

// Watch begins to watch.
func Watch() (*Changes, error) {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/proc/self/mountinfo: %w", err)
	}
	return &Changes{fd}, nil
}

// Close ends it.
func (c *Changes) Close() error { return unix.Close(c.fd) }

// Wait returns nil when something was mounted or unmounted since Watch (proc_pid_mounts(5): poll marks the file as having an
// error), or an error when ctx has ended, which it notices within a second.
func (c *Changes) Wait(ctx context.Context) error {
	for ctx.Err() == nil {
		left := time.Second
		if deadline, ok := ctx.Deadline(); ok {
			left = max(min(left, time.Until(deadline)), time.Millisecond)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLPRI}}, int(left.Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("/proc/self/mountinfo: %w", err)
		}
	}
	return ctx.Err()
}

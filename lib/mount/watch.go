package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Changes watches for a change of what is mounted in this process' mount namespace.
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

// Descriptor is where poll(2) finds that something was mounted or unmounted since Watch, once (proc_pid_mounts(5)): see [ocf.Ender].
func (c *Changes) Descriptor() (fd int, events int16) { return c.fd, unix.POLLPRI }

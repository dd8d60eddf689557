package daemon

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Idle measures for how long a process has done nothing: it hardly used a processor, and read and wrote nothing. One that recovers
// its data, however slowly, is never idle for long; one that has locked itself up is for ever. The zero value is ready for use.
type Idle struct {
	ticks uint64
	io    []byte
	since time.Time
}

// lookingAround is how much of a processor, in ticks of 10 ms, the timers of a process may use that does nothing.
const lookingAround = 5

// For tells for how long the process has done nothing, as far as was seen by being asked: call it again and again. Where the kernel
// does not tell (proc_pid_io(5) may be asked as root only), it is 0.
func (i *Idle) For(p *Process) time.Duration {
	st, err := p.Stat()
	if err != nil {
		return 0
	}
	io, err := readProc(p.dir + "/io")
	if err != nil || i.since.IsZero() || st.CPU > i.ticks+lookingAround || !bytes.Equal(io, i.io) {
		*i = Idle{ticks: st.CPU, io: io, since: time.Now()}
		return 0
	}
	return time.Since(i.since)
}

// HungError says that a daemon was killed because it did nothing, and did not become ready.
type HungError struct{ Idle time.Duration }

func (e *HungError) Error() string {
	return "it hung: it did nothing for " + e.Idle.Round(time.Second).String() + ", neither computed nor read nor wrote, and was killed"
}

// KillIdle kills the process if it has done nothing for longer than that, 0 for never.
func (i *Idle) KillIdle(p *Process, longer time.Duration) error {
	if longer <= 0 || p == nil {
		return nil
	}
	idle := i.For(p)
	if idle <= longer {
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil // it is waited for, as before
	}
	return &HungError{idle}
}

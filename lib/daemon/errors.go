package daemon

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DoubtError says that a process may or may not be the daemon. Nothing must be concluded from it, neither
// "running" nor "not running".
type DoubtError struct {
	PID  int
	Name string // the Identity's
	Err  error  // why it cannot be told
}

func (e *DoubtError) Error() string {
	return fmt.Sprintf("%s (pid %d) may be it: %v", e.Name, e.PID, e.Err)
}

func (e *DoubtError) Unwrap() error { return e.Err }

// DiedError says that a daemon ended before it was ready.
type DiedError struct {
	Name   string
	PID    int
	After  time.Duration  // since it was started
	Status string         // "exit status 1", "signal: killed"
	Signal syscall.Signal // that ended it; 0: it ended by itself
	By     error          // a *HungError, or whom the kernel killed for lack of memory, if the caller knows
	Words  []string       // the informative lines it logged since this start, oldest first, at most 5
	Logs   []string       // the files they are from, for those who want to read more
}

// killedBy is what is known of a SIGKILL that is not ours.
const killedBy = "killed by somebody, or for lack of memory: see the kernel's log"

func (e *DiedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s died %s after its start", e.Name, e.After.Round(10*time.Millisecond))
	// crm_mon shows 128 bytes: what it said comes before how it ended, unless somebody else ended it.
	end := e.Status
	switch e.Signal {
	case 0:
	case unix.SIGKILL:
		if end = killedBy; e.By != nil {
			end = e.By.Error()
			break
		}
		fmt.Fprintf(&b, " of SIGKILL")
	default:
		fmt.Fprintf(&b, " of %s", unix.SignalName(e.Signal))
	}
	b.WriteString(": ")
	logs := ""
	if len(e.Logs) > 0 {
		logs = "; log: " + strings.Join(e.Logs, ", ")
	}
	if e.Signal == unix.SIGKILL {
		b.WriteString(end)
		if len(e.Words) > 0 {
			b.WriteString("; it had said: " + strings.Join(e.Words, " | "))
		}
		return b.String() + logs
	}
	end += logs
	switch {
	case len(e.Words) > 0:
		fmt.Fprintf(&b, "%s (%s)", strings.Join(e.Words, " | "), end)
	case len(e.Logs) > 0:
		fmt.Fprintf(&b, "it logged no error (%s)", end)
	default:
		b.WriteString(end)
	}
	return b.String()
}

// Killed says that it was ended from outside, so that it may come up if it is started once more.
func (e *DiedError) Killed() bool {
	return e.Signal == unix.SIGKILL || e.Status == vanished && len(e.Words) == 0
}

// vanished is the status of a daemon that was nobody's child.
const vanished = "it vanished after its start"

// FrozenError says that a daemon was stopped by a signal (SIGSTOP and its kin) before it was ready. It is still there.
type FrozenError struct {
	Name  string
	PID   int
	State byte // as in proc_pid_stat(5)
}

func (e *FrozenError) Error() string {
	return fmt.Sprintf("%s (pid %d) was frozen during its start (state %c, stopped by a signal): find out by whom", e.Name, e.PID, e.State)
}

// NotReadyError says that the context ended before a started daemon was ready. The daemon may well be on its
// way, for example recovering.
type NotReadyError struct {
	Name    string
	PID     int
	Process *Process // alive and the caller's to close; nil if Killed
	Killed  bool     // because of Command.KillUnready
	After   time.Duration
	Last    error // the last answer of the ready function; nil if it gave none
	Cause   error // the context's error
	Kill    error // why KillUnready could not kill it
}

func (e *NotReadyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (pid %d) is not ready %s after its start", e.Name, e.PID, e.After.Round(10*time.Millisecond))
	if e.Last != nil {
		fmt.Fprintf(&b, ": %v", e.Last)
	}
	switch {
	case e.Kill != nil:
		fmt.Fprintf(&b, "; killing it failed: %v", e.Kill)
	case e.Killed:
		b.WriteString("; it was killed")
	}
	return b.String()
}

// Unwrap gives the context's error, the last answer and the failure to kill.
func (e *NotReadyError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Cause, e.Last, e.Kill} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// StillAlive says that a process outlived SIGKILL, or the time there was for it.
type StillAlive struct {
	PID   int
	Name  string
	State byte   // as in proc_pid_stat(5); of the thread that is stuck, if one is
	WChan string // the kernel function it sleeps in; "" if unknown
}

func (e *StillAlive) Error() string {
	if e.State != 'D' {
		return fmt.Sprintf("%s (pid %d) is still alive after SIGKILL (state %c)", e.Name, e.PID, e.State)
	}
	in := ""
	if e.WChan != "" {
		in = " in " + e.WChan
	}
	return fmt.Sprintf("%s (pid %d) is stuck in the kernel (state D%s) and outlived SIGKILL, most likely on storage that does not answer", e.Name, e.PID, in)
}

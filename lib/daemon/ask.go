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
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ask runs a program to its end and returns what it said, and an error if its status was not 0. It runs as Start
// would run it, by Path, Args, Env, Dir, User and Group, but may not make, open for writing or remove any file: a server
// that is asked for its options tries to, in its data directory. When the context ends it is killed, and not waited for if
// it hangs in the kernel; if somebody else kills it, it is asked once more.
func Ask(ctx context.Context, c Command) (stdout, stderr []byte, err error) {
	return ask(ctx, c, refuseWriting)
}

// Apart has this program's own command that args name asked as Ask does, but it may write. It is for what may hang in the
// kernel: nothing ends a process of which a thread hangs there, and so that must not be who waits for the answer.
func Apart(ctx context.Context, args ...string) (stdout, stderr []byte, err error) {
	return ask(ctx, Command{Path: "/proc/self/exe", Args: args}, func() error { return nil })
}

func ask(ctx context.Context, c Command, restrict func() error) (stdout, stderr []byte, err error) {
	stdout, stderr, err = askOnce(ctx, c, restrict)
	if wasKilled(err) {
		stdout, stderr, err = askOnce(ctx, c, restrict)
	}
	if wasKilled(err) {
		err = fmt.Errorf("died twice of SIGKILL: %s: %w", killedBy, err)
	}
	return stdout, stderr, err
}

func wasKilled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL
}

func askOnce(ctx context.Context, c Command, restrict func() error) (stdout, stderr []byte, err error) {
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
		err := restrict()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
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

// refuseWriting has the kernel answer EROFS to the calling thread, and to what it starts, when a file is to be changed
// (seccomp(2)). A view of read-only mounts would do so too, but a server takes a world-writable option file for good there.
func refuseWriting() error {
	if auditArch == 0 {
		return nil
	}
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyBit = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
		// Where struct seccomp_data has them; the lower half of an argument comes first on these machines.
		number, machine, arguments = 0, 4, 16
	)
	allow := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}
	refuse := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EROFS)}
	filter := []unix.SockFilter{
		{Code: load, K: machine},
		{Code: equal, K: auditArch, Jt: 1},
		allow,
		{Code: load, K: number},
	}
	for _, open := range opens {
		filter = append(filter,
			unix.SockFilter{Code: equal, K: open[0], Jf: 4},
			unix.SockFilter{Code: load, K: arguments + 8*open[1]},
			unix.SockFilter{Code: anyBit, K: unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC, Jt: 1},
			allow, refuse)
	}
	for _, call := range changes {
		filter = append(filter, unix.SockFilter{Code: equal, K: call, Jf: 1}, refuse)
	}
	filter = append(filter, allow)
	if os.Geteuid() != 0 {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl: %w", err)
		}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	runtime.KeepAlive(filter)
	return nil
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

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cmd is a command to run in a node or in the rack.
type Cmd struct {
	Argv           []string
	Env            []string  // name=value, beside PATH, HOME, LANG and TERM
	Stdin          io.Reader // nil: empty
	Stdout, Stderr io.Writer // nil: into the Result
}

// Result is what a command left.
type Result struct {
	Stdout, Stderr string
	Code           int // exit code; -1: none, because it was killed or did not start
	Took           time.Duration
}

// ExitError says that a command ran and ended with another exit code than 0.
type ExitError struct {
	Argv []string
	Result
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s", strings.Join(e.Argv, " "), e.Code, strings.TrimSpace(e.Stderr))
}

// heldPipes is how long a command's stdout and stderr may stay open after its end, in a process it left behind.
const heldPipes = 5 * time.Second

// run executes the command in the namespaces of target. in, if not nil, is the cgroup to put it into.
func (c Cmd) run(ctx context.Context, target *os.File, flags int, in *group) (Result, error) {
	var stdout, stderr bytes.Buffer
	var cmd *exec.Cmd
	began := time.Now()
	err := inNamespaces(target, flags, func() error {
		if len(c.Argv) == 0 {
			return errors.New("no command")
		}
		path, err := lookPath(c.Argv[0])
		if err != nil {
			return err
		}
		cmd = exec.CommandContext(ctx, path)
		cmd.Args = c.Argv
		cmd.Env = append([]string{"PATH=" + defaultPath, "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"}, c.Env...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
		if cmd.Stdout == nil {
			cmd.Stdout = &stdout
		}
		if cmd.Stderr == nil {
			cmd.Stderr = &stderr
		}
		cmd.WaitDelay = heldPipes
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		// A process group of its own, to be killed whole; a terminal's foreground program must stay in its group.
		if _, terminal := c.Stdin.(*os.File); !terminal {
			cmd.SysProcAttr.Setpgid = true
			cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
		}
		if flags&unix.CLONE_NEWNS != 0 {
			cmd.Dir = "/"
		}
		if in != nil {
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(in.dir.Fd())
		}
		return cmd.Start()
	})
	if in != nil {
		in.started()
	}
	if err != nil {
		return Result{Code: -1}, fmt.Errorf("%s: %w", strings.Join(c.Argv, " "), err)
	}
	err = cmd.Wait()
	res := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return res, fmt.Errorf("%s: killed: %w", strings.Join(c.Argv, " "), ctx.Err())
	case errors.As(err, &exit):
		return res, &ExitError{c.Argv, res}
	case errors.Is(err, exec.ErrWaitDelay):
		return res, fmt.Errorf("%s: a process it left behind holds its stdout or stderr: %w", strings.Join(c.Argv, " "), err)
	}
	return res, err
}

// lookPath finds a program by defaultPath; the PATH of this process is the machine's.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(defaultPath, ":") {
		if info, err := os.Stat(dir + "/" + name); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return dir + "/" + name, nil
		}
	}
	return "", exec.ErrNotFound
}

// inNamespaces runs do on a thread in the namespaces of target: a pidfd, or one namespace's own descriptor
// (setns(2)). With CLONE_NEWPID it is the processes that do starts which are in the PID namespace. The thread ends with do.
func inNamespaces(target *os.File, flags int, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if unix.Gettid() == os.Getpid() {
			// The main thread would not end, and /proc/self would be the node's. While this goroutine
			// keeps it, the next one gets another.
			defer runtime.UnlockOSThread()
			done <- inNamespaces(target, flags, do)
			return
		}
		done <- func() error {
			if flags&unix.CLONE_NEWNS != 0 {
				if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns wants a root and cwd not shared with other threads
					return fmt.Errorf("unshare: %w", err)
				}
			}
			if err := unix.Setns(int(target.Fd()), flags); err != nil {
				return fmt.Errorf("enter the namespaces: %w", err)
			}
			return do()
		}()
	}()
	return <-done
}

// pidOf returns the process ID that a pidfd stands for, as this process sees it (pidfd_open(2), fdinfo).
func pidOf(pidfd *os.File) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(value))
			if err == nil && pid <= 0 {
				err = ErrOff // dead, or not in this PID namespace
			}
			return pid, err
		}
	}
	return 0, errors.New("not a pidfd")
}

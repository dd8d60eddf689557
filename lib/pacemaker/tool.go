package pacemaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ToolError is a tool that ended with another exit code than 0.
type ToolError struct {
	Tool   string // as called
	Code   int    // as of crm_error(8); -1 if a signal ended it
	Stderr string // on one line
}

func (e *ToolError) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s", e.Tool, e.Code, e.Stderr)
}

// codeUsage is CRM_EX_USAGE: an option that the tool does not know.
const codeUsage = 64

// codeOld is CRM_EX_OLD (`crm_error --exit --list`): the CIB has changed since.
const codeOld = 103

// tool runs a tool, with input as its standard input, and returns its standard output, also of one that failed. Within is
// how long it may go on without getting on, which is using the processor, or waiting for it: a large CIB takes its time, and so does a busy
// machine.
func tool(ctx context.Context, within time.Duration, input, name string, args ...string) (string, error) {
	return toolWith(ctx, within, nil, input, name, args...)
}

// toolWith is tool with files, which the tool finds as /dev/fd/3 and so on.
func toolWith(ctx context.Context, within time.Duration, files []*os.File, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	// Ctrl-C is for us to hear, and to decide what of it the tool gets to know.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = files
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errOut
	err := cmd.Start()
	if err == nil {
		go func() {
			if stalls(ctx, cmd.Process.Pid, within) {
				cancel(errStalled)
			}
		}()
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(context.Cause(ctx), errStalled):
		return out.String(), fmt.Errorf("%s has not got on for %s: %w", name, within, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return out.String(), fmt.Errorf("%s did not end in time: %w", name, ctx.Err())
	case errors.As(err, &exit):
		words := strings.Join(strings.Fields(errOut.String()), " ")
		return out.String(), &ToolError{Tool: name + " " + strings.Join(args, " "), Code: exit.ExitCode(), Stderr: words}
	}
	return out.String(), fmt.Errorf("%s: %w", name, err)
}

// MayAsk tells whether who runs this may talk to Pacemaker's daemons: root, and members of the group haclient. Where that cannot
// be told it is true.
func MayAsk() bool {
	group, err := user.LookupGroup("haclient")
	if err != nil || os.Geteuid() == 0 {
		return true
	}
	gid, err := strconv.Atoi(group.Gid)
	groups, gerr := os.Getgroups()
	return err != nil || gerr != nil || os.Getegid() == gid || slices.Contains(groups, gid)
}

var errStalled = errors.New("stalled")

// stalls returns true when a process has used no time of the processor for so long, false when the context ends.
func stalls(ctx context.Context, pid int, within time.Duration) bool {
	tick := time.NewTicker(min(within/10, time.Second))
	defer tick.Stop()
	last, since := "", time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if now, ready := processorTime(pid); now != last || ready {
			last, since = now, time.Now()
		} else if time.Since(since) > within {
			return true
		}
	}
}

// processorTime is what /proc/PID/stat says of the time that a process has used, fields 14 and 15 (proc(5)), and whether
// it would go on if a processor were free: field 3.
func processorTime(pid int) (used string, ready bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return "", false
	}
	return fields[11] + "+" + fields[12], fields[0] == "R"
}

// memory is a file that is on no disk: it may hold passwords, and a full disk must not keep anybody from undoing things.
func memory(content string) (*os.File, error) {
	fd, err := unix.MemfdCreate("openstack-ocf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	if _, err := f.WriteString(content); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

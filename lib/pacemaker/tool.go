package pacemaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// codeOld is CRM_EX_OLD (`crm_error --exit --list`): the CIB has changed since.
const codeOld = 103

// tool runs a tool for at most so long, with input as its standard input, and returns its standard output, also of
// one that failed.
func tool(ctx context.Context, within time.Duration, input, name string, args ...string) (string, error) {
	return toolWith(ctx, within, nil, input, name, args...)
}

// toolWith is tool with files, which the tool finds as /dev/fd/3 and so on.
func toolWith(ctx context.Context, within time.Duration, files []*os.File, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	// Ctrl-C is for us to hear, and to decide what of it the tool gets to know.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = files
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return out.String(), fmt.Errorf("%s did not end within %s: %w", name, within, ctx.Err())
	case errors.As(err, &exit):
		words := strings.Join(strings.Fields(errOut.String()), " ")
		return out.String(), &ToolError{Tool: name + " " + strings.Join(args, " "), Code: exit.ExitCode(), Stderr: words}
	}
	return out.String(), fmt.Errorf("%s: %w", name, err)
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

package pacemaker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
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

// Codes of the tools, see `crm_error --list`.
const (
	codeOld    = 103 // the CIB has changed since
	codeNoSuch = 105 // nothing there to query
)

// tool runs a tool for at most so long, with input as its standard input, and returns its standard output, also of
// one that failed.
func tool(ctx context.Context, within time.Duration, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	// Ctrl-C is for us to hear, and to decide what of it the tool gets to know.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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

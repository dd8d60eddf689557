package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// EmptyCIB is a CIB without any configuration, as the Pacemaker of this node makes it.
func EmptyCIB(ctx context.Context) (*Element, error) {
	out, err := tool(ctx, toolTimeout, "", "cibadmin", "--empty")
	if err != nil {
		return nil, err
	}
	return ParseXML(strings.NewReader(out))
}

// VerifyCIB has crm_verify(8) look for errors and warnings in a CIB.
func VerifyCIB(ctx context.Context, cib *Element) error {
	f, err := memory(cib.String())
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = toolWith(ctx, cibTimeout, []*os.File{f}, "", "crm_verify", "--xml-file", "/dev/fd/3", "--verbose")
	var failed *ToolError
	if errors.As(err, &failed) {
		return fmt.Errorf("crm_verify: %s", failed.Stderr)
	}
	return err
}

// WaitIdle returns when the cluster has nothing left to do, at the latest after so long.
func WaitIdle(ctx context.Context, within time.Duration) error {
	_, err := tool(ctx, within+toolTimeout, "", "crm_resource", "--wait", "--timeout", strconv.Itoa(int(within.Seconds()))+"s")
	if ctx.Err() != nil {
		return fmt.Errorf("the wait was interrupted: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("the cluster is still busy after %s: %w", within, err)
	}
	return nil
}

// CheckFile runs a command that finds faults in a configuration file, which is its last argument, and needs no cluster.
func CheckFile(ctx context.Context, command []string, file string) error {
	_, err := tool(ctx, toolTimeout, "", command[0], append(command[1:len(command):len(command)], file)...)
	var failed *ToolError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %s", strings.Join(command, " "), failed.Stderr)
	}
	return err
}

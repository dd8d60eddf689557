package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// VerifyCIB has crm_verify(8) look for errors and warnings in a CIB's configuration. What has happened in the cluster is left
// out, for it warns of a resource that still runs and is not in the configuration any more; that the nodes are there is not, or
// it warns that they have to be fenced.
func VerifyCIB(ctx context.Context, cib *Element) error {
	cib = cib.Clone()
	if status := cib.Child("status"); status != nil {
		status.Remove(func(e *Element) bool { return e.Name != "node_state" })
	}
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

// WaitIdle returns when the cluster has nothing left to do but monitors, at the latest after so long. `crm_resource --wait`
// would not: where the first result of a monitor is degraded (190), Pacemaker 2.1.5 takes it for one that is under way, for ever.
func WaitIdle(ctx context.Context, within time.Duration) error {
	whole, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	busy := "" // a question that was cut short says less than the answer before it
	for {
		asked := time.Now()
		what, err := left(whole)
		if err == nil && what == "" {
			return nil
		}
		if err == nil {
			busy = what
		}
		select {
		case <-time.After(max(500*time.Millisecond, time.Since(asked))):
		case <-whole.Done():
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the wait was interrupted: %w", context.Cause(ctx))
		case whole.Err() != nil && busy == "":
			return fmt.Errorf("it cannot be seen whether the cluster is done after %s: %w", within, err)
		case whole.Err() != nil:
			return fmt.Errorf("the cluster is still busy after %s: %s", within, busy)
		}
	}
}

// left is what the cluster still has to do, "" if that is nothing.
func left(ctx context.Context) (string, error) {
	status, err := ReadStatus(ctx)
	if err != nil {
		return "", err
	}
	if what, err := Busy(ctx, status); err != nil || what != "" {
		return what, err
	}
	cib, err := CIB(ctx)
	if err != nil {
		return "", err
	}
	would, err := Simulate(ctx, cib)
	if err != nil {
		return "", err
	}
	for _, a := range would {
		if !a.Recurring() {
			return a.String(), nil
		}
	}
	return "", nil
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

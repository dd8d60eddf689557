package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// pcsTimeout bounds a call of pcs(8), which starts a Python interpreter and asks agents for their meta-data.
const pcsTimeout = 60 * time.Second

// PCS runs one command of pcs(8) on the CIB in a file, or if file is "" on the cluster itself. The error is what
// pcs says, without its remarks.
func PCS(ctx context.Context, file string, args ...string) error {
	argv := args
	if file != "" {
		argv = append([]string{"-f", file}, args...)
	}
	_, err := tool(ctx, pcsTimeout, "", "pcs", argv...)
	var failed *ToolError
	if errors.As(err, &failed) {
		_, words, ok := strings.Cut(failed.Stderr, "Error: ")
		if !ok {
			words = failed.Stderr
		}
		return errors.New(words)
	}
	return err
}

// EmptyCIB is a CIB without any configuration, as the Pacemaker of this node makes it.
func EmptyCIB(ctx context.Context) (*Element, error) {
	out, err := tool(ctx, toolTimeout, "", "cibadmin", "--empty")
	if err != nil {
		return nil, err
	}
	return ParseXML(strings.NewReader(out))
}

// VerifyCIB has crm_verify(8) look for errors and warnings in the CIB in a file.
func VerifyCIB(ctx context.Context, file string) error {
	_, err := tool(ctx, cibTimeout, "", "crm_verify", "--xml-file", file, "--verbose")
	var failed *ToolError
	if errors.As(err, &failed) {
		return fmt.Errorf("crm_verify: %s", failed.Stderr)
	}
	return err
}

// WaitIdle returns when the cluster has nothing left to do, at the latest after so long.
func WaitIdle(ctx context.Context, within time.Duration) error {
	_, err := tool(ctx, within+toolTimeout, "", "crm_resource", "--wait", "--timeout", strconv.Itoa(int(within.Seconds()))+"s")
	if err != nil {
		return fmt.Errorf("the cluster is still busy after %s: %w", within, err)
	}
	return nil
}

// CheckHAProxy has HAProxy itself check a configuration file, which needs no cluster.
func CheckHAProxy(ctx context.Context, file string) error {
	_, err := tool(ctx, toolTimeout, "", "haproxy", "-c", "-f", file)
	var failed *ToolError
	if errors.As(err, &failed) {
		return fmt.Errorf("haproxy -c: %s", failed.Stderr)
	}
	return err
}

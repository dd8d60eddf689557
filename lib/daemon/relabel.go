package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/openstack-ocf/agents/lib/selinux"
)

// Relabel gives files that were made the labels that the node's SELinux policy has for them: what an agent makes has the
// cluster's, and there a service that is confined may make nothing. It does nothing without SELinux, and forks.
func Relabel(ctx context.Context, paths ...string) error { return relabel(ctx, "/", paths) }

func relabel(ctx context.Context, root string, paths []string) error {
	if len(paths) == 0 || !selinux.Enabled(root) {
		return nil
	}
	out, err := exec.CommandContext(ctx, filepath.Join(root, "/usr/sbin/restorecon"), paths...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("restorecon: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

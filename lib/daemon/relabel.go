package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

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

// Mislabelled says that a program has another label than this node's SELinux policy has for it, so that it would not run in
// its own domain; "" if it has the right one, or SELinux enforces nothing. It forks. root is put before every path.
func Mislabelled(ctx context.Context, root, program string) string {
	if !selinux.Enforcing(root) || !filepath.IsAbs(program) {
		return ""
	}
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return ""
	}
	// "Would relabel PATH from LABEL to LABEL"; on EL 7 "restorecon reset PATH context LABEL->LABEL".
	out, err := exec.CommandContext(ctx, filepath.Join(root, "/usr/sbin/restorecon"), "-n", "-v", program).Output()
	said := strings.Fields(strings.ReplaceAll(string(out), "->", " "))
	if err != nil || len(said) < 4 {
		return ""
	}
	typ := func(label string) string {
		if fields := strings.Split(label, ":"); len(fields) > 2 {
			return fields[2]
		}
		return ""
	}
	is, should := typ(said[len(said)-2]), typ(said[len(said)-1])
	if said[len(said)-2] == "to" {
		is = typ(said[len(said)-3])
	}
	wrong := "not labelled " + should
	if is != "" {
		wrong = "labelled " + is + ", not " + should
	}
	return fmt.Sprintf("SELinux is enforcing, and %s is %s: it would not run in its own domain, and be refused what is its own: restorecon -v %s", program, wrong, program)
}

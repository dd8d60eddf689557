// Package selinux reads from the kernel's files what SELinux is about on this node. Without SELinux it says that nothing is
// enforced, and that nothing has a type. root is put before every path; "/" outside tests.
package selinux

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Enabled tells whether this node has SELinux, enforcing or permissive.
func Enabled(root string) bool {
	_, err := os.Stat(filepath.Join(root, "/sys/fs/selinux/enforce"))
	return err == nil
}

// Enforcing tells whether what the policy does not allow is refused.
func Enforcing(root string) bool {
	b, err := os.ReadFile(filepath.Join(root, "/sys/fs/selinux/enforce"))
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

// Off tells whether the policy has the boolean, and it is off.
func Off(root, boolean string) bool {
	b, err := os.ReadFile(filepath.Join(root, "/sys/fs/selinux/booleans", boolean)) // "0 1": now, and to be
	return err == nil && strings.HasPrefix(string(b), "0")
}

// Type is the type of a file's label, "" if it has none or cannot be asked for it.
func Type(path string) string {
	b := make([]byte, 256)
	n, err := unix.Getxattr(path, "security.selinux", b)
	if err != nil {
		return ""
	}
	fields := strings.Split(strings.TrimRight(string(b[:n]), "\x00"), ":")
	if len(fields) < 3 {
		return ""
	}
	return fields[2]
}

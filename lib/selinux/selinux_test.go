package selinux

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNode(t *testing.T) {
	root := t.TempDir()
	if Enabled(root) || Enforcing(root) || Off(root, "haproxy_connect_any") {
		t.Error("a node without SELinux has something of it")
	}
	for path, text := range map[string]string{"enforce": "0", "booleans/haproxy_connect_any": "0 0", "booleans/on": "1 1"} {
		file := filepath.Join(root, "sys/fs/selinux", path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !Enabled(root) || Enforcing(root) {
		t.Error("permissive is enabled, and enforces nothing")
	}
	if !Off(root, "haproxy_connect_any") || Off(root, "on") || Off(root, "of_another_policy") {
		t.Error("booleans are not read as the kernel tells them")
	}
	if err := os.WriteFile(filepath.Join(root, "sys/fs/selinux/enforce"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !Enforcing(root) {
		t.Error("it does not enforce")
	}
}

func TestType(t *testing.T) {
	dir := t.TempDir()
	if got := Type(filepath.Join(dir, "none")); got != "" {
		t.Errorf("what is not there has the type %q", got)
	}
	if err := unix.Setxattr(dir, "security.selinux", []byte("system_u:object_r:mysqld_db_t:s0\x00"), 0); err != nil {
		t.Skip("SKIP: needs root, and a file system that keeps labels")
	}
	if got := Type(dir); got != "mysqld_db_t" {
		t.Errorf("the type is %q", got)
	}
}

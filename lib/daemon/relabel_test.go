package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRelabel(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put("usr/sbin/restorecon", "#!/bin/sh\necho $* >>"+root+"/asked\n")
	if err := relabel(t.Context(), root, []string{"/run/nova"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(root + "/asked"); err == nil {
		t.Error("without SELinux it asked for labels")
	}
	put("sys/fs/selinux/enforce", "1")
	if err := relabel(t.Context(), root, []string{"/run/nova", "/run/lock/nova"}); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(root + "/asked"); string(b) != "/run/nova /run/lock/nova\n" {
		t.Errorf("it asked for %q", b)
	}
	put("usr/sbin/restorecon", "#!/bin/sh\necho no default label >&2; exit 255\n")
	if err := relabel(t.Context(), root, []string{"/run/nova"}); err == nil || !strings.Contains(err.Error(), "no default label") {
		t.Errorf("what it says is not told: %v", err)
	}
}

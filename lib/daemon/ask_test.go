package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAsk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OCF_RESKEY_secret", "s3cret")
	sh := func(script string) Command { return Command{Path: "/bin/sh", Args: []string{"-c", script}, Dir: "/"} }
	out, warned, err := Ask(t.Context(), sh("pwd; env; echo to stderr >&2"))
	if err != nil || !strings.HasPrefix(string(out), "/\n") || string(warned) != "to stderr\n" || strings.Contains(string(out), "s3cret") {
		t.Errorf("got %q, %q, %v", out, warned, err)
	}
	var exit *exec.ExitError
	if out, _, err = Ask(t.Context(), sh("echo said; exit 7")); string(out) != "said\n" || !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %q, %v", out, err)
	}
	if _, _, err = Ask(t.Context(), Command{Path: filepath.Join(dir, "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err = Ask(ctx, sh("sleep 600")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}

	if os.Geteuid() != 0 || unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{}) == unix.ENOSYS {
		t.Skip("SKIP: needs root, and mount_setattr(2)")
	}
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "written")
	if out, _, err = Ask(t.Context(), sh("touch "+file+" 2>/dev/null || echo refused; echo x >/dev/null && echo null")); string(out) != "refused\nnull\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Errorf("afterwards we cannot write ourselves: %v", err)
	}
	if after, err := os.Readlink("/proc/self/ns/mnt"); err != nil || after != before {
		t.Errorf("we were in %s and are in %s (%v)", before, after, err)
	}
}

// An account sees of the file system what its owner, group and mode let it, root's rights or not.
func TestAccountDo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root")
	}
	nobody, err := Lookup("nobody", "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	private, shared := filepath.Join(dir, "root"), filepath.Join(dir, "group")
	for path, gid := range map[string]int{private: 0, shared: nobody.GID} {
		if err := errors.Join(os.Mkdir(path, 0o750), os.Chown(path, 0, gid)); err != nil {
			t.Fatal(err)
		}
	}
	look := func(path string) error {
		return nobody.Do(func() error { _, err := os.ReadDir(path); return err })
	}
	if err := look(shared); err != nil {
		t.Error(err)
	}
	if err := look(private); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if _, err := os.ReadDir(private); err != nil {
		t.Errorf("afterwards we cannot look ourselves: %v", err)
	}
}

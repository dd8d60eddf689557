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
	fifo := filepath.Join(t.TempDir(), "fifo") // can be read from and written to on a read-only file system
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _ = f.WriteString("kill\nsay\n")
	if out, _, err = Ask(t.Context(), sh("read todo <"+fifo+"; test $todo = say || kill -9 $$; echo said")); string(out) != "said\n" || err != nil {
		t.Errorf("one that was killed once: %q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err = Ask(ctx, sh("sleep 600")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}

	file := filepath.Join(dir, "written")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{"echo x >>" + file, ": >" + file, "touch " + dir + "/new", "rm " + file, "mv " + file + " " + dir + "/new", "mkdir " + dir + "/new", "ln -s x " + dir + "/new"} {
		out, warned, _ := Ask(t.Context(), sh("test -w "+file+" && cat "+file+"; "+change+" && echo done"))
		if entries, err := os.ReadDir(dir); len(out) > 0 || !strings.Contains(strings.ToLower(string(warned)), "read-only") && !strings.HasPrefix(change, "echo") && !strings.HasPrefix(change, ":") || len(entries) != 1 || err != nil {
			t.Errorf("%s: %q, %q; %v, %v", change, out, warned, entries, err)
		}
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Errorf("afterwards we cannot write ourselves: %v", err)
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

package built

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Test binaries that start at the same time get the same agents, and other sources other ones.
func TestBuild(t *testing.T) {
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	if asked := os.Getenv("BUILT_FOR"); asked != "" { // by the test below
		if err := os.WriteFile(asked, []byte(Binary(t)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	builds := func(version string, n int) map[string]int {
		t.Helper()
		dir, different := t.TempDir(), map[string]int{}
		var others []*exec.Cmd
		for i := range n {
			other := exec.Command(os.Args[0], "-test.run=^TestBuild$")
			other.Env = append(os.Environ(), "VERSION="+version, "BUILT_FOR="+filepath.Join(dir, string(rune('a'+i))))
			other.Stderr = os.Stderr
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			others = append(others, other)
		}
		for _, other := range others {
			if err := other.Wait(); err != nil {
				t.Error(err)
			}
			text, err := os.ReadFile(other.Env[len(other.Env)-1][len("BUILT_FOR="):])
			if err != nil {
				t.Fatal(err)
			}
			different[string(text)]++
		}
		return different
	}
	for _, version := range []string{"first-try", "second-try"} {
		got := builds(version, 4)
		if len(got) != 1 {
			t.Fatalf("four test binaries have %v", got)
		}
		for path := range got {
			t.Cleanup(func() { os.RemoveAll(strings.TrimSuffix(path, program)) })
			out, err := exec.Command(path, "--version").Output()
			if err != nil || !strings.Contains(string(out), version) {
				t.Errorf("of %s the version is %s: %v", version, out, err)
			}
			if target, err := filepath.EvalSymlinks(filepath.Join(strings.TrimSuffix(path, program), provider, "qpidd")); err != nil || target != path {
				t.Errorf("the agent qpidd is %s: %v", target, err)
			}
		}
	}

	// Builds that nobody uses do not pile up.
	old := filepath.Join(root, shared, "0123456789abcdef")
	long := time.Now().Add(-2 * unused)
	if err := os.MkdirAll(old, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := prune(filepath.Join(root, shared)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("a build of last week is still there: %v", err)
	}
}

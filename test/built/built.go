// Package built makes the agents for tests, as `make install` would lay them
// out, in a directory of the test's own.
package built

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	once sync.Once
	dir  string
	out  []byte
	err  error
)

// Provider is the directory of the agents' links, built once a test binary.
func Provider(t testing.TB) string {
	t.Helper()
	once.Do(func() {
		if dir, err = os.MkdirTemp("", "ocf"); err != nil {
			return
		}
		cmd := exec.Command("make", "-s", "install", "DESTDIR="+dir)
		cmd.Dir = root()
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return filepath.Join(dir, "usr/lib/ocf/resource.d/openstack")
}

// Agent is the path of one installed agent.
func Agent(t testing.TB, name string) string { return filepath.Join(Provider(t), name) }

// Binary is the path of openstack-ocf.
func Binary(t testing.TB) string {
	p, err := filepath.EvalSymlinks(Agent(t, "mysql-shared-storage"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// root is the repository's top: the nearest directory above with a go.mod.
func root() string {
	d, _ := os.Getwd()
	for ; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
	}
	return "."
}

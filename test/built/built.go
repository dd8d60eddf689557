// Package built makes the agents for tests: the program that `make` builds, and the links by which it is the agents, where
// a node has both. All test binaries share one build, as long as the sources are the same.
package built

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/lock"
)

const (
	shared   = "bin/agents" // in the checkout: a directory for each build
	program  = "usr/sbin/openstack-ocf"
	provider = "usr/lib/ocf/resource.d/openstack"
	// unused is how long a build of other sources is kept: a test of another run may still use it.
	unused = 24 * time.Hour
)

var once struct {
	sync.Once
	dir string
	err error
}

func node(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 { // whoever runs agents needs it: before minutes of building this is told
		t.Skip("SKIP: needs root")
	}
	once.Do(func() {
		var root string
		if root, once.err = top(); once.err == nil {
			once.dir, once.err = build(t.Context(), root)
		}
	})
	if once.err != nil {
		t.Fatal(once.err)
	}
	return once.dir
}

// Provider is the directory of the agents' links.
func Provider(t testing.TB) string { t.Helper(); return filepath.Join(node(t), provider) }

// Agent is the path of one agent.
func Agent(t testing.TB, name string) string { t.Helper(); return filepath.Join(Provider(t), name) }

// Binary is the path of openstack-ocf.
func Binary(t testing.TB) string { t.Helper(); return filepath.Join(node(t), program) }

// build returns the directory of this build, which its program's bytes name: what the go command finds up to date it does
// not link again, and another test binary has laid it out already. The lock keeps those that start at the same time apart.
func build(ctx context.Context, root string) (dir string, err error) {
	all := filepath.Join(root, shared)
	release, err := lock.Take(ctx, filepath.Join(all, "lock"))
	if err != nil {
		return "", err
	}
	defer release()
	latest := filepath.Join(all, "openstack-ocf")
	compile := exec.CommandContext(ctx, "make", "-s", "build", "BIN="+latest)
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, out)
	}
	text, err := os.ReadFile(latest)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(all, fmt.Sprintf("%x", sha256.Sum256(text))[:16])
	if err := os.Chtimes(dir, time.Now(), time.Now()); err == nil {
		return dir, nil
	}
	partial := dir + ".partial"
	if err := errors.Join(os.RemoveAll(partial), prune(all)); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(partial, filepath.Dir(program)), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(partial, program), text, 0o755); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, latest, "link", filepath.Join(partial, provider), "../../../../sbin/openstack-ocf").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s link: %w: %s", latest, err, out)
	}
	return dir, os.Rename(partial, dir)
}

// prune removes the builds that no test has asked for in a long time.
func prune(all string) error {
	entries, err := os.ReadDir(all)
	for _, e := range entries {
		if info, ierr := e.Info(); ierr == nil && e.IsDir() && time.Since(info.ModTime()) > unused {
			err = errors.Join(err, os.RemoveAll(filepath.Join(all, e.Name())))
		}
	}
	return err
}

// top is the checkout: the nearest directory above with a go.mod.
func top() (string, error) {
	d, err := os.Getwd()
	for ; err == nil && d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
	}
	return "", errors.Join(errors.New("no go.mod above this test"), err)
}

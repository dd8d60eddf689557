// Package packaging tests what `make packages` makes: what is in the packages, that two builds have the same bytes, and what
// apt, rpm and the tarball's script do to a node whose cluster runs the agents.
package packaging

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

// newer is the version of the packages that nodes are upgraded to.
const newer = "99"

// release is what one build made.
type release struct {
	dir string
	err error
}

// The builds, one of each a test binary, and their place; no build takes place in the checkout itself.
var (
	place  string
	nfpm   = sync.OnceValue(fetchNFPM)
	source = sync.OnceValues(copySource)
	built  = sync.OnceValue(func() release { return build("built", "umask 022; make -s packages") })
	again  = sync.OnceValue(func() release {
		return build("another/path/again", "umask 077; unset LANG; TZ=Asia/Tokyo LC_ALL=C.UTF-8 make -s packages")
	})
	upgrade = sync.OnceValue(func() release {
		return build("upgrade", `
			gpg --quiet --batch --homedir . --passphrase "" --quick-generate-key packager@example.org ed25519
			gpg --quiet --homedir . --armor --export-secret-keys >key
			gpg --quiet --homedir . --armor --export >../upgrade.pub
			SIGNING_KEY=$PWD/key make -s packages ARCHES=`+runtime.GOARCH+" PACKAGE_VERSION="+newer)
	})
)

func TestMain(m *testing.M) {
	var err error
	if place, err = os.MkdirTemp("", "packages"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(place)
	os.Exit(code)
}

// of returns the directory of the packages that one of the builds made.
func of(t *testing.T, build func() release) string {
	t.Helper()
	need(t, "git", "make")
	if err := nfpm(); err != nil {
		t.Skipf("SKIP: needs nfpm: %v", err)
	}
	r := build()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.dir
}

// file returns the one file in dir that a pattern matches.
func file(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, found, err)
	}
	return found[0]
}

// fetchNFPM gets the packager that packaging/build names, or says why it is not to be had.
func fetchNFPM() error {
	text, err := os.ReadFile("../../packaging/build")
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "run", string(regexp.MustCompile(`github.com/goreleaser/nfpm/\S+`).Find(text)), "--version").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// copySource copies the checkout as it is, with what is not committed, so that nobody changes it during the builds.
func copySource() (dir string, err error) {
	dir = filepath.Join(place, "source")
	return dir, script(".", `
		top=$(git rev-parse --show-toplevel)
		git clone -q --no-checkout "$top" "$1"
		cd "$top"
		git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
			[ ! -e "$file" ] || printf '%s\0' "$file"
		done | tar --create --null --files-from=- | tar --extract --directory "$1"
		git -C "$1" reset -q`, dir)
}

func build(name, command string) release {
	src, err := source()
	if err != nil {
		return release{err: err}
	}
	dir := filepath.Join(place, name)
	err = script(place, `mkdir -p "$2"; cp -a "$1/." "$2"; cd "$2"; `+command, src, dir)
	return release{filepath.Join(dir, "dist"), err}
}

func script(dir, text string, args ...string) error {
	cmd := exec.Command("/bin/bash", append([]string{"-euo", "pipefail", "-c", text, "bash"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", text, err, out)
	}
	return nil
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		needs.Program(t, tool, tool)
	}
}

// run runs a command that must succeed and returns its output, stderr and all.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tree lists the files and links under dir/usr with all that must be the same whoever installed them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "usr"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		switch {
		case d.IsDir():
			if info.Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			list[name] = "-> " + target
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		list[name] = fmt.Sprintf("%v %x", info.Mode(), sum.Sum(nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// differences names what is in one tree only, or not the same in both.
func differences(a, b map[string]string) []string {
	var list []string
	for name, what := range a {
		if b[name] != what {
			list = append(list, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			list = append(list, name)
		}
	}
	return slices.Sorted(slices.Values(list))
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

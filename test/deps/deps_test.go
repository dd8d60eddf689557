// Package deps tests the scripts that install what the demo and the tests need, with stand-ins for all they call.
package deps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a copy of the scripts beside a go.mod that asks for Go 1.99.0, and a PATH of its own.
type machine struct {
	t              *testing.T
	dir, bin, home string
}

func newMachine(t *testing.T, packages string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t, filepath.Join(dir, "src"), filepath.Join(dir, "bin"), filepath.Join(dir, "home")}
	for _, name := range []string{"install", "go-path"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m.write(filepath.Join(m.dir, "test/deps", name), string(text))
	}
	m.write(filepath.Join(m.dir, "test/deps/packages"), packages)
	m.write(filepath.Join(m.dir, "go.mod"), "module m\n\ngo 1.99.0\n")
	for _, tool := range []string{"sh", "awk", "cat", "chmod", "cut", "dirname", "find", "grep", "id", "mkdir", "mktemp", "mv", "rm", "sed", "sort", "uname", "head"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		m.script(tool, `exec `+path+` "$@"`)
	}
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// script puts a command into PATH.
func (m *machine) script(name, body string) {
	m.t.Helper()
	m.write(filepath.Join(m.bin, name), "#!/bin/sh\n"+body+"\n")
}

// goVersion makes path a go command of the version and with the GOTOOLCHAIN given.
func (m *machine) goVersion(path, version, toolchain string) {
	m.t.Helper()
	m.write(path, "#!/bin/sh\necho go"+version+"; echo "+toolchain+"\n")
}

// run runs one of the scripts and returns what it says and its exit status.
func (m *machine) run(name string, args ...string) (string, int) {
	m.t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{filepath.Join(m.dir, "test/deps", name)}, args...)...)
	// A go that this machine has elsewhere is as old as its version says, and leaves no telemetry behind in HOME.
	cmd.Env = []string{"XDG_CONFIG_HOME=/dev/null", "PATH=" + m.bin, "HOME=" + m.home, "TMPDIR=" + m.t.TempDir(), "GOTOOLCHAIN=local"}
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		m.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestGoPath(t *testing.T) {
	for _, c := range []struct {
		name               string
		version, toolchain string // of the go in PATH
		cached             bool   // the Go that `install` fetched is there
		want               string
	}{
		{"none", "", "", false, "go"},
		{"the very version", "1.99.0", "local", false, "PATH"},
		{"newer", "1.100.2", "local", false, "PATH"},
		{"older, may switch", "1.21.0", "auto", false, "PATH"},
		{"older, may switch", "1.98.7", "go1.98.1+auto", false, "PATH"},
		{"older, may not", "1.98.7", "local", false, "go"},
		{"older, may not fetch", "1.98.7", "go1.98.7+path", false, "go"},
		{"cannot switch", "1.19.8", "", false, "go"},
		{"cannot switch, but one was fetched", "1.19.8", "", true, "cache"},
		{"only the fetched one", "", "", true, "cache"},
	} {
		t.Run(c.name+" "+c.version, func(t *testing.T) {
			m := newMachine(t, "")
			paths := map[string]string{
				"go":    "go",
				"PATH":  filepath.Join(m.bin, "go"),
				"cache": filepath.Join(m.home, ".cache/openstack-ocf/go/bin/go"),
			}
			if c.version != "" {
				m.goVersion(paths["PATH"], c.version, c.toolchain)
			}
			if c.cached {
				m.goVersion(paths["cache"], "1.99.0", "local")
			}
			out, code := m.run("go-path")
			if out != paths[c.want]+"\n" || (code == 0) != (c.want != "go") {
				t.Errorf("says %q and exits %d, want %s", out, code, paths[c.want])
			}
		})
	}
}

func TestInstall(t *testing.T) {
	const (
		list = "# a comment\npacemaker pcmk demo why one\nqpid   - demo why two\nmake make - why three\n"
		none = `echo "$0 $*: nobody asked for this"; exit 1`
		// rpm says so of every package that is not in the file "have".
		rpm = `while [ "$1" != "%{NAME}\n" ]; do shift; done; shift
for p; do if grep -qx "$p" "$HOME/have"; then echo "$p"; else echo "package $p is not installed"; fi; done`
	)
	for _, c := range []struct {
		name    string
		scripts map[string]string
		args    []string
		have    string // what is installed
		code    int
		want    []string // parts of what it says; none: it says nothing
	}{
		{
			name: "all there", have: "pcmk\nmake\n",
			scripts: map[string]string{"rpm": rpm, "dnf": none, "id": none, "go": "echo go1.99.0; echo local"},
		},
		{
			name:    "all there, on Debian",
			scripts: map[string]string{"dpkg-query": `echo installed pacemaker; echo installed qpid; echo installed make`, "apt-get": none, "id": none, "go": "echo go1.99.0; echo local"},
		},
		{
			name: "not root", have: "make\n", code: 1,
			scripts: map[string]string{"rpm": rpm, "dnf": none, "id": "echo 1000"},
			want:    []string{"deps: only root can install, and missing is: pcmk\n"},
		},
		{
			name: "installs what is missing", have: "make\n",
			scripts: map[string]string{"rpm": rpm, "dnf": `echo pcmk >>"$HOME/have"`, "id": "echo 0", "go": "echo go1.99.0; echo local"},
			want:    []string{"deps: installing pcmk: why one\n"},
		},
		{
			name: "what the demo does without is not installed for it", args: []string{"demo"}, have: "pcmk\n",
			scripts: map[string]string{"rpm": rpm, "dnf": none, "id": none, "go": "echo go1.99.0; echo local"},
		},
		{
			name: "installs what the demo needs, and no more", args: []string{"demo"},
			scripts: map[string]string{"rpm": rpm, "dnf": `echo pcmk >>"$HOME/have"`, "id": "echo 0", "go": "echo go1.99.0; echo local"},
			want:    []string{"deps: installing pcmk: why one\n"},
		},
		{
			name: "no network", have: "", code: 1,
			scripts: map[string]string{"rpm": rpm, "dnf": `echo make >>"$HOME/have"; echo "Error: no mirror answers"; exit 1`, "id": "echo 0"},
			want:    []string{"Error: no mirror answers\n", "deps: not installed: pcmk; "},
		},
		{
			name: "no package manager", code: 1,
			want: []string{"deps: no apt-get or dnf here: "},
		},
		{
			name: "not Linux", code: 1,
			scripts: map[string]string{"uname": "echo Darwin"},
			want:    []string{"deps: this is Darwin, but Pacemaker and its agents need Linux\n"},
		},
		{
			name: "an old Go that must not fetch", have: "pcmk\nmake\n", code: 1,
			scripts: map[string]string{"rpm": rpm, "dnf": none, "go": "echo go1.21.0; echo local"},
			want:    []string{"deps: Go 1.99.0 is needed, and GOTOOLCHAIN=local forbids to fetch it: "},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, list)
			m.write(filepath.Join(m.home, "have"), c.have)
			for name, body := range c.scripts {
				m.script(name, body)
			}
			out, code := m.run("install", c.args...)
			if code != c.code || (len(c.want) == 0) != (out == "") {
				t.Errorf("exits %d, want %d, and says\n%s", code, c.code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("does not say %q but\n%s", want, out)
				}
			}
		})
	}
}

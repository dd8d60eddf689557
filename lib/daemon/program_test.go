package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/bin/cat", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "nova-api")
	for _, c := range []struct {
		name, content string // of the file; "" is none
		executable    string // that must be among those
		exe           string // of a process in a fixture
		args          []string
		want          bool
	}{
		{"binary", "\x7fELF\x01\x02", path, path, nil, true},
		{"binary, another process", "\x7fELF\x01\x02", path, "/bin/bash", nil, false},
		{"python", "#!/usr/bin/python3 -s\nimport x\n", "python3*", "/usr/bin/python3.11", []string{"/usr/bin/python3", "-s", "/usr/bin/nova-api"}, true},
		{"python, another script", "#!/usr/bin/python3\n", "python3*", "/usr/bin/python3.11", []string{"/usr/bin/python3", "/usr/bin/nova-compute"}, false},
		{"python, whose title was read", "#!/usr/bin/python3\n", "python3*", "/usr/bin/python3.11", []string{"/usr/bin/python3 /usr/bin/nova-api --config-file=x"}, true},
		{"python, another whose title was read", "#!/usr/bin/python3\n", "python3*", "/usr/bin/python3.11", []string{"/usr/bin/python3 /usr/bin/nova-compute /usr/bin/nova-api"}, false},
		{"python without a command line", "#!/usr/bin/python3\n", "python3*", "/usr/bin/python3.11", []string{" "}, false},
		{"env", "#!/usr/bin/env -S python3 -u\n", "python3*", "/usr/bin/python3.11", []string{"python3", "-u", "/usr/bin/nova-api"}, true},
		{"interpreter is a link", "#!" + dir + "/link\n", "cat", "/bin/cat", []string{"cat", path}, true},
		{"script without a line's end", "#!/bin/bash", "bash*", "/bin/bash", []string{"bash", path}, true},
		{"a script that executes the daemon", "#!/bin/sh\nexec /opt/nova \"$@\"\n", "sh*", "/opt/nova", []string{"/opt/nova", "--data-dir", "x"}, true},
		{"removed, was a script", "", "python*", "/usr/bin/python3.11", []string{"/usr/bin/python3", "/usr/bin/nova-api"}, true},
		{"removed, was another script", "", "python*", "/usr/bin/python3.11", []string{"/usr/bin/python3", "/usr/bin/x"}, false},
		{"removed, was a binary", "", path, path + " (deleted)", nil, true},
	} {
		_ = os.Remove(path)
		if c.content != "" {
			if err := os.WriteFile(path, []byte(c.content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		executables, test := Program(path)
		if !slices.Contains(executables, c.executable) {
			t.Errorf("%s: executables %q, want %q among them", c.name, executables, c.executable)
		}
		f := newFixture(t)
		f.add(100, proc{comm: "x", exe: c.exe, cwd: "/", cmdline: c.args})
		p, err := Identity{Name: "nova-api", Executables: append(executables, "nova"), Test: test, Proc: f.dir}.Find(t.Context())
		if err != nil || (p != nil) != c.want {
			t.Errorf("%s: found %v, %v; want %v", c.name, p, err, c.want)
		}
	}
}

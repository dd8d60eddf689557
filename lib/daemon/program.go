package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// interpreters run the scripts that daemons are.
var interpreters = []string{"python*", "sh", "dash", "bash"}

// Program says how a process that runs the program at path is recognised: for an Identity, its Executables and a
// Test to be combined with others by All. A script (#!) runs as its interpreter. A path that cannot be read, as
// after the package was removed, may be either.
func Program(path string) (executables []string, test Test) {
	script := Script(filepath.Base(path))
	line, err := firstLine(path)
	if err != nil {
		return append([]string{path}, interpreters...), ifInterpreted(interpreters, script)
	}
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if !strings.HasPrefix(line, "#!") || len(words) == 0 {
		return []string{path}, func(context.Context, *Process) (bool, error) { return true, nil }
	}
	interpreter := words[0]
	if filepath.Base(interpreter) == "env" {
		i := slices.IndexFunc(words[1:], func(w string) bool { return !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") })
		if i >= 0 {
			interpreter = words[1+i]
			if found, err := exec.LookPath(interpreter); err == nil {
				interpreter = found
			}
		}
	}
	executables = []string{filepath.Base(interpreter) + "*"}
	// /bin/sh may be dash.
	if real, err := filepath.EvalSymlinks(interpreter); err == nil && filepath.Base(real) != filepath.Base(interpreter) {
		executables = append(executables, filepath.Base(real))
	}
	return executables, ifInterpreted(executables, script)
}

// ifInterpreted tests what an interpreter runs. A process that runs something else may be what a script has executed in
// its place; whether it is, is up to the names of executables.
func ifInterpreted(by []string, script Test) Test {
	m := Identity{Executables: by}.matcher()
	return func(ctx context.Context, p *Process) (bool, error) {
		if m.match(p.Exe, "") {
			return script(ctx, p)
		}
		return true, nil
	}
}

// firstLine reads as much of a file as the kernel looks at for "#!".
func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 256)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(bytes.TrimSpace(line)), err
}

// Package needs says what a test needs that `make unit` does not have, or that `make test` does not have each time, and skips it there.
package needs

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Installed skips the test under `make unit` (UNIT=1), which runs nothing that a machine may not have: a daemon, or the reader
// of somebody else's files.
func Installed(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("UNIT") != "" {
		t.Skip("SKIP: needs " + name + ": make test runs it")
	}
}

// Program skips the test unless a program is installed, which is in that package, and returns its path.
func Program(t testing.TB, program, pkg string) string {
	t.Helper()
	Installed(t, pkg)
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip("SKIP: needs " + program + " (" + pkg + ")")
	}
	return path
}

// File skips the test unless a file is there, which what has.
func File(t testing.TB, path, what string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skip("SKIP: needs " + path + " (" + what + ")")
	}
}

// Turn skips a long part of the tests unless it is its turn: that of one of so many. TURN, a number, says whose it is. `make test` makes
// it up, so that a few runs of it have run all, and `make test LONG=1` does not, and runs all.
func Turn(t testing.TB, part, of int) {
	t.Helper()
	if turn, err := strconv.Atoi(os.Getenv("TURN")); err == nil && turn%of != part%of {
		t.Skipf("SKIP: needs LONG=1, or its turn (it is TURN=%d)", turn)
	}
}

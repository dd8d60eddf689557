// Package needs says what a test needs that `make unit` does not have, or that `make test` does not have each time, and skips it there.
package needs

import (
	"os"
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

// Turn skips every second of a test's long parts, which have numbers, where TURN says whose turn it is: `make test` makes that up, so
// that two runs of it are likely to have run all, and `make test LONG=1` does not.
func Turn(t testing.TB, part int) {
	t.Helper()
	if turn, err := strconv.Atoi(os.Getenv("TURN")); err == nil && (part+turn)%2 != 0 {
		t.Skipf("SKIP: needs LONG=1, or its turn (it is TURN=%d)", turn)
	}
}

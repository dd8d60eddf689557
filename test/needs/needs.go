// Package needs says what a test needs that `make unit` does not have, and skips it there.
package needs

import (
	"os"
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

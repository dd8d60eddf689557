package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With a key, the rpm and the checksums of all files are signed, as the guide says to verify them.
func TestSigned(t *testing.T) {
	need(t, "gpg", "rpm")
	dir := of(t, upgrade)
	public := filepath.Join(place, "upgrade.pub")

	keys := t.TempDir()
	run(t, "gpg", "--quiet", "--homedir", keys, "--import", public)
	sums := filepath.Join(dir, "SHA256SUMS")
	run(t, "gpg", "--homedir", keys, "--verify", sums+".asc", sums)

	db := t.TempDir()
	run(t, "rpm", "--dbpath", db, "--import", public)
	if out := run(t, "rpm", "--dbpath", db, "--checksig", file(t, dir, "*.rpm")); !strings.Contains(out, "digests signatures OK") {
		t.Errorf("the rpm's signature: %s", out)
	}
	if _, err := os.Stat(filepath.Join(of(t, built), "SHA256SUMS.asc")); !os.IsNotExist(err) {
		t.Errorf("signed without a key: %v", err)
	}
}

package daemon

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"testing"
)

// TestLookupAsksTheNameService: an account that only LDAP knows is known, and one in the files is not asked for.
func TestLookupAsksTheNameService(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	script := "#!/bin/sh\necho \"$2 $3\" >>" + asked + `
case "$2 $3" in
"passwd ldapuser" | "passwd 7001") echo "ldapuser:*:7001:7002:Only in LDAP:/home/ldap:/bin/sh" ;;
"group ldapgroup") echo "ldapgroup:*:7003:ldapuser" ;;
"initgroups ldapuser") echo "ldapuser             7002 7003 7004" ;;
*) exit 2 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, name := range []string{"ldapuser", "7001"} {
		a, err := Lookup(name, "")
		if err != nil || a.UID != 7001 || a.GID != 7002 || !slices.Equal(a.Groups, []int{7002, 7003, 7004}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if a, err := Lookup("root", "ldapgroup"); err != nil || a.UID != 0 || a.GID != 7003 {
		t.Errorf("a group: %+v, %v", a, err)
	}
	if _, err := Lookup("nosuchuser", ""); !errors.Is(err, user.UnknownUserError("nosuchuser")) {
		t.Errorf("err = %v", err)
	}
	if _, err := Lookup("root", "nosuchgroup"); !errors.Is(err, user.UnknownGroupError("nosuchgroup")) {
		t.Errorf("err = %v", err)
	}
	if err := os.Remove(asked); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root", "0", ""} {
		if _, err := Lookup(name, ""); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(asked); err == nil {
		t.Errorf("it was asked of whom the files know: %s", b)
	}
	s := newSite(t)
	c := Command{Path: "/bin/sh", Args: []string{"-c", "echo $(id -u) $(id -G) $HOME"}, User: "ldapuser", Output: s.path("out")}
	if err := Run(s.ctx, c); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.path("out")); err != nil || string(b) != "7001 7002 7003 7004 /home/ldap\n" {
		t.Errorf("it ran as %q, %v", b, err)
	}
}

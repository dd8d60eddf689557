package daemon

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"testing"
)

func TestLookup(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", me.Username, me.Uid} {
		a, err := Lookup(name, "")
		if err != nil || strconv.Itoa(a.UID) != me.Uid || strconv.Itoa(a.GID) != me.Gid {
			t.Errorf("Lookup(%q) = %+v, %v", name, a, err)
		}
	}
	if _, err := Lookup("nosuchuser", ""); !errors.Is(err, user.UnknownUserError("nosuchuser")) {
		t.Errorf("err = %v", err)
	}
	if _, err := Lookup("", "nosuchgroup"); !errors.Is(err, user.UnknownGroupError("nosuchgroup")) {
		t.Errorf("err = %v", err)
	}
}

func TestCanWrite(t *testing.T) {
	dir := t.TempDir()
	uid, gid := os.Getuid(), os.Getgid()
	const stranger = 4711
	for _, c := range []struct {
		mode os.FileMode
		who  Account
		ok   bool
	}{
		{0o000, Account{UID: 0}, true},
		{0o300, Account{UID: uid, GID: stranger}, true},
		{0o200, Account{UID: stranger, GID: stranger}, false},
		{0o030, Account{UID: stranger, GID: gid}, true},
		{0o010, Account{UID: stranger, GID: gid}, false},
		{0o707, Account{UID: stranger, GID: gid}, false}, // the group's bits count for a member, whatever others may
		{0o030, Account{UID: stranger, GID: stranger, Groups: []int{gid}}, true},
		{0o003, Account{UID: stranger, GID: stranger}, true},
		{0o770, Account{UID: stranger, GID: stranger}, false},
	} {
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := c.who.CanWrite(dir); (err == nil) != c.ok {
			t.Errorf("mode %04o, %+v: %v", c.mode, c.who, err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Account{}).CanWrite(dir + "/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if err := (Account{}).CanWrite("/etc/passwd"); err == nil {
		t.Error("a file passes for a directory")
	}
}

package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if Exists(path) {
		t.Error("there is nothing yet")
	}
	for _, text := range []string{"long and old", "new"} {
		if err := Replace(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v; want %q", got, err, text)
		}
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != 0o640 || !Exists(path) {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if os.Geteuid() == 0 { // the owner stays
		if err := os.Chown(path, 1234, 1235); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceLike(path, nil); err != nil {
			t.Fatal(err)
		}
		if err := checkLike(path, 1234, 1235, 0o640); err != nil {
			t.Error(err)
		}
		if err := Replace(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkLike(path, 0, uint32(os.Getegid()), 0o600); err != nil {
			t.Error(err)
		}
	}
	if err := Replace(filepath.Join(dir, "no", "f"), nil, 0o600); err == nil {
		t.Error("wrote into a directory that is not there")
	}
	if err := ReplaceLike(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("nothing is there that it could be like")
	}
	if err := Replace(dir, nil, 0o600); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func checkLike(path string, uid, gid uint32, mode fs.FileMode) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid || fi.Mode() != mode {
		return fmt.Errorf("owner %d, group %d, mode %v", st.Uid, st.Gid, fi.Mode())
	}
	return nil
}

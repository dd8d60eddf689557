// Package files has what is done to files in more than one place.
package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Exists says that there is such a file or directory, or what a link leads to.
func Exists(path string) bool { _, err := os.Stat(path); return err == nil }

// Replace gives a file another content in one step, so that no reader sees half of it, and no power cut leaves half of it:
// it is on the disk when this returns. The file is ours then; a link to another one is replaced.
func Replace(path string, text []byte, mode fs.FileMode) error {
	return replace(path, text, func(f *os.File) error { return f.Chmod(mode) })
}

// ReplaceLike is Replace that keeps the mode, owner and group of the file that is there.
func ReplaceLike(path string, text []byte) error {
	return replace(path, text, func(f *os.File) error {
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		return errors.Join(f.Chown(int(st.Uid), int(st.Gid)), f.Chmod(fi.Mode()))
	})
}

func replace(path string, text []byte, dress func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, dress(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir has what was made, renamed and removed in a directory on the disk when it returns.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

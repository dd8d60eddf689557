package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// roots are where control groups of systemd may be mounted: version 2 alone, both, version 1 alone.
var roots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}

// Group is the directory of the unit's control group, "" while it has none, so that no process is in it.
func Group(unit string) string { return groupIn(roots, unit) }

func groupIn(roots []string, unit string) string {
	parents := []string{"system.slice"}
	if prefix, _, ok := strings.Cut(unit, "@"); ok {
		parents = append(parents, "system.slice/system-"+strings.ReplaceAll(prefix, "-", `\x2d`)+".slice")
	}
	for _, root := range roots {
		for _, slice := range parents {
			if dir := filepath.Join(root, slice, unit); isDir(dir) {
				return dir
			}
		}
	}
	// Slice= may name any other.
	for _, root := range roots {
		for _, depth := range []string{"*.slice", "*.slice/*.slice", "*.slice/*.slice/*.slice"} {
			if found, _ := filepath.Glob(filepath.Join(root, depth, unit)); len(found) > 0 {
				return found[0]
			}
		}
	}
	return ""
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// Processes are the pids in the unit's control group and those below it, in ascending order.
func Processes(unit string) ([]int, error) {
	group := Group(unit)
	if group == "" {
		return nil, nil
	}
	var pids []int
	err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it ends while we look
			}
			return err
		}
		list, err := readPids(filepath.Join(path, "cgroup.procs"))
		pids = append(pids, list...)
		return err
	})
	slices.Sort(pids)
	return pids, err
}

func readPids(path string) ([]int, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) { // ENODEV: it was removed after it was opened
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no pid", path, field)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// FirstPID reads the first pid of a cgroup.procs: for most services the main process, for others a hint gone wrong.
func FirstPID(path string) (int, error) {
	pids, err := readPids(path)
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, fmt.Errorf("%s names no process", path)
	}
	return slices.Min(pids), nil
}

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// All is the conjunction of tests; the first one that says no, or cannot tell, decides.
func All(tests ...Test) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		for _, test := range tests {
			if ours, err := test(ctx, p); !ours || err != nil {
				return false, err
			}
		}
		return true, nil
	}
}

// Any is the disjunction of tests: the first one that says yes decides. Without a yes, a test that cannot tell
// makes the whole undecided.
func Any(tests ...Test) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		var errs []error
		for _, test := range tests {
			ours, err := test(ctx, p)
			if ours && err == nil {
				return true, nil
			}
			errs = append(errs, err)
		}
		return false, errors.Join(errs...)
	}
}

// Script matches an interpreter (sh, python3) that runs a script with one of these base names: its first argument
// that is no option, or the first word of a title the service gave itself ("neutron-server: rpc worker"). Where
// Python's setproctitle has but read the title, the whole command line is one argument, joined by spaces.
func Script(names ...string) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return false, err
		}
		if len(args) == 0 {
			return false, nil
		}
		title := strings.FieldsFunc(args[0], func(r rune) bool { return r == ' ' || r == ':' })
		if len(title) > 0 && slices.Contains(names, filepath.Base(title[0])) {
			return true, nil
		}
		if len(args) == 1 {
			args = strings.Fields(args[0])
		}
		for _, arg := range args[min(1, len(args)):] {
			if !strings.HasPrefix(arg, "-") {
				return slices.Contains(names, filepath.Base(arg)), nil
			}
		}
		return false, nil
	}
}

// Names matches a command line that gives the option this path, as "-f PATH", "--file PATH" or "--file=PATH"; a
// relative one counts from the process's working directory.
func Names(option, path string) Test {
	path = filepath.Clean(path)
	return func(ctx context.Context, p *Process) (bool, error) {
		args, err := p.Cmdline(ctx)
		if err != nil {
			return false, err
		}
		for i, arg := range args {
			value, ok := strings.CutPrefix(arg, option+"=")
			if arg == option && i+1 < len(args) {
				value, ok = args[i+1], true
			}
			if !ok {
				continue
			}
			if !filepath.IsAbs(value) {
				cwd, err := p.WorkDir()
				if err != nil {
					return false, err
				}
				value = filepath.Join(cwd, value)
			}
			if filepath.Clean(value) == path {
				return true, nil
			}
		}
		return false, nil
	}
}

// manyFiles is how many open files are looked at closely; a server opens the telling ones first.
const manyFiles = 64

// settling is the time a daemon may take from exec to having changed to its data directory.
const settling = time.Second

// UsesDir matches a process that works on the data directory dir: that is its working directory, or it has
// files open below, or says so with one of the options on its command line ("datadir" for --datadir=DIR).
//
// It asks the storage nothing unless it has to, so that it recognises a daemon whose data directory was deleted,
// unmounted (umount -l) or does not answer. When neither names nor inodes tell, the error says why:
//   - the process has files open on a file system that is no longer mounted, and no option names its directory;
//   - the storage does not answer when it must be asked whether two names are the same directory;
//   - the process hangs in the kernel and has nothing open yet (one that has just started is given a second);
//   - it runs in another mount namespace, where the same name may be another directory. In another pid
//     namespace too (a container) only the same device and inode count, and anything else is a no.
func UsesDir(dir string, options ...string) Test {
	dir = filepath.Clean(dir)
	return func(ctx context.Context, p *Process) (bool, error) {
		var waits string // what it waits for
		var since time.Time
		for began := time.Now(); ; {
			ours, err := usesDir(ctx, p, dir, options)
			switch {
			case errors.Is(err, errWaits):
				// Any process waits so for a moment, as for a page of its program. Only one that does not come out of it is stuck.
				if now := p.switches(); now != waits || since.IsZero() {
					waits, since = now, time.Now()
				}
				if time.Since(since) > settling || time.Since(began) > 5*settling {
					return false, err
				}
			case !errors.Is(err, errUnsettled):
				return ours, err
			}
			select {
			case <-ctx.Done():
				return false, err
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func usesDir(ctx context.Context, p *Process, dir string, options []string) (bool, error) {
	dirs := []string{dir}
	cwd, cerr := p.WorkDir()
	foreign, err := p.foreign("mnt")
	if err = cmp.Or(cerr, err); err != nil {
		return false, err
	}
	if !foreign && isDir(cwd, dirs) {
		return true, nil // by far the most frequent case, so nothing else is read before
	}
	dirs = namesOf(ctx, dir)
	if !foreign && isDir(cwd, dirs) {
		return true, nil
	}

	shows, elsewhere, serr := saysDir(ctx, p, dirs, options)
	files, err := p.Files()
	if err = cmp.Or(serr, err); err != nil {
		return false, err
	}
	shows = shows || isDir(cwd, dirs) || isBelow(slices.Collect(maps.Values(files)), dirs)
	if shows && !foreign {
		return true, nil
	}

	var lost bool
	same, err := bounded(ctx, "the storage of "+dir+" or of the process", func() (bool, error) {
		lost = !foreign && p.lost(cwd)
		return p.inDir(dir, files), nil
	})
	if same && err == nil {
		return true, nil
	}
	if foreign {
		if container, err := p.foreign("pid"); container || err != nil {
			return false, err
		}
		if shows {
			return false, fmt.Errorf("it works on a %s in another mount namespace, which is not this node's", dir)
		}
	}
	switch {
	case elsewhere:
		return false, nil
	case err != nil:
		return false, err
	}
	return false, p.adrift(lost, cwd, files, dir)
}

// adrift is why a process that shows nothing of the directory may work on it all the same; nil if it surely does not.
func (p *Process) adrift(lost bool, cwd string, files map[int]string, dir string) error {
	if lost {
		return fmt.Errorf("its working directory %s is on a file system that is no longer mounted, perhaps what was mounted on %s", cwd, dir)
	}
	if link, ok := p.detached(files); ok {
		return fmt.Errorf("it has %s open on a file system that is no longer mounted, perhaps what was mounted on %s", link, dir)
	}
	return p.unsettled(files)
}

// namesOf are the names of a directory: as given, and with its links followed.
func namesOf(ctx context.Context, dir string) []string {
	real, err := bounded(ctx, dir, func() (string, error) { return filepath.EvalSymlinks(dir) })
	if err != nil || real == dir {
		return []string{dir}
	}
	return []string{dir, real}
}

// isDir says whether the link text names one of the folders, be it a deleted one.
func isDir(link string, dirs []string) bool {
	return slices.Contains(dirs, link) || slices.Contains(dirs, strings.TrimSuffix(link, " (deleted)"))
}

// isBelow says whether any of the link texts names something in one of the folders.
func isBelow(links, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		below := strings.TrimSuffix(dir, "/") + "/"
		return slices.ContainsFunc(links, func(link string) bool { return strings.HasPrefix(link, below) })
	})
}

// saysDir looks for the options on the command line: here says that one names one of the folders, elsewhere that
// one names another. As with getopt the last one counts, and - and _ are the same.
func saysDir(ctx context.Context, p *Process, dirs, options []string) (here, elsewhere bool, _ error) {
	if len(options) == 0 {
		return false, false, nil
	}
	args, err := p.Cmdline(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, false, nil // stuck; its files may tell
	}
	if err != nil {
		return false, false, err
	}
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		name = strings.ReplaceAll(name, "_", "-")
		if !slices.ContainsFunc(options, func(o string) bool { return name == "--"+strings.ReplaceAll(o, "_", "-") }) {
			continue
		}
		if !ok {
			if i+1 == len(args) {
				break
			}
			value = args[i+1]
		}
		if filepath.IsAbs(value) {
			here = slices.Contains(dirs, filepath.Clean(value))
			elsewhere = !here
		}
	}
	return here, elsewhere, nil
}

// foreign says whether the process is in another namespace of this kind than we are.
func (p *Process) foreign(kind string) (bool, error) {
	if p.fixture {
		return false, nil
	}
	theirs, err := os.Readlink(p.task + "/ns/" + kind)
	if err != nil {
		return false, p.failed("ns/"+kind, err)
	}
	ours, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		return false, fmt.Errorf("cannot read our own namespace: %w", err)
	}
	return theirs != ours, nil
}

// inDir compares by device and inode: the working directory with dir, and open files with those of the same
// name directly in dir. It may hang with the storage.
func (p *Process) inDir(dir string, files map[int]string) bool {
	if sameFile(p.task+"/cwd", dir) {
		return true
	}
	return slices.ContainsFunc(firstFiles(files), func(fd int) bool {
		name := filepath.Base(strings.TrimSuffix(files[fd], " (deleted)"))
		return sameFile(filepath.Join(dir, name), fmt.Sprintf("%s/fd/%d", p.task, fd))
	})
}

// lost says that the working directory is not where its name says, so on a file system that was unmounted, or
// mounted over. It may hang with the storage.
func (p *Process) lost(cwd string) bool {
	if strings.HasSuffix(cwd, " (deleted)") {
		return false
	}
	theirs, err := os.Stat(p.task + "/cwd")
	if err != nil {
		return false
	}
	named, err := os.Stat(cwd)
	return err != nil || !os.SameFile(theirs, named)
}

// firstFiles are the descriptors of the first files on real file systems.
func firstFiles(files map[int]string) []int {
	fds := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(fd int) bool { return !isFile(files[fd]) })
	return fds[:min(len(fds), manyFiles)]
}

// isFile leaves out sockets, pipes, devices and files on file systems internal to the kernel (memfd and such).
func isFile(link string) bool {
	if !strings.HasPrefix(link, "/") {
		return false
	}
	for _, prefix := range []string{"/dev/", "/proc/", "/sys/", "/memfd:", "/anon_hugepage", "/dmabuf", "/SYSV", "/["} {
		if strings.HasPrefix(link, prefix) {
			return false
		}
	}
	return true
}

// detached names a file that the process has open on a mount that is in no mount table any more.
// It reads /proc only, never the storage.
func (p *Process) detached(files map[int]string) (string, bool) {
	table, err := readProc(p.task + "/mountinfo")
	if err != nil {
		return "", false
	}
	mounted := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		id, _, _ := strings.Cut(line, " ")
		mounted[id] = true
	}
	for _, fd := range firstFiles(files) {
		if id := p.mountOf(fd); id != "" && !mounted[id] {
			return files[fd], true
		}
	}
	return "", false
}

// mountOf is the ID of the mount that a file is on which the process has open, "" if that cannot be told.
func (p *Process) mountOf(fd int) string {
	info, err := readProc(fmt.Sprintf("%s/fdinfo/%d", p.task, fd))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

// MountsBelow are the IDs of the mounts that the process's open files are on whose names are below dir. It reads /proc only, never the
// storage.
func (p *Process) MountsBelow(dir string) (ids []int) {
	files, _ := p.Files()
	for _, fd := range firstFiles(files) {
		if id, err := strconv.Atoi(p.mountOf(fd)); err == nil && isBelow([]string{files[fd]}, []string{dir}) {
			ids = append(ids, id)
		}
	}
	return ids
}

var (
	errUnsettled = errors.New("it has just started and has no file open yet")
	errWaits     = errors.New("and has no file open")
)

// unsettled is an error if the process may not have got as far as opening its data: it has no file open, and is
// brand new (errUnsettled) or waits in the kernel (errWaits).
func (p *Process) unsettled(files map[int]string) error {
	for fd := range files {
		if fd > 2 && isFile(files[fd]) {
			return nil
		}
	}
	st, err := p.Stat()
	if err != nil {
		return err
	}
	age, err := p.Age()
	if err != nil {
		return err
	}
	switch {
	case st.State == 'D':
		return fmt.Errorf("it is stuck in the kernel (%s) %w", p.WChan(), errWaits)
	case age < settling:
		return errUnsettled
	}
	return nil
}

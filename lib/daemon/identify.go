package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/sockets"
)

// HasOption matches a process whose command line gives one of the options ("-p", "--port") that value, in any of the
// forms of getopt: "-p 11211", "-p11211", "--port 11211", "--port=11211". In a container it means another.
// One that writes a title over its command line (Redis) is matched until it has; join Listens to it by Any.
func HasOption(value string, options ...string) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		if container, err := p.foreign("pid"); container || err != nil {
			return false, err
		}
		args, err := p.Cmdline(ctx)
		return hasOption(args, value, options), err
	}
}

func hasOption(args []string, value string, options []string) bool {
	for i := 1; i < len(args); i++ {
		for _, o := range options {
			joined := o + value
			if strings.HasPrefix(o, "--") {
				joined = o + "=" + value
			}
			if args[i] == joined || args[i-1] == o && args[i] == value {
				return true
			}
		}
	}
	return false
}

// Listens matches a process that listens on this node's TCP port, on whatever address: it has that socket itself.
func Listens(port uint16) Test {
	return func(_ context.Context, p *Process) (bool, error) {
		if elsewhere, err := p.foreign("net"); elsewhere || err != nil {
			return false, err
		}
		list, err := sockets.Of(p.PID, sockets.Listen)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil // it has ended
		}
		return slices.ContainsFunc(list, func(s sockets.Socket) bool { return s.Local.Port() == port }), err
	}
}

// ListensOn matches a process that has a TCP socket which listens on one of the addresses, or keeps another from it:
// the unspecified address is all of them.
func ListensOn(addresses ...netip.AddrPort) Test {
	return func(_ context.Context, p *Process) (bool, error) {
		if elsewhere, err := p.foreign("net"); elsewhere || err != nil {
			return false, err
		}
		list, err := sockets.Of(p.PID, sockets.Listen)
		if err != nil && !p.Alive() {
			return false, nil
		}
		return slices.ContainsFunc(list, func(s sockets.Socket) bool {
			return slices.ContainsFunc(addresses, func(a netip.AddrPort) bool {
				at, ours := s.Local.Addr().Unmap(), a.Addr().Unmap()
				return s.Local.Port() == a.Port() && (at == ours || at.IsUnspecified() || ours.IsUnspecified())
			})
		}), err
	}
}

// ListensOnUnix matches a process that listens on a unix socket of one of the names, be its file deleted; "@NAME" is
// an abstract one.
func ListensOnUnix(paths ...string) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		if elsewhere, err := p.foreign("net"); elsewhere || err != nil {
			return false, err
		}
		if elsewhere, err := p.foreign("mnt"); err != nil || elsewhere && !sameFile(p.task+"/root", "/") { // a unit's sandbox has our root
			return false, err
		}
		bound, err := sockets.Unix(p.PID)
		if err != nil && !p.Alive() {
			return false, nil
		}
		if len(bound) == 0 {
			return false, err
		}
		wanted := slices.Clone(paths)
		for _, path := range paths {
			if real, err := bounded(ctx, path, func() (string, error) { return filepath.EvalSymlinks(filepath.Dir(path)) }); err == nil {
				wanted = append(wanted, filepath.Join(real, filepath.Base(path)))
			}
		}
		return slices.ContainsFunc(bound, func(s string) bool { return slices.Contains(wanted, s) }), err
	}
}

// Claim is what makes a process of this kind ours or a doubt, whatever the Test says: it was started with our
// configuration, or has our socket. An error of its Test is no doubt.
type Claim struct {
	Says    string // completes "it ...": "has our address 192.0.2.1:5672"
	Test    Test
	Ours    bool                                   // it is ours then, without a doubt: for a stop, which must not leave it
	Differs func(context.Context, *Process) string // completes "but ...": "works in /srv/old"; may be nil
}

// StartedBy matches a process that was started with the configuration file config, by its option or, where standard is
// true, by none: ours is what it then reads. One with any of the options in but (the data directory, say) does not
// go by the file in what tells one from another, and is no match.
func StartedBy(option, config string, standard bool, but ...string) Test {
	names := Names(option, config)
	return func(ctx context.Context, p *Process) (bool, error) {
		if container, err := p.foreign("pid"); container || err != nil {
			return false, err
		}
		args, err := p.Cmdline(ctx)
		if err != nil || len(args) == 0 || slices.ContainsFunc(args[1:], func(arg string) bool {
			name, _, _ := strings.Cut(arg, "=")
			return slices.Contains(but, name)
		}) {
			return false, err
		}
		if standard && !slices.ContainsFunc(args[1:], func(arg string) bool { return arg == option || strings.HasPrefix(arg, option+"=") }) {
			return true, nil
		}
		return names(ctx, p)
	}
}

// NamedBy matches the process that the pid file names, if the file was written since that was started: an older one
// names another process that had the pid before.
func NamedBy(pidfile string) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		return bounded(ctx, pidfile, func() (bool, error) {
			info, err := os.Stat(pidfile)
			if err != nil {
				return false, err
			}
			pid, err := ReadPID(pidfile)
			if err != nil || pid != p.PID {
				return false, err
			}
			age, err := p.Age()
			return err == nil && time.Since(info.ModTime()) < age, err
		})
	}
}

// WorksIn says in which directory a process works, for Claim.Differs.
func WorksIn(_ context.Context, p *Process) string {
	dir, err := p.WorkDir()
	if err != nil {
		return "where it works cannot be told"
	}
	return "works in " + dir
}

// HoldsFile matches a process that has the file open, by its name or, where that was changed, by its inode.
func HoldsFile(path string) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		files, err := p.Files()
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(slices.Collect(maps.Values(files)), func(link string) bool { return isDir(link, []string{path}) }) {
			return true, nil
		}
		return bounded(ctx, path, func() (bool, error) {
			return slices.ContainsFunc(firstFiles(files), func(fd int) bool {
				return sameFile(path, fmt.Sprintf("%s/fd/%d", p.task, fd))
			}), nil
		})
	}
}

// OnNode matches a process that runs as we do, and not in a container, where the same paths name other files.
func OnNode(_ context.Context, p *Process) (bool, error) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.PID))
	if err != nil {
		return false, err
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return theirs == ours, err
}

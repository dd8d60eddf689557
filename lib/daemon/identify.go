package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/sockets"
)

// HasOption matches a process whose command line gives one of the options ("-p", "--port") that value, in any of the
// forms of getopt: "-p 11211", "-p11211", "--port 11211", "--port=11211". In a container it means another.
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

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// identity says which processes are ours: those started with our pid file or our
// configuration, be it with more files, or less: two may have one file in common,
// and each its own. Nodes of a cloud run others: neutron's metadata proxies and
// octavia's, and those in containers.
func (a *agent) identity(s settings) daemon.Identity {
	exes := []string{"haproxy"}
	if filepath.Base(a.binary) != "haproxy" {
		exes = append(exes, a.binary)
	}
	return daemon.Identity{
		Name: "HAProxy", Executables: exes, Kind: serving,
		Test: daemon.All(
			daemon.Any(func(ctx context.Context, p *daemon.Process) (bool, error) { return s.runs(ctx, p) }, daemon.Names("-p", s.pid)),
			func(ctx context.Context, p *daemon.Process) (bool, error) { return here(ctx, p, s.config[0]) },
		),
		Claims: claims(s),
	}
}

// claims are why one with other files may be ours: it listens where ours would, or on the sockets that ours has for
// its operators.
func claims(s settings) []daemon.Claim {
	c := s.setup()
	var at []netip.AddrPort
	for _, b := range c.Binds {
		for port := int(b.Low); port <= int(b.High) && !b.Elsewhere; port++ {
			at = append(at, netip.AddrPortFrom(b.Address, uint16(port)))
		}
	}
	return []daemon.Claim{
		{Says: "has our address", Test: daemon.ListensOn(at...), Differs: startedWith},
		{Says: "has our stats socket", Test: daemon.ListensOnUnix(append([]string{s.master, s.worker, s.former.master, s.former.worker}, c.Sockets...)...), Differs: startedWith},
	}
}

// startedWith says what tells a process from ours.
func startedWith(ctx context.Context, p *daemon.Process) string {
	args, err := p.Cmdline(ctx)
	if err != nil {
		return "its command line cannot be read"
	}
	return fmt.Sprintf("was started with -f %s -p %s", strings.Join(values(args, "-f"), " -f "), strings.Join(values(args, "-p"), ""))
}

// runs is the test for a process with our configuration.
func (s settings) runs(ctx context.Context, p *daemon.Process) (bool, error) {
	args, err := p.Cmdline(ctx)
	if err != nil {
		return false, err
	}
	cwd, err := p.WorkDir()
	if err != nil {
		return false, err
	}
	theirs := without(given(args, cwd), []string{s.extra, s.former.extra})
	return len(theirs) > 0 && (len(without(theirs, s.config)) == 0 || len(without(s.config, theirs)) == 0), nil
}

// program is the base name of what a process runs, "" if that cannot be told.
func program(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(exe), " (deleted)")
}

// without is what of list is not among others.
func without(list, others []string) (rest []string) {
	for _, x := range list {
		if !slices.Contains(others, x) {
			rest = append(rest, x)
		}
	}
	return rest
}

// serving leaves out one that checks a configuration, and ends.
func serving(ctx context.Context, p *daemon.Process) (bool, error) {
	args, err := p.Cmdline(ctx)
	return err == nil && !slices.Contains(args, "-c"), err
}

// here tells whether the process means the same files by the same names as we.
// One in another mount namespace does if it is in no container: units with
// PrivateTmp or BindReadOnlyPaths have one of their own.
func here(ctx context.Context, p *daemon.Process, config string) (bool, error) {
	if ours, err := daemon.OnNode(ctx, p); ours || err != nil {
		return ours, err
	}
	x, xerr := os.Stat(fmt.Sprintf("/proc/%d/root%s", p.PID, config))
	y, yerr := os.Stat(config)
	return xerr == nil && yerr == nil && os.SameFile(x, y), nil
}

// values are the arguments that follow an option.
func values(args []string, option string) []string {
	var list []string
	for i := 1; i+1 < len(args); i++ {
		if args[i] == option {
			list = append(list, args[i+1])
		}
	}
	return list
}

// instance is one HAProxy: a master with its workers, or one process without a master.
type instance struct {
	head    *daemon.Process   // the master, or the one process
	workers []*daemon.Process // the master's, also those that only finish old connections
	args    []string          // of head
	worker  string            // the socket of its worker that this agent gave it, "" if it did not start it
	setup                     // what head was started with, as it is now
}

func (in *instance) String() string { return in.head.String() }

// ending is why something of the process cannot be read: it may be that it is ending, as an old master does after a takeover. Its memory
// is gone first then, and its working directory.
func (in *instance) ending(ctx context.Context, err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		soon, cancel := context.WithTimeout(ctx, min(5*time.Second, service.Remaining(ctx)/2))
		defer cancel()
		if in.head.Wait(soon) == nil {
			return os.ErrProcessDone
		}
	}
	return err
}

// look reads what the process was started with: its own files in its own environment.
func (in *instance) look(ctx context.Context, s settings) error {
	args, err := in.head.Cmdline(ctx)
	if err != nil {
		return err
	}
	cwd, err := in.head.WorkDir()
	if err != nil {
		return in.ending(ctx, err)
	}
	env, err := in.head.Environ(ctx)
	if err != nil {
		return in.ending(ctx, err)
	}
	files := given(args, cwd)
	in.args = args
	for _, x := range []added{s.former, s.added} {
		if slices.Contains(files, x.extra) {
			in.worker = x.worker
		}
	}
	in.setup = read(env, without(files, []string{s.extra, s.former.extra})...)
	return nil
}

// mastered tells whether it runs in master-worker mode.
func (in *instance) mastered() bool {
	return len(in.workers) > 0 || slices.Contains(in.args, "-W") || slices.Contains(in.args, "-Ws")
}

func (in *instance) processes() []*daemon.Process {
	return append([]*daemon.Process{in.head}, in.workers...)
}

// process is the one with this pid, or nil.
func (in *instance) process(pid int) *daemon.Process {
	for _, p := range in.processes() {
		if p.PID == pid {
			return p
		}
	}
	return nil
}

// api is the master's CLI.
func (in *instance) api() (haproxy.API, bool) {
	v := values(in.args, "-S")
	if len(v) == 0 {
		return haproxy.API{}, false
	}
	address, _, _ := strings.Cut(v[len(v)-1], ",")
	return haproxy.API{Address: strings.TrimPrefix(address, "unix@")}, true
}

// instances are all of ours on this node, the oldest first. There is more than
// one while a predecessor finishes its connections, or by mistake.
type instances []*instance

func (list instances) Close() {
	for _, in := range list {
		for _, p := range in.processes() {
			_ = p.Close()
		}
	}
}

// release closes all, once r is done with them.
func (list instances) release(r *ocf.Request) {
	for _, in := range list {
		for _, p := range in.processes() {
			r.Release(p)
		}
	}
}

// current is the one to look at; nil if there is none.
func (list instances) current() *instance {
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// find looks for ours, and waits while that is in doubt: a master that executes itself anew, for a reload, has no command
// line for a moment, and holds our sockets all the while. The error carries the exit code of a monitor.
func (a *agent) find(ctx context.Context, s settings) (instances, error) {
	until := time.Now().Add(min(settling, service.Remaining(ctx)/4))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := a.findNow(ctx, s)
		inDoubt := errors.As(err, new(*daemon.DoubtError)) || errors.Is(err, errChanged)
		if !inDoubt || time.Now().After(until) {
			return list, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (a *agent) findNow(ctx context.Context, s settings) (instances, error) {
	all, err := a.identity(s).FindAll(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission):
		err = ocf.Errorf(ocf.Permission, "cannot look at all processes of this node, so that nothing can be said of HAProxy: run as root: %w", err)
	case err != nil:
		err = ocf.Errorf(ocf.Generic, "cannot tell whether HAProxy runs: %w", err)
	}
	var list instances
	parents := map[int]int{}
	for _, p := range all {
		if st, serr := p.Stat(); serr == nil {
			parents[p.PID] = st.PPID
		}
	}
	for _, p := range all {
		parent, alive := parents[p.PID]
		if _, child := parents[parent]; !alive || child {
			continue
		}
		// While a master executes itself anew, it has no command line to be known by.
		if exe := program(parent); exe != "" && exe == program(p.PID) && err == nil {
			err = ocf.Errorf(ocf.Generic, "the parent of %s is an HAProxy that cannot be told from others: %w", p, errChanged)
		}
		in := &instance{head: p}
		if aerr := in.look(ctx, s); aerr != nil {
			if !errors.Is(aerr, os.ErrProcessDone) && err == nil {
				err = ocf.Errorf(ocf.Generic, "%w", aerr)
			}
			delete(parents, p.PID)
			continue
		}
		for _, w := range all {
			if parents[w.PID] == p.PID {
				in.workers = append(in.workers, w)
			}
		}
		list = append(list, in)
	}
	if err != nil {
		list.Close()
		return nil, err
	}
	return list, nil
}

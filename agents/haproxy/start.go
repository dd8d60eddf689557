package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/ocf"
)

// begin is what start and reload begin with; no other start, stop or reload runs until release is called.
func (a *agent) begin(ctx context.Context, r *ocf.Request) (s settings, program string, release func(), err error) {
	s = a.settings()
	if program, err = a.program(r); err != nil {
		return s, "", nil, err
	}
	r.Step("waiting for another start, stop or reload of HAProxy")
	release, err = a.service(s).Lock(ctx, r)
	return s, program, release, err
}

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	s, program, release, err := a.begin(ctx, r)
	if err != nil {
		return err
	}
	defer release()
	if running, err := a.await(ctx, r, s); running || err != nil {
		return err
	}
	if err := a.check(ctx, r, s, program); err != nil {
		return err
	}
	if err := bindable(s, nil); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return a.launch(ctx, r, s, program, nil)
}

// await waits for an HAProxy that runs already, until it serves. It returns
// false if there is none, or none any more.
func (a *agent) await(ctx context.Context, r *ocf.Request, s settings) (running bool, _ error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r.Step("looking for HAProxy's processes")
		list, err := a.find(ctx, s)
		if err != nil {
			return false, err
		}
		if len(list) == 0 {
			return false, nil
		}
		r.Step("waiting for %s, which runs already, to serve", list.current())
		err = a.health(ctx, r, s, list)
		list.Close()
		if err == nil || ocf.CodeOf(err) == ocf.Degraded {
			return true, nil
		}
		if errors.Is(err, errFrozen) {
			return true, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return true, err
		}
	}
}

// prepare makes the directories that HAProxy needs but does not make, and the
// file with its stats socket.
func (a *agent) prepare(s settings) error {
	if err := errors.Join(os.MkdirAll(filepath.Dir(s.dir), 0o755), os.MkdirAll(s.dir, 0o700)); err != nil {
		return ocf.Errorf(ocf.Permission, "%w", err)
	}
	// expose-fd lets another HAProxy take over the listening sockets (-x).
	text := fmt.Sprintf("# Written by ocf:openstack:haproxy.\nglobal\n    stats socket %s mode 600 level admin expose-fd listeners\n", s.worker)
	if err := os.WriteFile(s.extra, []byte(text), 0o600); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	for _, socket := range s.Sockets {
		dir := filepath.Dir(socket)
		if !filepath.IsAbs(socket) || exists(dir) == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return ocf.Errorf(ocf.Args, "directory %s of the stats socket is missing and cannot be made: %w", dir, err)
		}
		if account, err := daemon.Lookup(s.User, s.Group); err == nil {
			_ = os.Chown(dir, account.UID, account.GID)
		}
	}
	return nil
}

// check has HAProxy check its configuration, and looks at what HAProxy would
// find out too late: on a reload, its old worker is gone by then.
func (a *agent) check(ctx context.Context, r *ocf.Request, s settings, program string) error {
	if s.unreadable != nil {
		return ocf.Errorf(ocf.Args, "the configuration cannot be read: %w", s.unreadable)
	}
	if err := a.prepare(s); err != nil {
		return err
	}
	r.Step("having HAProxy check %s", s.config)
	out := filepath.Join(s.dir, "check.out")
	defer os.Remove(out)
	args := slices.Concat([]string{"-c"}, s.files(), a.additional)
	if err := daemon.Run(ctx, daemon.Command{Path: program, Args: args, Output: out, Log: r.Log}); err != nil {
		if words := alerts(out); words != "" {
			return ocf.Errorf(ocf.Args, "haproxy -c: %s", words)
		}
		return ocf.Errorf(ocf.Generic, "HAProxy cannot check its configuration %s: %w", s.config, err)
	}
	if s.Chroot != "" {
		if fi, err := os.Stat(s.Chroot); err != nil || !fi.IsDir() {
			return ocf.Errorf(ocf.Args, "the chroot directory %s of %s is missing: make it, owned by root", s.Chroot, s.config)
		}
	}
	return nil
}

// alerts are what HAProxy said of its failure, its summaries left out.
func alerts(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	shorter := strings.NewReplacer("config : ", "", "parsing [", "", "] : ", ": ") // crm_mon shows 128 bytes
	var list []string
	for line := range strings.Lines(string(b)) {
		// [ALERT]    (291) : config : parsing [haproxy.cfg:13] : unknown keyword ...
		if text, ok := strings.CutPrefix(line, "[ALERT]"); ok && !strings.Contains(text, "rror(s) found") && !strings.Contains(text, "Fatal errors found") {
			_, text, _ = strings.Cut(text, " : ")
			list = append(list, shorter.Replace(strings.TrimSpace(text)))
		}
	}
	return some(list)
}

// launch starts HAProxy and waits until it serves. It takes over from the ones
// in old, which go on serving until then, and finish their connections.
func (a *agent) launch(ctx context.Context, r *ocf.Request, s settings, program string, old instances) error {
	args := a.args(s)
	former := map[int]bool{}
	for _, in := range old {
		for _, p := range in.processes() {
			former[p.PID] = true
		}
	}
	if in := old.current(); in != nil {
		if slices.Contains(values(in.args, "-f"), s.extra) && exists(s.worker) == nil {
			args = append(args, "-x", s.worker)
		}
		args = append(args, "-sf", fmt.Sprint(in.head.PID))
	}
	id := a.identity(s)
	id.Claims = nil // the former ones have what ours will have
	id.Test = daemon.All(id.Test, func(_ context.Context, p *daemon.Process) (bool, error) { return !former[p.PID], nil })
	out := filepath.Join(s.dir, "start.out") // what it says before it detaches
	_ = os.Remove(out)
	r.Step("waiting for HAProxy to serve")
	p, err := daemon.Start(ctx, daemon.Command{Name: "HAProxy", Path: program, Args: args, Output: out, Forks: &id, KillUnready: old != nil, Log: r.Log}, func(ctx context.Context) error {
		ctx, cancel := within(ctx)
		defer cancel()
		master := haproxy.API{Address: s.master}
		procs, err := master.Procs(ctx)
		if err != nil {
			return err
		}
		if former[procs.Master] {
			return errors.New("the new master does not answer yet")
		}
		return serves(ctx, master)
	})
	var died *daemon.DiedError
	if words := alerts(out); errors.As(err, &died) && words != "" {
		return ocf.Errorf(ocf.Generic, "HAProxy does not start: %s", words)
	}
	if err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return p.Close()
}

// serves is nil if the master's current worker answers and takes connections.
func serves(ctx context.Context, master haproxy.API) error {
	master.Worker = "@1"
	info, err := master.Info(ctx)
	if err == nil && info.Stopping {
		err = fmt.Errorf("the worker (pid %d) is stopping", info.PID)
	}
	return err
}

// reload brings a changed configuration, command line or binary into effect
// without a connection lost. Where that is refused and the old one goes on
// serving, it succeeds, and the monitor says degraded and why: Pacemaker would
// answer a failed reload with a restart, which is the outage that was avoided.
func (a *agent) reload(ctx context.Context, r *ocf.Request) error {
	refused := a.settings().refused
	err := a.tryReload(ctx, r)
	if !errors.Is(err, errGoesOn) {
		_ = os.Remove(refused)
		return err
	}
	r.Log.Error(err.Error())
	if werr := os.WriteFile(refused, []byte(err.Error()), 0o600); werr != nil {
		return fmt.Errorf("%w (and the monitor could not be told: %w)", err, werr)
	}
	return nil
}

// errGoesOn says that the old configuration goes on being served.
var errGoesOn = errors.New("not reloaded, the old configuration serves on")

func (a *agent) tryReload(ctx context.Context, r *ocf.Request) error {
	s, program, release, err := a.begin(ctx, r)
	if err != nil {
		return err
	}
	defer release()
	list, err := a.find(ctx, s)
	if err != nil {
		return err
	}
	defer list.Close()
	in := list.current()
	if in == nil {
		return ocf.Errorf(ocf.Generic, "no HAProxy with %s or %s runs on this node: there is nothing to reload", s.config, s.pid)
	}
	if err := frozen(in.head, "master"); err != nil {
		return err
	}
	if err := a.check(ctx, r, s, program); err != nil {
		return in.notReloaded(err)
	}
	if err := bindable(s, list); err != nil {
		return in.notReloaded(err)
	}
	if !a.inPlace(in, s, program) {
		if err := a.launch(ctx, r, s, program, list); err != nil {
			return in.notReloaded(err)
		}
		return nil
	}
	master, _ := in.api()
	if err := signal(ctx, r, in, master); err != nil {
		return in.notReloaded(err)
	}
	return nil
}

// notReloaded says what became of the one that was to be reloaded.
func (in *instance) notReloaded(err error) error {
	if takesConnections(in) {
		return ocf.Errorf(ocf.Generic, "%w: %w (%s)", errGoesOn, err, in)
	}
	return ocf.Errorf(ocf.Generic, "the reload failed, and %s no longer serves: %w", in, err)
}

// inPlace tells whether the running master would do what we want by executing
// itself anew, which it does with its own command line.
func (a *agent) inPlace(in *instance, s settings, program string) bool {
	if _, ok := in.api(); !ok || !in.mastered() || filepath.IsAbs(in.args[0]) && in.args[0] != program {
		return false
	}
	if files := values(in.args, "-f"); !slices.Contains(files, s.extra) { // started by an init script or a unit
		return slices.Equal(files, []string{s.config}) && len(a.additional) == 0
	}
	return slices.Equal(withoutTakeover(in.args[1:]), a.args(s))
}

// withoutTakeover leaves out what is there for one start only: -sf PID..., -x SOCKET.
func withoutTakeover(args []string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-x":
			i++
		case "-sf", "-st":
			for i+1 < len(args) && strings.Trim(args[i+1], "0123456789") == "" {
				i++
			}
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}

// signal has the master reload, and waits for the new worker to serve.
func signal(ctx context.Context, r *ocf.Request, in *instance, master haproxy.API) error {
	r.Step("asking the master on %s before the reload", master)
	before, err := patiently(ctx, master.Procs)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return noAnswer(in.head, "master", err) // but a socket that was deleted comes back with the reload
	}
	fresh := func(pid int) bool { return in.process(pid) == nil }
	if err := in.head.Signal(unix.SIGUSR2); err != nil {
		return ocf.Errorf(ocf.Generic, "it cannot be told to reload: %w", err)
	}
	r.Step("waiting for the new worker of %s to serve", in)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		procs, err := func() (haproxy.Procs, error) {
			ctx, cancel := within(ctx)
			defer cancel()
			procs, err := master.Procs(ctx)
			if err == nil && slices.ContainsFunc(procs.Workers, fresh) {
				err = serves(ctx, master)
			}
			return procs, err
		}()
		switch {
		case err != nil || procs.Reloads <= before.Reloads:
		case !slices.ContainsFunc(procs.Workers, fresh):
			return ocf.Errorf(ocf.Generic, "HAProxy counts a failed reload: see its log")
		default:
			return nil
		}
		if !in.head.Alive() {
			return ocf.Errorf(ocf.Generic, "HAProxy ended, because its new worker did: see its log")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "its new worker does not serve yet: %w", errors.Join(ctx.Err(), err))
		}
	}
}

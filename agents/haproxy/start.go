package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// begin is what start and reload begin with; no other start, stop or reload runs until release is called.
func (a *agent) begin(ctx context.Context, r *ocf.Request) (s settings, program string, release func(), err error) {
	s = a.settings()
	if program, err = a.program(r); err != nil {
		return s, "", nil, err
	}
	r.Step("waiting for another start, stop or reload of HAProxy")
	release, err = a.service(r, s).Lock(ctx, r)
	return s, program, release, err
}

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	if a.unit != "" {
		return service.Of(a.daemon).Start(ctx, r)
	}
	s, program, release, err := a.begin(ctx, r)
	if err != nil {
		return err
	}
	defer release()
	if running, err := a.await(ctx, r, s); running || err != nil {
		return err
	}
	c := s.setup()
	if err := a.check(ctx, r, s, c, program); err != nil {
		return err
	}
	if err := bindable(c, nil); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return a.launch(ctx, r, s, c, program, nil)
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
func (a *agent) prepare(ctx context.Context, s settings, c setup) error {
	if err := os.MkdirAll(filepath.Dir(s.master), 0o755); err != nil {
		return ocf.Errorf(ocf.Permission, "%w", err)
	}
	// expose-fd lets another HAProxy take over the listening sockets (-x).
	text := fmt.Sprintf("# Written by ocf:openstack:haproxy.\nglobal\n    stats socket %s mode 600 level admin expose-fd listeners\n", s.worker)
	if err := os.WriteFile(s.extra, []byte(text), 0o600); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	for _, socket := range c.Sockets {
		dir := filepath.Dir(socket)
		if !filepath.IsAbs(socket) || exists(dir) == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return ocf.Errorf(ocf.BadArgument, "directory %s of the stats socket is missing and cannot be made: %w", dir, err)
		}
		if account, err := daemon.Lookup(c.User, c.Group); err == nil {
			_ = os.Chown(dir, account.UID, account.GID)
		}
		_ = daemon.Relabel(ctx, dir)
	}
	return nil
}

// check has HAProxy check its configuration, and looks at what HAProxy would
// find out too late: on a reload, its old worker is gone by then.
func (a *agent) check(ctx context.Context, r *ocf.Request, s settings, c setup, program string) error {
	if err := resolved(c); err != nil {
		return err
	}
	if err := newEnough(ctx, r, program); err != nil {
		return err
	}
	if err := a.prepare(ctx, s, c); err != nil {
		return err
	}
	return a.verify(ctx, r, c, program, s.out, s.options(c))
}

// verify has HAProxy check a configuration that the options name; out is a file for what it says.
func (a *agent) verify(ctx context.Context, r *ocf.Request, c setup, program, out string, options []string) error {
	r.Step("having HAProxy check %s", c)
	defer os.Remove(out)
	args := slices.Concat([]string{"-c"}, options, a.additional)
	if err := daemon.Run(ctx, daemon.Command{Path: program, Args: args, Env: c.env, Output: out, Log: r.Log}); err != nil {
		if words := alerts(out); words != "" {
			return ocf.Errorf(ocf.BadArgument, "haproxy -c: %s", words)
		}
		return ocf.Errorf(ocf.Generic, "HAProxy cannot check its configuration %s: %w", c, err)
	}
	if c.Chroot != "" {
		if fi, err := os.Stat(c.Chroot); err != nil || !fi.IsDir() {
			return ocf.Errorf(ocf.BadArgument, "the chroot directory %s of %s is missing: make it, owned by root", c.Chroot, c)
		}
	}
	return nil
}

// resolved refuses what cannot be read, and an address that depends on a variable without a value.
func resolved(c setup) error {
	if c.unreadable != nil {
		return ocf.Errorf(ocf.BadArgument, "the configuration cannot be read: %w", c.unreadable)
	}
	if len(c.Unset) == 0 {
		return nil
	}
	return ocf.Errorf(ocf.BadArgument, "not set in HAProxy's environment: %s: HAProxy would take any address; set it in the environment file of haproxy.service (/etc/default/haproxy, /etc/sysconfig/haproxy)", some(c.Unset))
}

// guard is what must be so for a start, by whomever: HAProxy itself tells it too late, or not.
func guard(c setup, running instances) error {
	if err := resolved(c); err != nil {
		return err
	}
	if err := bindable(c, running); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return nil
}

// newEnough tells whether HAProxy has the master's socket, which 1.9 brought.
func newEnough(ctx context.Context, r *ocf.Request, program string) error {
	r.Step("asking %s for its version", program)
	said, _, err := daemon.Ask(ctx, daemon.Command{Path: program, Args: []string{"-v"}})
	if err != nil {
		return ocf.Errorf(ocf.Generic, "%s does not tell its version: %w", program, err)
	}
	if v := version(string(said)); v != "" && older(v) {
		return ocf.Errorf(ocf.NotInstalled, "HAProxy %s is too old: the agent talks to the master's socket (-S), which 1.9 brought: install 1.9 or later", v)
	}
	return nil
}

// version is that of "HAProxy version 2.6.12-1 2023/12/16" and "HA-Proxy version 1.8.27-493ce0b 2020/11/06".
func version(said string) string {
	_, rest, _ := strings.Cut(said, "version ")
	v, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(v)
}

func older(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return n == 2 && (major < 1 || major == 1 && minor < 9)
}

// alerts are what HAProxy said of its failure in a file.
func alerts(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return complaints(string(b))
}

// complaints are what HAProxy said of its failure. Its summaries are left out, and what it says of backends: it dies of none.
func complaints(said string) string {
	shorter := strings.NewReplacer("config : ", "", "parsing [", "", "] : ", ": ") // crm_mon shows 128 bytes
	others := []string{"rror(s) found", "Fatal errors found", "exit-on-failure: killing", "has no server available"}
	var list []string
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "FATAL: ") { // a bug of its own, found by itself
			list = append(list, strings.TrimSpace(line))
		}
		// [ALERT]    (291) : config : parsing [haproxy.cfg:13] : unknown keyword ...
		if text, ok := strings.CutPrefix(line, "[ALERT]"); ok && !slices.ContainsFunc(others, func(s string) bool { return strings.Contains(text, s) }) {
			_, text, _ = strings.Cut(text, " : ")
			list = append(list, shorter.Replace(strings.TrimSpace(text)))
		}
	}
	return some(list)
}

// launch starts HAProxy and waits until it serves. It takes over from the ones
// in old, which go on serving until then, and finish their connections.
func (a *agent) launch(ctx context.Context, r *ocf.Request, s settings, c setup, program string, old instances) error {
	v := s.voice()
	defer v.close()
	args := a.args(s, c, v.mode())
	former := map[int]bool{}
	for _, in := range old {
		for _, p := range in.processes() {
			former[p.PID] = true
		}
	}
	if in := old.current(); in != nil {
		if in.worker != "" && exists(in.worker) == nil {
			args = append(args, "-x", in.worker)
		}
		args = append(args, "-sf", fmt.Sprint(in.head.PID))
	}
	id := a.identity(s)
	id.Claims = nil // the former ones have what ours will have
	id.Test = daemon.All(id.Test, func(_ context.Context, p *daemon.Process) (bool, error) { return !former[p.PID], nil })
	_ = os.Remove(s.out)
	r.Step("waiting for HAProxy to serve")
	command := v.direct(daemon.Command{Name: "HAProxy", Path: program, Args: args, Env: c.env, KillUnready: old != nil}, &id)
	p, err := service.Launch(ctx, r, func(context.Context) (daemon.Command, error) { return command, nil }, func(ctx context.Context) error {
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
		return takesOver(ctx, master)
	})
	var died *daemon.DiedError
	if errors.As(err, &died) && died.By == nil {
		if words := v.last(ctx); words != "" {
			return ocf.Errorf(ocf.Generic, "HAProxy does not start: %s", words)
		}
	}
	if err != nil {
		return err
	}
	s.former.remove() // of whom it took over from
	a.service(r, s).Began(r, p)
	return p.Close()
}

// takesOver is nil if the master's current worker answers and takes connections.
func takesOver(ctx context.Context, master haproxy.API) error {
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
		return ocf.Errorf(ocf.Generic, "no HAProxy with %s or %s runs on this node: there is nothing to reload", strings.Join(s.config, " "), s.pid)
	}
	if err := frozen(in.head, "master"); err != nil {
		return err
	}
	c, err := in.next(s)
	if err != nil {
		return in.notReloaded(err)
	}
	if err := a.check(ctx, r, s, c, program); err != nil {
		return in.notReloaded(err)
	}
	if err := bindable(c, list); err != nil {
		return in.notReloaded(err)
	}
	v := voice{name: s.name(), since: time.Now()}
	if a.inPlace(in, s, c, program) {
		err = a.signal(ctx, r, s, in, v)
	} else if err = a.launch(ctx, r, s, c, program, list); err == nil {
		err = a.settled(ctx, r, s, in, v)
	}
	if err != nil {
		return in.notReloaded(err)
	}
	return nil
}

// next is what shall run after a reload. One that this agent started gets what the parameters say by now. One that a
// unit started keeps its environment, and all its files: what the parameters do not name must not be lost.
func (in *instance) next(s settings) (setup, error) {
	if in.worker != "" {
		return s.setup(), nil
	}
	c := read(kept(in.env), in.setup.files...)
	added, lost := without(s.config, c.files), without(c.files, s.config)
	switch {
	case len(added) == 0:
		return c, nil
	case len(lost) == 0:
		return read(c.env, s.config...), nil
	}
	return c, fmt.Errorf("it was started with %s, which config does not name: set config='%s'", strings.Join(lost, " "), strings.Join(append(slices.Clone(c.files), added...), " "))
}

// kept is an environment without what HAProxy and systemd put there for one process.
func kept(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "HAPROXY_") || slices.Contains([]string{"NOTIFY_SOCKET", "MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"}, name)
	})
}

// notReloaded says what became of the one that was to be reloaded.
func (in *instance) notReloaded(err error) error {
	if takesConnections(in) {
		return ocf.Errorf(ocf.Generic, "%w: %w (%s)", errGoesOn, err, in)
	}
	return ocf.Errorf(ocf.Generic, "the reload failed, and %s no longer serves: %w", in, err)
}

// inPlace tells whether the running master would do what we want by executing
// itself anew, which it does with its own command line and environment.
func (a *agent) inPlace(in *instance, s settings, c setup, program string) bool {
	if !in.mastered() || filepath.IsAbs(in.args[0]) && in.args[0] != program {
		return false
	}
	if in.worker == "" {
		return slices.Equal(in.setup.files, c.files) && len(without(a.additional, in.args)) == 0
	}
	runs := withoutTakeover(in.args[1:])
	asNow := slices.Equal(runs, a.args(s, c, foreground)) || !streams() && slices.Equal(runs, a.args(s, c, detached))
	return asNow && len(without(c.env, in.env)) == 0
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

// signal has the master reload, and waits for the new worker to serve, and to go on doing so.
func (a *agent) signal(ctx context.Context, r *ocf.Request, s settings, in *instance, v voice) error {
	master, asked := in.api()
	var before haproxy.Procs
	if asked {
		var err error
		r.Step("asking the master on %s before the reload", master)
		before, err = patiently(ctx, master.Procs)
		if err != nil && !errors.Is(err, haproxy.ErrNotAsked) {
			return noAnswer(in.head, "master", err) // but a socket that was deleted comes back with the reload
		}
	}
	if err := a.tell(ctx, in); err != nil {
		return ocf.Errorf(ocf.Generic, "it cannot be told to reload: %w", err)
	}
	r.Step("waiting for the new worker of %s to serve", in)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var done bool
		var err error
		if asked {
			done, err = in.reloaded(ctx, master, before, v)
		} else {
			done, err = a.replaced(ctx, s, in)
		}
		switch {
		case errors.Is(err, errFailed):
			return ocf.Errorf(ocf.Generic, "%w", err)
		case done:
			return a.settled(ctx, r, s, in, v)
		case !in.head.Alive():
			return ocf.Errorf(ocf.Generic, "HAProxy ended, because its new worker did: %s", v.why(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "its new worker does not serve yet: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// tell has it reload: by its unit where it lives there, whose ExecReload checks the configuration first.
func (a *agent) tell(ctx context.Context, in *instance) error {
	if a.unit != "" {
		if pids, err := systemd.Processes(a.unit); err == nil && slices.Contains(pids, in.head.PID) {
			return systemd.Do(ctx, "reload", a.unit)
		}
	}
	return in.head.Signal(unix.SIGUSR2)
}

// errFailed says that HAProxy itself calls the reload failed.
var errFailed = errors.New("HAProxy counts a failed reload")

// reloaded asks the master whether it has a new worker that serves.
func (in *instance) reloaded(ctx context.Context, master haproxy.API, before haproxy.Procs, v voice) (bool, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	procs, err := master.Procs(ctx)
	fresh := slices.ContainsFunc(procs.Workers, func(pid int) bool { return in.process(pid) == nil })
	if err == nil && fresh {
		err = takesOver(ctx, master)
	}
	switch {
	case err != nil || procs.Reloads <= before.Reloads:
		return false, err
	case fresh:
		return true, nil
	}
	// From 2.7 on the master keeps what was said, while its stderr was closed by -D.
	if said, err := master.Ask(ctx, "show startup-logs"); err == nil {
		if words := complaints(said); words != "" {
			return false, fmt.Errorf("%w: %s", errFailed, words)
		}
	}
	return false, fmt.Errorf("%w: %s", errFailed, v.why(ctx))
}

// replaced looks for a new worker that listens, under a master that cannot be asked.
func (a *agent) replaced(ctx context.Context, s settings, in *instance) (bool, error) {
	list, err := a.find(ctx, s)
	if err != nil {
		return false, err
	}
	defer list.Close()
	now := list.current()
	return now != nil && slices.ContainsFunc(now.workers, func(w *daemon.Process) bool {
		bound, err := listensOn(w)
		return in.process(w.PID) == nil && err == nil && len(bound) > 0
	}), nil
}

// probation is how long the new worker is watched: one of 3.x may die a second after it took over.
const probation = 1500 * time.Millisecond

// settled is nil if the new worker is still there after its probation.
func (a *agent) settled(ctx context.Context, r *ocf.Request, s settings, old *instance, v voice) error {
	r.Step("watching the new worker of %s", old)
	list, err := a.find(ctx, s)
	if err != nil {
		return err
	}
	defer list.Close()
	now := list.current()
	if now == nil {
		return ocf.Errorf(ocf.Generic, "the new HAProxy died as soon as it had taken over: %s", v.why(ctx))
	}
	watch, cancel := context.WithTimeout(ctx, min(probation, service.Remaining(ctx)/4))
	defer cancel()
	for _, w := range now.processes() {
		if old.process(w.PID) != nil && w.PID != old.head.PID {
			continue // it ends when its connections do
		}
		if w.Wait(watch) == nil || !w.Alive() {
			return ocf.Errorf(ocf.Generic, "pid %d took over and died within %s: %s", w.PID, probation, v.why(ctx))
		}
	}
	return nil
}

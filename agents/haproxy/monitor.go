package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) monitor(ctx context.Context, r *ocf.Request) error {
	s := a.settings()
	settled := time.Now().Add(settling)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r.Step("looking for HAProxy's processes")
		list, err := a.find(ctx, s)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			if _, err := a.program(r); err != nil {
				return err
			}
			return ocf.Errorf(ocf.NotRunning, "no HAProxy with %s or %s runs on this node", s.config, s.pid)
		}
		err = a.health(ctx, r, s, list)
		changing := errors.Is(err, errChanged) || ocf.CodeOf(err) == ocf.Generic && !errors.Is(err, errFrozen) && list.young()
		list.Close()
		if !changing || time.Now().After(settled) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// settling is the time that a reload, by whomever, may take from the birth of a process until it serves.
const settling = 2 * time.Second

// young tells whether a process was just started.
func (list instances) young() bool {
	return slices.ContainsFunc(list, func(in *instance) bool {
		return slices.ContainsFunc(in.processes(), func(p *daemon.Process) bool {
			age, err := p.Age()
			return err == nil && age < settling
		})
	})
}

// errChanged says that the processes were replaced while they were looked at:
// somebody reloads HAProxy.
var errChanged = errors.New("its processes have just been replaced")

// health is the state of what runs, level by level. What is only a handicap is
// collected, for the operator to see all of it.
func (a *agent) health(ctx context.Context, r *ocf.Request, s settings, list instances) error {
	var (
		handicaps []string
		in        *instance
		api       haproxy.API
		worker    *daemon.Process
		err       error
	)
	add := func(format string, args ...any) { handicaps = append(handicaps, fmt.Sprintf(format, args...)) }
	if why, err := os.ReadFile(s.refused); err == nil {
		add("%s", why) // first, for it explains the rest
	}
	// While a new one starts, its predecessor serves.
	for i := len(list) - 1; i >= 0 && worker == nil; i-- {
		in = list[i]
		var ierr error
		if api, worker, ierr = a.runtime(ctx, r, s, in, add); err == nil {
			err = ierr
		}
	}
	switch {
	case worker == nil:
		return err
	case err != nil:
		add("a second HAProxy does not serve: %v", err)
	}
	said := len(handicaps)
	if api.Address != "" {
		if err := frontends(ctx, r, api, add); err != nil {
			return err
		}
	}
	if len(handicaps) == said { // a frontend that is disabled does not listen either
		if err := a.listening(ctx, s, worker, add); err != nil {
			return err
		}
	}
	for _, other := range list {
		if other != in && takesConnections(other) {
			add("%s serves as well as %s, and they share the connections: find out what starts it (a systemd unit that is enabled), and stop it there", other, in)
		}
	}
	if s.unreadable != nil {
		add("its configuration is gone, so that it could not be started again: put it back: %v", s.unreadable)
	}
	for _, socket := range s.Sockets {
		if strings.HasPrefix(socket, "/") && errors.Is(exists(socket), fs.ErrNotExist) {
			add("its stats socket %s is gone: restart HAProxy when convenient, or reload it if the configuration is newer", socket)
		}
	}
	if r.Level >= 10 {
		if api.Address != "" {
			if err := backends(ctx, r, api, add); err != nil {
				return err
			}
		}
		if err := a.request(ctx, r, add); err != nil {
			return err
		}
	}
	if len(handicaps) > 0 {
		return ocf.Errorf(ocf.Degraded, "%s", strings.Join(handicaps, "; "))
	}
	return nil
}

func exists(path string) error { _, err := os.Stat(path); return err }

// patience is for one answer of the runtime API.
const patience = 3 * time.Second

func within(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, min(patience, time.Until(d)/2))
	}
	return context.WithTimeout(ctx, patience)
}

// runtime asks master and worker whether they live, and returns the worker and
// the API it answers on; none if it has none, which is a handicap.
func (a *agent) runtime(ctx context.Context, r *ocf.Request, s settings, in *instance, add func(string, ...any)) (haproxy.API, *daemon.Process, error) {
	fail := func(err error) (haproxy.API, *daemon.Process, error) { return haproxy.API{}, nil, err }
	if err := frozen(in.head, "master"); err != nil {
		return fail(err)
	}
	if in.mastered() && len(in.workers) == 0 {
		return fail(ocf.Errorf(ocf.Generic, "%s is a master without a worker, or a worker without its master: see HAProxy's log", in))
	}
	var apis []haproxy.API
	var current []int // pids of workers
	if master, ok := in.api(); ok {
		r.Step("waiting for an answer of the master on %s", master)
		procs, err := patiently(ctx, master.Procs)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			add("the master's socket %s is gone: a reload makes it anew", master)
		case err != nil:
			return fail(noAnswer(in.head, "master", err))
		case procs.Master != in.head.PID:
			return fail(ocf.Errorf(ocf.Generic, "another process (pid %d) answers on the master's socket %s of %s: %w", procs.Master, master, in, errChanged))
		case len(procs.Workers) > 0:
			master.Worker = "@1"
			apis, current = []haproxy.API{master}, procs.Workers
		default: // before 2.5, a reload that failed makes the worker that serves an old one
			i := slices.IndexFunc(in.workers, func(w *daemon.Process) bool { bound, err := listensOn(w); return err == nil && len(bound) > 0 })
			if i < 0 {
				return fail(ocf.Errorf(ocf.Generic, "%s has no current worker: it takes no new connections (see HAProxy's log)", in))
			}
			add("the last reload of %s failed: correct the configuration, and reload again", in)
			current = []int{in.workers[i].PID}
			master.Worker = fmt.Sprintf("@!%d", current[0])
			apis = []haproxy.API{master}
		}
	}
	if len(apis) == 0 {
		if slices.Contains(values(in.args, "-f"), s.extra) {
			apis = append(apis, haproxy.API{Address: s.worker})
		}
		for _, socket := range s.Sockets {
			apis = append(apis, haproxy.API{Address: socket})
		}
	}
	worker := in.head
	if n := len(in.workers); n > 0 {
		worker = in.workers[n-1] // the youngest
	}
	for _, pid := range current {
		if worker = in.process(pid); worker == nil {
			return fail(ocf.Errorf(ocf.Generic, "%s has a worker (pid %d) that was not there a moment ago: %w", in, pid, errChanged))
		}
		if err := frozen(worker, "worker"); err != nil {
			return fail(err)
		}
	}
	if err := frozen(worker, "worker"); err != nil {
		return fail(err)
	}
	for _, api := range apis {
		r.Step("waiting for an answer of the worker on %s", api)
		info, err := patiently(ctx, api.Info)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			continue
		case err != nil:
			return fail(noAnswer(worker, "worker", err))
		case in.process(info.PID) == nil:
			return fail(ocf.Errorf(ocf.Generic, "another process (pid %d) answers on the runtime API %s of %s: %w", info.PID, api, in, errChanged))
		case info.Stopping:
			return fail(ocf.Errorf(ocf.Generic, "%s is in a soft stop: it finishes old connections and takes no new ones", in))
		}
		return api, in.process(info.PID), nil
	}
	add("%s cannot be asked how it is, for none of its sockets is there: restart it when convenient, and this agent gives it one", in)
	return haproxy.API{}, worker, nil
}

// errFrozen says that waiting does not help.
var errFrozen = errors.New("it answers nobody")

func frozen(p *daemon.Process, what string) error {
	st, err := p.Stat()
	if err != nil {
		return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d) has just ended: %w", what, p.PID, errChanged)
	}
	if st.Stopped() {
		return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d) is frozen (state %c, stopped by a signal): %w", what, p.PID, st.State, errFrozen)
	}
	return nil
}

func noAnswer(p *daemon.Process, what string, err error) error {
	if ferr := frozen(p, what); ferr != nil {
		return ferr // since it was asked
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d) is alive but does not answer in time: %w", what, p.PID, err)
	}
	return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d): %w", what, p.PID, err)
}

// patiently asks again for a while if the conversation breaks off, for a
// reload closes the master's socket for a moment.
func patiently[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	settled := time.Now().Add(time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := ask(ctx)
		if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil || time.Now().After(settled) {
			return v, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return v, err
		}
	}
}

// frontends looks for those that do not serve.
func frontends(ctx context.Context, r *ocf.Request, api haproxy.API, add func(string, ...any)) error {
	r.Step("reading the state of the frontends")
	rows, err := stat(ctx, api, haproxy.Frontends)
	if err != nil {
		return err
	}
	var closed []string
	for _, row := range rows {
		if row.Status != "OPEN" {
			closed = append(closed, row.Proxy+" is "+row.Status)
		}
	}
	switch {
	case len(closed) == 0:
	case len(closed) == len(rows):
		return ocf.Errorf(ocf.Generic, "no frontend serves: %s: enable them on the runtime API, or restart HAProxy", some(closed))
	default:
		add("not all frontends serve: %s: enable them on the runtime API, or reload HAProxy", some(closed))
	}
	return nil
}

// backends looks for those without a server.
func backends(ctx context.Context, r *ocf.Request, api haproxy.API, add func(string, ...any)) error {
	r.Step("reading the state of the backends")
	rows, err := stat(ctx, api, haproxy.Backends|haproxy.Servers)
	if err != nil {
		return err
	}
	why := map[string][]string{} // by backend
	var down []string
	for _, row := range rows {
		switch {
		case row.Service != "BACKEND":
			text := row.Service + " " + row.Status
			if row.Check != "" {
				text += ", " + row.Check
			}
			why[row.Proxy] = append(why[row.Proxy], text)
		case row.Status == "DOWN":
			down = append(down, row.Proxy)
		}
	}
	for i, proxy := range down {
		if servers := why[proxy]; len(servers) > 0 {
			down[i] += " (" + some(servers) + ")"
		}
	}
	if len(down) > 0 {
		add("no server is up in: %s", some(down))
	}
	return nil
}

func stat(ctx context.Context, api haproxy.API, kinds int) ([]haproxy.Row, error) {
	rows, err := patiently(ctx, func(ctx context.Context) ([]haproxy.Row, error) { return api.Stat(ctx, kinds) })
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errChanged, err) // it answered there a moment ago: a reload, on a slow machine
		}
		return nil, ocf.Errorf(ocf.Generic, "HAProxy does not tell the state of its services: %w", err)
	}
	return rows, nil
}

// some lists a few; an exit reason is one line.
func some(list []string) string {
	if len(list) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
	}
	return strings.Join(list, ", ")
}

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
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) monitor(ctx context.Context, r *ocf.Request) error {
	return service.Settled(ctx, r, func() (string, error) { return a.unit, a.look(ctx, r) })
}

func (a *agent) look(ctx context.Context, r *ocf.Request) error {
	s := a.settings()
	settled := time.Now().Add(settling)
	replaced := time.Now().Add(service.Remaining(ctx) / 2)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r.Step("looking for HAProxy's processes")
		list, err := a.find(ctx, s)
		if err == nil && len(list) == 0 {
			return a.absent(ctx, r, s)
		}
		if err == nil {
			err = a.health(ctx, r, s, list)
		}
		half := errors.Is(err, errHalf) && time.Now().Before(settled)
		young := ocf.CodeOf(err) == ocf.Generic && !errors.Is(err, errFrozen) && list.young() && time.Now().Before(settled)
		changed := (errors.Is(err, errChanged) || ocf.CodeOf(err) == ocf.Generic && (list.ended() || a.joined(ctx, s, list))) && time.Now().Before(replaced)
		if !young && !changed && !half {
			list.release(r)
			return err
		}
		list.Close()
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

// ended tells whether a process has ended since it was found: an old one does when a reload is over.
func (list instances) ended() bool {
	return slices.ContainsFunc(list, func(in *instance) bool {
		return slices.ContainsFunc(in.processes(), func(p *daemon.Process) bool { return !p.Alive() })
	})
}

// joined tells whether ours has a process by now that is not in the list: then a reload began after the list was made,
// and who was asked may be the old worker. It lives on, without a frontend, as long as its connections.
func (a *agent) joined(ctx context.Context, s settings, list instances) bool {
	now, err := a.find(ctx, s)
	if err != nil {
		return errors.Is(err, errChanged)
	}
	defer now.Close()
	return slices.ContainsFunc(now, func(in *instance) bool {
		return slices.ContainsFunc(in.processes(), func(p *daemon.Process) bool {
			return !slices.ContainsFunc(list, func(old *instance) bool { return old.process(p.PID) != nil })
		})
	})
}

// errChanged says that the processes were replaced while they were looked at:
// somebody reloads HAProxy.
var errChanged = errors.New("its processes have just been replaced")

// health is the state of what runs, level by level: nil, ocf.Degraded, or another error. A question returns
// handicaps beside its error; the operator sees all of them.
func (a *agent) health(ctx context.Context, r *ocf.Request, s settings, list instances) error {
	var handicaps []string
	if why, err := os.ReadFile(s.refused); err == nil {
		handicaps = append(handicaps, string(why)) // first, for it explains the rest
	}
	v, more, err := a.serves(ctx, r, s, list)
	if err != nil {
		return err
	}
	handicaps = append(handicaps, more...)
	questions := []func() ([]string, error){
		func() ([]string, error) { return v.listens(ctx, r) },
		func() ([]string, error) { return rivals(v, list), nil },
		func() ([]string, error) { return v.files(), nil },
	}
	if r.Level >= 10 {
		questions = append(
			questions,
			func() ([]string, error) { return backends(ctx, r, v.api) },
			func() ([]string, error) { return a.request(ctx, r) },
		)
	}
	for _, ask := range questions {
		more, err := ask()
		if err != nil {
			return err
		}
		handicaps = append(handicaps, more...)
	}
	if len(handicaps) > 0 {
		return ocf.Errorf(ocf.Degraded, "%s", strings.Join(handicaps, "; "))
	}
	return nil
}

// view is the instance that serves, as it was found.
type view struct {
	*instance
	worker *daemon.Process
	api    haproxy.API // none if it has no address
}

// serves finds the instance that serves: while a new one starts, its predecessor does.
func (a *agent) serves(ctx context.Context, r *ocf.Request, s settings, list instances) (v view, handicaps []string, failed error) {
	for _, in := range slices.Backward(list) {
		found, more, err := runtime(ctx, r, in)
		switch {
		case err == nil && failed != nil:
			more = append(more, fmt.Sprintf("a second HAProxy does not serve: %v", failed))
			fallthrough
		case err == nil:
			return found, more, nil
		case failed == nil:
			failed = err
		}
	}
	return view{}, nil, failed
}

// listens tells whether all frontends are open, and where the configuration wants them; one that was disabled by hand
// does not listen either.
func (v view) listens(ctx context.Context, r *ocf.Request) ([]string, error) {
	closed, err := frontends(ctx, r, v.api)
	if err != nil || len(closed) > 0 {
		return closed, err
	}
	return listening(v.setup, v.worker)
}

// rivals are others that share the connections.
func rivals(v view, list instances) (handicaps []string) {
	for _, other := range list {
		if other != v.instance && takesConnections(other) {
			handicaps = append(handicaps, fmt.Sprintf("%s serves as well as %s, and they share the connections: find out what starts it (a systemd unit that is enabled), and stop it there", other, v.instance))
		}
	}
	return handicaps
}

// files tells what is missing of the files that it was started with, and made.
func (v view) files() (handicaps []string) {
	if v.unreadable != nil {
		handicaps = append(handicaps, fmt.Sprintf("its configuration is gone, so that it could not be started again: put it back: %v", v.unreadable))
	}
	for _, socket := range v.Sockets {
		if strings.HasPrefix(socket, "/") && errors.Is(exists(socket), fs.ErrNotExist) {
			handicaps = append(handicaps, fmt.Sprintf("its stats socket %s is gone: restart HAProxy when convenient, or reload it if the configuration is newer", socket))
		}
	}
	return handicaps
}

// patience is for one answer of the runtime API.
const patience = 3 * time.Second

func within(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, min(patience, time.Until(d)/2))
	}
	return context.WithTimeout(ctx, patience)
}

// runtime asks master and worker whether they live.
func runtime(ctx context.Context, r *ocf.Request, in *instance) (v view, handicaps []string, _ error) {
	if err := frozen(in.head, "master"); err != nil {
		return v, nil, err
	}
	if in.mastered() && len(in.workers) == 0 {
		return v, nil, in.halved()
	}
	m, handicaps, err := askMaster(ctx, r, in)
	if err != nil {
		return v, nil, err
	}
	apis := []haproxy.API{m.api}
	if m.api.Address == "" {
		apis = in.sockets()
	}
	v = view{instance: in}
	if v.worker, err = in.serving(m.workers); err != nil {
		return v, nil, err
	}
	for _, api := range apis {
		worker, err := askWorker(ctx, r, v, api)
		switch {
		case err != nil:
			return v, nil, err
		case worker != nil:
			v.worker, v.api = worker, api
			return v, handicaps, nil
		}
	}
	do := "restart it when convenient, and this agent gives it one"
	if r.Given("unit") { // EL's gives it none
		do = "give it a stats socket in global, and reload"
	}
	return v, append(handicaps, in.String()+" cannot be asked, for none of its sockets can be reached: "+do), nil
}

// errHalf says that only master or worker is left. Where one has died the other ends too, a moment later, unless it is told
// to stay or cannot.
var errHalf = errors.New("half of it has died, see HAProxy's log")

// halved says which half is left: only a worker listens.
func (in *instance) halved() error {
	left, lost := "master", "worker"
	if takesConnections(in) {
		left, lost = lost, left
	}
	return ocf.Errorf(ocf.Generic, "%s is a %s without its %s: %w", in, left, lost, errHalf)
}

// mastery is what a master says of its workers.
type mastery struct {
	workers []int       // pids of the current ones; none if it was not asked
	api     haproxy.API // by which it sends commands on to them
}

func askMaster(ctx context.Context, r *ocf.Request, in *instance) (m mastery, handicaps []string, _ error) {
	master, ok := in.api()
	if !ok {
		return m, nil, nil
	}
	r.Step("waiting for an answer of the master on %s", master)
	procs, err := patiently(ctx, master.Procs)
	switch {
	case errors.Is(err, haproxy.ErrNotAsked):
		return m, []string{fmt.Sprintf("the master's socket %s is gone: a reload makes it anew", master)}, nil
	case err != nil:
		return m, nil, noAnswer(in.head, "master", err)
	case procs.Master != in.head.PID:
		return m, nil, ocf.Errorf(ocf.Generic, "another process (pid %d) answers on the master's socket %s of %s: %w", procs.Master, master, in, errChanged)
	case len(procs.Workers) > 0:
		master.Worker = "@1"
		return mastery{procs.Workers, master}, nil, nil
	}
	// Before 2.5, a reload that failed makes the worker that serves an old one.
	i := slices.IndexFunc(in.workers, func(w *daemon.Process) bool { bound, err := listensOn(w); return err == nil && len(bound) > 0 })
	if i < 0 {
		return m, nil, ocf.Errorf(ocf.Generic, "%s has no current worker: it takes no new connections (see HAProxy's log)", in)
	}
	master.Worker = fmt.Sprintf("@!%d", in.workers[i].PID)
	return mastery{[]int{in.workers[i].PID}, master}, []string{fmt.Sprintf("the last reload of %s failed: correct the configuration, and reload again", in)}, nil
}

// sockets are where its worker can be asked without its master.
func (in *instance) sockets() (apis []haproxy.API) {
	if in.worker != "" {
		apis = append(apis, haproxy.API{Address: in.worker})
	}
	for _, socket := range in.Sockets {
		apis = append(apis, haproxy.API{Address: socket})
	}
	return apis
}

// serving is the worker to look at: of the pids that the master says are current the last, else the youngest.
func (in *instance) serving(current []int) (*daemon.Process, error) {
	worker := in.head
	if n := len(in.workers); n > 0 {
		worker = in.workers[n-1]
	}
	for _, pid := range current {
		if worker = in.process(pid); worker == nil {
			return nil, ocf.Errorf(ocf.Generic, "%s has a worker (pid %d) that was not there a moment ago: %w", in, pid, errChanged)
		}
		if err := frozen(worker, "worker"); err != nil {
			return nil, err
		}
	}
	return worker, frozen(worker, "worker")
}

// askWorker returns the worker that answers there; nil if nobody can be reached.
func askWorker(ctx context.Context, r *ocf.Request, v view, api haproxy.API) (*daemon.Process, error) {
	r.Step("waiting for an answer of the worker on %s", api)
	info, err := patiently(ctx, api.Info)
	switch {
	case errors.Is(err, haproxy.ErrNotAsked):
		return nil, nil
	case err != nil:
		return nil, noAnswer(v.worker, "worker", err)
	case v.process(info.PID) == nil:
		return nil, ocf.Errorf(ocf.Generic, "another process (pid %d) answers on the runtime API %s of %s: %w", info.PID, api, v.instance, errChanged)
	case info.Stopping:
		return nil, ocf.Errorf(ocf.Generic, "%s is in a soft stop: it finishes old connections and takes no new ones", v.instance)
	}
	return v.process(info.PID), nil
}

// errFrozen says that waiting does not help.
var errFrozen = errors.New("it answers nobody")

func frozen(p *daemon.Process, what string) error {
	switch how, err := service.Frozen(p); {
	case err != nil:
		return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d) has just ended: %w", what, p.PID, errChanged)
	case how != "":
		return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d) %s: %w", what, p.PID, how, errFrozen)
	}
	return nil
}

func noAnswer(p *daemon.Process, what string, err error) error {
	if ferr := frozen(p, what); ferr != nil {
		return ferr // since it was asked
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if full := service.Exhausted(p); full != "" {
			return ocf.Errorf(ocf.Generic, "HAProxy's %s (pid %d): %s: %w", what, p.PID, full, err)
		}
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
		refused := errors.Is(err, haproxy.ErrNotAsked) && time.Now().After(settled)
		if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil || refused {
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
func frontends(ctx context.Context, r *ocf.Request, api haproxy.API) (handicaps []string, _ error) {
	if api.Address == "" {
		return nil, nil
	}
	r.Step("reading the state of the frontends")
	rows, err := stat(ctx, api, haproxy.Frontends)
	if err != nil {
		return nil, err
	}
	var closed []string
	for _, row := range rows {
		if row.Status != "OPEN" {
			closed = append(closed, row.Proxy+" is "+row.Status)
		}
	}
	switch {
	case len(closed) == 0:
		return nil, nil
	case len(closed) == len(rows):
		return nil, ocf.Errorf(ocf.Generic, "no frontend serves: %s: enable them on the runtime API, or restart HAProxy", some(closed))
	}
	return []string{fmt.Sprintf("not all frontends serve: %s: enable them on the runtime API, or reload HAProxy", some(closed))}, nil
}

// backends looks for those without a server.
func backends(ctx context.Context, r *ocf.Request, api haproxy.API) (handicaps []string, _ error) {
	if api.Address == "" {
		return nil, nil
	}
	r.Step("reading the state of the backends")
	rows, err := stat(ctx, api, haproxy.Backends|haproxy.Servers)
	if err != nil {
		return nil, err
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
	if len(down) == 0 {
		return nil, nil
	}
	return []string{"no server is up in: " + some(down)}, nil
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

package ocf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf/stack"
)

// Call is one invocation of an agent, as the cluster makes it.
type Call struct {
	Args   []string // the action; args after it are ignored
	Env    []string // "NAME=value"
	Stdout io.Writer
	Stderr io.Writer
	Stdin  io.Reader // only looked at, to tell an operator's terminal from the cluster

	env     map[string]string // Env, where it has been read already
	watched *watched          // of a monitor that stays
	spent   time.Duration     // of its timeout, by the questions before
}

// Main runs the agent as this process was called, and exits.
func Main(declare func() Agent) {
	// A Go program whose runtime gives up, for want of a thread, of memory, or by a panic that nobody recovers, exits with 2, which Pacemaker
	// takes for wrong arguments: it does not try again on that node. Whoever dies of a signal has failed, and no more than that.
	debug.SetTraceback("crash")
	ctx := context.Background()
	if len(os.Args) > 1 && changes(os.Args[1]) {
		ctx, _ = signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	}
	code := Stay(ctx, declare, Call{Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Stdin: os.Stdin})
	os.Exit(int(code))
}

// changes tells the actions that have something to put in order when a signal
// interrupts them. The others die of it: to catch it takes a thread, which is a
// tenth of what a monitor costs.
func changes(action string) bool {
	switch action {
	case Monitor, Status, ValidateAll, MetaData:
		return false
	}
	return true
}

// Run runs one action of the agent and returns its exit code. Whatever the
// action does, Run returns before the cluster's timeout; an action that does
// not heed its context is then left running in its goroutine.
func Run(ctx context.Context, a Agent, c Call) Code {
	action := "usage"
	if len(c.Args) > 0 {
		action = c.Args[0]
	}
	switch action {
	case MetaData:
		if err := a.WriteMetaData(c.Stdout); err != nil {
			return Generic
		}
		return OK
	case "usage", "help", "--help", "-h":
		_, _ = io.WriteString(c.Stdout, a.Usage())
		if len(c.Args) == 0 {
			return BadArgument
		}
		return OK
	}

	env := c.env
	if env == nil {
		env = environ(c.Env)
	}
	r := newRequest(a.Name, action, env)
	r.watched, r.Timeout = c.watched, r.Timeout-c.spent
	for _, p := range a.Parameters {
		if v := env["OCF_RESKEY_"+p.Name]; p.Secret && v != "" {
			r.secrets = append(r.secrets, v)
		}
	}
	l := newLogger(r, c)
	defer l.close()
	r.Log = l.logger

	err := a.run(ctx, r)
	code := CodeOf(err)
	if healthy, ok := undegraded(code); ok && !knowsDegraded(env[crmFeatureSet]) {
		r.Log.Warn("degraded, which whoever runs this agent does not know as an exit code, so that it is told here only", "code", int(code), "reason", reason(err))
		if code, err = healthy, nil; code != OK {
			err = &Error{code, errors.New("promoted, and degraded: see the log")}
		}
	}
	if err == nil {
		l.trace("exit 0")
		return OK
	}
	l.exitReason(code, reason(err))
	return code
}

func (a Agent) run(ctx context.Context, r *Request) error {
	act, ok := a.find(r.Action, r.Level)
	if !ok {
		return Errorf(Unimplemented, "%s has no action %q; it has: %s", a.Name, r.Action, strings.Join(a.actionNames(), " "))
	}
	if r.Timeout == 0 {
		r.Timeout = act.Timeout
	}
	r.unparsed = bind(a.Parameters, r.env)
	if r.Action == Stop {
		if cause := a.unidentified(r); cause != nil {
			act.Run = func(ctx context.Context, r *Request) error { return a.stopUnidentified(ctx, r, cause) }
		}
	} else {
		if len(r.unparsed) > 0 {
			var errs []error
			for _, p := range a.Parameters {
				errs = append(errs, r.unparsed[p.Name])
			}
			return &Error{NotConfigured, errors.Join(errs...)}
		}
		if r.Action == Start || r.Action == ValidateAll {
			a.warnOfParameters(r)
		}
		if a.Validate != nil {
			if err := a.Validate(r); err != nil {
				return err
			}
		}
	}
	if act.Run == nil {
		return nil
	}
	return bounded(ctx, r, act.Run)
}

// unidentified is why a stop cannot know which service is meant: parameters that identify it and do not parse. Of
// others the default does.
func (a Agent) unidentified(r *Request) error {
	var errs []error
	for _, p := range a.Parameters {
		err := r.unparsed[p.Name]
		switch {
		case err == nil:
		case p.Identifies || p.UniqueGroup != "":
			errs = append(errs, err)
		default:
			r.Log.Warn("stopping with the default instead", "error", err)
		}
	}
	return errors.Join(errs...)
}

func (a Agent) stopUnidentified(ctx context.Context, r *Request, cause error) error {
	if a.StopUnidentified != nil {
		return a.StopUnidentified(ctx, r, cause)
	}
	return Errorf(Generic, "cannot tell which one to stop: %w", cause)
}

// margin is what is kept of the cluster's timeout for the reason to get out.
func margin(timeout time.Duration) time.Duration {
	return max(min(timeout/10, 2*time.Second), min(200*time.Millisecond, timeout/2))
}

// bounded runs f with a deadline that leaves a margin before the cluster's
// timeout, and returns in time even if f does not.
func bounded(ctx context.Context, r *Request, f func(context.Context, *Request) error) error {
	spare := margin(r.Timeout)
	hard := time.NewTimer(r.Timeout - spare/2)
	defer hard.Stop()
	actx, cancel := context.WithTimeout(ctx, r.Timeout-spare)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		stack.Room()
		defer func() {
			if p := recover(); p != nil {
				r.Log.Error("panic", "value", p, "stack", string(debug.Stack()))
				done <- Errorf(Generic, "this agent has a fault, please report it: %s %s panicked: %v", r.Agent, r.Action, p)
			}
		}()
		done <- f(actx, r)
	}()
	select {
	case err := <-done:
		if CodeOf(err) == Generic && errors.Is(err, context.DeadlineExceeded) && actx.Err() != nil {
			return Errorf(Generic, "%s did not end within %s%s: %w", r.Action, r.Timeout-spare, r.during(), err)
		}
		return err
	case <-hard.C:
		return Errorf(Generic, "%s did not end within %s%s", r.Action, r.Timeout, r.during())
	case <-ctx.Done():
	}
	// Interrupted: f may clean up, but not for long.
	select {
	case err := <-done:
		return err
	case <-time.After(spare):
		return Errorf(Generic, "%s was interrupted by a signal%s", r.Action, r.during())
	}
}

func (r *Request) during() string {
	if s := r.step.Load(); s != nil {
		return " while " + *s
	}
	return ""
}

// warnOfParameters logs what an operator may want to know and nothing fails on.
func (a Agent) warnOfParameters(r *Request) {
	for name := range r.env {
		p, ok := strings.CutPrefix(name, "OCF_RESKEY_")
		if !ok || strings.HasPrefix(p, "CRM_meta_") || strings.HasPrefix(p, "trace_") || p == "crm_feature_set" || p == "OCF_CHECK_LEVEL" {
			continue
		}
		i := slices.IndexFunc(a.Parameters, func(x Parameter) bool { return x.Name == p })
		switch {
		case i < 0:
			r.Log.Warn("not a parameter of this agent, ignored", "parameter", p)
		case a.Parameters[i].Deprecated != "" && r.Given(p):
			r.Log.Warn("a deprecated parameter is in use", "parameter", p, "why", a.Parameters[i].Deprecated, "instead", a.Parameters[i].ReplacedBy)
		}
	}
}

func (a Agent) actionNames() []string {
	var names []string
	for _, act := range a.actions() {
		if !slices.Contains(names, act.Name) {
			names = append(names, act.Name)
		}
	}
	if !slices.Contains(names, Status) {
		names = append(names, Status)
	}
	return append(names, "usage")
}

func environ(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		m[k] = v
	}
	return m
}

// exitReason prints the one line that Pacemaker takes the reason from.
func (l *logSink) exitReason(code Code, why string) {
	cookie := l.request.Env("OCF_EXIT_REASON_PREFIX")
	if cookie == "" {
		cookie = "ocf-exit-reason:"
	}
	why = l.redact(why)
	fmt.Fprintf(l.stderr, "%s%s\n", cookie, why)
	l.trace(fmt.Sprintf("exit %d (%s): %s", int(code), code, why))
	if level := levelOf(code, l.request); l.debug || level >= slog.LevelInfo {
		l.toFiles(level, why)
	}
}

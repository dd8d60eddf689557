// Package ocftest tests a resource agent against the standard, as
// net/http/httptest does for http: it calls agents as the cluster would, in
// this process or as an installed program, and runs the contract that every
// agent owes Pacemaker.
package ocftest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// Params are parameters by name, without OCF_RESKEY_.
type Params map[string]string

// With is a copy of p in which the pairs name, value hold too.
func (p Params) With(pairs ...string) Params {
	q := Params{}
	for k, v := range p {
		q[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		q[pairs[i]] = pairs[i+1]
	}
	return q
}

// Call is one action to run.
type Call struct {
	Action   string
	Params   Params
	Interval time.Duration // of a monitor; 0 is a probe
	Level    int           // OCF_CHECK_LEVEL
	Timeout  time.Duration // 0 is 20 s, as ocf-tester has it
	Env      []string      // further variables
}

func (c Call) environ() []string {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	env := []string{
		"OCF_ROOT=/usr/lib/ocf", "OCF_RA_VERSION_MAJOR=1", "OCF_RA_VERSION_MINOR=1", "OCF_RESOURCE_INSTANCE=test",
		"OCF_RESKEY_crm_feature_set=3.20.5", // of a Pacemaker that knows degraded services
		"OCF_RESKEY_CRM_meta_timeout=" + strconv.FormatInt(timeout.Milliseconds(), 10),
		"OCF_RESKEY_CRM_meta_interval=" + strconv.FormatInt(c.Interval.Milliseconds(), 10),
	}
	if c.Level > 0 {
		env = append(env, "OCF_CHECK_LEVEL="+strconv.Itoa(c.Level))
	}
	for k, v := range c.Params {
		env = append(env, "OCF_RESKEY_"+k+"="+v)
	}
	return append(env, c.Env...)
}

// Result is what an action did.
type Result struct {
	Code    ocf.Code
	Reason  string // of the last ocf-exit-reason line, as Pacemaker takes it
	Reasons int    // how many such lines there were
	Stdout  string
	Stderr  string
	Elapsed time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("exit %d (%s) after %v: %s\n%s", int(r.Code), r.Code, r.Elapsed.Round(time.Millisecond), r.Reason, r.Stderr)
}

// Runner runs an action.
type Runner func(ctx context.Context, c Call) Result

// InProcess runs the agents that agent returns in this process.
func InProcess(agent func() ocf.Agent) Runner {
	return func(ctx context.Context, c Call) Result {
		var stdout, stderr bytes.Buffer
		begin := time.Now()
		code := ocf.Run(ctx, agent(), ocf.Call{Args: []string{c.Action}, Env: c.environ(), Stdout: &stdout, Stderr: &stderr})
		return result(code, stdout.String(), stderr.String(), begin)
	}
}

// Program runs the agent at path as Pacemaker does: in a process group of its
// own that is killed with SIGKILL when the timeout has passed.
func Program(path string) Runner {
	return func(ctx context.Context, c Call) Result {
		timeout := c.Timeout
		if timeout == 0 {
			timeout = 20 * time.Second
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, path, c.Action)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "OCF_") }), c.environ()...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		begin := time.Now()
		err := cmd.Run()
		code := ocf.OK
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.Exited():
			code = ocf.Code(exit.ExitCode())
		case err != nil:
			code = -1
			fmt.Fprintf(&stderr, "ocftest: %v (timeout %v)\n", err, timeout)
		}
		return result(code, stdout.String(), stderr.String(), begin)
	}
}

// Remote runs the agent at path on another host, a container or a virtual machine: by run, which is told the command
// and the environment it needs besides its own, and returns what it said and its exit code.
func Remote(path string, run func(ctx context.Context, argv, env []string) (stdout, stderr string, code int, err error)) Runner {
	return func(ctx context.Context, c Call) Result {
		begin := time.Now()
		stdout, stderr, code, err := run(ctx, []string{path, c.Action}, c.environ())
		if err != nil {
			return Result{Code: -1, Stdout: stdout, Stderr: stderr + err.Error(), Elapsed: time.Since(begin)}
		}
		return result(ocf.Code(code), stdout, stderr, begin)
	}
}

// Shown is what crm_mon shows of the reason: Pacemaker's executor keeps its
// first 128 bytes (EXIT_REASON_MAX_LEN).
func (r Result) Shown() string { return r.Reason[:min(len(r.Reason), 128)] }

func result(code ocf.Code, stdout, stderr string, begin time.Time) Result {
	r := Result{Code: code, Stdout: stdout, Stderr: stderr, Elapsed: time.Since(begin)}
	for _, line := range strings.Split(stderr, "\n") {
		if s, ok := strings.CutPrefix(line, "ocf-exit-reason:"); ok {
			r.Reason = s
			r.Reasons++
		}
	}
	return r
}

// Says fails the test unless crm_mon would show each of the words of the reason
// that the action gave; what names the action.
func (r Result) Says(t testing.TB, what string, words ...string) {
	t.Helper()
	for _, w := range words {
		switch {
		case !strings.Contains(r.Reason, w):
			t.Errorf("%s: the reason does not say %q: %s", what, w, r)
		case !strings.Contains(r.Shown(), w):
			t.Errorf("%s: crm_mon would not show %q, only this: %s", what, w, r.Shown())
		}
	}
}

// Want runs c and fails the test unless it exits with code and, where words
// are given, crm_mon would show each of them. The rules that hold for every
// action are checked as well: one reason for an exit that is not 0 and none
// for 0, and an end before the timeout.
func (run Runner) Want(t testing.TB, c Call, code ocf.Code, words ...string) Result {
	t.Helper()
	r := run(context.Background(), c)
	what := c.Action
	if c.Level > 0 {
		what += " at level " + strconv.Itoa(c.Level)
	}
	if r.Code != code {
		t.Fatalf("%s: want exit %d (%s), got %s", what, int(code), code, r)
	}
	if (code == ocf.OK && r.Reasons != 0) || (code != ocf.OK && (r.Reasons != 1 || r.Reason == "")) {
		t.Errorf("%s: exit %d with %d exit reasons: %s", what, int(code), r.Reasons, r)
	}
	r.Says(t, what, words...)
	return r
}

// Subject is an agent under test, with what the contract cannot know.
type Subject struct {
	New     func() ocf.Agent // the declaration; also run in process when Program is ""
	Program string           // path of the installed agent
	Params  Params           // with which it starts here

	Freeze func(t testing.TB) // makes the running service hang; nil skips those parts
	Kill   func(t testing.TB) // kills the running service

	// Broken are changes that no node can start with (exit 6), such as a size that is no number; a stop with them
	// stops the service all the same.
	Broken Params
	// Unidentified are such changes too, of what the service is told from others by, such as a data directory that
	// is no path. A stop with them must not say 0 while the service runs; it may stop it if nothing else can be meant.
	Unidentified Params
}

// Run runs the contract: declaration, meta-data, idempotence, probes, a stop
// that works with a broken configuration, timeouts that are kept, reasons.
func Run(t *testing.T, s Subject) {
	run := InProcess(s.New)
	if s.Program != "" {
		run = Program(s.Program)
	}
	call := func(action string) Call {
		c := Call{Action: action, Params: s.Params}
		if action == ocf.Start { // what the agent asks for: a machine that tests is a slow one
			for _, a := range s.New().Actions {
				if a.Name == ocf.Start {
					c.Timeout = a.Timeout
				}
			}
		}
		return c
	}
	recurring := Call{Action: ocf.Monitor, Params: s.Params, Interval: 10 * time.Second}

	t.Run("declaration", func(t *testing.T) {
		for _, err := range s.New().Check() {
			t.Error(err)
		}
		md := run(context.Background(), Call{Action: ocf.MetaData, Env: []string{"OCF_TESTER_FAIL_HAVE_BINARY=1"}})
		if md.Code != ocf.OK {
			t.Fatalf("meta-data: %s", md)
		}
		wellFormed(t, md.Stdout)
		run.Want(t, Call{Action: "dance"}, ocf.Unimplemented, "dance")
		if s.Broken != nil {
			broken := s.Params.With(pairs(s.Broken)...)
			for _, action := range []string{ocf.ValidateAll, ocf.Monitor, ocf.Start} {
				run.Want(t, Call{Action: action, Params: broken}, ocf.NotConfigured)
			}
			run.Want(t, Call{Action: ocf.Stop, Params: broken}, ocf.OK)
		}
		if s.Unidentified != nil {
			for _, action := range []string{ocf.ValidateAll, ocf.Monitor, ocf.Start} {
				run.Want(t, Call{Action: action, Params: s.Params.With(pairs(s.Unidentified)...)}, ocf.NotConfigured)
			}
		}
		run.Want(t, call(ocf.ValidateAll), ocf.OK)
	})
	t.Run("stopped", func(t *testing.T) {
		run.Want(t, call(ocf.Stop), ocf.OK)
		run.Want(t, call(ocf.Monitor), ocf.NotRunning)
		run.Want(t, recurring, ocf.NotRunning)
		r := run(context.Background(), Call{Action: ocf.Monitor, Params: s.Params, Env: []string{"OCF_TESTER_FAIL_HAVE_BINARY=1"}})
		if r.Code != ocf.NotRunning && r.Code != ocf.NotInstalled {
			t.Errorf("probe without the binary: %s", r)
		}
	})
	t.Run("life", func(t *testing.T) {
		run.Want(t, call(ocf.Start), ocf.OK)
		defer run.Want(t, call(ocf.Stop), ocf.OK)
		run.Want(t, call(ocf.Start), ocf.OK)
		for _, c := range []Call{call(ocf.Monitor), recurring, call(ocf.Status)} {
			run.Want(t, c, ocf.OK)
		}
		run.Want(t, call(ocf.Stop), ocf.OK)
		run.Want(t, call(ocf.Stop), ocf.OK)
		run.Want(t, call(ocf.Monitor), ocf.NotRunning)
		if s.Broken != nil {
			run.Want(t, call(ocf.Start), ocf.OK)
			run.Want(t, Call{Action: ocf.Stop, Params: s.Params.With(pairs(s.Broken)...)}, ocf.OK)
			run.Want(t, call(ocf.Monitor), ocf.NotRunning)
		}
		if s.Unidentified != nil {
			run.Want(t, call(ocf.Start), ocf.OK)
			c := Call{Action: ocf.Stop, Params: s.Params.With(pairs(s.Unidentified)...)}
			r := run(context.Background(), c)
			if r.Code == ocf.OK {
				run.Want(t, call(ocf.Monitor), ocf.NotRunning)
				return
			}
			run.Want(t, c, ocf.Generic, "cannot tell which one to stop")
			run.Want(t, call(ocf.Monitor), ocf.OK)
		}
	})
	if s.Kill != nil {
		t.Run("killed", func(t *testing.T) {
			run.Want(t, call(ocf.Start), ocf.OK)
			s.Kill(t)
			run.Want(t, recurring, ocf.NotRunning)
			run.Want(t, call(ocf.Start), ocf.OK)
			run.Want(t, call(ocf.Stop), ocf.OK)
		})
	}
	if s.Freeze != nil {
		t.Run("frozen", func(t *testing.T) {
			run.Want(t, call(ocf.Start), ocf.OK)
			s.Freeze(t)
			c := recurring
			c.Timeout = 5 * time.Second
			run.Want(t, c, ocf.Generic)
			run.Want(t, call(ocf.Stop), ocf.OK)
			run.Want(t, call(ocf.Monitor), ocf.NotRunning)
		})
	}
}

func pairs(p Params) []string {
	var s []string
	for k, v := range p {
		s = append(s, k, v)
	}
	return s
}

func wellFormed(t testing.TB, doc string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("meta-data is not well-formed XML: %v", err)
		}
	}
}

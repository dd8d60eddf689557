package ocf

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Request is one call of an agent by the cluster.
type Request struct {
	Agent    string        // the agent's name
	Action   string        // what is asked for
	Instance string        // the resource's name, with a clone instance's number; "default" when not given
	Interval time.Duration // of a recurring monitor; 0 is a probe
	Level    int           // OCF_CHECK_LEVEL
	Timeout  time.Duration // what the cluster allows, the margin included
	Log      *slog.Logger

	env      map[string]string
	unparsed map[string]error // by parameter
	step     atomic.Pointer[string]
	secrets  []string
	watched  *watched
}

// Probe tells whether this is a monitor that asks whether the resource runs
// here at all, and not one that watches a resource that should.
func (r *Request) Probe() bool {
	return (r.Action == Monitor || r.Action == Status) && r.Interval == 0
}

// RunBy tells whether who runs the agent is a Pacemaker of at least this feature set (crm_feature_set: 3.0.14 is 1.1.18).
func (r *Request) RunBy(least ...int) bool { return runBy(r.env[crmFeatureSet], least...) }

// Env is a variable of the call's environment, "" when unset.
func (r *Request) Env(name string) string { return r.env[name] }

// Meta is a meta attribute as the cluster passes it (OCF_RESKEY_CRM_meta_NAME,
// dashes as underscores).
func (r *Request) Meta(name string) string {
	return r.env["OCF_RESKEY_CRM_meta_"+strings.ReplaceAll(name, "-", "_")]
}

// Resource is the resource's name without a clone instance's number.
func (r *Request) Resource() string {
	name, _, _ := strings.Cut(r.Instance, ":")
	return name
}

// TempDir is where agents keep what a reboot may clear (HA_RSCTMP).
func (r *Request) TempDir() string {
	return first(r.env["HA_RSCTMP"], "/run/resource-agents")
}

// TempFile is the resource's own file there of that ending.
func (r *Request) TempFile(ending string) string {
	return filepath.Join(r.TempDir(), "openstack-"+r.Instance+ending)
}

// Given tells whether the cluster gave the parameter a value of its own.
func (r *Request) Given(param string) bool { return r.env["OCF_RESKEY_"+param] != "" }

// Named tells whether the cluster gave the parameter a value of its own, and
// one that can be used: in a stop that may not be so.
func (r *Request) Named(param string) bool { return r.Given(param) && r.unparsed[param] == nil }

// Step says what the action does from here on. If its time runs out there, the
// exit reason says so.
func (r *Request) Step(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	r.step.Store(&s)
	r.Log.Debug(s)
}

// LookPath finds the first of names (absolute, or looked up in the system's
// directories, whatever PATH says) that is an executable. It fails with the code NotInstalled,
// and also when ocf-tester wants it to (OCF_TESTER_FAIL_HAVE_BINARY).
func (r *Request) LookPath(names ...string) (string, error) {
	if r.env["OCF_TESTER_FAIL_HAVE_BINARY"] == "" {
		for _, n := range names {
			for _, dir := range []string{"", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"} {
				if filepath.IsAbs(n) != (dir == "") {
					continue
				}
				p := filepath.Join(dir, n)
				if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
					return p, nil
				}
			}
		}
	}
	return "", Errorf(NotInstalled, "%s is not installed on this node: install its package here", strings.Join(names, " or "))
}

// NewRequest is the request that the cluster makes by calling the agent for an action with this environment
// ("NAME=value"), for tests of what takes one. Its log goes nowhere, and parameters are not bound: see [Run].
func NewRequest(agent, action string, env ...string) *Request {
	r := newRequest(agent, action, environ(env))
	r.Log = slog.New(slog.DiscardHandler)
	return r
}

// newRequest reads what the cluster says of the call, but for the parameters.
func newRequest(agent, action string, env map[string]string) *Request {
	r := &Request{Agent: agent, Action: action, env: env, Instance: env["OCF_RESOURCE_INSTANCE"]}
	if r.Instance == "" {
		r.Instance = "default"
	}
	if ms, err := strconv.ParseInt(r.Meta("interval"), 10, 64); err == nil {
		r.Interval = time.Duration(ms) * time.Millisecond
	}
	if ms, err := strconv.ParseInt(r.Meta("timeout"), 10, 64); err == nil && ms > 0 {
		r.Timeout = time.Duration(ms) * time.Millisecond
	}
	if n, err := strconv.Atoi(env["OCF_CHECK_LEVEL"]); err == nil && n > 0 {
		r.Level = n
	}
	return r
}

package ocf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// specimen is an agent whose monitors, at several depths, do what f says.
func specimen(f func(context.Context, *Request) error) Agent {
	var port, size int
	var passwd, file string
	return Agent{
		Name: "specimen", Version: "1.0", Short: "A \"specimen\" & more", Long: "For tests.\n\nOnly <here>.",
		Parameters: []Parameter{
			{Name: "port", Value: Int(&port, 1, 65535), Default: "3306", UniqueGroup: "address", Reloadable: true, Short: "Port", Long: "The port."},
			{Name: "passwd", Value: String(&passwd), Secret: true, Short: "Password", Long: "The password."},
			{Name: "size", Value: Int(&size, 1, 9), Default: "1", Short: "Size", Long: "The size."},
			{Name: "file", Value: Path(&file), Identifies: true, Short: "File", Long: "The file."},
			{Name: "old", Value: Int(&port, 1, 65535), Deprecated: "renamed in 1.0.", ReplacedBy: "port", Short: "Port", Long: "The port."},
		},
		Actions: []Action{
			{Name: Start, Timeout: time.Minute, Run: f},
			{Name: Stop, Timeout: time.Minute, Run: f},
			{Name: Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: f},
			{Name: Monitor, Timeout: 20 * time.Second, Interval: 60 * time.Second, Depth: 10, Run: func(context.Context, *Request) error { return Errorf(Degraded, "level ten") }},
			{Name: ReloadAgent, Timeout: 20 * time.Second, Run: f},
		},
	}
}

type outcome struct {
	code           Code
	stdout, stderr string
}

func call(ctx context.Context, a Agent, action string, env ...string) outcome {
	var out, err bytes.Buffer
	code := Run(ctx, a, Call{Args: []string{action}, Env: env, Stdout: &out, Stderr: &err})
	return outcome{code, out.String(), err.String()}
}

// TestWhoKnowsDegraded: one that does not know 190 and 191 would restart a service that runs.
func TestWhoKnowsDegraded(t *testing.T) {
	for _, c := range []struct {
		set  string
		code Code
		want Code
	}{
		{"3.6.1", Degraded, Degraded},
		{"3.20.5", Degraded, Degraded},
		{"3.20", DegradedPromoted, DegradedPromoted},
		{"4.0.0", Degraded, Degraded},
		{"3.3.0", Degraded, OK},
		{"3.6.0", Degraded, OK},
		{"3.0.14", Degraded, OK},
		{"", Degraded, OK},
		{"new", Degraded, OK},
		{"3.3.0", DegradedPromoted, RunningPromoted},
		{"", DegradedPromoted, RunningPromoted},
		{"3.3.0", Generic, Generic},
		{"", NotRunning, NotRunning},
	} {
		a := specimen(func(context.Context, *Request) error { return Errorf(c.code, "with a handicap") })
		got := call(context.Background(), a, Monitor, crmFeatureSet+"="+c.set, "OCF_RESKEY_CRM_meta_interval=10000")
		if got.code != c.want || !strings.Contains(got.stderr, "with a handicap") || (got.code == OK) == strings.Contains(got.stderr, "ocf-exit-reason:") {
			t.Errorf("%q, %d: got %d %q, want %d", c.set, c.code, got.code, got.stderr, c.want)
		}
	}
}

func TestRunner(t *testing.T) {
	well := func(context.Context, *Request) error { return nil }
	fails := func(err error) func(context.Context, *Request) error {
		return func(context.Context, *Request) error { return err }
	}
	for name, c := range map[string]struct {
		run    func(context.Context, *Request) error
		action string
		env    []string
		code   Code
		say    string
	}{
		"success says nothing":         {well, Monitor, nil, OK, ""},
		"status is monitor":            {fails(Errorf(NotRunning, "no process")), Status, nil, NotRunning, "ocf-exit-reason:no process\n"},
		"plain error is 1":             {fails(context.Canceled), Start, nil, Generic, "ocf-exit-reason:context canceled"},
		"one line":                     {fails(Errorf(Generic, "a\nb")), Start, nil, Generic, "ocf-exit-reason:a; b\n"},
		"unknown action":               {well, "migrate_to", nil, Unimplemented, `no action "migrate_to"`},
		"wrong parameter":              {well, Monitor, []string{"OCF_RESKEY_port=x"}, NotConfigured, `port="x"`},
		"stop does not care":           {well, Stop, []string{"OCF_RESKEY_size=x"}, OK, "size="},
		"stop of it knows not what":    {well, Stop, []string{"OCF_RESKEY_port=x"}, Generic, `cannot tell which one to stop: parameter port="x"`},
		"the same without a group":     {well, Stop, []string{"OCF_RESKEY_file=relative/dir"}, Generic, `cannot tell which one to stop: parameter file="relative/dir"`},
		"level reached":                {well, Monitor, []string{"OCF_CHECK_LEVEL=10", crmFeatureSet + "=3.20.5"}, Degraded, "level ten"},
		"level between falls back":     {well, Monitor, []string{"OCF_CHECK_LEVEL=9"}, OK, ""},
		"level beyond falls back":      {well, Monitor, []string{"OCF_CHECK_LEVEL=30", crmFeatureSet + "=3.20.5"}, Degraded, "level ten"},
		"level garbage is 0":           {well, Monitor, []string{"OCF_CHECK_LEVEL=deep"}, OK, ""},
		"validate-all is silent":       {well, ValidateAll, nil, OK, ""},
		"validate-all warns of typos":  {well, ValidateAll, []string{"OCF_RESKEY_prot=1"}, OK, "parameter=prot"},
		"a panic has a reason":         {func(context.Context, *Request) error { panic("oops") }, Monitor, nil, Generic, "ocf-exit-reason:this agent has a fault"},
		"another prefix":               {fails(Errorf(Generic, "x")), Start, []string{"OCF_EXIT_REASON_PREFIX=why:"}, Generic, "why:x\n"},
		"secrets are hidden":           {fails(Errorf(Generic, "login with hunter22 failed")), Start, []string{"OCF_RESKEY_passwd=hunter22"}, Generic, "login with (secret) failed"},
		"deprecated parameter is told": {well, Start, []string{"OCF_RESKEY_old=1"}, OK, "instead=port"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(context.Background(), specimen(c.run), c.action, c.env...)
			if got.code != c.code || !strings.Contains(got.stderr, c.say) || (c.say == "" && got.stderr != "") {
				t.Errorf("got %d %q, want %d %q", got.code, got.stderr, c.code, c.say)
			}
			reasons := strings.Count(got.stderr, "ocf-exit-reason:") + strings.Count(got.stderr, "why:x")
			if want := 1; (c.code == OK) == (reasons == want) {
				t.Errorf("%d reasons for exit %d", reasons, c.code)
			}
		})
	}
}

func TestActionsEndBeforeTheirTimeout(t *testing.T) {
	heeds := func(ctx context.Context, r *Request) error {
		r.Step("waiting for %s", "Godot")
		<-ctx.Done()
		return ctx.Err()
	}
	ignores := func(_ context.Context, r *Request) error {
		r.Step("stuck in the kernel")
		select {}
	}
	for name, c := range map[string]struct {
		run func(context.Context, *Request) error
		say string
	}{"heeds": {heeds, "while waiting for Godot"}, "ignores": {ignores, "while stuck in the kernel"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			got := call(context.Background(), specimen(c.run), Start, "OCF_RESKEY_CRM_meta_timeout=5000")
			if d := time.Since(begin); d > 5*time.Second || d < 3*time.Second {
				t.Errorf("took %v of 5 s", d)
			}
			if got.code != Generic || !strings.Contains(got.stderr, c.say) {
				t.Errorf("got %d %q", got.code, got.stderr)
			}
		})
	}
	t.Run("signal", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if got := call(ctx, specimen(ignores), Start, "OCF_RESKEY_CRM_meta_timeout=2000"); got.code != Generic || !strings.Contains(got.stderr, "interrupted") {
			t.Errorf("got %d %q", got.code, got.stderr)
		}
	})
}

func TestRequest(t *testing.T) {
	var seen *Request
	a := specimen(func(_ context.Context, r *Request) error { seen = r; return nil })
	call(context.Background(), a, Monitor, "OCF_RESOURCE_INSTANCE=db:1", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_on_node=n1")
	if seen.Probe() || seen.Interval != 10*time.Second || seen.Instance != "db:1" || seen.Meta("on-node") != "n1" || seen.Timeout != 20*time.Second {
		t.Errorf("recurring: %+v", seen)
	}
	if call(context.Background(), a, Monitor); !seen.Probe() {
		t.Error("a monitor without an interval is a probe")
	}
	if _, err := seen.LookPath("no-such-binary-here"); CodeOf(err) != NotInstalled {
		t.Errorf("LookPath: %v", err)
	}
	if p, err := seen.LookPath("no-such-binary-here", "sh"); err != nil || !filepath.IsAbs(p) {
		t.Errorf("LookPath: %q %v", p, err)
	}
	call(context.Background(), a, Monitor, "OCF_TESTER_FAIL_HAVE_BINARY=1")
	if _, err := seen.LookPath("sh"); CodeOf(err) != NotInstalled {
		t.Errorf("LookPath under ocf-tester: %v", err)
	}
}

func TestLogsGoWhereTheClusterWants(t *testing.T) {
	dir := t.TempDir()
	a := specimen(func(_ context.Context, r *Request) error {
		r.Log.Debug("fine detail", "passwd", "hunter22")
		r.Log.Info("news")
		return Errorf(Generic, "broken")
	})
	env := []string{
		"HA_logfile=" + dir + "/log", "HA_debuglog=" + dir + "/debug", "HA_debug=1", "OCF_RESKEY_passwd=hunter22",
		"OCF_RESKEY_trace_ra=1", "OCF_RESKEY_trace_dir=" + dir + "/trace", "OCF_RESOURCE_INSTANCE=db", "OCF_RESOURCE_TYPE=specimen",
	}
	got := call(context.Background(), a, Start, env...)
	traces, _ := filepath.Glob(dir + "/trace/specimen/db.start.*")
	if len(traces) != 1 {
		t.Fatalf("traces: %v", traces)
	}
	for file, wants := range map[string][]string{
		dir + "/log":   {"specimen(db)[", "INFO: news", "broken"},
		dir + "/debug": {"fine detail", "INFO: news"},
		traces[0]:      {"env OCF_RESKEY_passwd=(secret)", "DEBUG: fine detail passwd=(secret)", "exit 1 (error): broken"},
	} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range append(wants, "") {
			if !strings.Contains(string(b), w) || strings.Contains(string(b), "hunter22") {
				t.Errorf("%s: want %q and no secret:\n%s", file, w, b)
			}
		}
	}
	if !strings.Contains(got.stderr, "INFO: news") || strings.Contains(got.stderr, "hunter22") {
		t.Errorf("stderr: %s", got.stderr)
	}
	if fi, err := os.Stat(traces[0]); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("a trace may hold what others must not read: %v %v", fi.Mode(), err)
	}
}

func TestAProbeThatFindsNothingIsNotLogged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	a := specimen(func(context.Context, *Request) error { return Errorf(NotRunning, "no process") })
	call(context.Background(), a, Monitor, "HA_logfile="+file)
	if b, err := os.ReadFile(file); !os.IsNotExist(err) {
		t.Errorf("%v %s", err, b)
	}
	call(context.Background(), a, Monitor, "HA_logfile="+file, "OCF_RESKEY_CRM_meta_interval=10000")
	if b, _ := os.ReadFile(file); !strings.Contains(string(b), "ERROR: no process") {
		t.Errorf("a service that is gone is not in the log: %s", b)
	}
}

func TestMetaData(t *testing.T) {
	got := call(context.Background(), specimen(nil), MetaData)
	for _, want := range []string{`<parameter name="port" required="0" unique="1" unique-group="address" reloadable="1">`, `<action name="reload-agent" timeout="20s"/>`, `depth="10"`, "Use port instead", `<action name="validate-all"`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %s in\n%s", want, got.stdout)
		}
	}
	t.Run("dtd", func(t *testing.T) {
		lint(t, "/usr/share/resource-agents", got.stdout, "--valid")
	})
	t.Run("rng", func(t *testing.T) {
		lint(t, "/usr/share/pcs/data", got.stdout, "--nonet", "--relaxng", "ocf-1.1.rng")
	})
}

func lint(t *testing.T, dir, doc string, args ...string) {
	if _, err := os.Stat(dir); err != nil {
		t.Skip("SKIP: needs resource-agents and pcs")
	}
	cmd := exec.Command("xmllint", append(append([]string{"--noout"}, args...), "-")...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(doc)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("xmllint %v: %v\n%s", args, err, out)
	}
}

func TestTexts(t *testing.T) {
	a := specimen(nil)
	if u := a.Usage(); !strings.Contains(u, "start|stop|monitor") || !strings.Contains(u, "(default: 3306)") {
		t.Error(u)
	}
	if m := a.Man("openstack"); !strings.Contains(m, "ocf_openstack_specimen") || !strings.Contains(m, "reload\\-agent") {
		t.Error(m)
	}
	if c := a.BashCompletion(); !strings.Contains(c, "validate-all") {
		t.Error(c)
	}
	b, err := json.Marshal(a)
	if err != nil || !strings.Contains(string(b), `"replaced_by":"port"`) || !strings.Contains(string(b), `"secret":true`) {
		t.Errorf("%s %v", b, err)
	}
	if errs := a.Check(); len(errs) == 0 {
		t.Error("a nil function was not found")
	}
	if errs := specimen(func(context.Context, *Request) error { return nil }).Check(); len(errs) != 0 {
		t.Error(errs)
	}
}

// TestNobodyRecovers: an agent that dies of itself has failed, and has not said that its arguments are wrong.
func TestNobodyRecovers(t *testing.T) {
	const asked = "OCF_TEST_NOBODY_RECOVERS"
	if os.Getenv(asked) != "" {
		os.Args = []string{"falls", Monitor}
		Main(func() Agent {
			return Agent{Name: "falls", Actions: []Action{{Name: Monitor, Timeout: time.Minute, Run: func(ctx context.Context, _ *Request) error {
				go func() { panic("of a goroutine of its own") }()
				<-ctx.Done()
				return nil
			}}}}
		})
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env, cmd.Dir = append(os.Environ(), asked+"=1"), t.TempDir() // for what the kernel leaves of it
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, said)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGABRT {
		t.Errorf("%v, want a death of SIGABRT\n%s", exit, said)
	}
	if !strings.Contains(string(said), "of a goroutine of its own") {
		t.Errorf("it does not say why:\n%s", said)
	}
}

package box

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/needs"
)

// MaxMemory is what a monitor may hold in memory at most, in KiB.
const MaxMemory = 16 << 10

// Agent is an agent under test, as it is installed.
type Agent struct {
	T         testing.TB
	Name      string
	Path      string         // of the program
	Params    ocftest.Params // with which it starts here
	Pids      func() []int   // of the service, found without the agent
	Processes int            // how many a healthy service has; 0: any number
	Limit     time.Duration  // an action's timeout, but for a recurring monitor
	Watch     time.Duration  // a recurring monitor's timeout: within it a fault has to be found
	Log       string         // the service's log, which is shown where a test fails
	Unit      *Unit          // how a unit runs it, for ByUnit
}

// NewAgent installs the agent of that name. At the test's end a stop must
// succeed and leave nothing.
func NewAgent(t testing.TB, a Agent) *Agent {
	t.Helper()
	Need(t)
	a.T, a.Path = t, built.Agent(t, a.Name)
	t.Cleanup(func() {
		defer func() { // also after a stop that failed
			a.nothingLeft()
			if t.Failed() {
				said := a.Said()
				t.Logf("the last words of the service:\n%s", said[max(0, len(said)-3000):])
			}
		}()
		a.Want(ocf.Stop, ocf.OK)
	})
	return &a
}

// In is the agent in a subtest.
func (a *Agent) In(t testing.TB) *Agent {
	b := *a
	b.T = t
	return &b
}

// With is the agent with other parameters: pairs of name and value.
func (a *Agent) With(pairs ...string) *Agent {
	b := *a
	b.Params = a.Params.With(pairs...)
	return &b
}

// Another is the agent of a second resource: with a unit of its own, where there are units.
func (a *Agent) Another(pairs ...string) *Agent {
	b := a.With(pairs...)
	if b.Unit != nil {
		another := *b.Unit
		another.Name += "another"
		b.Unit = &another
	}
	return b
}

// Said is what the service has written to its log, or to the journal.
func (a *Agent) Said() string {
	said, _ := os.ReadFile(a.Log)
	if InUnit() && a.Unit != nil {
		journal, _ := exec.Command("journalctl", "--no-pager", "--output=cat", "--unit="+a.Unit.name()).Output()
		said = append(said, journal...)
	}
	return string(said)
}

// Within is the agent with another limit of its actions.
func (a *Agent) Within(limit time.Duration) *Agent {
	b := *a
	b.Limit = limit
	return &b
}

// Run runs an action with the agent's parameters.
func (a *Agent) Run(c ocftest.Call) ocftest.Result {
	c.Params = a.effective()
	return ocftest.Program(a.Path)(context.Background(), c)
}

// Go is Run in the background.
func (a *Agent) Go(c ocftest.Call) <-chan ocftest.Result {
	done := make(chan ocftest.Result, 1)
	go func() { done <- a.Run(c) }()
	return done
}

// Call runs an action with the agent's parameters, and wants that exit code,
// and words in what crm_mon shows.
func (a *Agent) Call(c ocftest.Call, code ocf.Code, words ...string) ocftest.Result {
	a.T.Helper()
	c.Params = a.effective()
	r := ocftest.Program(a.Path).Want(a.T, c, code, words...)
	a.T.Logf("%s at level %d: exit %d after %v: %s", c.Action, c.Level, r.Code, r.Elapsed.Round(100*time.Microsecond), r.Reason)
	return r
}

// Want is a Call of an action within the agent's limit; its monitor is a probe.
func (a *Agent) Want(action string, code ocf.Code, words ...string) ocftest.Result {
	a.T.Helper()
	return a.Call(ocftest.Call{Action: action, Timeout: a.Limit}, code, words...)
}

// Monitor is a Call of a recurring monitor. Where it is to find a promoted
// instance it has that role, for Pacemaker watches one by such monitors alone.
func (a *Agent) Monitor(level int, code ocf.Code, words ...string) ocftest.Result {
	a.T.Helper()
	c := a.recurring(level)
	if code == ocf.RunningPromoted || code == ocf.DegradedPromoted {
		c.Env = []string{"OCF_RESKEY_CRM_meta_role=Promoted"}
	}
	return a.Call(c, code, words...)
}

func (a *Agent) recurring(level int) ocftest.Call {
	return ocftest.Call{Action: ocf.Monitor, Interval: 10 * time.Second, Level: level, Timeout: a.Watch}
}

// Stays sees that a monitor which the cluster repeats stays, and that what happens then is found when it happens, and not an interval
// later.
func (a *Agent) Stays(happens func(), code ocf.Code, words ...string) {
	a.T.Helper()
	c := ocftest.Call{Action: ocf.Monitor, Interval: 8 * time.Second, Timeout: 40 * time.Second}
	a.Call(c, ocf.OK)
	time.Sleep(c.Interval) // as the cluster does
	repeated := a.Go(c)
	select {
	case r := <-repeated:
		a.T.Fatalf("it does not stay: %s", r)
	case <-time.After(time.Second):
	}
	happens()
	r := <-repeated
	if r.Code != code || r.Elapsed > c.Interval*3/4 {
		a.T.Errorf("want exit %d at once, after %v: %s", code, r.Elapsed, r)
	}
	r.Says(a.T, "monitor", words...)
}

// Validate is a Call of validate-all at level 10, which looks at the host too.
func (a *Agent) Validate(code ocf.Code, words ...string) {
	a.T.Helper()
	a.Call(ocftest.Call{Action: ocf.ValidateAll, Level: 10}, code, words...)
}

// Await repeats a recurring monitor until it exits with code twice in a row.
func (a *Agent) Await(limit time.Duration, level int, code ocf.Code, words ...string) {
	a.T.Helper()
	var last ocftest.Result
	for deadline, seen := time.Now().Add(limit), 0; seen < 2; {
		if last = a.Run(a.recurring(level)); last.Code == code {
			seen++
			continue
		}
		seen = 0
		if time.Now().After(deadline) {
			a.T.Fatalf("monitor at level %d did not come to exit %d within %v: %s", level, code, limit, last)
		}
		time.Sleep(200 * time.Millisecond) // between two looks
	}
	last.Says(a.T, "monitor", words...)
}

// Start starts the service.
func (a *Agent) Start() { a.T.Helper(); a.Want(ocf.Start, ocf.OK) }

// StartTwice starts the service twice at once: both succeed, and it runs once.
func (a *Agent) StartTwice() {
	a.T.Helper()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if r := a.Run(ocftest.Call{Action: ocf.Start, Timeout: a.Limit}); r.Code != ocf.OK {
				a.T.Errorf("start: %s", r)
			}
		})
	}
	wg.Wait()
	a.Running()
}

// Stop stops the service: at once no process of it is left, and a probe says so.
func (a *Agent) Stop() ocftest.Result {
	a.T.Helper()
	r := a.Want(ocf.Stop, ocf.OK)
	a.nothingLeft()
	a.Want(ocf.Monitor, ocf.NotRunning)
	return r
}

func (a *Agent) nothingLeft() {
	a.T.Helper()
	if pids := a.Pids(); len(pids) > 0 {
		list, _ := exec.Command("ps", "-o", "pid,ppid,sid,stat,etimes,args", "-p", strings.Trim(fmt.Sprint(pids), "[]")).CombinedOutput()
		a.T.Errorf("left after the stop: %v\n%s", pids, list)
	}
}

// Running are the service's pids, of which there must be as many as a sound one has.
func (a *Agent) Running() []int {
	a.T.Helper()
	pids := a.Pids()
	if len(pids) == 0 || a.Processes > 0 && len(pids) != a.Processes {
		a.T.Fatalf("want %d processes of the service, there are %v by the name of their program's file (box.Agent.Pids; readlink /proc/PID/exe)", max(1, a.Processes), pids)
	}
	return pids
}

// Gone waits until no process of the service is left, nor any in its unit: of one that dies systemd ends the children.
func (a *Agent) Gone() {
	a.T.Helper()
	Until(a.T, "the service is gone", func() bool {
		left := a.Pids()
		if InUnit() {
			more, _ := systemd.Processes(a.Unit.name())
			left = append(left, more...)
		}
		return len(left) == 0
	})
}

// Signal sends the running service a signal; after SIGKILL it is gone.
func (a *Agent) Signal(sig syscall.Signal) {
	a.T.Helper()
	Signal(a.T, sig, a.Running()...)
	if sig == syscall.SIGKILL {
		a.Gone()
	}
}

// Contract runs the contract of package ocftest. No node can start with the parameters in broken, nor with those in
// unidentified, which leave open which service is meant.
func (a *Agent) Contract(t *testing.T, declaration func() ocf.Agent, broken, unidentified ocftest.Params) {
	ocftest.Run(t, ocftest.Subject{
		New: declaration, Program: a.Path, Params: a.effective(), Broken: broken, Unidentified: unidentified,
		Kill:   func(t testing.TB) { t.Helper(); a.In(t).Signal(syscall.SIGKILL) },
		Freeze: func(t testing.TB) { t.Helper(); a.In(t).Signal(syscall.SIGSTOP) },
	})
}

// testers are the calls of ocf-tester so far.
var testers atomic.Int64

// OCFTester runs the tester of the resource-agents project.
func (a *Agent) OCFTester() {
	a.T.Helper()
	needs.Program(a.T, "ocf-tester", "resource-agents")
	LetIn(a.T, a.Path) // it runs meta-data as nobody
	// Resources of one name would have one pid file, by which a service is known whose title tells nothing.
	args := []string{"-v", "-n", fmt.Sprintf("test-%d", testers.Add(1))}
	for k, v := range a.effective() {
		args = append(args, "-o", k+"="+v)
	}
	out, err := exec.Command("ocf-tester", append(args, a.Path)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		a.T.Errorf("%v\n%s", err, out)
	}
}

// NoForks starts the service and wants that no monitor makes a process: where
// one runs every 10 seconds for years, nothing is forked. The first probe may ask the service for its options.
func (a *Agent) NoForks(levels ...int) {
	a.T.Helper()
	trace := func(level int, interval time.Duration, code ocf.Code) {
		a.T.Helper()
		for _, call := range Forks(a.T, a.environ(level, interval), int(code), a.Path, ocf.Monitor) {
			a.T.Errorf("level %d, interval %v: %s", level, interval, call)
		}
	}
	a.Want(ocf.Monitor, ocf.NotRunning)
	trace(0, 0, ocf.NotRunning)
	a.Start()
	a.Await(a.Limit, 0, ocf.OK) // some start with a handicap, of a moment
	for _, level := range levels {
		trace(level, 10*time.Second, ocf.OK)
	}
	trace(0, 0, ocf.OK)
}

// Memory starts the service and wants that a monitor at that level, the one
// that does most, holds at most [MaxMemory].
func (a *Agent) Memory(level int) {
	a.T.Helper()
	a.Start()
	// The kernel counts what a process's parent held when it was made, and this test holds more than a monitor may.
	const small = "import os, resource, sys; code = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
	out, _ := a.recur(level, "python3", "-I", "-S", "-c", small, a.Path, ocf.Monitor)
	kib, err := strconv.Atoi(out)
	a.T.Logf("peak memory %d KiB", kib)
	if err != nil || kib > MaxMemory {
		a.T.Errorf("peak memory %q KiB, want at most %d", out, MaxMemory)
	}
}

// CPU is the CPU time of an action, in the environment of a recurring monitor that finds all well.
func (a *Agent) CPU(action string, level int) time.Duration {
	a.T.Helper()
	_, used := a.recur(level, a.Path, action)
	return used.UserTime() + used.SystemTime()
}

// recur runs a command with the environment of a recurring monitor, and returns what it says and what it used.
func (a *Agent) recur(level int, argv ...string) (string, *os.ProcessState) {
	a.T.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), a.environ(level, 10*time.Second)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.T.Fatalf("monitor at level %d: %v: %s", level, err, out)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState
}

func (a *Agent) environ(level int, interval time.Duration) []string {
	env := []string{
		"OCF_RESKEY_crm_feature_set=3.20.5", "OCF_RESOURCE_INSTANCE=test", "OCF_CHECK_LEVEL=" + strconv.Itoa(level),
		"OCF_RESKEY_CRM_meta_timeout=20000", fmt.Sprintf("OCF_RESKEY_CRM_meta_interval=%d", interval.Milliseconds()),
	}
	for k, v := range a.effective() {
		env = append(env, "OCF_RESKEY_"+k+"="+v)
	}
	return env
}

// Row is one of a table of faults: what is so, and what the agent on a host must make of it.
type Row[H any] = struct {
	Name string
	Do   func(h H)
}

// Rows runs the rows of a table of faults, each on a host of its own.
func Rows[H any](t *testing.T, host func(t testing.TB) H, rows []Row[H]) {
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) { row.Do(host(t)) })
	}
}

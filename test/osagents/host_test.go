// Package osagents tests the agents of OpenStack's services on real services
// of Debian's, in a box, with a real message bus and database.
package osagents

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agents "github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

func TestMain(m *testing.M) { box.Main(m) }

// service is one agent with the service under it.
type service struct {
	t    *testing.T
	name string // of the program
	run  ocftest.Runner
	path string
	new  func() ocf.Agent
	p    ocftest.Params
}

// newService is the agent with parameters; the program is the default one unless they name another.
func newService(t *testing.T, agent string, p ocftest.Params) *service {
	t.Helper()
	s := &service{
		t: t, name: agent, new: agents.Agents()[agent], path: built.Agent(t, agent),
		p: p.With("user", "root", "log", filepath.Join(t.TempDir(), "service.log"), "pid", filepath.Join(t.TempDir(), "service.pid")),
	}
	if b := p["binary"]; b != "" {
		s.name = filepath.Base(b)
	}
	s.run = ocftest.Program(s.path)
	t.Cleanup(func() {
		if r := s.run(context.Background(), ocftest.Call{Action: ocf.Stop, Params: s.p, Timeout: time.Minute}); r.Code != ocf.OK {
			t.Errorf("clean-up: stop: %s", r)
		}
		if pids := s.pids(); len(pids) > 0 {
			t.Errorf("clean-up: %s left: %v", s.name, pids)
		}
		if t.Failed() {
			b, _ := os.ReadFile(s.p["log"])
			t.Logf("the last words of %s:\n%s", s.name, b[max(0, len(b)-3000):])
		}
	})
	return s
}

// in is the service in a subtest.
func (s *service) in(t *testing.T) *service {
	c := *s
	c.t = t
	return &c
}

func (s *service) with(pairs ...string) *service {
	c := *s
	c.p = s.p.With(pairs...)
	return &c
}

func (s *service) want(action string, code ocf.Code, words ...string) ocftest.Result {
	s.t.Helper()
	r := s.run.Want(s.t, ocftest.Call{Action: action, Params: s.p, Timeout: 90 * time.Second}, code, words...)
	s.t.Logf("%s: exit %d after %v: %s", action, r.Code, r.Elapsed.Round(time.Millisecond), r.Reason)
	return r
}

func (s *service) start() { s.t.Helper(); s.want(ocf.Start, ocf.OK) }

// monitor is a recurring monitor at a level, with 10 s to find out.
func (s *service) monitor(level int, code ocf.Code, words ...string) ocftest.Result {
	s.t.Helper()
	r := s.run.Want(s.t, ocftest.Call{Action: ocf.Monitor, Params: s.p, Interval: 10 * time.Second, Level: level, Timeout: 10 * time.Second}, code, words...)
	s.t.Logf("monitor at level %d: exit %d after %v: %s", level, r.Code, r.Elapsed.Round(100*time.Microsecond), r.Reason)
	return r
}

// await repeats a monitor until it exits with code twice in a row, and wants the words.
func (s *service) await(limit time.Duration, level int, code ocf.Code, words ...string) {
	s.t.Helper()
	var last ocftest.Result
	for deadline, seen := time.Now().Add(limit), 0; seen < 2; {
		if last = s.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: s.p, Interval: 10 * time.Second, Level: level, Timeout: 10 * time.Second}); last.Code == code {
			seen++
			continue
		}
		seen = 0
		if time.Now().After(deadline) {
			s.t.Fatalf("monitor at level %d did not come to exit %d within %v: %s", level, code, limit, last)
		}
		time.Sleep(200 * time.Millisecond) // between two looks
	}
	last.Says(s.t, "monitor", words...)
}

// pids are the service's processes, found without the agent.
func (s *service) pids() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		exe, _ := os.Readlink(d + "/exe")
		args, _ := os.ReadFile(d + "/cmdline")
		if !strings.HasPrefix(filepath.Base(exe), "python") || !strings.Contains(string(args), s.p["config"]) {
			continue
		}
		for _, arg := range strings.FieldsFunc(string(args), func(r rune) bool { return r == 0 || r == ' ' || r == '(' || r == ':' }) {
			if filepath.Base(arg) == s.name {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

func (s *service) signal(sig syscall.Signal) {
	s.t.Helper()
	pids := s.pids()
	if len(pids) == 0 {
		s.t.Fatalf("no %s runs", s.name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			s.t.Fatal(err)
		}
	}
	if sig == syscall.SIGSTOP {
		box.Until(s.t, "all are stopped", func() bool {
			return !slices.ContainsFunc(pids, func(pid int) bool {
				st, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return !strings.Contains(string(st), ") T ")
			})
		})
	}
	if sig == syscall.SIGKILL {
		box.Until(s.t, "the service is dead", func() bool { return len(s.pids()) == 0 })
	}
}

// letIn has all users reach and read a file.
func letIn(t *testing.T, path string) {
	t.Helper()
	box.Sh(t, "chmod a+r %[1]s; d=%[1]s; while d=$(dirname $d); [ $d != / ]; do chmod a+rx $d; done", path)
}

// write makes a file.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// environ is that of a recurring monitor.
func (s *service) environ() []string {
	env := []string{"OCF_RESOURCE_INSTANCE=test", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_timeout=20000"}
	for k, v := range s.p {
		env = append(env, "OCF_RESKEY_"+k+"="+v)
	}
	return env
}

// ocfTester runs the tester of the resource-agents project.
func (s *service) ocfTester() {
	s.t.Helper()
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		s.t.Skip("SKIP: needs resource-agents")
	}
	letIn(s.t, s.path)                                                 // it runs meta-data as nobody
	args := []string{"-v", "-n", "s", "-o", "CRM_meta_timeout=120000"} // as pcs would give a start
	for k, v := range s.p {
		args = append(args, "-o", k+"="+v)
	}
	out, err := exec.Command("ocf-tester", append(args, s.path)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		s.t.Errorf("%v\n%s", err, out)
	}
}

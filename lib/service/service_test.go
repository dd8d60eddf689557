package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
)

// site is a service that is a sleep(1) of its own name, and serves while a file
// says so.
type site struct {
	t        *testing.T
	dir      string
	svc      service.Daemon
	launches chan struct{}
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir(), launches: make(chan struct{}, 100)}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	// No other package's tests have a program of this name: a service is looked for by that in all folders.
	if err := os.WriteFile(s.path("answering"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	s.svc.Launch = func(context.Context, string) (daemon.Command, error) {
		s.launches <- struct{}{}
		return daemon.Command{Path: s.path("answering"), Args: []string{"600"}}, nil
	}
	s.svc.Service = service.Service{
		Name: "test service", On: s.dir,
		Identity: daemon.Identity{Name: "test service", Executables: []string{s.path("answering")}},
		Answers: func(context.Context) error {
			b, err := os.ReadFile(s.path("answer"))
			switch {
			case err != nil:
				return ocf.Errorf(ocf.Generic, "no answer yet")
			case string(b) == "degraded":
				return ocf.Errorf(ocf.Degraded, "with a handicap")
			case string(b) == "stopping":
				return ocf.Errorf(ocf.Degraded, "%w", service.ErrStopping)
			}
			return nil
		},
	}
	s.answer("well")
	t.Cleanup(func() { s.call(ocf.Stop, time.Minute) })
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) answer(text string) {
	if err := os.WriteFile(s.path("answer"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// call runs an action as an agent would.
func (s *site) call(action string, timeout time.Duration) ocftest.Result {
	agent := func() ocf.Agent {
		run := service.Of(func(*ocf.Request) service.Daemon { return s.svc })
		return ocf.Agent{Name: "test", Version: "1", Short: "s", Long: "l", Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: time.Minute, Run: run.Start},
			{Name: ocf.Stop, Timeout: time.Minute, Run: run.Stop},
			{Name: ocf.Monitor, Timeout: time.Minute, Interval: time.Minute, Run: run.Monitor},
		}}
	}
	return ocftest.InProcess(agent)(context.Background(), ocftest.Call{Action: action, Timeout: timeout, Env: []string{"HA_RSCTMP=" + s.dir}})
}

func (s *site) want(action string, code ocf.Code, words string) ocftest.Result {
	s.t.Helper()
	r := s.call(action, time.Minute)
	if r.Code != code || !strings.Contains(r.Shown(), words) {
		s.t.Errorf("%s: want %d %q, got %s", action, code, words, r)
	}
	return r
}

// pids are the processes, found without package daemon.
func (s *site) pids() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var pids []int
	for _, l := range links {
		if exe, _ := os.Readlink(l); exe == s.path("answering") {
			pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestLife(t *testing.T) {
	s := newSite(t)
	s.want(ocf.Monitor, ocf.NotRunning, s.dir)
	s.want(ocf.Start, ocf.OK, "")
	s.want(ocf.Start, ocf.OK, "")
	s.want(ocf.Monitor, ocf.OK, "")
	if n := len(s.launches); n != 1 {
		t.Errorf("launched %d times", n)
	}
	s.want(ocf.Stop, ocf.OK, "")
	s.want(ocf.Stop, ocf.OK, "")
	if pids := s.pids(); len(pids) > 0 {
		t.Errorf("left: %v", pids)
	}
}

func TestTwoStartsAtOnceStartOne(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { s.want(ocf.Start, ocf.OK, "") })
	}
	wg.Wait()
	if pids := s.pids(); len(pids) != 1 || len(s.launches) != 1 {
		t.Errorf("%v run, launched %d times", pids, len(s.launches))
	}
}

// TestDiesAsItHasStarted: what a start asks of a service that serves already fails because that has died, and that is what is told.
func TestDiesAsItHasStarted(t *testing.T) {
	s := newSite(t)
	s.svc.Started = func(context.Context) error { return ocf.Errorf(ocf.Generic, "start it") }
	s.want(ocf.Start, ocf.Generic, "start it")
	s.want(ocf.Stop, ocf.OK, "")
	s.svc.Started = func(ctx context.Context) error {
		if err := syscall.Kill(s.pids()[0], syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		for len(s.pids()) > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return ocf.Errorf(ocf.Generic, "start it")
	}
	s.want(ocf.Start, ocf.Generic, "has just died: see its log")
}

func TestStartWaitsUntilItServes(t *testing.T) {
	for answer, waits := range map[string]bool{"degraded": false, "stopping": true} {
		t.Run(answer, func(t *testing.T) {
			s := newSite(t)
			s.answer(answer)
			done := make(chan ocftest.Result, 1)
			go func() { done <- s.call(ocf.Start, time.Minute) }()
			if waits {
				<-s.launches
				select {
				case r := <-done:
					t.Fatalf("it did not wait: %s", r)
				case <-time.After(500 * time.Millisecond):
				}
				s.answer("well")
			}
			if r := <-done; r.Code != ocf.OK {
				t.Error(r)
			}
		})
	}
	t.Run("in vain", func(t *testing.T) {
		s := newSite(t)
		s.answer("stopping")
		r := s.call(ocf.Start, 2*time.Second)
		if r.Code != ocf.Generic || !strings.Contains(r.Reason, "give start a longer timeout") || len(s.pids()) != 1 {
			t.Errorf("%v run: %s", s.pids(), r)
		}
	})
}

// What failed a question may be that the process is no more, or does not run.
func TestBecause(t *testing.T) {
	s := newSite(t)
	s.want(ocf.Start, ocf.OK, "")
	pid := s.pids()[0]
	s.answer("degraded")
	s.want(ocf.Monitor, ocf.Degraded, fmt.Sprintf("test service (pid %d): with a handicap", pid))
	_ = os.Remove(s.path("answer"))
	s.want(ocf.Monitor, ocf.Generic, "no answer yet")

	p, err := s.svc.Identity.Find(context.Background())
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	because := func(words string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			err := service.Because(p, ocf.Errorf(ocf.Generic, "no answer"))
			if ocf.CodeOf(err) == ocf.Generic && strings.Contains(err.Error(), words) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %v, want %q", err, words)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := service.Because(p, nil); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	because("frozen")
	s.want(ocf.Start, ocf.Generic, "frozen")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	because("has just died")
}

// A question that would wait to the end of its time ends with the process; handicaps are told together.
func TestQuestions(t *testing.T) {
	s := newSite(t)
	s.want(ocf.Start, ocf.OK, "")
	handicap := func(words string) service.Question {
		return service.Question{Ask: func(context.Context, *daemon.Process) error { return ocf.Errorf(ocf.Degraded, "%s", words) }}
	}
	s.svc.Questions = []service.Question{handicap("a full disk"), handicap("a missing backup"), {Level: 10, Ask: func(context.Context, *daemon.Process) error {
		t.Error("a question of level 10 was asked")
		return nil
	}}}
	s.want(ocf.Monitor, ocf.Degraded, "a full disk; a missing backup")
	s.svc.Questions = append(s.svc.Questions, service.Question{Ask: func(ctx context.Context, p *daemon.Process) error {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	if r := s.want(ocf.Monitor, ocf.Generic, "has just died"); r.Elapsed > 40*time.Second {
		t.Errorf("it was waited for: %s", r)
	}
}

// TestDescriptors: a service that has its descriptors used up while it is asked is told so, whether or not it has some again by
// the time that the question ends; one that has answered knows best.
func TestDescriptors(t *testing.T) {
	s := newSite(t)
	s.want(ocf.Start, ocf.OK, "")
	pid := s.pids()[0]
	p, err := s.svc.Identity.Find(t.Context())
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	open, most, err := p.Descriptors()
	if err != nil || service.Exhausted(p) != "" {
		t.Fatalf("%d of %d, %v: %s", open, most, err, service.Exhausted(p))
	}
	limit := func(n int) {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: uint64(most)}, nil); err != nil {
			t.Error(err)
		}
	}
	answer := error(ocf.Errorf(ocf.Generic, "no answer"))
	var short time.Duration // how long it has none, while it is asked
	s.svc.Answers = func(context.Context) error {
		if short > 0 {
			limit(open)
			time.Sleep(short)
			limit(most)
		}
		return answer
	}
	full := fmt.Sprintf("test service (pid %d): %d of its %[2]d file descriptors are in use: raise LimitNOFILE (ulimit -n): no answer", pid, open)
	limit(open)
	s.want(ocf.Monitor, ocf.Generic, full)
	limit(most)
	if r := s.call(ocf.Monitor, time.Minute); strings.Contains(r.Reason, "descriptors") {
		t.Errorf("it has enough: %s", r)
	}
	for short = time.Second; ; short *= 2 {
		r := s.call(ocf.Monitor, time.Minute)
		if r.Code == ocf.Generic && strings.Contains(r.Reason, full) {
			break
		}
		if short > 30*time.Second {
			t.Fatalf("it was not seen in %v: %s", short, r)
		}
	}
	short, answer = 0, ocf.Errorf(ocf.Degraded, "with a handicap")
	limit(open)
	if r := s.want(ocf.Monitor, ocf.Degraded, "with a handicap"); strings.Contains(r.Reason, "descriptors") {
		t.Errorf("it has answered: %s", r)
	}
}

// TestFrozenMeanwhile: who is frozen while it is asked is not waited for, by a monitor and by a start that finds it running.
func TestFrozenMeanwhile(t *testing.T) {
	for _, action := range []string{ocf.Monitor, ocf.Start} {
		s := newSite(t)
		s.want(ocf.Start, ocf.OK, "")
		pid := s.pids()[0]
		s.svc.Answers = func(ctx context.Context) error {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			return ctx.Err()
		}
		if r := s.want(action, ocf.Generic, "is frozen (state T, stopped by a signal): it answers nobody"); r.Elapsed > 40*time.Second {
			t.Errorf("%s waited for it: %s", action, r)
		}
	}
}

func TestServes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, true},
		{ocf.Errorf(ocf.Degraded, "full"), true},
		{ocf.Errorf(ocf.Degraded, "%w", service.ErrStopping), false},
		{ocf.Errorf(ocf.Generic, "hangs"), false},
		{errors.New("what"), false},
	} {
		if got := service.Serves(c.err); got != c.want {
			t.Errorf("Serves(%v) = %t", c.err, got)
		}
	}
}

// A worker that is frozen is named, while its parent and the others serve.
func TestWorkers(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(shell)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "parent")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(path, "-c", "sleep 600 & sleep 600 & wait")
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-parent.Process.Pid, syscall.SIGKILL)
		_ = parent.Wait()
	})
	p, err := daemon.Identity{Name: "parent", Executables: []string{path}}.Find(t.Context())
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain until %s", what)
			}
		}
	}
	var children []daemon.Stat
	until("there are two children", func() bool {
		children, err = p.Children()
		return err != nil || len(children) == 2
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Workers(p); err != nil {
		t.Errorf("two that run: %v", err)
	}
	pid := children[1].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until("it is told", func() bool { err = service.Workers(p); return err != nil })
	want := fmt.Sprintf("1 of 2 child processes of parent (pid %d) are frozen (pid %d,", parent.Process.Pid, pid)
	if ocf.CodeOf(err) != ocf.Degraded || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := service.Because(p, ocf.Errorf(ocf.Generic, "no answer")); ocf.CodeOf(err) != ocf.Generic || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "; no answer") {
		t.Errorf("got %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until("it goes on", func() bool { return service.Workers(p) == nil })
}

// TestMeant: a stop that does not know which service is meant ends one only if other parameters point at it.
func TestMeant(t *testing.T) {
	yes := func(context.Context, *daemon.Process) (bool, error) { return true, nil }
	no := func(context.Context, *daemon.Process) (bool, error) { return false, nil }
	for name, c := range map[string]struct {
		running  int
		evidence []daemon.Test
		code     ocf.Code
		words    string
		left     int
	}{
		"nothing runs":              {0, nil, ocf.OK, "", 0},
		"one, nothing points at it": {1, nil, ocf.Generic, "cannot tell which one to stop: port=x; test service (pid ", 1},
		"one, it is another":        {1, []daemon.Test{no}, ocf.Generic, "cannot tell which one to stop", 1},
		"one, it is meant":          {1, []daemon.Test{no, yes}, ocf.OK, "", 0},
		"two may be meant":          {2, []daemon.Test{yes}, ocf.Generic, "cannot tell which one to stop: port=x; 2 may be meant", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range c.running {
				cmd := exec.Command(s.path("answering"), "600")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { _ = cmd.Wait() }()
			}
			for deadline := time.Now().Add(time.Minute); len(s.pids()) < c.running; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("they do not run")
				}
			}
			agent := func() ocf.Agent {
				return ocf.Agent{Name: "test", Version: "1", Short: "s", Long: "l", Actions: []ocf.Action{
					{Name: ocf.Stop, Timeout: time.Minute, Run: func(ctx context.Context, r *ocf.Request) error {
						svc, err := s.svc.Meant(ctx, r, errors.New("port=x"), c.evidence...)
						if err != nil {
							return err
						}
						return svc.Stop(ctx, r, daemon.StopOptions{})
					}},
				}}
			}
			r := ocftest.InProcess(agent)(context.Background(), ocftest.Call{Action: ocf.Stop, Env: []string{"HA_RSCTMP=" + s.dir}})
			if r.Code != c.code || !strings.Contains(r.Shown(), c.words) {
				t.Errorf("want %d %q, got %s", c.code, c.words, r)
			}
			if left := s.pids(); len(left) != c.left {
				t.Errorf("want %d left, there are %v", c.left, left)
			}
		})
	}
}

// TestLaunch: a daemon that is killed while it starts is started once more; the storage is asked before its last words
// are believed.
func TestLaunch(t *testing.T) {
	const killed, dies, lives = "kill -9 $$", "echo '[ERROR] recovery failed'; exit 1", "exec sleep 600"
	for name, c := range map[string]struct {
		scripts  []string // of the launches; "" finds that the storage is gone
		launched int      // how many of them are made
		code     ocf.Code
		words    []string
	}{
		"killed once":                  {[]string{killed, lives}, 2, ocf.OK, nil},
		"killed twice":                 {[]string{killed, killed, lives}, 3, ocf.Generic, []string{"of SIGKILL", "lack of memory"}},
		"dies by itself":               {[]string{dies, lives}, 2, ocf.Generic, []string{"recovery failed"}},
		"dies of its storage":          {[]string{dies, ""}, 2, ocf.Generic, []string{"not mounted; so", "recovery failed"}},
		"killed, its storage is gone":  {[]string{killed, "", lives}, 2, ocf.Generic, []string{"not mounted; so", "of SIGKILL"}},
		"the storage is gone at first": {[]string{"", lives}, 1, ocf.Generic, []string{"not mounted"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, launched := t.TempDir(), 0
			agent := func() ocf.Agent {
				return ocf.Agent{Name: "test", Version: "1", Short: "s", Long: "l", Actions: []ocf.Action{
					{Name: ocf.Start, Timeout: time.Minute, Run: func(ctx context.Context, r *ocf.Request) error {
						script := ""
						p, err := service.Launch(ctx, r, func(context.Context) (daemon.Command, error) {
							script = c.scripts[launched]
							launched++
							if script == "" {
								return daemon.Command{}, ocf.Errorf(ocf.Generic, "not mounted")
							}
							return daemon.Command{Name: "served", Path: "/bin/sh", Args: []string{"-c", script}, Output: filepath.Join(dir, "log")}, nil
						}, func(context.Context) error {
							if script == lives {
								return nil
							}
							return errors.New("not yet")
						})
						if err != nil {
							return err
						}
						defer p.Close()
						return p.Signal(syscall.SIGKILL)
					}},
				}}
			}
			r := ocftest.InProcess(agent)(context.Background(), ocftest.Call{Action: ocf.Start, Timeout: time.Minute})
			if r.Code != c.code || launched != c.launched {
				t.Errorf("want %d after %d launches, got %d: %s", c.code, c.launched, launched, r)
			}
			r.Says(t, "start", c.words...)
		})
	}
}

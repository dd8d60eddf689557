package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStop(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		grace time.Duration
		clean bool // it ended as asked
	}{
		{"obedient", []string{"serve"}, 0, true},
		{"ignores TERM", []string{"stubborn"}, 50 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			p := s.start(c.args...)
			began := time.Now()
			if err := Stop(s.ctx, s.id, StopOptions{Grace: c.grace}); err != nil {
				t.Fatal(err)
			}
			if p.Alive() || s.exists("clean") != c.clean {
				t.Errorf("alive %v, clean %v", p.Alive(), s.exists("clean"))
			}
			if d := time.Since(began); d > 5*time.Second || d < c.grace {
				t.Errorf("it took %v", d)
			}
			s.gone()
			if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
				t.Errorf("a second stop: %v", err)
			}
		})
	}
}

// Without a grace of its own the daemon has all the time but the reserve.
func TestStopReserve(t *testing.T) {
	s := newSite(t)
	s.start("stubborn")
	ctx, cancel := context.WithTimeout(s.ctx, 800*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := Stop(ctx, s.id, StopOptions{Reserve: 600 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 200*time.Millisecond || ctx.Err() != nil {
		t.Errorf("it took %v", d)
	}
	s.gone()
}

// A daemon under SIGSTOP is continued and so ends cleanly.
func TestStopStopped(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.until("it is stopped", func() bool { st, err := p.Stat(); return err == nil && st.Stopped() })
	if q := s.find(); q.PID != p.PID {
		t.Errorf("found %v", q)
	}
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if !s.exists("clean") {
		t.Error("it was killed")
	}
}

func TestStopChildren(t *testing.T) {
	for _, leave := range []bool{false, true} {
		s := newSite(t)
		p := s.start("family")
		child := s.pid("child/ready")
		if err := Stop(s.ctx, s.id, StopOptions{Grace: 200 * time.Millisecond, LeaveChildren: leave}); err != nil {
			t.Fatal(err)
		}
		if p.Alive() {
			t.Error("the daemon is alive")
		}
		_, err := open("", child)
		if alive := !errors.Is(err, os.ErrProcessDone); alive != leave {
			t.Errorf("LeaveChildren %v: the child is alive: %v (%v)", leave, alive, err)
		}
	}
}

// The members of our own group and session are never collected, whoever leads it.
func TestMembersNeverOurs(t *testing.T) {
	self, err := ReadStat("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{self.Session, self.PGID, 1} {
		leader, err := hold("", pid)
		if err != nil {
			continue // such a leader is gone, or in another pid namespace
		}
		defer leader.Close()
		for _, p := range members([]*Process{leader}) {
			st, _ := p.Stat()
			if st.Session == self.Session || st.PGID == self.PGID || p.PID == self.PPID || p.PID <= 1 {
				t.Errorf("%v (%+v) would be signalled", p, st)
			}
			p.Close()
		}
	}
}

func TestStopSupervised(t *testing.T) {
	s := newSite(t)
	boss := s.command("respawn")
	_, err := Start(s.ctx, boss, s.ready)
	if err != nil {
		t.Fatal(err)
	}
	isBoss := func(want bool) Test {
		return All(UsesDir(s.dir), func(ctx context.Context, p *Process) (bool, error) {
			args, err := p.Cmdline(ctx)
			return strings.Contains(strings.Join(args, " "), "respawn") == want, err
		})
	}
	supervisor := s.id
	supervisor.Name, supervisor.Test = "supervisor", isBoss(true)
	s.id.Test = isBoss(false)

	if err := Stop(s.ctx, s.id, StopOptions{First: []Identity{supervisor}}); err != nil {
		t.Fatal(err)
	}
	s.gone()
	s.id = supervisor
	s.gone()
}

func TestRespawned(t *testing.T) {
	s := newSite(t)
	err := respawned(s.start("serve"))
	if want := fmt.Sprintf("by process %d (", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("err = %v, want %q in it", err, want)
	}
}

// What may be the daemon or not is left alone, and said.
func TestStopDoubt(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	why := errors.New("cannot tell")
	id := s.id
	id.Test = func(_ context.Context, q *Process) (bool, error) {
		if q.PID == p.PID {
			return false, why
		}
		return false, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, 200*time.Millisecond)
	defer cancel()
	err := Stop(ctx, id, StopOptions{})
	var doubt *DoubtError
	if !errors.As(err, &doubt) || doubt.PID != p.PID || !errors.Is(err, why) {
		t.Errorf("err = %v, want a doubt about %v", err, p)
	}
	if !p.Alive() || s.exists("clean") {
		t.Error("it was signalled all the same")
	}
}

// A process of the same executable on other data is not touched.
func TestStopNeighbour(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.start("serve")
	neighbour := other.start("serve")
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if !neighbour.Alive() {
		t.Error("the neighbour is dead")
	}
}

// The context is over before Stop begins: it still kills.
func TestStopLate(t *testing.T) {
	s := newSite(t)
	p := s.start("stubborn")
	ctx, cancel := context.WithTimeout(s.ctx, time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	err := Stop(ctx, s.id, StopOptions{})
	var alive *StillAlive
	if err != nil && !errors.As(err, &alive) {
		t.Errorf("err = %v", err)
	}
	s.until("it is dead", func() bool { return !p.Alive() })
}

func TestStopWorkers(t *testing.T) {
	s := newSite(t)
	p := s.start("serve")
	q := s.start("serve", "1ms")
	all, err := s.id.FindAll(s.ctx)
	if err != nil || len(all) != 2 || all[0].PID != p.PID {
		t.Fatalf("FindAll = %v, %v; want %v and %v", all, err, p, q)
	}
	if err := Stop(s.ctx, s.id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if p.Alive() || q.Alive() {
		t.Errorf("alive: %v %v", p.Alive(), q.Alive())
	}
}

func TestErrorsAreForOperators(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&StillAlive{PID: 7, Name: "mysqld", State: 'S'}, "mysqld (pid 7) is still alive after SIGKILL (state S)"},
		{&DoubtError{PID: 7, Name: "mysqld", Err: errors.New("why")}, "mysqld (pid 7) may be it: why"},
		{
			&DiedError{Name: "qpidd", PID: 7, After: 1234 * time.Millisecond, Status: "exit status 1", Words: []string{"a", "b"}, Logs: []string{"/var/log/q"}},
			"qpidd died 1.23s after its start: a | b (exit status 1; log: /var/log/q)",
		},
		{
			&DiedError{Name: "qpidd", PID: 7, Status: "exit status 1", Logs: []string{"/var/log/q"}},
			"qpidd died 0s after its start: it logged no error (exit status 1; log: /var/log/q)",
		},
		{
			&DiedError{Name: "mysqld", Signal: unix.SIGKILL, Status: "signal: killed", Words: []string{"a"}, Logs: []string{"/var/log/q"}},
			"mysqld died 0s after its start of SIGKILL: killed by somebody, or for lack of memory: see the kernel's log; it had said: a; log: /var/log/q",
		},
		{
			&DiedError{Name: "mysqld", Signal: unix.SIGABRT, Status: "signal: aborted (core dumped)", Words: []string{"a"}},
			"mysqld died 0s after its start of SIGABRT: a (signal: aborted (core dumped))",
		},
		{
			&NotReadyError{Name: "qpidd", PID: 7, After: time.Second, Last: errors.New("refused"), Killed: true, Cause: context.DeadlineExceeded},
			"qpidd (pid 7) is not ready 1s after its start: refused; it was killed",
		},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

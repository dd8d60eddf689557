package ocf

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// longestStay bounds how long a monitor stays: a deeper monitor of the same resource has to wait for it.
const longestStay = 10 * time.Second

// Stay is Run, but for a recurring monitor of level 0 that finds its resource well. That one does not end, to be run
// anew an interval later: it stays, asks again once in each interval, and at once when what it watches has ended (see
// [Request.Release]). So a death is found when it happens, and not half an interval later, and most of what a monitor
// costs, which is to start a process, is not paid. It ends with the first answer that is another one, and in any case after
// half of its timeout, or ten seconds.
//
// Pacemaker's executor does one thing at a time for a resource, but kills a recurring monitor when it is to do another
// (since 1.1.12), so that nothing but a deeper monitor has to wait; but not for a notify, so that no monitor of a clone with
// notify=true stays. The first monitor after a start, a cleanup or a change does not stay, for
// its answer is waited for: the one before it must have ended just an interval ago, with the same answer.
//
// declare makes the agent anew for each time that it asks.
func Stay(ctx context.Context, declare func() Agent, c Call) Code {
	c.env = environ(c.Env)
	s := newStay(c)
	switch {
	case s == nil:
		return Run(ctx, declare(), c)
	case !s.takeMark():
		return s.leaveMark(Run(ctx, declare(), c))
	}
	began := time.Now()
	code := Run(ctx, declare(), s.call(c))
	rounds := s.longest / s.interval
	for n := time.Duration(1); n <= max(rounds, 1) && isWell(code); n++ {
		s.wait(ctx, time.Until(began.Add(min(n*s.interval, s.longest))))
		c.spent = time.Since(began)
		if now := Run(ctx, declare(), s.call(c)); now != code {
			code = now
			break
		}
	}
	return s.leaveMark(code)
}

// isWell tells the answers of a resource that is as it should be.
func isWell(c Code) bool { return c == OK || c == RunningPromoted }

// stay is a monitor that may stay.
type stay struct {
	interval, longest time.Duration
	mark              string // the file that says when the last one ended
	watched           watched
}

// newStay is nil for what never stays: other actions, probes, deeper monitors, and whoever does not end a monitor for something else.
func newStay(c Call) *stay {
	if len(c.Args) == 0 || !runBy(c.env[crmFeatureSet], 3, 0, 9) {
		return nil
	}
	r := newRequest("", c.Args[0], c.env)
	s := &stay{
		interval: r.Interval, longest: min(r.Timeout/2, longestStay),
		mark: filepath.Join(r.TempDir(), "openstack-"+r.Instance+".well"),
	}
	switch {
	case changes(r.Action):
		_ = os.Remove(s.mark)
		return nil
	case r.Action != Monitor, r.Level > 0, s.interval <= 0, s.longest <= 0, r.Meta("notify") == "true":
		return nil
	}
	return s
}

// takeMark takes away the mark of the last monitor, and tells whether that one ended just an interval ago.
func (s *stay) takeMark() bool {
	text, err := os.ReadFile(s.mark)
	if err != nil || os.Remove(s.mark) != nil {
		return false
	}
	var interval, ended time.Duration
	if n, _ := fmt.Sscan(string(text), &interval, &ended); n != 2 || interval != s.interval {
		return false
	}
	passed := sinceBoot() - ended
	return passed > s.interval*9/10 && passed < s.interval+max(s.interval/2, time.Second)
}

// leaveMark leaves the next monitor the mark, if all is well. Whoever is killed leaves none.
func (s *stay) leaveMark(code Code) Code {
	if isWell(code) {
		_ = os.WriteFile(s.mark, fmt.Appendf(nil, "%d %d\n", s.interval, sinceBoot()), 0o600)
	}
	return code
}

// sinceBoot does not jump when the clock is set.
func sinceBoot() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}

// call is c for one more question; what the last one watched is let go.
func (s *stay) call(c Call) Call {
	s.watched.close()
	c.watched = &s.watched
	return c
}

// wait returns after so long, or when something that is watched has ended.
func (s *stay) wait(ctx context.Context, long time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	s.watched.wait(ctx, cancel)
	<-ctx.Done()
}

// Ender is what a monitor that stays can wait for, such as a process.
type Ender interface {
	// Wait returns nil once it has ended, or ctx's error.
	Wait(ctx context.Context) error
	io.Closer
}

// watched is what the last question of a monitor that stays was about.
type watched struct{ list []Ender }

func (w *watched) close() {
	for _, e := range w.list {
		_ = e.Close()
	}
	w.list = nil
}

// wait calls ended when the first of all has ended. None is waited for any more when it returns, which is once ctx ends.
func (w *watched) wait(ctx context.Context, ended func()) {
	var waiting sync.WaitGroup
	for _, e := range w.list {
		waiting.Go(func() {
			if e.Wait(ctx) == nil {
				ended()
			}
		})
	}
	waiting.Wait()
}

// Stays tells whether this is a monitor that stays (see [Stay]), so that it is worth watching for events.
func (r *Request) Stays() bool { return r.watched != nil }

// Release closes what the action has asked, in place of its own Close. A monitor that stays (see [Stay]) does that only when
// it asks again, and it asks at once when this has ended.
func (r *Request) Release(e Ender) {
	if r.watched == nil {
		_ = e.Close()
		return
	}
	r.watched.list = append(r.watched.list, e)
}

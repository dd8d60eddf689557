package ocf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// longestStay bounds how long a monitor stays: a deeper monitor of the same resource has to wait for it.
	longestStay = time.Minute
	// patience is how long a service has at least to answer, of a timeout of which the rest is for the stay.
	patience = 20 * time.Second
	// shortStay is for timeouts of which no such part can be spared.
	shortStay = 10 * time.Second
	// toldInterval is how often is asked what events tell of (see [Request.Told]), where the interval is shorter.
	toldInterval = 10 * time.Second
	// deeperPatience is how long it has to answer what one that stays asks in a deeper one's place.
	deeperPatience = 5 * time.Second
)

// Stay is Run, but for a recurring monitor of level 0 that finds its resource well. That one does not end, to be run
// anew an interval later: it stays, asks again once in each interval, and at once when what it watches has ended (see
// [Request.Release]). So a death is found when it happens, and not half an interval later, and most of what a monitor
// costs, which is to start a process, is not paid. It ends with the first answer that is another one, and in any case after
// a minute. That is of its timeout: for its answer the service has the rest, so that a timeout of eighty seconds gives it twenty; of a
// shorter one the stay is what is more than twenty seconds. One of forty seconds or less is for the answer first, and the stay is
// ten seconds, at most half of it.
//
// Pacemaker's executor does one thing at a time for a resource, but kills a recurring monitor when it is to do another
// (since 1.1.12), so that nothing but a deeper monitor has to wait; but not for a notify, so that no monitor of a clone with
// notify=true stays. When a deeper monitor is due, the one that stays asks in its place, and ends if that
// does not find all well at once: the deeper one, which waits, then says so. The first monitor after a start, a cleanup or a change does not stay, for
// its answer is waited for: the one before it must have ended just an interval ago, with the same answer.
//
// declare makes the agent anew for each time that it asks.
func Stay(ctx context.Context, declare func() Agent, c Call) Code {
	c.env = environ(c.Env)
	s := newStay(c)
	switch {
	case s == nil:
		return Run(ctx, declare(), c)
	case s.level > 0:
		code := Run(ctx, declare(), c)
		s.leaveDeeper()
		return code
	case !s.may || !s.takeMark():
		c.spent = s.spared
		return s.leaveMark(Run(ctx, declare(), c))
	}
	deeper := s.deeper()
	code := Run(ctx, declare(), s.call(c))
	rounds := max(s.longest/s.interval, 1)
	for n := time.Duration(0); n < rounds && isWell(code) && s.askDeeper(ctx, declare, c, deeper); {
		n++
		if s.watched.told {
			n = min(n-1+max(toldInterval/s.interval, 1), rounds)
		}
		s.watched.wait(ctx, time.Until(s.began.Add(min(n*s.interval, s.longest))))
		if now := Run(ctx, declare(), s.call(c)); now != code {
			code = now
			break
		}
	}
	return s.leaveMark(code)
}

// isWell tells the answers of a resource that is as it should be.
func isWell(c Code) bool { return c == OK || c == RunningPromoted }

// stay is a monitor that may stay, or a deeper one in whose place another one asks.
type stay struct {
	level             int
	may               bool
	interval, timeout time.Duration
	longest           time.Duration // how long it may stay
	spared            time.Duration // what no question has of the timeout
	file              string        // what the files of this resource's monitors begin with
	mark              string        // the file that says when the last one of level 0 ended
	began             time.Time
	watched           watched
}

// newStay is nil for what never stays, nor is asked by one that does: other actions, probes, and whoever does not end a monitor
// for something else.
func newStay(c Call) *stay {
	if len(c.Args) == 0 || !runBy(c.env[crmFeatureSet], 3, 0, 9) {
		return nil
	}
	r := newRequest("", c.Args[0], c.env)
	file := r.TempFile("")
	s := &stay{
		level: r.Level, may: r.Meta("notify") != "true", interval: r.Interval, timeout: r.Timeout, longest: min(r.Timeout/2, shortStay),
		file: file, mark: file + ".well", began: time.Now(),
	}
	if s.timeout > 2*patience {
		s.longest = min(s.timeout-patience, longestStay)
		s.spared = s.longest
	}
	switch {
	case changes(r.Action):
		_ = os.Remove(s.mark)
		for level := range s.deeper() {
			_ = os.Remove(s.deeperFile(level))
		}
		return nil
	case r.Action == Monitor && s.interval <= 0: // after a probe Pacemaker begins anew
		_ = os.Remove(s.mark)
		return nil
	case r.Action != Monitor, s.longest <= 0:
		return nil
	}
	return s
}

// deepMonitor is when a deeper monitor of the resource is due, counted from the boot, and its interval.
type deepMonitor struct{ due, interval time.Duration }

func (s *stay) deeperFile(level int) string { return s.file + ".level" + strconv.Itoa(level) }

// leaveDeeper says that a deeper monitor has just ended.
func (s *stay) leaveDeeper() {
	_ = os.WriteFile(s.deeperFile(s.level), fmt.Appendf(nil, "%d %d\n", sinceBoot()+s.interval, s.interval), 0o600)
}

// deeper are the deeper monitors that the cluster runs, by their level. One that should have run minutes ago is not run any more.
func (s *stay) deeper() map[int]*deepMonitor {
	files, _ := filepath.Glob(s.file + ".level*") // an instance's name has nothing that Glob takes for a pattern
	m := map[int]*deepMonitor{}
	for _, file := range files {
		var d deepMonitor
		text, _ := os.ReadFile(file)
		level, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(file), ".level"))
		if n, _ := fmt.Sscan(string(text), &d.due, &d.interval); err == nil && n == 2 && d.interval > 0 && sinceBoot()-d.due < 5*time.Minute {
			m[level] = &d
		}
	}
	return m
}

// askDeeper asks in the place of each deeper monitor that is due, and tells whether all is well.
func (s *stay) askDeeper(ctx context.Context, declare func() Agent, c Call, list map[int]*deepMonitor) bool {
	for level, d := range list {
		if sinceBoot() < d.due {
			continue
		}
		d.due = sinceBoot() + d.interval
		ask := s.call(c)
		ask.Stdout, ask.Stderr = io.Discard, io.Discard // the deeper one says it
		ask.env = maps.Clone(c.env)
		ask.env["OCF_CHECK_LEVEL"] = strconv.Itoa(level)
		ask.env["OCF_RESKEY_CRM_meta_interval"] = strconv.FormatInt(d.interval.Milliseconds(), 10)
		ask.spent = max(ask.spent, s.timeout-deeperPatience)
		if !isWell(Run(ctx, declare(), ask)) {
			return false
		}
	}
	return true
}

// takeMark takes away the mark of the last monitor, and tells whether that one ended just an interval ago.
func (s *stay) takeMark() bool {
	text, err := os.ReadFile(s.mark)
	if err != nil || os.Remove(s.mark) != nil {
		return false
	}
	var interval, timeout, ended time.Duration
	if n, _ := fmt.Sscan(string(text), &interval, &timeout, &ended); n != 3 || interval != s.interval || timeout != s.timeout {
		return false // a monitor whose operation was changed is a first one
	}
	passed := sinceBoot() - ended
	return passed > s.interval*9/10 && passed < s.interval+max(s.interval/2, time.Second)
}

// leaveMark leaves the next monitor the mark, if all is well. Whoever is killed leaves none.
func (s *stay) leaveMark(code Code) Code {
	if isWell(code) {
		_ = os.WriteFile(s.mark, fmt.Appendf(nil, "%d %d %d\n", s.interval, s.timeout, sinceBoot()), 0o600)
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
	s.watched.told = false
	c.watched = &s.watched
	c.spent = max(time.Since(s.began), s.spared)
	return c
}

// Ender is what a monitor that stays can wait for, such as a process.
type Ender interface {
	// Descriptor is where poll(2) finds one of these events once it has ended; -1 if it cannot, so that the next question does.
	Descriptor() (fd int, events int16)
	io.Closer
}

// watched is what the last question of a monitor that stays was about.
type watched struct {
	list []Ender
	told bool // nothing changes that none of them tells
}

func (w *watched) close() {
	for _, e := range w.list {
		_ = e.Close()
	}
	w.list = nil
}

// wait returns after so long, when the first of all has ended, or within a second of ctx's end. It is one system call: goroutines that
// wait, and timers, wake threads, and that is most of what a question costs.
func (w *watched) wait(ctx context.Context, long time.Duration) {
	var all []unix.PollFd
	for _, e := range w.list {
		if fd, events := e.Descriptor(); fd >= 0 {
			all = append(all, unix.PollFd{Fd: int32(fd), Events: events})
		}
	}
	for until := time.Now().Add(long); ctx.Err() == nil; {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if ctx.Done() != nil {
			left = min(left, time.Second)
		}
		n, err := unix.Poll(all, int((left + time.Millisecond - 1).Milliseconds()))
		switch {
		case n > 0:
			return
		case err != nil && !errors.Is(err, unix.EINTR):
			all = nil // they cannot be watched: the next question finds what happens
		}
	}
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

// Told says that nothing changes that the answer depends on, but what was released ends: a monitor that stays (see [Stay]) asks every
// ten seconds then, where its interval is shorter.
func (r *Request) Told() {
	if r.watched != nil {
		r.watched.told = true
	}
}

package ocf

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// event is what a monitor can watch: it has ended when the pipe's other end is closed.
type event struct {
	pipe   *os.File
	closed *int
}

func (e event) Descriptor() (int, int16) { return int(e.pipe.Fd()), unix.POLLIN }

func (e event) Close() error { *e.closed++; return nil }

// stayer is an agent whose monitor gives the answers one after the other, and the last one for ever.
type stayer struct {
	answers []error
	ended   *os.File // what its monitors watch
	end     func()   // ends that
	told    bool
	deep    error // what level 10 finds
	left    []time.Duration
	levels  map[int]int // how often each was asked
	asked   int
	closed  int
	every   map[int]time.Duration // the interval of each level, as it was asked
	marked  bool                  // whether the mark was there while it was asked
	mark    string
}

func newStayer(t *testing.T, answers ...error) *stayer {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { w.Close() })
	t.Cleanup(func() { end(); r.Close() })
	return &stayer{answers: answers, ended: r, end: end, levels: map[int]int{}, every: map[int]time.Duration{}}
}

func (s *stayer) declare() Agent {
	act := func(_ context.Context, r *Request) error {
		if r.Action != Monitor {
			return nil
		}
		if _, err := os.Stat(s.mark); err == nil {
			s.marked = true
		}
		r.Release(event{s.ended, &s.closed})
		if s.told {
			r.Told()
		}
		s.asked++
		s.levels[r.Level]++
		s.every[r.Level] = r.Interval
		if r.Level == 10 {
			return s.deep
		}
		s.left = append(s.left, r.Timeout)
		return s.answers[min(s.asked, len(s.answers))-1]
	}
	return Agent{Name: "stayer", Actions: []Action{
		{Name: Start, Timeout: time.Minute, Run: act},
		{Name: Stop, Timeout: time.Minute, Run: act},
		{Name: Monitor, Timeout: time.Minute, Run: act},
		{Name: Monitor, Timeout: time.Minute, Depth: 10, Run: act},
		{Name: Monitor, Timeout: time.Minute, Depth: 20, Run: act},
	}}
}

// stayCall is a call by a Pacemaker, with the mark of a monitor that ended so long ago; "" is none.
type stayCall struct {
	action, featureSet, level string
	interval, timeout, markOf time.Duration
	ago                       time.Duration
	longer                    time.Duration // than the timeout of the monitor before
	unmarked, notify          bool
	deeper                    map[int]string // in how long they are due, and their interval: "-5s 30s"
}

func (c stayCall) make(t *testing.T, s *stayer) (code Code, said string) {
	t.Helper()
	dir := t.TempDir()
	s.mark = filepath.Join(dir, "openstack-db.well")
	if !c.unmarked {
		if err := os.WriteFile(s.mark, fmt.Appendf(nil, "%d %d %d\n", c.markOf, c.timeout-c.longer, sinceBoot()-c.ago), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for level, text := range c.deeper {
		due, interval, _ := strings.Cut(text, " ")
		at, err := time.ParseDuration(due)
		every, _ := time.ParseDuration(interval)
		text := fmt.Sprintf("%d %d\n", sinceBoot()+at, every)
		if err != nil {
			text = due
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("openstack-db.level", level)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	code = Stay(t.Context(), s.declare, Call{Args: []string{c.action}, Stdout: &out, Stderr: &out, Env: []string{
		"HA_RSCTMP=" + dir, "OCF_RESOURCE_INSTANCE=db", "OCF_RESKEY_crm_feature_set=" + c.featureSet, "OCF_CHECK_LEVEL=" + c.level,
		fmt.Sprint("OCF_RESKEY_CRM_meta_interval=", c.interval.Milliseconds()), fmt.Sprint("OCF_RESKEY_CRM_meta_timeout=", c.timeout.Milliseconds()),
		fmt.Sprint("OCF_RESKEY_CRM_meta_notify=", c.notify),
	}})
	return code, out.String()
}

// repeated is a monitor whose predecessor ended an interval ago.
func repeated(interval, timeout time.Duration) stayCall {
	return stayCall{action: Monitor, featureSet: "3.16.2", level: "0", interval: interval, timeout: timeout, markOf: interval, ago: interval}
}

// A monitor that repeats another one asks until half of its time is over, and leaves a mark for the next only then.
func TestStays(t *testing.T) {
	s := newStayer(t, nil)
	began := time.Now()
	code, said := repeated(100*time.Millisecond, time.Second).make(t, s)
	if took := time.Since(began); code != OK || s.asked != 6 || took < 500*time.Millisecond || said != "" {
		t.Errorf("code %v after %v, asked %d times: %s", code, took, s.asked, said)
	}
	if s.marked {
		t.Error("the mark was there while it asked: a monitor that is killed would leave it")
	}
	if _, err := os.Stat(s.mark); err != nil {
		t.Error(err)
	}
	if s.closed != 5 { // the process' end closes the last one
		t.Errorf("%d of 6 were closed", s.closed)
	}
}

// Another answer ends it, whichever that is, with its reason; and the next one does not stay.
func TestStaysWhileWell(t *testing.T) {
	for _, want := range []Code{NotRunning, Generic, Degraded, RunningPromoted} {
		s := newStayer(t, nil, nil, Errorf(want, "says so"))
		code, said := repeated(50*time.Millisecond, 10*time.Second).make(t, s)
		if code != want || s.asked != 3 || !strings.HasSuffix(said, "ocf-exit-reason:says so\n") {
			t.Errorf("%v: code %v, asked %d times: %s", want, code, s.asked, said)
		}
		if _, err := os.Stat(s.mark); (err == nil) != isWell(want) {
			t.Errorf("%v: mark: %v", want, err)
		}
	}
	s := newStayer(t, Errorf(Degraded, "full"))
	if code, _ := repeated(time.Minute, time.Minute).make(t, s); code != Degraded || s.asked != 1 {
		t.Errorf("degraded from the first: code %v, asked %d times", code, s.asked)
	}
}

// The end of what is watched is found at once.
func TestStaysForTheEnd(t *testing.T) {
	s := newStayer(t, nil, Errorf(NotRunning, "died"))
	time.AfterFunc(50*time.Millisecond, s.end)
	began := time.Now()
	if code, _ := repeated(20*time.Second, time.Minute).make(t, s); code != NotRunning || time.Since(began) > 9*time.Second {
		t.Errorf("code %v after %v", code, time.Since(began))
	}
}

// What events tell of is not asked at each interval, but when there is one, and at the end.
func TestStaysUntilTold(t *testing.T) {
	s := newStayer(t, nil)
	s.told = true
	if code, _ := repeated(100*time.Millisecond, 2*time.Second).make(t, s); code != OK || s.asked != 2 {
		t.Errorf("code %v, asked %d times", code, s.asked)
	}
	s = newStayer(t, nil, Errorf(NotRunning, "gone"))
	s.told = true
	time.AfterFunc(50*time.Millisecond, s.end)
	began := time.Now()
	if code, _ := repeated(20*time.Second, time.Minute).make(t, s); code != NotRunning || time.Since(began) > 9*time.Second {
		t.Errorf("code %v after %v", code, time.Since(began))
	}
}

// What ends again and again, and is well all the same, is not asked without end.
func TestStaysNotForEver(t *testing.T) {
	s := newStayer(t, nil)
	s.end()
	if code, _ := repeated(10*time.Second, 100*time.Second).make(t, s); code != OK || s.asked != 7 {
		t.Errorf("code %v, asked %d times", code, s.asked)
	}
}

func TestDoesNotStay(t *testing.T) {
	const interval, timeout = 2 * time.Second, 20 * time.Second
	for name, change := range map[string]func(*stayCall){
		"first after a start":      func(c *stayCall) { c.unmarked = true },
		"begun anew, too soon":     func(c *stayCall) { c.ago = interval / 2 },
		"begun anew, later":        func(c *stayCall) { c.ago = 2 * interval },
		"other interval":           func(c *stayCall) { c.markOf = 5 * time.Second },
		"other timeout":            func(c *stayCall) { c.longer = time.Second },
		"probe":                    func(c *stayCall) { c.interval, c.markOf = 0, 0 },
		"a clone with notify":      func(c *stayCall) { c.notify = true },
		"level 10":                 func(c *stayCall) { c.level = "10" },
		"no timeout":               func(c *stayCall) { c.timeout = 0 },
		"Pacemaker 1.1.10":         func(c *stayCall) { c.featureSet = "3.0.7" },
		"somebody else's call":     func(c *stayCall) { c.featureSet = "" },
		"a feature set of nothing": func(c *stayCall) { c.featureSet = "new" },
	} {
		c, s := repeated(interval, timeout), newStayer(t, nil)
		change(&c)
		if code, said := c.make(t, s); code != OK || s.asked != 1 || s.closed != 1 {
			t.Errorf("%s: code %v, asked %d times, closed %d: %s", name, code, s.asked, s.closed, said)
		}
	}
	for _, action := range []string{Start, Stop, "probe"} {
		c, s := repeated(interval, timeout), newStayer(t, nil)
		if c.action = action; action == "probe" {
			c.action, c.interval = Monitor, 0
		}
		if code, said := c.make(t, s); code != OK {
			t.Errorf("%s: %v: %s", action, code, said)
		}
		if _, err := os.Stat(s.mark); err == nil {
			t.Errorf("a %s leaves the mark: the first monitor after it would stay", action)
		}
	}
}

// When a deeper monitor is due, it asks in its place, and ends, as well as it is, if that finds something: the deeper one says so.
func TestStaysAndAsksForTheDeeperOne(t *testing.T) {
	well := map[int]int{0: 11, 10: 4, 20: 1} // how often each level is asked in a second
	for name, c := range map[string]struct {
		due   map[int]string
		found error // by level 10
		want  map[int]int
	}{
		"well":                 {map[int]string{10: "50ms 300ms", 20: "20ms 1h"}, nil, well},
		"something":            {map[int]string{10: "250ms 300ms"}, Errorf(Degraded, "full"), map[int]int{0: 4, 10: 1}},
		"due for long":         {map[int]string{10: "-10s 1h"}, Errorf(Generic, "hangs"), map[int]int{0: 1, 10: 1}},
		"removed from cluster": {map[int]string{10: "-10m 30s"}, nil, map[int]int{0: 11}},
		"not a time":           {map[int]string{10: "soon 30s"}, nil, map[int]int{0: 11}},
	} {
		t.Run(name, func(t *testing.T) {
			call, s := repeated(100*time.Millisecond, 2*time.Second), newStayer(t, nil)
			call.deeper, s.deep = c.due, c.found
			code, said := call.make(t, s)
			if code != OK || said != "" {
				t.Errorf("code %v: %s", code, said)
			}
			for level, want := range c.want {
				if got := s.levels[level]; got < (want+1)/2 || got > want { // a busy machine asks less often
					t.Errorf("level %d: asked %d times, want %d", level, got, want)
				}
			}
			for level, text := range c.due {
				_, interval, _ := strings.Cut(text, " ")
				if every, _ := time.ParseDuration(interval); s.levels[level] > 0 && s.every[level] != every {
					t.Errorf("level %d was asked as of every %v, and not %s", level, s.every[level], interval)
				}
			}
			if len(s.levels) != len(c.want) {
				t.Errorf("asked by level: %v, want %v", s.levels, c.want)
			}
			if _, err := os.Stat(s.mark); err != nil {
				t.Error(err)
			}
		})
	}
}

// A deeper monitor says when it is due again, whatever it found, and a start takes that back.
func TestDeeperMonitorIsDue(t *testing.T) {
	for _, answer := range []error{nil, Errorf(Generic, "hangs")} {
		c, s := repeated(30*time.Second, time.Minute), newStayer(t, nil)
		c.level, s.deep = "10", answer
		c.make(t, s)
		of := &stay{file: strings.TrimSuffix(s.mark, ".well")}
		d := of.deeper()[10]
		if d == nil || d.interval != 30*time.Second || d.due-sinceBoot() > 30*time.Second || d.due-sinceBoot() < 10*time.Second {
			t.Errorf("due: %+v", d)
		}
		if _, err := os.Stat(s.mark); err != nil {
			t.Error("it took the mark of level 0")
		}
		Stay(t.Context(), s.declare, Call{Args: []string{Start}, Stdout: io.Discard, Stderr: io.Discard, Env: []string{
			"HA_RSCTMP=" + filepath.Dir(s.mark), "OCF_RESOURCE_INSTANCE=db", "OCF_RESKEY_crm_feature_set=3.16.2",
		}})
		if left := of.deeper(); len(left) > 0 {
			t.Errorf("a start leaves when a deeper monitor of before was due: %v", left)
		}
	}
}

// A question has twenty seconds of eighty, and the rest of a longer timeout than that. Of a short one it has what is left, and the whole if the monitor does not
// stay.
func TestStaysWithinItsTime(t *testing.T) {
	for _, c := range []struct{ timeout, alone, first, second, longest time.Duration }{
		{time.Second, time.Second, time.Second, 700 * time.Millisecond, 500 * time.Millisecond},
		{20 * time.Second, 20 * time.Second, 20 * time.Second, 19700 * time.Millisecond, 10 * time.Second},
		{40 * time.Second, 40 * time.Second, 40 * time.Second, 39700 * time.Millisecond, 10 * time.Second},
		{50 * time.Second, 20 * time.Second, 20 * time.Second, 20 * time.Second, 30 * time.Second},
		{80 * time.Second, 20 * time.Second, 20 * time.Second, 20 * time.Second, time.Minute},
		{2 * time.Minute, time.Minute, time.Minute, time.Minute, time.Minute},
	} {
		near := func(got, want time.Duration) bool { return got <= want && got > want-c.timeout/5 }
		for name, change := range map[string]func(*stayCall){
			"stays":  func(*stayCall) {},
			"first":  func(c *stayCall) { c.unmarked = true },
			"notify": func(c *stayCall) { c.notify = true },
		} {
			call, s := repeated(300*time.Millisecond, c.timeout), newStayer(t, nil, Errorf(NotRunning, "died"))
			change(&call)
			call.make(t, s)
			want := []time.Duration{c.alone}
			if name == "stays" {
				want = []time.Duration{c.first, c.second}
			}
			if !slices.EqualFunc(s.left, want, near) {
				t.Errorf("%s: of %v the questions have %v, not %v", name, c.timeout, s.left, want)
			}
		}
		if got := newStay(Call{Args: []string{Monitor}, env: map[string]string{
			crmFeatureSet: "3.16.2", "OCF_RESKEY_CRM_meta_interval": "300",
			"OCF_RESKEY_CRM_meta_timeout": fmt.Sprint(c.timeout.Milliseconds()),
		}}).longest; got != c.longest {
			t.Errorf("of %v a monitor stays %v, not %v", c.timeout, got, c.longest)
		}
	}
}

package ocf

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// event is what a monitor can watch: it has ended when the channel is closed.
type event struct {
	ended  chan struct{}
	closed *int
}

func (e event) Wait(ctx context.Context) error {
	select {
	case <-e.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e event) Close() error { *e.closed++; return nil }

// stayer is an agent whose monitor gives the answers one after the other, and the last one for ever.
type stayer struct {
	answers []error
	ended   chan struct{} // what its monitors watch
	asked   int
	closed  int
	marked  bool // whether the mark was there while it was asked
	mark    string
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
		s.asked++
		return s.answers[min(s.asked, len(s.answers))-1]
	}
	return Agent{Name: "stayer", Actions: []Action{
		{Name: Start, Timeout: time.Minute, Run: act},
		{Name: Stop, Timeout: time.Minute, Run: act},
		{Name: Monitor, Timeout: time.Minute, Run: act},
		{Name: Monitor, Timeout: time.Minute, Depth: 10, Run: act},
	}}
}

// stayCall is a call by a Pacemaker, with the mark of a monitor that ended so long ago; "" is none.
type stayCall struct {
	action, featureSet, level string
	interval, timeout, markOf time.Duration
	ago                       time.Duration
	unmarked, notify          bool
}

func (c stayCall) make(t *testing.T, s *stayer) (code Code, said string) {
	t.Helper()
	dir := t.TempDir()
	s.mark = filepath.Join(dir, "openstack-db.well")
	if !c.unmarked {
		if err := os.WriteFile(s.mark, fmt.Appendf(nil, "%d %d\n", c.markOf, sinceBoot()-c.ago), 0o600); err != nil {
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
	s := &stayer{answers: []error{nil}, ended: make(chan struct{})}
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
		s := &stayer{answers: []error{nil, nil, Errorf(want, "says so")}, ended: make(chan struct{})}
		code, said := repeated(50*time.Millisecond, 10*time.Second).make(t, s)
		if code != want || s.asked != 3 || !strings.HasSuffix(said, "ocf-exit-reason:says so\n") {
			t.Errorf("%v: code %v, asked %d times: %s", want, code, s.asked, said)
		}
		if _, err := os.Stat(s.mark); (err == nil) != isWell(want) {
			t.Errorf("%v: mark: %v", want, err)
		}
	}
	s := &stayer{answers: []error{Errorf(Degraded, "full")}, ended: make(chan struct{})}
	if code, _ := repeated(time.Minute, time.Minute).make(t, s); code != Degraded || s.asked != 1 {
		t.Errorf("degraded from the first: code %v, asked %d times", code, s.asked)
	}
}

// The end of what is watched is found at once.
func TestStaysForTheEnd(t *testing.T) {
	s := &stayer{answers: []error{nil, Errorf(NotRunning, "died")}, ended: make(chan struct{})}
	time.AfterFunc(50*time.Millisecond, func() { close(s.ended) })
	began := time.Now()
	if code, _ := repeated(20*time.Second, 40*time.Second).make(t, s); code != NotRunning || time.Since(began) > 9*time.Second {
		t.Errorf("code %v after %v", code, time.Since(began))
	}
}

// What ends again and again, and is well all the same, is not asked without end.
func TestStaysNotForEver(t *testing.T) {
	s := &stayer{answers: []error{nil}, ended: make(chan struct{})}
	close(s.ended)
	if code, _ := repeated(10*time.Second, 100*time.Second).make(t, s); code != OK || s.asked != 2 {
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
		"probe":                    func(c *stayCall) { c.interval, c.markOf = 0, 0 },
		"a clone with notify":      func(c *stayCall) { c.notify = true },
		"level 10":                 func(c *stayCall) { c.level = "10" },
		"no timeout":               func(c *stayCall) { c.timeout = 0 },
		"Pacemaker 1.1.10":         func(c *stayCall) { c.featureSet = "3.0.7" },
		"somebody else's call":     func(c *stayCall) { c.featureSet = "" },
		"a feature set of nothing": func(c *stayCall) { c.featureSet = "new" },
	} {
		c, s := repeated(interval, timeout), &stayer{answers: []error{nil}, ended: make(chan struct{})}
		change(&c)
		if code, said := c.make(t, s); code != OK || s.asked != 1 || s.closed != 1 {
			t.Errorf("%s: code %v, asked %d times, closed %d: %s", name, code, s.asked, s.closed, said)
		}
	}
	for _, action := range []string{Start, Stop} {
		c, s := repeated(interval, timeout), &stayer{}
		c.action = action
		if code, said := c.make(t, s); code != OK {
			t.Errorf("%s: %v: %s", action, code, said)
		}
		if _, err := os.Stat(s.mark); err == nil {
			t.Errorf("a %s leaves the mark: the first monitor after it would stay", action)
		}
	}
}

// A question of a monitor that stays has what is left of the time.
func TestStaysWithinItsTime(t *testing.T) {
	s := &stayer{answers: []error{nil}, ended: make(chan struct{})}
	var left []time.Duration
	declare := func() Agent {
		a := s.declare()
		for i := range a.Actions {
			run := a.Actions[i].Run
			a.Actions[i].Run = func(ctx context.Context, r *Request) error {
				left = append(left, r.Timeout)
				return run(ctx, r)
			}
		}
		return a
	}
	dir := t.TempDir()
	s.mark = filepath.Join(dir, "openstack-db.well")
	interval := 200 * time.Millisecond
	if err := os.WriteFile(s.mark, fmt.Appendf(nil, "%d %d\n", interval, sinceBoot()-interval), 0o600); err != nil {
		t.Fatal(err)
	}
	Stay(t.Context(), declare, Call{Args: []string{Monitor}, Env: []string{
		"HA_RSCTMP=" + dir, "OCF_RESOURCE_INSTANCE=db", "OCF_RESKEY_crm_feature_set=3.16.2",
		"OCF_RESKEY_CRM_meta_interval=200", "OCF_RESKEY_CRM_meta_timeout=1000",
	}, Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}})
	if len(left) != 3 || left[0] != time.Second || left[1] > 800*time.Millisecond || left[2] > 600*time.Millisecond {
		t.Errorf("time left: %v", left)
	}
}

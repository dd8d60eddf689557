package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/cluster"
)

// memory is a ledger that does as it is told.
type memory struct {
	put     func(n int) (keep int, err error) // how often to keep n, and what to say
	numbers []int
}

func (m *memory) Put(_ context.Context, n int) error {
	keep, err := m.put(n)
	m.numbers = append(m.numbers, slices.Repeat([]int{n}, keep)...)
	return err
}

func (m *memory) Numbers(context.Context) ([]int, error) { return m.numbers, nil }

func (m *memory) Close() error { return nil }

// written has a writer put numbers up to last, or a few more.
func written(t *testing.T, m *memory, last int) *Writer {
	t.Helper()
	w := Write(m, 0)
	defer w.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, tries := w.Acknowledged(); tries >= last {
			return w
		}
		if err := w.WaitServed(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAudit(t *testing.T) {
	lost := errors.New("connection lost")
	for _, c := range []struct {
		name string
		put  func(n int) (int, error)
		add  []int
		want Audit // but for how many were acknowledged
		ok   bool
	}{
		{"all is well", func(int) (int, error) { return 1, nil }, nil, Audit{}, true},
		{"refused", func(n int) (int, error) {
			if n == 3 {
				return 0, lost
			}
			return 1, nil
		}, nil, Audit{}, true},
		{"kept, but the answer lost", func(n int) (int, error) {
			if n == 3 {
				return 1, lost
			}
			return 1, nil
		}, nil, Audit{More: 1}, true},
		{"acknowledged, but lost", func(n int) (int, error) {
			if n == 3 || n == 5 {
				return 0, nil
			}
			return 1, nil
		}, nil, Audit{Lost: []int{3, 5}}, false},
		{"kept twice", func(n int) (int, error) {
			if n == 2 {
				return 2, nil
			}
			return 1, nil
		}, nil, Audit{Twice: []int{2}}, false},
		{"never written", func(int) (int, error) { return 1, nil }, []int{-1, 1 << 30}, Audit{Stray: []int{-1, 1 << 30}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := &memory{put: c.put}
			w := written(t, m, 6)
			m.numbers = append(m.numbers, c.add...)
			got, err := w.Audit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			acked, tries := w.Acknowledged()
			if got.Acknowledged != acked || acked > tries || got.Found != acked-len(got.Lost) {
				t.Errorf("%+v, but %d of %d were acknowledged", got, acked, tries)
			}
			got.Acknowledged, got.Found = 0, 0
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if (got.Err() == nil) != c.ok {
				t.Errorf("Err: %v", got.Err())
			}
		})
	}
}

func TestOutage(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	w := &Writer{}
	for _, ms := range []int{0, 10, 1000, 1010, 1020, 1520, 1530} {
		w.acks = append(w.acks, ack{done: at(ms)})
	}
	for _, c := range []struct{ since, lost, back int }{
		{0, 10, 1000},
		{15, 10, 1000},   // it was under way
		{1000, 10, 1000}, // it ended just then
		{1001, 1020, 1520},
		{1525, 1520, 1530},
	} {
		if got := w.Outage(at(c.since)); got != (Outage{at(c.lost), at(c.back)}) {
			t.Errorf("since %d ms: %v from %v", c.since, got, got.Lost.Sub(began))
		}
	}
	if got := w.Outage(at(2000)); got != (Outage{}) {
		t.Errorf("nothing happened since: %v", got)
	}
}

// Of what failed and what was lost, each period gets its own.
func TestPeriods(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	w := &Writer{fails: []time.Time{at(5), at(20), at(30)}}
	for n := 1; n <= 4; n++ {
		w.acks = append(w.acks, ack{n: n, done: at(10 * n)})
	}
	for since, want := range map[int]int{0: 3, 5: 3, 6: 2, 30: 1, 31: 0} {
		if got := w.Failed(at(since)); got != want {
			t.Errorf("since %d ms: %d failed, want %d", since, got, want)
		}
	}
	for _, c := range []struct{ from, to, want int }{{0, 100, 2}, {0, 10, 0}, {10, 20, 1}, {20, 40, 1}, {40, 100, 0}} {
		if got := w.Between([]int{2, 4, 9}, at(c.from), at(c.to)); got != c.want {
			t.Errorf("from %d to %d ms: %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

// A try that fails is counted, and its error kept.
func TestFailuresAreCounted(t *testing.T) {
	m := &memory{put: func(n int) (int, error) {
		if n == 2 || n == 4 {
			return 0, errors.New("refused")
		}
		return 1, nil
	}}
	w := written(t, m, 6)
	if n := w.Failed(time.Time{}); n != 2 || w.LastError() == nil {
		t.Errorf("%d failed, the last: %v", n, w.LastError())
	}
}

func TestLeads(t *testing.T) {
	if leads("/proc/self") { // its parent is go test
		t.Error("this process is no daemon")
	}
	const status = "Name:\thaproxy\nPPid:\t7\nNSpid:\t4711\t12\nNSsid:\t4711\t12\n"
	if pid, ppid := lastField(status, "NSpid:"), lastField(status, "PPid:"); pid != "12" || ppid != "7" {
		t.Errorf("pid %q, parent %q", pid, ppid)
	}
}

// A client that is not served says why, when its time is up.
func TestNotServed(t *testing.T) {
	w := Write(&memory{put: func(int) (int, error) { return 0, errors.New("nobody listens") }}, 0)
	defer w.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.WaitServed(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "nobody listens") {
		t.Error(err)
	}
}

// daemons starts copies of sleep under the name of a server, with their working directory at dir.
func daemons(t *testing.T, dir string, names ...string) []int {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range names {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "1000")
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		pids = append(pids, cmd.Process.Pid)
	}
	// While they are loaded they have their libraries open, which lie on another disk.
	deadline := time.Now().Add(time.Minute)
	for _, pid := range pids {
		for state := ""; state != "S (sleeping)"; time.Sleep(time.Millisecond) {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("process %d is %s, and not asleep: %v", pid, state, err)
			}
			state = lastField(string(status), "State:")
		}
	}
	return pids
}

// A server that is asked for its options is no second one.
func TestAsked(t *testing.T) {
	for args, want := range map[string]bool{
		"mariadbd\x00--datadir=/d\x00--verbose\x00--help\x00":  true,
		"mariadbd\x00--datadir=/help\x00--user=x--help\x00":    false,
		"/usr/sbin/haproxy\x00-Ws\x00-f\x00/c\x00-c\x00-q\x00": true,
		"/usr/sbin/haproxy\x00-Ws\x00-f\x00/c\x00":             false,
		"": false,
	} {
		proc := t.TempDir()
		if err := os.WriteFile(filepath.Join(proc, "cmdline"), []byte(args), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := asked(proc); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

// everything is all that runs on the machine.
func everything() (all []cluster.Process) {
	links, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range links {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		exe, _ := os.Readlink(proc + "/exe")
		all = append(all, cluster.Process{PID: pid, Exe: filepath.Base(exe)})
	}
	return all
}

// Of a clone every node may have one daemon, and no node two.
func TestDaemonsOfAClone(t *testing.T) {
	w := &Watch{executables: []string{"watched-d"}, clone: true, looks: 1, changed: make(chan struct{})}
	w.now = []Daemon{{Node: "node1", PID: 1}, {Node: "node2", PID: 1}}
	if w.several(w.now) || !w.several(append(w.now, Daemon{Node: "node2", PID: 2})) {
		t.Error("one on each of two nodes are right, and two on one are not")
	}
	if d, ok := w.NowOn("node2"); !ok || d.Node != "node2" {
		t.Errorf("on node2: %v, %v", d, ok)
	}
	if d, ok := w.NowOn("node3"); ok {
		t.Errorf("on node3: %v", d)
	}
	if d, err := w.WaitOther(t.Context(), Daemon{Node: "node2", PID: 9}); err != nil || d != w.now[1] {
		t.Errorf("in place of another on node2: %v, %v", d, err)
	}
}

// What a service's options are in a file; a value may have a sign of its own.
func TestParameters(t *testing.T) {
	const want = "user: daemon, additional_parameters: --journal-flush-timeout=10ms"
	if got := parameters([]string{"user=daemon", "additional_parameters=--journal-flush-timeout=10ms"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The watch sees two daemons on one disk, whoever started them, and none that is another's or on another disk.
func TestTwoDaemons(t *testing.T) {
	dir := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	onDisk := func(proc string) bool { return uses(proc, []uint64{st.Dev}) }
	w := &Watch{device: "the disk", executables: []string{"watched-d"}, belongs: onDisk, changed: make(chan struct{})}
	look := func() []Daemon {
		found := processes(everything(), w.executables, w.belongs)
		w.look(found)
		return found
	}
	if w.Err() == nil {
		t.Error("a watch that never looked has nothing to complain of")
	}
	pids := daemons(t, dir, "watched-d", "other-d")
	pids = append(pids, daemons(t, "/proc", "watched-d")...)
	if found := look(); len(found) != 1 || found[0].PID != pids[0] {
		t.Fatalf("found %v, of %v", found, pids)
	}
	became := []cluster.Process{{PID: pids[1], Exe: "watched-d"}} // other-d, which was watched-d when it was looked at
	if found := processes(became, w.executables, w.belongs); len(found) > 0 {
		t.Errorf("%v is another program by now", found)
	}
	first, ok := w.Now()
	if err := w.Err(); err != nil || !ok || w.Started() != 1 {
		t.Errorf("%v, %v, %d started", err, first, w.Started())
	}
	second := daemons(t, dir, "watched-d")[0]
	look()
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "2 of the daemons") {
		t.Errorf("two daemons at once: %v", err)
	}
	if err := first.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// A zombie soon: neither to be seen nor to be signalled.
	var err error
	for now := first; now.PID != second || !errors.Is(err, os.ErrProcessDone); {
		if ctx.Err() != nil {
			t.Fatalf("still %v, and a signal to the dead daemon: %v", now, err)
		}
		look()
		now, _ = w.Now()
		err = first.Signal(unix.SIGKILL)
	}
	if w.Started() != 2 {
		t.Errorf("%d started", w.Started())
	}
}

func TestMounts(t *testing.T) {
	w := &Watch{device: "the disk", looks: 1}
	for _, at := range [][]string{{}, {"node1"}, {}, {"node2"}} {
		w.mounts(at, nil)
	}
	for range 49 {
		w.mounts(nil, errors.New("a node just died"))
	}
	w.mounts(nil, nil)
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	w.mounts([]string{"node1", "node2"}, nil)
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "node1 and node2") {
		t.Error(err)
	}
	blind := &Watch{device: "the disk", looks: 1}
	for range 50 {
		blind.mounts(nil, errors.New("no answer"))
	}
	if blind.Err() == nil {
		t.Error("a blind watch has nothing to complain of")
	}
}

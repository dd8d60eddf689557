package box

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
)

// HeldByDebugger is a row of every table: a running service that a debugger holds, all threads of it, is told at once, and
// ended by a stop, though it can neither be asked to end nor be continued.
func (a *Agent) HeldByDebugger() {
	a.T.Helper()
	a.Start()
	hold(a.T, a.Running()...)
	a.told("held by a debugger, "+comm(), "answers nobody")
	a.Within(6 * time.Second).Stop()
}

// FrozenAbove is a row of every table: the control group above the service's own is frozen, such as its slice.
func (a *Agent) FrozenAbove() {
	a.T.Helper()
	a.Start()
	freezeAbove(a.T, a.Running()...)
	a.told("is frozen with its control group", "answers nobody")
	a.Within(6 * time.Second).Stop()
}

// told wants that a monitor says what is wrong within a second.
func (a *Agent) told(words ...string) {
	a.T.Helper()
	if r := a.Monitor(0, ocf.Generic, words...); r.Elapsed > time.Second {
		a.T.Errorf("it took %v to say so", r.Elapsed)
	}
}

// hold attaches to all threads of the processes, as gdb does, until they are gone or the test ends.
func hold(t testing.TB, pids ...int) {
	t.Helper()
	attached, end, done := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		runtime.LockOSThread() // a tracer is a thread
		defer close(done)
		tids, err := attach(pids)
		attached <- err
		for tick := time.NewTicker(20 * time.Millisecond); len(tids) > 0; {
			select {
			case <-end:
				for _, tid := range tids {
					_ = unix.PtraceDetach(tid)
				}
				return
			case <-tick.C: // one that has ended is nobody else's to reap before
			}
			var left []int
			for _, tid := range tids {
				var status unix.WaitStatus
				if got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil); err == nil && (got == 0 || !status.Exited() && !status.Signaled()) {
					left = append(left, tid)
				}
			}
			tids = left
		}
	}()
	t.Cleanup(func() { close(end); <-done })
	if err := <-attached; err != nil {
		t.Fatal(err)
	}
}

func attach(pids []int) (tids []int, err error) {
	for _, pid := range pids {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return tids, err
		}
		for _, thread := range threads {
			tid, _ := strconv.Atoi(thread.Name())
			if err := unix.PtraceAttach(tid); err != nil {
				return tids, fmt.Errorf("attach to thread %d of process %d: %w", tid, pid, err)
			}
			var status unix.WaitStatus
			if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
				return tids, err
			}
			tids = append(tids, tid)
		}
	}
	return tids, nil
}

// freezeAbove freezes the control group above that of the processes. Without a unit they are given such groups first.
func freezeAbove(t testing.TB, pids ...int) {
	t.Helper()
	var above string
	if InUnit() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pids[0]))
		if err != nil {
			t.Fatal(err)
		}
		_, group, _ := strings.Cut("\n"+string(b), "\n0::") // below those of version 1, if there are any
		group, _, _ = strings.Cut(group, "\n")
		above = filepath.Join("/sys/fs/cgroup", filepath.Dir(group))
	} else {
		group, err := controlGroup()
		if err != nil {
			t.Skip("SKIP: needs a mounted cgroup2 hierarchy")
		}
		above = group
		Sh(t, "mkdir -p %s/inner", above)
		t.Cleanup(func() { removeGroup(above) })
		for _, pid := range pids {
			Sh(t, "echo %d >%s/inner/cgroup.procs", pid, above)
		}
	}
	Sh(t, "echo 1 >%s/cgroup.freeze", above)
	t.Cleanup(func() { _ = os.WriteFile(above+"/cgroup.freeze", []byte("0"), 0o644) })
	Until(t, "it is frozen", func() bool { return strings.Contains(Sh(t, "cat %s/cgroup.events", above), "frozen 1") })
}

// comm is this process's name, as the kernel has it.
func comm() string {
	b, _ := os.ReadFile("/proc/self/comm")
	return strings.TrimSpace(string(b))
}

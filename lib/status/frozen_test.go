package status

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that a signal has stopped is named, one that runs is not; nor is what has another name.
func TestFrozen(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string) int {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, text, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(file, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	controld, other := run("pacemaker-controld"), run("pacemakerd-not")
	named := func(pid int) bool {
		return slices.Contains(Frozen("/proc"), fmt.Sprintf("pacemaker-controld (pid %d)", pid))
	}
	if named(controld) {
		t.Error("one that runs is frozen")
	}
	for _, pid := range []int{controld, other} {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); !named(controld); {
		if time.Now().After(deadline) {
			t.Fatalf("it is not named: %q", Frozen("/proc"))
		}
	}
	if slices.ContainsFunc(Frozen("/proc"), func(s string) bool { return s == fmt.Sprintf("pacemakerd (pid %d)", other) }) {
		t.Error("what has another name is taken for pacemakerd")
	}
}

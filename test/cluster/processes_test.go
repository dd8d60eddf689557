package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A process that is moved from group to group all the while is there once in each look, and one that has ended in none.
func TestMovedProcess(t *testing.T) {
	if err := Missing(""); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	base, err := cgroup2()
	must(t, err)
	name := fmt.Sprintf("moved-%d", os.Getpid())
	alive, err := net.Listen("unix", socketPrefix+name) // else a cluster that starts meanwhile takes the groups away
	must(t, err)
	defer alive.Close()
	node := filepath.Join(base, cgroupPrefix+name, "node1")
	defer func() { must(t, removeCgroup(filepath.Dir(node))) }()
	groups := []string{filepath.Join(node, "system.slice", "a.service"), filepath.Join(node, "system.slice", "b.service", "deep")}
	for _, g := range groups {
		must(t, os.MkdirAll(g, 0o755))
	}
	into, err := os.Open(groups[0])
	must(t, err)
	defer into.Close()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(into.Fd())}
	must(t, cmd.Start())
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()

	c := &Cluster{name: name, nodes: []*Node{{Name: "node1"}}}
	want := Process{Node: "node1", PID: cmd.Process.Pid, Exe: "sleep"}
	if all := c.Processes(0); len(all) != 1 || all[0] != want {
		t.Fatalf("%v, want %v", all, want)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	moves := 0
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if os.WriteFile(filepath.Join(groups[i%2], "cgroup.procs"), []byte(strconv.Itoa(want.PID)), 0) == nil {
				moves++
			}
		}
	}()
	const looks = 3000
	wrong := 0
	for range looks {
		if all := c.Processes(0); len(all) != 1 || all[0] != want {
			if wrong++; wrong == 1 {
				t.Errorf("%v, want %v", all, want)
			}
		}
	}
	close(stop)
	<-stopped
	if wrong > 0 || moves < 100 {
		t.Errorf("%d of %d looks are wrong, at %d moves", wrong, looks, moves)
	}
	// Who looks often shares a look, and who does not has one of its own.
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	ended = true
	if all := c.Processes(time.Hour); len(all) != 1 {
		t.Errorf("a look that is to be shared is a new one: %v", all)
	}
	if all := c.Processes(0); len(all) != 0 {
		t.Errorf("%v has ended", all)
	}
}

func TestNodeOf(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"0::/openstack-ocf-cluster-demo/node2/system.slice/pacemaker.service\n": "node2",
		"0::/openstack-ocf-cluster-demo/node1\n":                                "node1",
		"0::/user.slice\n":                                                      "",
	} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := nodeOf(dir, "demo"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

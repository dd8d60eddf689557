package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ownerEnv makes this test program the owner of a cluster instead: it starts one, uses all of it, says "NAME DEVICE",
// and does what it reads from stdin.
const ownerEnv = "CLUSTER_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) == "" {
		os.Exit(m.Run())
	}
	if err := own(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func own() error {
	ctx := context.Background()
	c, err := Start(ctx, Config{Nodes: 2})
	if err != nil {
		return err
	}
	dev, err := c.Disk(ctx, 32<<20)
	if err != nil {
		return err
	}
	n := c.Node("node1")
	if _, err := n.Exec(ctx, "mount", dev, "/mnt"); err != nil {
		return err
	}
	if _, err := c.Client(ctx, Cmd{Argv: []string{"true"}}); err != nil { // holds the rack's namespace from now on
		return err
	}
	go n.Shell(ctx, "exec setsid sleep 7656")
	fmt.Println(c.Name(), dev)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	if line == "panic\n" {
		panic("as asked")
	}
	return c.Close()
}

// traces of a cluster are what must not be left of it.
type traces struct {
	name, backing string
	spaces        map[string]bool // its namespaces
	ended         int64           // when it was told to end, in ticks (1/100 s) since boot; 0: not yet
}

// trace finds a living cluster's namespaces: those of the supervisor and of the processes below it.
func trace(t *testing.T, name, device string) traces {
	t.Helper()
	tr := traces{name: name, spaces: map[string]bool{}}
	pid, err := (&Cluster{name: name}).supervisorPID(t.Context())
	must(t, err)
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	must(t, err)
	tr.backing = string(text)
	below := map[string]bool{fmt.Sprint(pid): true}
	for grew := true; grew; {
		grew = false
		for _, dir := range glob(t, "/proc/[0-9]*") {
			stat, err := os.ReadFile(dir + "/stat")
			if err != nil {
				continue
			}
			// The parent is the second field after the name, which is in parentheses (proc_pid_stat(5)).
			f := strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+1:])
			if p := filepath.Base(dir); !below[p] && below[f[1]] {
				below[p], grew = true, true
			}
		}
	}
	for p := range below {
		for _, kind := range []string{"net", "mnt", "pid", "ipc"} {
			if space, err := os.Readlink("/proc/" + p + "/ns/" + kind); err == nil {
				tr.spaces[space] = true
			}
		}
	}
	for _, kind := range []string{"net", "mnt", "pid", "ipc"} {
		space, err := os.Readlink("/proc/self/ns/" + kind)
		must(t, err)
		if tr.spaces[space] {
			t.Fatalf("the cluster shares %s with the machine", space)
		}
	}
	if len(tr.spaces) < 12 { // four of the supervisor, four of each node
		t.Fatalf("found only the namespaces %v", tr.spaces)
	}
	return tr
}

// ticks is the time since boot, in 1/100 s.
func ticks(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	return now.Nano() / int64(10*time.Millisecond)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	must(t, err)
	return paths
}

// later says that a process began after the cluster's end.
func (tr traces) later(pid string) bool {
	if tr.ended == 0 {
		return false
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true // gone
	}
	// In ticks since boot; the 20th field after the name, which is in parentheses (proc_pid_stat(5)).
	began, err := strconv.ParseInt(strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+1:])[19], 10, 64)
	return err == nil && began > tr.ended
}

// left returns what is left of the cluster. A namespace's number is given away anew as soon as it is gone, so a
// process that began after the cluster's end is another cluster's: what is left of ours has an older one, its init.
func (tr traces) left(t *testing.T) (left []string) {
	t.Helper()
	for _, link := range append(glob(t, "/proc/[0-9]*/task/*/ns/*"), glob(t, "/proc/[0-9]*/fd/*")...) {
		if to, err := os.Readlink(link); err == nil && tr.spaces[to] && !tr.later(strings.Split(link, "/")[2]) {
			left = append(left, link+" -> "+to)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		for space := range tr.spaces {
			if strings.Contains(line, space) {
				left = append(left, "mount "+line)
			}
		}
		if strings.Contains(line, " "+stateDir+"/node") || strings.Contains(line, "upperdir="+stateDir) {
			left = append(left, "mount "+line)
		}
	}
	for _, f := range glob(t, "/sys/block/loop*/loop/backing_file") {
		if text, err := os.ReadFile(f); err == nil && string(text) == tr.backing {
			left = append(left, f)
		}
	}
	base, err := cgroup2()
	must(t, err)
	left = append(left, glob(t, filepath.Join(base, cgroupPrefix+tr.name))...)
	names, err := List()
	must(t, err)
	for _, n := range names {
		if n == tr.name {
			left = append(left, "socket of "+n)
		}
	}
	return left
}

func (tr traces) mustVanish(t *testing.T) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, poll(ctx, 20*time.Millisecond, func() error {
		if left := tr.left(t); len(left) > 0 {
			return fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return nil
	}))
	t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
}

// TestNothingIsLeft ends clusters in every way a test program can end.
func TestNothingIsLeft(t *testing.T) {
	if err := Missing("/"); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	for _, c := range []struct {
		name string
		end  func(t *testing.T, owner *exec.Cmd, stdin func(string), cluster string)
	}{
		{"close", func(_ *testing.T, _ *exec.Cmd, stdin func(string), _ string) { stdin("close\n") }},
		{"kill -9 of the owner", func(t *testing.T, o *exec.Cmd, _ func(string), _ string) { must(t, o.Process.Kill()) }},
		{"Ctrl-C", func(t *testing.T, o *exec.Cmd, _ func(string), _ string) { must(t, o.Process.Signal(os.Interrupt)) }},
		{"panic", func(_ *testing.T, _ *exec.Cmd, stdin func(string), _ string) { stdin("panic\n") }},
		{"kill -9 of the supervisor", func(t *testing.T, _ *exec.Cmd, stdin func(string), name string) {
			pid, err := (&Cluster{name: name}).supervisorPID(t.Context())
			must(t, err)
			must(t, syscall.Kill(pid, syscall.SIGKILL))
			stdin("close\n") // sweeps the cgroups
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			owner := exec.Command("/proc/self/exe")
			owner.Env = append(os.Environ(), ownerEnv+"=1")
			stdin, err := owner.StdinPipe()
			must(t, err)
			stdout, err := owner.StdoutPipe()
			must(t, err)
			var stderr strings.Builder
			owner.Stderr = &stderr
			must(t, owner.Start())
			defer owner.Process.Kill()
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("the owner said %q: %v", line, err)
			}
			name, device, _ := strings.Cut(strings.TrimSpace(line), " ")
			tr := trace(t, name, device)
			if len(tr.left(t)) == 0 {
				t.Fatal("the living cluster leaves no traces: the test is blind")
			}
			c.end(t, owner, func(s string) {
				if _, err := stdin.Write([]byte(s)); err != nil {
					t.Fatal(err)
				}
			}, name)
			tr.ended = ticks(t)
			err = owner.Wait()
			t.Logf("owner: %v %.100s", err, &stderr)
			tr.mustVanish(t)
		})
	}
}

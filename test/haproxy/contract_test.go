package haproxy

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	agent "github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

func TestContract(t *testing.T) {
	h := newHost(t)
	ocftest.Run(t, ocftest.Subject{
		New: agent.New, Program: built.Agent(t, "haproxy"), Params: h.p,
		Broken: ocftest.Params{"soft_stop": "long"},
		Kill: func(t testing.TB) {
			for _, pid := range h.processes() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			h.gone()
		},
		Freeze: func(t testing.TB) {
			for _, pid := range h.processes() {
				h.kill(pid, syscall.SIGSTOP)
			}
		},
	})
}

func TestOCFTester(t *testing.T) {
	newHost(t)
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		t.Skip("SKIP: needs resource-agents")
	}
	box.Sh(t, "chmod -R a+rX %s", "/run/tmp") // ocf-tester runs meta-data as nobody
	out, err := exec.Command("ocf-tester", "-v", "-n", "lb", "-o", "config="+config, built.Agent(t, "haproxy")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestNoForks: where a monitor runs every 10 seconds for years, nothing is forked.
func TestNoForks(t *testing.T) {
	h := newHost(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIP: needs strace")
	}
	h.servers()
	trace := func(level, interval string, code ocf.Code) {
		file := t.TempDir() + "/trace"
		cmd := exec.Command("strace", "-f", "-o", file, "-e", "trace=execve,execveat,fork,vfork,clone,clone3", built.Agent(t, "haproxy"), "monitor")
		cmd.Env = append(os.Environ(), "OCF_RESKEY_config="+config, "OCF_RESKEY_check_url="+url, "OCF_CHECK_LEVEL="+level, "OCF_RESKEY_CRM_meta_interval="+interval, "OCF_RESKEY_CRM_meta_timeout=20000")
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != int(code) {
			t.Fatalf("monitor: exit %d, want %d: %s", cmd.ProcessState.ExitCode(), code, out)
		}
		calls, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		execs := 0
		for _, line := range strings.Split(string(calls), "\n") {
			switch {
			case strings.Contains(line, "execve"):
				execs++
			case forks.MatchString(line) && !strings.Contains(line, "CLONE_THREAD"):
				t.Errorf("level %s, interval %s: %s", level, interval, line)
			}
		}
		if execs != 1 {
			t.Errorf("level %s, interval %s: %d programs run:\n%s", level, interval, execs, calls)
		}
	}
	trace("0", "0", ocf.NotRunning)
	h.start()
	for _, level := range []string{"0", "10"} {
		trace(level, "10000", ocf.OK)
	}
	trace("0", "0", ocf.OK)
}

var forks = regexp.MustCompile(`\b(fork|vfork|clone3?)\(`)

// TestMemory: the most that any monitor holds in memory.
func TestMemory(t *testing.T) {
	h := newHost(t)
	h.servers()
	h.start()
	cmd := exec.Command(built.Agent(t, "haproxy"), "monitor")
	cmd.Env = append(os.Environ(), "OCF_RESKEY_config="+config, "OCF_RESKEY_check_url="+url, "OCF_CHECK_LEVEL=10", "OCF_RESKEY_CRM_meta_interval=10000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kib := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	t.Logf("peak memory %d KiB", kib)
	if kib > 16<<10 {
		t.Errorf("peak memory %d KiB, want under 16 MiB", kib)
	}
}

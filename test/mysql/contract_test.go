package mysql

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	agent "github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

func TestContract(t *testing.T) {
	h := newHost(t)
	ocftest.Run(t, ocftest.Subject{
		New: agent.New, Program: built.Agent(t, "mysql-shared-storage"), Params: h.p,
		Broken: ocftest.Params{"shared_storage": "perhaps"},
		Kill:   func(t testing.TB) { h.signal(syscall.SIGKILL) },
		Freeze: func(t testing.TB) { h.signal(syscall.SIGSTOP) },
	})
}

func TestOCFTester(t *testing.T) {
	h := newHost(t)
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		t.Skip("SKIP: needs resource-agents")
	}
	box.Sh(t, "chmod -R a+rX %s", "/run/tmp") // ocf-tester runs meta-data as nobody
	out, err := exec.Command("ocf-tester", "-v", "-n", "db", "-o", "config="+config, built.Agent(t, "mysql-shared-storage")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		t.Errorf("%v\n%s", err, out)
	}
	_ = h
}

// TestNoForks: where a monitor runs every 10 seconds for years, nothing is forked.
func TestNoForks(t *testing.T) {
	h := newHost(t)
	trace := func(level, interval string, code int) {
		t.Helper()
		env := []string{"OCF_RESKEY_config=" + config, "OCF_CHECK_LEVEL=" + level, "OCF_RESKEY_CRM_meta_interval=" + interval, "OCF_RESKEY_CRM_meta_timeout=20000"}
		for _, line := range box.Forks(t, env, code, built.Agent(t, "mysql-shared-storage"), "monitor") {
			t.Errorf("level %s, interval %s: %s", level, interval, line)
		}
	}
	trace("0", "0", int(ocf.NotRunning))
	h.start()
	for _, level := range []string{"0", "10", "20"} {
		trace(level, "10000", 0)
	}
	trace("0", "0", 0)
}

// TestMemory: the most that any monitor holds in memory.
func TestMemory(t *testing.T) {
	h := newHost(t)
	h.start()
	cmd := exec.Command(built.Agent(t, "mysql-shared-storage"), "monitor")
	cmd.Env = append(os.Environ(), "OCF_RESKEY_config="+config, "OCF_CHECK_LEVEL=20", "OCF_RESKEY_CRM_meta_interval=10000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if kib := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; kib > 16<<10 {
		t.Errorf("peak memory %d KiB, want under 16 MiB", kib)
	}
}

// TestRestartKeepsService: a restart in place after a kill is quick and loses nothing acknowledged.
func TestRestartKeepsRows(t *testing.T) {
	h := newHost(t)
	h.start()
	h.sql("TRUNCATE app.t; INSERT INTO app.t(v) VALUES ('acknowledged')")
	h.signal(syscall.SIGKILL)
	begin := time.Now()
	h.start()
	t.Logf("started again in %v", time.Since(begin).Round(time.Millisecond))
	if got := h.sql("SELECT v FROM app.t"); got != "acknowledged" {
		t.Errorf("the row is %q", got)
	}
}

package mysql

import (
	"syscall"
	"testing"
	"time"

	agent "github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/ocf/ocftest"
)

func TestContract(t *testing.T) {
	newHost(t).Contract(t, agent.New, ocftest.Params{"shared_storage": "perhaps"}, ocftest.Params{"datadir": "relative/dir"})
}

func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }

func TestNoForks(t *testing.T) { newHost(t).NoForks(0, 10, 20) }

func TestMemory(t *testing.T) { newHost(t).Memory(20) }

// TestRestartKeepsRows: a restart in place after a kill is quick and loses nothing acknowledged.
func TestRestartKeepsRows(t *testing.T) {
	h := newHost(t)
	h.Start()
	h.sql("TRUNCATE app.t; INSERT INTO app.t(v) VALUES ('acknowledged')")
	h.Signal(syscall.SIGKILL)
	begin := time.Now()
	h.Start()
	t.Logf("started again in %v", time.Since(begin).Round(time.Millisecond))
	if got := h.sql("SELECT v FROM app.t"); got != "acknowledged" {
		t.Errorf("the row is %q", got)
	}
}

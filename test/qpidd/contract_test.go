package qpidd

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	goamqp "github.com/Azure/go-amqp"

	agent "github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

// declare makes a queue with the given arguments.
func (h *host) declare(ctx context.Context, conn *goamqp.Conn, queue string, args map[string]any) {
	h.t.Helper()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Call(ctx, qmf.BrokerName, "create", map[string]any{"type": "queue", "name": queue, "properties": args, "strict": true}); err != nil {
		h.t.Fatalf("declare %s: %v", queue, err)
	}
}

func TestContract(t *testing.T) {
	h := newHost(t)
	ocftest.Run(t, ocftest.Subject{
		New: agent.New, Program: built.Agent(t, "qpidd"), Params: h.p,
		Broken: ocftest.Params{"port": "many"},
		Kill:   func(testing.TB) { h.signal(syscall.SIGKILL) },
		Freeze: func(testing.TB) { h.signal(syscall.SIGSTOP) },
	})
}

func TestOCFTester(t *testing.T) {
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		t.Skip("SKIP: needs resource-agents")
	}
	for name, more := range map[string]ocftest.Params{
		"primitive":  {},
		"promotable": {"ha_cluster": "true", "ha_brokers_url": fmt.Sprintf("amqp:127.0.0.1:%d", port)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			box.Sh(t, "chmod -R a+rX /run/tmp") // ocf-tester runs meta-data as nobody
			args := []string{"-v", "-n", "q"}
			for _, p := range []ocftest.Params{h.p, more} {
				for k, v := range p {
					args = append(args, "-o", k+"="+v)
				}
			}
			out, err := exec.Command("ocf-tester", append(args, built.Agent(t, "qpidd"))...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "passed all tests") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestNoForks: a monitor in a steady state runs no program.
func TestNoForks(t *testing.T) {
	h := newHost(t)
	var env []string
	for k, v := range h.p {
		env = append(env, "OCF_RESKEY_"+k+"="+v)
	}
	trace := func(level, interval string, code ocf.Code) {
		t.Helper()
		env := append(env, "OCF_CHECK_LEVEL="+level, "OCF_RESKEY_CRM_meta_interval="+interval, "OCF_RESKEY_CRM_meta_timeout=20000")
		for _, line := range box.Forks(t, env, int(code), built.Agent(t, "qpidd"), "monitor") {
			t.Errorf("level %s, interval %s: %s", level, interval, line)
		}
	}
	trace("0", "0", ocf.NotRunning)
	h.start()
	for _, level := range []string{"0", "10", "20"} {
		trace(level, "10000", ocf.OK)
	}
	trace("0", "0", ocf.OK)
}

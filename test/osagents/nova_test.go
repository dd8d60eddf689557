package osagents

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// TestNova is the table of what befalls a service of nova's: each row finds
// the plane whole, and leaves it so.
func TestNova(t *testing.T) {
	p := newPlane(t)
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	conductor.start()
	consoleauth := newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()})
	scheduler := newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf})

	for _, s := range []*service{consoleauth, scheduler} {
		t.Run(s.name, func(t *testing.T) {
			ocftest.Run(t, ocftest.Subject{
				New: s.new, Program: s.path, Params: s.p, Broken: ocftest.Params{"database_server_port": "many"},
				Kill:   func(testing.TB) { s.signal(syscall.SIGKILL) },
				Freeze: func(testing.TB) { s.signal(syscall.SIGSTOP) },
			})
		})
	}
	for _, row := range []struct {
		name string
		do   func(s *service)
	}{
		{"all levels of a healthy service", func(s *service) {
			for _, level := range []int{0, 10, 20} {
				s.monitor(level, ocf.OK)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := consoleauth.in(t)
			s.start()
			row.do(s)
		})
	}
}

// TestOCFTester runs the tester of the resource-agents project on the agents.
func TestOCFTester(t *testing.T) {
	if _, err := exec.LookPath("ocf-tester"); err != nil {
		t.Skip("SKIP: needs resource-agents")
	}
	p := newPlane(t)
	conductor := newService(t, "nova-conductor", ocftest.Params{"config": p.nova.Conf})
	conductor.start()
	for _, s := range []*service{
		newService(t, "nova-consoleauth", ocftest.Params{"config": p.nova.Conf, "binary": p.nova.Consoleauth()}),
		newService(t, "nova-scheduler", ocftest.Params{"config": p.nova.Conf}),
	} {
		t.Run(s.name, func(t *testing.T) { s.in(t).ocfTester() })
	}
}

func (s *service) ocfTester() {
	s.t.Helper()
	box.Sh(s.t, "chmod -R a+rX /run/tmp") // ocf-tester runs meta-data as nobody
	args := []string{"-v", "-n", "s"}
	for k, v := range s.p {
		args = append(args, "-o", k+"="+v)
	}
	begin := time.Now()
	out, err := exec.Command("ocf-tester", append(args, s.path)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "passed all tests") {
		s.t.Errorf("%v\n%s", err, out)
	}
	s.t.Logf("passed in %v", time.Since(begin).Round(time.Second))
}

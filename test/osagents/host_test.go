// Package osagents tests the agents of OpenStack's services on real services
// of Debian's, in a box, with a real message bus and database.
package osagents

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

func TestMain(m *testing.M) { box.Main(m) }

// newService is an agent with its service, whose program is the default one unless the parameters name another.
func newService(t testing.TB, agent string, p ocftest.Params) *box.Agent {
	t.Helper()
	program := agent
	if b := p["binary"]; b != "" {
		program = filepath.Base(b)
	}
	log := filepath.Join(t.TempDir(), "service.log")
	return box.NewAgent(t, box.Agent{
		Name: agent, Params: p.With("user", "root", "log", log, "pid", filepath.Join(t.TempDir(), "service.pid")), Log: log,
		Pids: pids(program, p["config"]), Limit: 90 * time.Second, Watch: 10 * time.Second,
	})
}

// pids finds the processes of a program in Python with that configuration.
func pids(program, config string) func() []int {
	return func() []int {
		return box.Pids(func(p box.Process) bool {
			line := strings.Join(p.Args, " ")
			words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '(' || r == ':' })
			return strings.HasPrefix(filepath.Base(p.Exe), "python") && strings.Contains(line, config) &&
				slices.ContainsFunc(words, func(w string) bool { return filepath.Base(w) == program })
		})
	}
}

// running has the service run in each row of a table.
func running(s *box.Agent) func(t testing.TB) *box.Agent {
	return func(t testing.TB) *box.Agent {
		s := s.In(t)
		s.Start()
		return s
	}
}

// ocfTester gives a start the time that pcs would.
func ocfTester(s *box.Agent) { s.T.Helper(); s.With("CRM_meta_timeout", "120000").OCFTester() }

// write makes a file.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

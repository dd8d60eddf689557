// Package osagents tests the agents of OpenStack's services on real services
// of Debian's, in a box, with a real message bus and database.
package osagents

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	agents "github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// Every box has an /etc/default of its own: see unit.
func TestMain(m *testing.M) { box.Main(m, "/etc/default") }

// newService is an agent with its service, whose program is the default one unless the parameters name another.
func newService(t testing.TB, agent string, p ocftest.Params) *box.Agent {
	t.Helper()
	program := filepath.Base(cmp.Or(p["binary"], byDefault(agent)))
	log := filepath.Join(t.TempDir(), "service.log")
	a := box.Agent{
		Name: agent, Params: p.With("user", "root", "log", log, "pid", filepath.Join(t.TempDir(), "service.pid")), Log: log,
		Pids: pids(program, p["config"]), Limit: 90 * time.Second, Watch: 10 * time.Second, Unit: &box.Unit{},
	}
	if byDefault(agent) != "" {
		*a.Unit = box.Unit{
			Name: fmt.Sprintf("%s-%d", program, units.Add(1)), Direct: []string{"user", "pid", "log", "web", "additional_parameters"},
			Service: func(p ocftest.Params) string { return unit(t, program, p) },
		}
	}
	return box.NewAgent(t, a)
}

// byDefault is the agent's program, "" if it runs none.
func byDefault(agent string) string {
	for _, p := range agents.Agents()[agent]().Parameters {
		if p.Name == "binary" {
			return p.Default
		}
	}
	return ""
}

// units are those that were made so far: one program may run in several.
var units atomic.Int64

// fromUnit is read by every init script of Debian's, before it executes the program: an operator's file, by which the unit
// says what.
const fromUnit = `if [ -n "$UNIT_DAEMON" ]; then DAEMON=$UNIT_DAEMON DAEMON_ARGS=$UNIT_ARGS USE_LOGFILE=no; fi
`

// unit is the section of Debian's own unit, whose init script is given this program, its arguments and its user. What has
// no unit there (nova-consoleauth is gone, neutron-server is two by now) has that of another of its kind.
func unit(t testing.TB, program string, p ocftest.Params) string {
	t.Helper()
	write(t, "/etc/default/openstack", fromUnit)
	write(t, "/etc/default/nova-consoleproxy", "NOVA_CONSOLE_PROXY_TYPE=novnc\n") // else the script does nothing
	kin := "neutron-l3-agent"
	if strings.HasPrefix(program, "nova-") {
		kin = "nova-scheduler"
	}
	for _, name := range []string{program, kin} {
		text, err := os.ReadFile("/usr/lib/systemd/system/" + name + ".service")
		_, section, found := strings.Cut(string(text), "\n[Service]\n")
		if err != nil || !found {
			continue
		}
		section, _, _ = strings.Cut(section, "\n[")
		return fmt.Sprintf("%s\nUser=%[2]s\nGroup=%[2]s\nEnvironment=UNIT_DAEMON=%[3]s \"UNIT_ARGS=%[4]s\"\n", section, p["user"], path(t, cmp.Or(p["binary"], program)), arguments(p))
	}
	t.Skipf("SKIP: needs a unit of %s, or of %s", program, kin)
	return ""
}

// arguments are as Debian's scripts have them.
func arguments(p ocftest.Params) string {
	args := []string{"--config-file=" + p["config"]}
	for _, name := range []string{"plugin_config", "agent_config"} {
		if p[name] != "" {
			args = append(args, "--config-file="+p[name])
		}
	}
	return strings.Join(append(args, p["additional_parameters"]), " ")
}

// path is that of a program.
func path(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		return program // which is gone
	}
	return path
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

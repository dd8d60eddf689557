package box

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/needs"
)

// Unit is how a service is run by a systemd unit, in tests that run for the second time: see [ByUnit].
type Unit struct {
	Name    string                        // without .service; "" is box. Of several in one box each has its own
	Direct  []string                      // parameters that say how it is run, which are the unit's to say then
	Service func(p ocftest.Params) string // the lines of its section [Service] for these parameters; nil for an agent without a service
}

const (
	byUnit    = "OPENSTACK_OCF_BY_UNIT" // the control group of a box whose services are run by units
	unitDir   = "/run/systemd/system"
	fdOutcome = 3 // where the tests' exit status is told: their parent is systemd
)

// InUnit tells whether the services of this box are run by units.
func InUnit() bool { return os.Getenv(byUnit) != "" }

// ByUnit runs tests of this package once more, in a box of its own whose first process is systemd, with the agent's
// service run by a unit. What differs there is the start, the stop, and who ends what; so it is rows of TestFaults about
// these that run always, or of another test where a row has its name before it: "TestNova/frozen". BY_UNIT=all runs every
// row, and what every agent owes; BY_UNIT=regexp what -run would choose.
func ByUnit(t *testing.T, rows ...string) {
	Need(t)
	for _, program := range []string{"systemctl", "/usr/lib/systemd/systemd"} {
		needs.Program(t, program, "systemd")
	}
	group, err := controlGroup()
	if err != nil {
		t.Skip("SKIP: needs a mounted cgroup2 hierarchy")
	}
	rows = names(rows)
	which := chosen(rows)
	switch only := os.Getenv("BY_UNIT"); only {
	case "":
	case "all":
		which = "^(" + strings.Join(append(tests(rows), "Test(Contract|OCFTester|NoForks|Memory)"), "|") + ")$"
	default:
		which = only
	}
	cmd := exec.Command("/proc/self/exe", "-test.run="+which, "-test.skip=^TestByUnit$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, stage+"=") }), byUnit+"="+group)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("by a unit: %v\n%s", err, out)
		return
	}
	if os.Getenv("BY_UNIT") == "" {
		for _, row := range rows {
			if !strings.Contains(string(out), "--- PASS: "+row+" ") {
				t.Errorf("there is no row %q, or it is not run by a unit\n%s", row, out)
			}
		}
	}
	t.Logf("by a unit:\n%s", out)
}

// names are the rows as go test calls them, with their tests.
func names(rows []string) []string {
	var list []string
	for _, r := range rows {
		if !strings.Contains(r, "/") {
			r = "TestFaults/" + r
		}
		list = append(list, strings.ReplaceAll(r, " ", "_"))
	}
	return list
}

// tests are those whose rows they are.
func tests(rows []string) []string {
	var list []string
	for _, r := range rows {
		test, _, _ := strings.Cut(r, "/")
		list = append(list, test)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// chosen is the pattern of -run by which these rows run.
func chosen(rows []string) string {
	var list []string
	for _, r := range rows {
		_, row, _ := strings.Cut(r, "/")
		list = append(list, row)
	}
	return "^(" + strings.Join(tests(rows), "|") + ")$/^(" + strings.Join(list, "|") + ")$"
}

// NotByUnit leaves the rest of a test out where the service is run by a unit, and says why it would make no sense.
func NotByUnit(t testing.TB, why string) {
	t.Helper()
	if InUnit() {
		t.Skip("SKIP: needs a start without a unit: " + why)
	}
}

// controlGroup is one for a box, which is made by the box itself.
func controlGroup() (string, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return fmt.Sprintf("%s/openstack-ocf-box-%d", f[1], time.Now().UnixNano()), nil
		}
	}
	return "", errors.New("no cgroup2 hierarchy is mounted")
}

// removeGroup removes a control group and those below it, as soon as the last process of them has been reaped.
func removeGroup(dir string) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var all []string
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		slices.Reverse(all)
		for _, d := range all {
			_ = unix.Rmdir(d)
		}
		if _, err := os.Stat(dir); err != nil {
			return
		}
	}
}

// idle is the target that systemd boots to: nothing but the journal. What it could pull in would act on the machine.
const idle = `[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
`

// masked are units that systemd starts unasked, or that would reach out of the box.
var masked = []string{
	"sysinit.target", "basic.target", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket", "systemd-journal-flush.service",
	"systemd-udevd.service", "systemd-sysctl.service", "systemd-modules-load.service", "systemd-logind.service", "systemd-tmpfiles-clean.timer",
}

// becomeSystemd turns the box's first process into systemd, beside the tests, which are its child. It returns an error, or not at all.
func becomeSystemd(tests *exec.Cmd) error {
	runtime.LockOSThread()
	group := os.Getenv(byUnit)
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(group+"/cgroup.procs", []byte("0"), 0o644); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("a namespace for control groups: %w", err)
	}
	for _, m := range []struct{ kind, at string }{{"cgroup2", "/sys/fs/cgroup"}, {"tmpfs", "/etc/systemd/system"}, {"tmpfs", "/var/log/journal"}} {
		if _, err := os.Stat(m.at); err != nil {
			continue
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	if err := unix.Mount("/dev/null", "/proc/sysrq-trigger", "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("hide sysrq-trigger: %w", err)
	}
	if err := os.MkdirAll(unitDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(unitDir+"/box.target", []byte(idle), 0o644); err != nil {
		return err
	}
	for _, u := range masked {
		if err := os.Symlink("/dev/null", "/etc/systemd/system/"+u); err != nil {
			return err
		}
	}
	tests.ExtraFiles = []*os.File{os.NewFile(fdOutcome, "outcome")}
	if err := tests.Start(); err != nil {
		return err
	}
	unix.CloseOnExec(fdOutcome)
	err := unix.Exec("/usr/lib/systemd/systemd", []string{"systemd", "--system"}, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=other", "SYSTEMD_LOG_LEVEL=warning", "SYSTEMD_LOG_TARGET=journal",
		"SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=1 systemd.unit=box.target systemd.show_status=no",
	})
	return fmt.Errorf("systemd: %w", err)
}

// underSystemd runs the tests when systemd has booted, and tells the exit status to whom waits for it outside.
func underSystemd(m *testing.M) int {
	unix.CloseOnExec(fdOutcome)
	outcome := os.NewFile(fdOutcome, "outcome")
	for end := time.Now().Add(3 * time.Minute); exec.Command("systemctl", "--quiet", "is-active", "box.target").Run() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			out, _ := exec.Command("journalctl", "-b", "--no-pager").CombinedOutput()
			fmt.Fprintf(os.Stderr, "box: systemd does not boot\n%s\n", out)
			return 1
		}
	}
	code := m.Run()
	_, _ = outcome.Write([]byte{byte(code)})
	return code
}

// awaitOutcome is the exit status of the tests of a box that systemd runs, which ends then.
func awaitOutcome(cmd *exec.Cmd, outcome *os.File) int {
	var code [1]byte
	_, err := io.ReadFull(outcome, code[:])
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	removeGroup(os.Getenv(byUnit))
	if err != nil {
		fmt.Fprintln(os.Stderr, "box: the tests died")
		return 2
	}
	return int(code[0])
}

func (u *Unit) name() string { return cmp.Or(u.Name, "box") + ".service" }

// effective are the agent's parameters as they are given to it: of those that say how the service is run, its unit is made.
func (a *Agent) effective() ocftest.Params {
	if !InUnit() {
		return a.Params
	}
	a.T.Helper()
	switch {
	case a.Unit == nil:
		a.T.Fatal("nothing says how its unit runs it (box.Agent.Unit)")
	case a.Unit.Service == nil:
		return a.Params
	}
	p := maps.Clone(a.Params)
	p["unit"] = a.Unit.name()
	file := filepath.Join(unitDir, p["unit"])
	maps.DeleteFunc(p, func(name, _ string) bool { return slices.Contains(a.Unit.Direct, name) })
	text := "[Unit]\nDefaultDependencies=no\n[Service]\nSlice=box-inner.slice\n" + a.Unit.Service(a.Params)
	if old, _ := os.ReadFile(file); string(old) != text {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			a.T.Fatal(err)
		}
		Sh(a.T, "systemctl daemon-reload")
	}
	return p
}

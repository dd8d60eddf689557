// Package systemd runs a service by its unit, as the distribution means it to be run: systemctl(1) for what changes
// something, files of /run and /sys/fs/cgroup for what is only looked at, so that a monitor makes no process.
//
// Linux-PAM, D-Bus and libsystemd are not needed; systemctl talks to systemd itself.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/words"
)

// JobError is a unit that did not start, stop or reload.
type JobError struct {
	Unit   string
	Verb   string // "start"
	Result string // "exit-code", "timeout", "oom-kill", "success" …: systemd.exec(5), $SERVICE_RESULT
	Status string // how the main process ended: "status 1", "SIGKILL"; may be empty
	By     error  // whom the kernel killed for lack of memory, if the caller knows
	Words  string // of the last lines that the service wrote to the journal, those that speak of trouble; or what systemctl said
}

func (e *JobError) Error() string {
	how := e.Result
	switch {
	case e.By != nil:
		how = e.By.Error()
	case e.Result == "oom-kill":
		how += ": the kernel killed it for lack of memory"
	case e.Status == "SIGKILL":
		how += ", of SIGKILL: by somebody, or for lack of memory"
	case e.Status != "" && e.Result == "exit-code":
		how = e.Status
	case e.Status != "":
		how += ", " + e.Status
	}
	switch {
	case e.Result == "success" && e.Words == "":
		return fmt.Sprintf("%s was started, and has ended at once without a failure: see journalctl -u %[1]s", e.Unit)
	case e.Result == "success":
		return fmt.Sprintf("%s (%s was started, and has ended at once without a failure)", e.Words, e.Unit)
	case e.Words == "":
		return fmt.Sprintf("%s: %s failed (%s)", e.Unit, e.Verb, how)
	case e.Killed(): // what it was about to do is not why
		return fmt.Sprintf("%s: %s failed (%s): %s", e.Unit, e.Verb, how, e.Words)
	}
	return fmt.Sprintf("%s (%s: %s failed: %s)", e.Words, e.Unit, e.Verb, how)
}

// Killed tells whether somebody killed it, or the kernel for lack of memory.
func (e *JobError) Killed() bool { return e.Status == "SIGKILL" || e.Result == "oom-kill" }

// Name is the full name of a service's unit: ".service" may be left out. The error says why it is no such name.
func Name(name string) (string, error) {
	unit := strings.TrimSuffix(name, ".service")
	if unit == "" || strings.Trim(unit, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@") != "" || strings.HasPrefix(unit, "-") {
		return "", fmt.Errorf("%q is no name of a service's unit, such as haproxy.service", name)
	}
	for _, other := range []string{".socket", ".target", ".timer", ".mount", ".path", ".slice", ".scope"} {
		if strings.HasSuffix(unit, other) {
			return "", fmt.Errorf("%s is a %s, and no service", name, other[1:])
		}
	}
	if strings.HasSuffix(unit, "@") {
		return "", fmt.Errorf("%s.service is a template: name an instance of it, such as %sMAIN.service", unit, unit)
	}
	return unit + ".service", nil
}

// Real is the name that systemd knows the unit by: for an alias, such as Debian's mysql.service, that of what the link leads
// to. Control group, drop-ins and journal go by it. root is put before every path.
func Real(root, unit string) string {
	_, instance, _ := strings.Cut(unit, "@") // "main.service"
	for _, name := range filesOf(unit) {
		for _, dir := range unitDirs {
			path := filepath.Join(root, dir, name)
			fi, err := os.Lstat(path)
			if err != nil {
				continue
			}
			target, err := filepath.EvalSymlinks(path)
			if fi.Mode()&os.ModeSymlink == 0 || err != nil || !strings.HasSuffix(target, ".service") {
				return unit
			}
			return strings.Replace(filepath.Base(target), "@.service", "@"+instance, 1)
		}
	}
	return unit
}

// filesOf are the names of the files that may define a unit: an instance's own, or its template's.
func filesOf(unit string) []string {
	if prefix, _, ok := strings.Cut(unit, "@"); ok {
		return []string{unit, prefix + "@.service"}
	}
	return []string{unit}
}

// Booted tells whether systemd is this host's init: sd_booted(3).
func Booted() bool {
	fi, err := os.Stat("/run/systemd/system")
	return err == nil && fi.IsDir()
}

// Installed is nil if there is such a unit that is not masked: by the files that systemd looks for (systemd.unit(5)).
func Installed(unit string) error {
	for _, name := range filesOf(unit) {
		for _, dir := range unitDirs {
			path := filepath.Join(dir, name)
			fi, err := os.Stat(path)
			if err != nil {
				continue
			}
			if target, _ := filepath.EvalSymlinks(path); target == "/dev/null" || fi.Size() == 0 {
				return fmt.Errorf("%s is masked (%s): systemctl unmask %s", unit, path, unit)
			}
			return nil
		}
	}
	return fmt.Errorf("there is no unit %s on this node: install the package that has it", unit)
}

// dropInText makes a unit the cluster's: only the cluster starts it again, as often as it likes, and a shutdown of the node ends Pacemaker
// first, which stops the service before what it stands on.
const dropInText = `# Written by the cluster's resource agent: the cluster starts and stops this service.
[Unit]
Before=pacemaker.service pacemaker_remote.service
StartLimitIntervalSec=0
[Service]
Restart=no
`

// DropIn is where Claim leaves its drop-in, until the next boot. Its name comes after those of packages.
func DropIn(unit string) string { return "/run/systemd/system/" + unit + ".d/60-openstack-ocf.conf" }

// Claim sees to it that nobody but the cluster starts the unit again. It changes nothing if that is so.
func Claim(ctx context.Context, unit string) error {
	path := DropIn(unit)
	if text, err := os.ReadFile(path); err == nil && string(text) == dropInText {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(dropInText), 0o644); err != nil {
		return err
	}
	err := Reload(ctx)
	if err != nil {
		_ = os.Remove(path) // else the next would take it for read
	}
	return err
}

// Disclaim undoes Claim.
func Disclaim(ctx context.Context, unit string) error {
	if err := os.Remove(DropIn(unit)); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	_ = os.Remove(filepath.Dir(DropIn(unit))) // if nothing else is in it
	return Reload(ctx)
}

// Do has systemd start, stop or reload the unit, and returns when it says that it has. The error is a *JobError if it
// failed. The job goes on where the context ends first.
func Do(ctx context.Context, verb, unit string) error {
	args := []string{verb, unit}
	if verb == "stop" {
		// While pacemaker.service is stopped itself, the order of Claim would have this stop wait for the end of that one,
		// which waits for us.
		args = []string{verb, "--job-mode=ignore-dependencies", unit}
	}
	said, err := systemctl(ctx, args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		return err
	}
	e := &JobError{Unit: unit, Verb: verb, Result: "systemctl exits with " + strconv.Itoa(exit.ExitCode()), Words: said}
	if props, err := Show(ctx, unit, "Result", "ExecMainCode", "ExecMainStatus", "InvocationID", "ExecMainStartTimestampMonotonic"); err == nil && props["Result"] != "success" {
		e.fill(ctx, props)
	}
	return e
}

// Ended is how the unit's last run ended: a *JobError, also of one that ended by itself and well. nil while systemd has not
// yet taken note that its processes have ended.
func Ended(ctx context.Context, unit string) error {
	props, err := Show(ctx, unit, "ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus", "InvocationID", "ExecMainStartTimestampMonotonic")
	switch state := props["ActiveState"]; {
	case err != nil:
		return err
	case state != "failed" && state != "inactive" && (state != "active" || props["SubState"] != "exited"):
		return nil
	}
	e := &JobError{Unit: unit, Verb: "run"}
	e.fill(ctx, props)
	return e
}

// State is what systemd does with a unit.
type State struct {
	Job     bool          // it is starting, stopping, restarting or reloading it, or is about to, by whomever it was asked
	Active  bool          // it runs
	Changed time.Duration // when that last changed: compare it with a Now
}

// Now is the clock of systemd's monotonic timestamps (CLOCK_MONOTONIC).
func Now() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

// StateOf asks systemd; the zero State is of a unit that it does not know.
func StateOf(ctx context.Context, unit string) (State, error) {
	props, err := Show(ctx, unit, "Job", "ActiveState", "StateChangeTimestampMonotonic")
	if err != nil {
		return State{}, err
	}
	us, _ := strconv.ParseInt(props["StateChangeTimestampMonotonic"], 10, 64)
	return State{Job: props["Job"] != "" && props["Job"] != "0", Active: props["ActiveState"] == "active", Changed: time.Duration(us) * time.Microsecond}, nil
}

// fill adds what systemd and the journal know of this invocation.
func (e *JobError) fill(ctx context.Context, props map[string]string) {
	e.Result = props["Result"]
	switch status := props["ExecMainStatus"]; {
	case status == "" || status == "0":
	case props["ExecMainCode"] == "1": // CLD_EXITED
		e.Status = "status " + status
	default: // CLD_KILLED, CLD_DUMPED
		e.Status = "signal " + status
		if n, err := strconv.Atoi(status); err == nil && unix.SignalName(syscall.Signal(n)) != "" {
			e.Status = unix.SignalName(syscall.Signal(n))
		}
	}
	said := ""
	if id := props["InvocationID"]; id != "" {
		said = journal(ctx, "_SYSTEMD_INVOCATION_ID="+id)
	}
	started, err := strconv.ParseInt(props["ExecMainStartTimestampMonotonic"], 10, 64)
	if said == "" && err == nil && started > 0 {
		// Nor may the journal know any more which invocation it was of.
		ago := Now() - time.Duration(started)*time.Microsecond
		said = journal(ctx, "_SYSTEMD_UNIT="+e.Unit, fmt.Sprintf("--since=@%d", time.Now().Add(-ago).Unix()))
	}
	e.Words = said // systemctl's own say no more than the result
}

// journal are those of the last lines that match which speak of trouble.
func journal(ctx context.Context, match ...string) string {
	return strings.Join(words.Telling(strings.Split(latest(ctx, 200, match...), "\n")), " | ")
}

// Show are properties of the unit, as `systemctl show` names them. It is an error if systemd knows none of these names.
func Show(ctx context.Context, unit string, names ...string) (map[string]string, error) {
	out, err := systemctl(ctx, "show", "--property="+strings.Join(names, ","), unit)
	if err != nil {
		return nil, err
	}
	props := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			props[name] = value
		}
	}
	if len(props) == 0 {
		return nil, fmt.Errorf("systemctl shows no %s of %s", strings.Join(names, ", "), unit)
	}
	return props, nil
}

// Reload has systemd read its units again.
func Reload(ctx context.Context) error {
	_, err := systemctl(ctx, "daemon-reload")
	return err
}

// systemctl runs it, and returns what it said on both of its outputs. Where systemd does not answer, it gives up by itself:
// after 90 s (systemd 252). While systemd executes itself anew, as at an upgrade of its package, it is asked again; what we
// ask of it may be asked twice.
func systemctl(ctx context.Context, args ...string) (string, error) {
	for ends := time.Now().Add(anew); ; {
		out, err := run(ctx, "systemctl", args...)
		if err == nil {
			return out, nil
		}
		said := strings.Join(nonEmpty(out), " | ")
		if !cutOff(said) || time.Now().After(ends) {
			return said, fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, said)
		}
		select {
		case <-ctx.Done():
			return said, fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// anew is how long systemd may take to execute itself anew.
const anew = 10 * time.Second

// cutOff tells whether systemctl says that systemd went away while it was asked.
func cutOff(said string) bool {
	return Booted() && slices.ContainsFunc([]string{"Failed to connect to bus", "D-Bus connection terminated", "Connection reset by peer", "Remote peer disconnected", "Transport endpoint is not connected"}, func(words string) bool {
		return strings.Contains(said, words)
	})
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := command(ctx, program, args...).CombinedOutput()
	return string(out), err
}

func command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	return cmd
}

func nonEmpty(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
}

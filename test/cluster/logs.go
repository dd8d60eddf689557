package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Logs copies the logs of all nodes, on or off, into dir/NODE, and the supervisor's own log to dir/supervisor.log.
func (c *Cluster) Logs(ctx context.Context, dir string) error {
	pid, err := c.supervisorPID(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fd/2", pid))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "supervisor.log"), text, 0o644)
	}
	for _, n := range c.nodes {
		err = errors.Join(err, n.logs(ctx, pid, filepath.Join(dir, n.Name)))
	}
	return err
}

// logFiles are those worth keeping, besides the journal.
var logFiles = []string{"pacemaker/pacemaker.log", "corosync/corosync.log", "pcsd/pcsd.log", "mysql/error.log", "haproxy.log"}

func (n *Node) logs(ctx context.Context, supervisor int, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	copyFile := func(from, to string) {
		text, rerr := os.ReadFile(from)
		if errors.Is(rerr, os.ErrNotExist) {
			return
		}
		if rerr == nil {
			rerr = os.WriteFile(filepath.Join(dir, to), text, 0o644)
		}
		err = errors.Join(err, rerr)
	}
	// What the node wrote is in the upper layer of its overlay, whether it is on or off.
	copyFile(n.disk(supervisor, "console"), "console")
	for _, f := range logFiles {
		copyFile(n.disk(supervisor, "upper/var/log", f), filepath.Base(f))
	}
	cmd := exec.CommandContext(ctx, "journalctl", "--no-pager", "-o", "short-precise", "-D", n.disk(supervisor, "upper/var/log/journal"))
	journal, jerr := cmd.Output()
	if jerr != nil {
		journal = append(journal, fmt.Sprintf("\njournalctl: %v\n", jerr)...)
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "journal"), journal, 0o644))
}

// disk returns the path of a node's file as the machine can read it.
func (n *Node) disk(supervisor int, elem ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("/proc/%d/root", supervisor), stateDir, n.Name}, elem...)...)
}

// logFailure says what an operator would look at first.
func (c *Cluster) logFailure(t TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	t.Logf("%s", c.CrmMon(ctx))
	if pid, err := c.supervisorPID(ctx); err == nil {
		for _, n := range c.nodes {
			text, err := tail(n.disk(pid, "upper/var/log/pacemaker/pacemaker.log"), 1<<16)
			if err != nil {
				t.Logf("%s: %v", n.Name, err)
			}
			t.Logf("%s: end of pacemaker.log:\n%s", n.Name, strings.Join(notable(text, 25), ""))
		}
	}
	if dir := os.Getenv("CLUSTER_LOGS"); dir != "" {
		dir = filepath.Join(dir, c.name)
		t.Logf("all logs: %s (%v)", dir, c.Logs(ctx, dir))
	}
}

// notable returns the last max lines of pacemaker.log that say more than info.
func notable(log string, max int) []string {
	var lines []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "\tinfo: ") && !strings.Contains(line, "\tdebug: ") {
			lines = append(lines, line)
		}
	}
	return lines[len(lines)-min(max, len(lines)):]
}

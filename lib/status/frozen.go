package status

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
)

// daemons are those of a cluster's node. A process' name is cut at 15 bytes (proc(5)).
var daemons = []string{
	"corosync", "pacemakerd", "pacemaker-based", "pacemaker-fenced", "pacemaker-execd", "pacemaker-attrd",
	"pacemaker-schedulerd", "pacemaker-controld", "pacemaker-remoted",
}

// Frozen names the cluster's daemons on this node that a signal or a debugger has stopped, as "corosync (pid 7)". The cluster's
// tools say nothing of that: some hang then, and some tell what they knew before. Only files are read that anybody may read: who
// asks need not be root.
func Frozen(proc string) (list []string) {
	dirs, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, dir := range dirs {
		st, err := daemon.ReadStat(dir)
		if err != nil || !st.Stopped() {
			continue
		}
		i := slices.IndexFunc(daemons, func(d string) bool { return d[:min(len(d), 15)] == st.Comm })
		if i >= 0 && own(filepath.Join(dir, "status")) {
			list = append(list, fmt.Sprintf("%s (pid %d)", daemons[i], st.PID))
		}
	}
	return list
}

// own tells whether a process is in none of this node's containers, where another cluster's daemons may run.
func own(status string) bool {
	text, err := os.ReadFile(status)
	_, after, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(after, "\n")
	return err == nil && len(strings.Fields(line)) < 2
}

package cluster

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a process on a node.
type Process struct {
	Node string
	PID  int    // the machine's
	Exe  string // the base name of its executable; "." of one that has ended
}

// look is the last look at all processes.
type look struct {
	mu   sync.Mutex
	at   time.Time
	seen []Process
}

// Processes returns all processes on the nodes, in the order of their IDs, as they were at most so long ago: those that look often,
// and many at once, share a look. It takes about a millisecond.
func (c *Cluster) Processes(age time.Duration) []Process {
	c.look.mu.Lock()
	defer c.look.mu.Unlock()
	if c.look.at.IsZero() || time.Since(c.look.at) >= age {
		now := time.Now()
		c.look.seen, c.look.at = c.processes(c.look.seen), now
	}
	return c.look.seen
}

// processes reads the cluster's cgroups, which systemd makes and removes meanwhile, and between which it moves processes. One that is
// moved from a group that is yet to be read into one that was, is found by neither: who was there before is asked itself. One that is
// new is found by the next look.
func (c *Cluster) processes(before []Process) (all []Process) {
	base, err := cgroup2()
	if err != nil {
		return nil
	}
	dir := filepath.Join(base, cgroupPrefix+c.name)
	for _, n := range c.nodes {
		for _, pid := range members(nil, filepath.Join(dir, n.Name)) {
			all = append(all, Process{Node: n.Name, PID: pid})
		}
	}
	byPID := func(a, b Process) int { return cmp.Compare(a.PID, b.PID) }
	slices.SortFunc(all, byPID)
	for _, p := range before {
		if _, found := slices.BinarySearchFunc(all, p, byPID); !found && nodeOf(fmt.Sprintf("/proc/%d", p.PID), c.name) == p.Node {
			all = append(all, Process{Node: p.Node, PID: p.PID})
		}
	}
	slices.SortFunc(all, byPID)
	all = slices.CompactFunc(all, func(a, b Process) bool { return a.PID == b.PID }) // moved the other way
	for i := range all {                                                             // of all of them, each time: an exec gives a process that is known another one
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", all[i].PID))
		all[i].Exe = filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	return all
}

// members appends the process IDs in a cgroup and in all below it. What is removed meanwhile has none.
func members(pids []int, dir string) []int {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Sys().(*syscall.Stat_t).Nlink <= 2 {
		return pids // of a directory in /sys, it is 2 and how many are below: most have none, and to list their files is what costs
	}
	below, _ := os.ReadDir(dir)
	for _, e := range below {
		if e.IsDir() {
			pids = members(pids, filepath.Join(dir, e.Name()))
		}
	}
	return pids
}

// nodeOf tells a process's node by its cgroup, which lies in one named after the cluster and the node.
func nodeOf(proc, clusterName string) string {
	text, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return ""
	}
	_, below, _ := strings.Cut(string(text), cgroupPrefix+clusterName+"/")
	node, _, _ := strings.Cut(strings.TrimSpace(below), "/")
	return node
}

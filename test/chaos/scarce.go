package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/scenario"
)

// What there is too little of.
var scarceFaults = []fault{
	// What is left after that is for root alone, or less than a block.
	{"fill the disk", 2, fillDisk("fill the disk", `fallocate -l "$(df --output=avail -B1 . | tail -n1)" chaos.fill || dd if=/dev/zero of=chaos.fill bs=1M oflag=append conv=notrunc; :`)},
	{"use up the inodes", 2, fillDisk("use up the inodes", `mkdir -p chaos.fill && cd chaos.fill && seq "$(df --output=iavail . | tail -n1)" | xargs touch; :`)},
	{"run out of memory", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "run out of memory", 20*time.Second, saysStarved)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			return starve(ctx, d)
		}
		return a
	}},
	{"run out of memory during a start", 1, duringStart("run out of memory during a start", starve, saysStarved)},
	{"run out of memory during a stop", 1, duringStop("run out of memory during a stop", starve, saysStarved)},
	{"a child runs out of memory", 1, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "a child runs out of memory", 20*time.Second, saysStarved)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			for _, child := range childrenOf(d.HostPID()) {
				return starveProcess(ctx, child)
			}
			return nil // it has none
		}
		return a
	}},
	{"use up the descriptors", 3, func(s *scene, rng *rand.Rand, at where) act {
		long := between(rng, 2*time.Second, 15*time.Second)
		// Nobody else can connect; who is asked in vain is restarted, with what stands behind it.
		a := s.striking(rng, at, "use up the descriptors", long+30*time.Second, `descriptors`)
		a.Handicapped = a.Restart
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			return s.meanwhile(ctx, d.Node, long, mayOpen(d.PID, "$(ls /proc/$p/fd | wc -l)"), mayOpen(d.PID, "$(awk '/^Max open files/ {print $5}' /proc/$p/limits)")+"; :")
		}
		return a
	}},
	{"run out of processes", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, more, long := someone(rng, at), rng.IntN(6), between(rng, time.Second, 12*time.Second)
		a := s.on(node, at, "run out of processes", long+90*time.Second)
		a.Mute = true // Pacemaker cannot run anybody who would say why
		a.do = func(ctx context.Context) error {
			defer s.avoid(node)()
			free, err := s.useUpProcesses(node, more)
			sleep(ctx, long)
			return errors.Join(err, free(ctx))
		}
		return a
	}},
}

// These are where the kernel's controllers are, version 1 of them: a daemon can be put into a group there without being taken out of its unit.
const (
	memoryGroups = "/sys/fs/cgroup/memory"
	pidsGroups   = "/sys/fs/cgroup/pids"
)

// saysStarved is what is said of who was killed for want of memory: the kernel's log tells who it was, once it is gone.
const saysStarved = `for lack of memory|has just died`

func starve(ctx context.Context, d scenario.Daemon) error { return starveProcess(ctx, d.HostPID()) }

// starveProcess has the kernel kill a process for want of memory. It is an error if it was not the kernel.
func starveProcess(ctx context.Context, pid int) (err error) {
	dir, free, err := newGroup(memoryGroups, "memory.limit_in_bytes", "4096", pid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free(ctx)) }()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "memory.oom_control"))
		if err != nil {
			return err
		}
		if _, n, ok := strings.Cut(string(text), "oom_kill "); ok && strings.TrimSpace(n) != "0" {
			return nil
		}
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return errors.New("it died, and not of the kernel")
		}
	}
	return errors.New("the kernel killed nobody for want of memory")
}

// newGroup makes a control group with a limit, for some processes. free puts who is left there, and those that they have made, back, and
// takes the group away.
func newGroup(parent, limit, value string, pids ...int) (dir string, free func(context.Context) error, err error) {
	if dir, err = os.MkdirTemp(parent, "openstack-ocf-chaos-"); err != nil {
		return "", nil, err
	}
	free = func(ctx context.Context) error {
		for {
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, pid := range strings.Fields(string(procs)) {
				_ = os.WriteFile(filepath.Join(parent, "cgroup.procs"), []byte(pid), 0)
			}
			if err := os.Remove(dir); err == nil || ctx.Err() != nil {
				return err
			}
			sleep(ctx, 20*time.Millisecond)
		}
	}
	for _, pid := range pids { // one of them may have ended
		if perr := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); perr != nil && !errors.Is(perr, unix.ESRCH) {
			err = errors.Join(err, perr)
		}
	}
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, limit), []byte(value), 0)); err != nil {
		err = errors.Join(err, free(context.Background()))
	}
	return dir, free, err
}

// useUpProcesses has the node's processes make no more than so many new ones, or threads, until free is called.
func (s *scene) useUpProcesses(node string, more int) (free func(context.Context) error, err error) {
	var pids []int
	tasks := more
	for _, p := range s.cluster.Processes(0) {
		if p.Node == node {
			list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
			pids, tasks = append(pids, p.PID), tasks+len(list)
		}
	}
	_, free, err = newGroup(pidsGroups, "pids.max", strconv.Itoa(tasks), pids...)
	if err != nil {
		free = func(context.Context) error { return nil }
	}
	return free, err
}

// mayOpen is a script that has a process p, and its children, open that many files. Whoever it belongs to may say so.
func mayOpen(pid int, files string) string {
	return fmt.Sprintf(`for p in %[1]d $(cat /proc/%[1]d/task/*/children); do
		who=$(awk '/^Uid:/ {u=$2} /^Gid:/ {g=$2} END {print "--reuid=" u, "--regid=" g}' /proc/$p/status)
		setpriv $who --clear-groups prlimit --pid=$p --nofile=%[2]s: || ! [ -e /proc/$p ] || exit
	done`, pid, files)
}

// childrenOf are a process's, none if it has ended.
func childrenOf(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// canStarve says whether this machine can.
func canStarve() bool {
	_, err := os.Stat(filepath.Join(memoryGroups, "memory.oom_control"))
	return err == nil
}

// canCount says whether this machine can count the processes of a group.
func canCount() bool {
	_, err := os.Stat(filepath.Join(pidsGroups, "cgroup.procs"))
	return err == nil
}

// fillDisk is a fault that leaves no room on the disk of a service, by a script that makes chaos.fill.
func fillDisk(kind, script string) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		id := s.onDisk(rng)
		long := between(rng, 3*time.Second, 12*time.Second)
		// Who serves with a full disk is left alone, and does not come up on one if it dies of it. Its clients may hang all the while.
		a := act{Fault: check.Fault{
			Kind: kind, Target: id, Node: at.active, Restart: s.behind(id), Move: true, Handicapped: s.services,
			Bound: long + 60*time.Second, Words: []string{`full|[Nn]o space|space left|disk`, saysKilled}, Lacks: []string{saysLacks},
		}}
		a.do = func(ctx context.Context) error {
			err := s.there(ctx, id, "[ ! -e chaos.fill ] || exit 0; "+script) // who unmounts it kills the script, which is not to come back
			sleep(ctx, long)
			return errors.Join(err, s.there(ctx, id, "rm -rf chaos.fill")) // mounted elsewhere by now, or by nobody
		}
		return a
	}
}

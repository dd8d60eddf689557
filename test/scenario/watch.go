package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/cluster"
)

// lookEvery is how often a Watch looks at all processes. All of a cluster's share a look that is not older than sharedFor.
const (
	lookEvery = 50 * time.Millisecond
	sharedFor = 40 * time.Millisecond
)

// Daemon is a process of a service, on whatever node.
type Daemon struct {
	Node  string
	PID   int    // on its node
	host  int    // the machine's process ID of it
	start uint64 // clock ticks since boot: with host, the process's identity
}

// Signal sends it a signal, from outside of its node.
func (d Daemon) Signal(sig syscall.Signal) error {
	if !d.lives() {
		return fmt.Errorf("%s: %w", d, os.ErrProcessDone)
	}
	return unix.Kill(d.host, sig)
}

// HostPID is its process ID on the machine.
func (d Daemon) HostPID() int { return d.host }

// Args are what it was called with, nil when it has ended.
func (d Daemon) Args() []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.host))
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

func (d Daemon) lives() bool {
	now, err := startTime(d.host)
	return err == nil && now == d.start
}

func (d Daemon) String() string { return fmt.Sprintf("pid %d on %s", d.PID, d.Node) }

// Watch looks from outside of all nodes at the processes of a service, whatever they were started by and whatever
// Pacemaker knows of them, and at who has the disk mounted that they work on.
type Watch struct {
	cluster     *cluster.Cluster
	device      string // "" for a service that has nothing on a disk
	executables []string
	belongs     func(proc string) bool // of these executables, the service's
	clone       bool                   // each node has one of its own
	cancel      context.CancelFunc
	done        chan struct{}

	mu      sync.Mutex
	now     []Daemon
	seen    []Daemon // all there ever were, in the order they came
	wrong   []error
	looks   int
	blind   int // looks in a row at the mounts that failed
	at      []string
	teller  Teller
	changed chan struct{}
}

// Teller is told what a watch sees, when that has changed.
type Teller struct {
	Daemons func([]Daemon)
	Mounted func(nodes []string)
	Blind   func(error) // nothing was to be seen of the mounts for seconds
}

// Tell has the teller told from now on, and at once what there is now.
func (w *Watch) Tell(t Teller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.teller = t
	t.Daemons(w.now)
	if w.device != "" {
		t.Mounted(w.at)
	}
}

// NewWatch starts to watch for processes of these executables (base names) that have their working directory or a
// file open on the device, until Stop. Without a device it watches for the first process of each daemon.
func NewWatch(c *cluster.Cluster, device string, executables ...string) (*Watch, error) {
	if device == "" {
		return watch(c, device, executables, leads), nil
	}
	states, err := c.States(context.Background())
	if err != nil {
		return nil, err
	}
	var numbers []uint64 // each node has one of its own
	for _, st := range states {
		numbers = append(numbers, st.Disks[device])
	}
	return watch(c, device, executables, func(proc string) bool { return uses(proc, numbers) && !forked(proc) }), nil
}

// forked tells whether a process is of its parent's program: a server that crashes makes a copy of itself, which looks for
// the names of its functions, and a service makes workers.
func forked(proc string) bool {
	own, err := os.Readlink(proc + "/exe")
	theirs, perr := os.Readlink(parentOf(proc) + "/exe")
	return err == nil && perr == nil && own == theirs
}

// NewScriptWatch starts to watch for processes of these interpreters that run the script (its base name) on nodes of
// the cluster, without their workers, until Stop. A worker stays one when its parent has been killed.
func NewScriptWatch(c *cluster.Cluster, script string, executables ...string) *Watch {
	workers := map[string]bool{} // by pid and start
	return watch(c, "", executables, func(proc string) bool {
		if !runs(proc, script) {
			return false
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		start, serr := startTime(pid)
		if err != nil || serr != nil {
			return false // it has ended
		}
		id := fmt.Sprint(pid, start)
		workers[id] = workers[id] || runs(parentOf(proc), script) && forked(proc) // the agent that starts it has the same name
		return !workers[id]
	})
}

// runs says whether the script is named in a process's command line, or in the title which that may have become.
func runs(proc, script string) bool {
	args, _ := os.ReadFile(proc + "/cmdline")
	words := strings.FieldsFunc(string(args), func(r rune) bool { return strings.ContainsRune("\x00 :()", r) })
	return slices.ContainsFunc(words, func(word string) bool { return filepath.Base(word) == script })
}

// NewCloneWatch starts to watch for the first process of each daemon, of which every node may have one, until Stop.
func NewCloneWatch(c *cluster.Cluster, executables ...string) *Watch {
	w := newWatch(c, "", executables, leads)
	w.clone = true
	return w.start()
}

func watch(c *cluster.Cluster, device string, executables []string, belongs func(string) bool) *Watch {
	return newWatch(c, device, executables, belongs).start()
}

func newWatch(c *cluster.Cluster, device string, executables []string, belongs func(string) bool) *Watch {
	return &Watch{cluster: c, device: device, executables: executables, belongs: belongs, done: make(chan struct{}), changed: make(chan struct{})}
}

func (w *Watch) start() *Watch {
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go w.run(ctx)
	return w
}

func (w *Watch) run(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		w.look(processes(w.cluster.Processes(sharedFor), w.executables, w.belongs))
		if i%2 == 0 && w.device != "" {
			at, err := w.cluster.MountedOn(ctx, w.device)
			if ctx.Err() == nil {
				w.mounts(at, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look takes in which daemons there are now.
func (w *Watch) look(found []Daemon) {
	// One may have ended, and the next begun, while /proc was being read: only those that still live are two.
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(d Daemon) bool { return !d.lives() })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.several(found) && !slices.Equal(found, w.now) {
		w.wrong = append(w.wrong, fmt.Errorf("%s: %d of %s at once: %v", clock(), len(found), w.what(), found))
	}
	for _, d := range found {
		if !slices.Contains(w.seen, d) {
			w.seen = append(w.seen, d)
		}
	}
	if !slices.Equal(found, w.now) {
		w.now = found
		if w.teller.Daemons != nil {
			w.teller.Daemons(found)
		}
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// several says whether there are more daemons than there may be.
func (w *Watch) several(found []Daemon) bool {
	if !w.clone {
		return len(found) > 1
	}
	at := map[string]bool{}
	for _, d := range found {
		at[d.Node] = true
	}
	return len(at) < len(found)
}

// mounts takes in where the device is mounted.
func (w *Watch) mounts(at []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		// A node that dies while it is looked at is no news; not to see anything for seconds is.
		if w.blind++; w.blind == 50 {
			w.wrong = append(w.wrong, fmt.Errorf("%s: cannot see who has %s mounted: %w", clock(), w.device, err))
			if w.teller.Blind != nil {
				w.teller.Blind(err)
			}
		}
		return
	}
	w.blind = 0
	if !slices.Equal(at, w.at) {
		w.at = at
		if w.teller.Mounted != nil {
			w.teller.Mounted(at)
		}
	}
	if len(at) > 1 {
		w.wrong = append(w.wrong, fmt.Errorf("%s: %s is mounted on %s at once", clock(), w.device, strings.Join(at, " and ")))
	}
}

func (w *Watch) what() string {
	if w.device == "" {
		return w.executables[0]
	}
	return "the daemons on " + w.device
}

func clock() string { return time.Now().Format("15:04:05.000") }

// Stop ends the watch; one that is nil has seen nothing.
func (w *Watch) Stop() {
	if w == nil {
		return
	}
	w.cancel()
	<-w.done
}

// Err is nil if there never were two daemons at once, nor two nodes that had the disk mounted.
func (w *Watch) Err() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looks == 0 {
		return errors.New("the watch has not looked once")
	}
	return errors.Join(w.wrong...)
}

// Started is how many daemons there were so far, one after the other.
func (w *Watch) Started() int {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// Now returns the daemon that is there now, false if there is none.
func (w *Watch) Now() (Daemon, bool) { return w.NowOn("") }

// NowOn is the daemon that is on a node now, false if there is none; "" is any node.
func (w *Watch) NowOn(node string) (Daemon, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if here := on(node, w.now); len(here) > 0 {
		return here[0], true
	}
	return Daemon{}, false
}

func on(node string, list []Daemon) (here []Daemon) {
	for _, d := range list {
		if node == "" || d.Node == node {
			here = append(here, d)
		}
	}
	return here
}

// WaitOther returns the daemon that has taken the place of old; that of none if old is the zero value. Of a clone, old's node is
// where.
func (w *Watch) WaitOther(ctx context.Context, old Daemon) (Daemon, error) {
	for {
		w.mu.Lock()
		now, changed := w.now, w.changed
		w.mu.Unlock()
		if w.clone {
			now = on(old.Node, now)
		}
		if len(now) == 1 && now[0] != old {
			return now[0], nil
		}
		select {
		case <-changed:
		case <-w.done:
			return Daemon{}, errors.New("the watch was stopped")
		case <-ctx.Done():
			return Daemon{}, fmt.Errorf("no new %s, there is %v: %w", w.executables[0], now, ctx.Err())
		}
	}
}

// Processes finds the living processes of these executables (base names) on the cluster's nodes.
func Processes(c *cluster.Cluster, executables ...string) []Daemon {
	return processes(c.Processes(0), executables, func(string) bool { return true })
}

// ScriptProcesses finds the living processes of these interpreters on the cluster's nodes that run the script (its base name).
func ScriptProcesses(c *cluster.Cluster, script string, executables ...string) []Daemon {
	return processes(c.Processes(0), executables, func(proc string) bool { return runs(proc, script) })
}

// processes finds among all processes those of these executables that live and belong to a service.
func processes(all []cluster.Process, executables []string, belongs func(proc string) bool) (found []Daemon) {
	for _, p := range all {
		if !slices.Contains(executables, p.Exe) {
			continue
		}
		proc := fmt.Sprintf("/proc/%d", p.PID)
		if asked(proc) || !belongs(proc) {
			continue
		}
		// It may be another program by now: a server's copy of itself, as a crash makes one, becomes addr2line.
		exe, err := os.Readlink(proc + "/exe")
		if err != nil || !slices.Contains(executables, filepath.Base(strings.TrimSuffix(exe, " (deleted)"))) {
			continue
		}
		if start, err := startTime(p.PID); err == nil {
			found = append(found, Daemon{Node: p.Node, PID: pidInside(proc), host: p.PID, start: start})
		}
	}
	return found
}

// asked says that a process only tells how a daemon would run (mariadbd --verbose --help, haproxy -c), as the agent or a unit's
// reload asks it: it looks at data and configuration, and serves nobody.
func asked(proc string) bool {
	text, _ := os.ReadFile(proc + "/cmdline")
	args := strings.Split(string(text), "\x00")
	return slices.Contains(args, "--help") || filepath.Base(args[0]) == "haproxy" && slices.Contains(args, "-c")
}

// uses says whether a process has its working directory or a file open on one of the devices. The links in /proc lead to the
// file itself, also where it was unmounted lazily.
func uses(proc string, devices []uint64) bool {
	on := func(link string) bool {
		var st unix.Stat_t
		return unix.Stat(link, &st) == nil && slices.Contains(devices, st.Dev)
	}
	if on(proc + "/cwd") {
		return true
	}
	files, _ := os.ReadDir(proc + "/fd")
	return slices.ContainsFunc(files, func(f os.DirEntry) bool { return on(proc + "/fd/" + f.Name()) })
}

// leads is belongs for a service that has nothing on a disk: a daemon's first process, not a worker, and not the one that started it
// (proc_pid_status(5)).
func leads(proc string) bool {
	text, err := os.ReadFile(proc + "/status")
	if err != nil || lastField(string(text), "NSpid:") != lastField(string(text), "NSsid:") {
		return false
	}
	return pidInside(parentOf(proc)) == 1
}

func parentOf(proc string) string {
	text, _ := os.ReadFile(proc + "/status")
	return "/proc/" + lastField(string(text), "PPid:")
}

// pidInside is the process's ID in its innermost PID namespace, which is its node (NSpid in proc_pid_status(5)).
func pidInside(proc string) int {
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(lastField(string(text), "NSpid:"))
	return pid
}

// lastField is the last word of a line of /proc/PID/status.
func lastField(status, name string) string {
	_, line, _ := strings.Cut(status, "\n"+name)
	line, _, _ = strings.Cut(line, "\n")
	return line[strings.LastIndexByte(line, '\t')+1:]
}

// startTime is field 22 of /proc/PID/stat (proc_pid_stat(5)); it fails for a process that has ended, also a zombie.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text)[strings.LastIndex(string(text), ")")+1:])
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(f[19], 10, 64)
}

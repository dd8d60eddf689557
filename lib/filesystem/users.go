package filesystem

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/sockets"
)

// User is a process that keeps a file system from being unmounted.
type User struct {
	PID    int
	Name   string
	How    string // "its working directory", "the open file /srv/db"
	Spared bool   // it must not be ended: see [spared]
}

func (u User) String() string { return fmt.Sprintf("%s (pid %d: %s)", u.Name, u.PID, u.How) }

// Users are the processes that use a file system: by cwd, root, executable, open and mapped files. On a block device they are known by the
// device, whatever name they know it by, also after umount -l; on others by the name, in our mount namespace.
func Users(ctx context.Context, what Use) ([]User, error) {
	pids, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	keep := ancestors()
	what.namespace, _ = os.Readlink("/proc/self/ns/mnt")
	bound := map[string]map[string]sockets.Bound{} // by network namespace
	var list []User
	for _, p := range pids {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		netns := "/proc/" + p.Name() + "/ns/net"
		if name, err := os.Readlink(netns); err == nil {
			if _, known := bound[name]; !known {
				bound[name], _ = sockets.BoundIn(netns) // a kernel that cannot tell leaves out these users
			}
			what.sockets = bound[name]
		}
		// A file on a dead server may hang who asks for it.
		soon, cancel := context.WithTimeout(ctx, time.Second)
		how, _ := hang.Bound(soon, "/proc", func() (string, error) { return what.by(pid), nil })
		cancel()
		if how != "" {
			name := comm(pid)
			list = append(list, User{pid, name, how, keep[pid] || spared(pid, name)})
		}
	}
	return list, ctx.Err()
}

// Use is what is looked for in /proc.
type Use struct {
	Device    Number // of a block device
	Dir       string // where it is mounted, if it is on none
	namespace string
	sockets   map[string]sockets.Bound // that have a file, by inode
}

// by is how a process uses it; "" if it does not.
func (u Use) by(pid int) string {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if u.Dir != "" {
		if ns, err := os.Readlink(dir + "ns/mnt"); err != nil || ns != u.namespace {
			return ""
		}
	}
	if _, err := os.Readlink(dir + "cwd"); errors.Is(err, fs.ErrNotExist) { // its first thread has ended, others may not have
		tasks, _ := os.ReadDir(dir + "task")
		for _, t := range tasks {
			if how := u.task(dir + "task/" + t.Name() + "/"); how != "" {
				return how
			}
		}
		return ""
	}
	return u.task(dir)
}

func (u Use) task(dir string) string {
	for _, l := range [][2]string{{"cwd", "its working directory"}, {"root", "its root"}, {"exe", "its program"}} {
		if u.is(dir + l[0]) {
			return l[1]
		}
	}
	fds, _ := os.ReadDir(dir + "fd")
	for _, fd := range fds {
		link := dir + "fd/" + fd.Name()
		if u.is(link) {
			name, _ := os.Readlink(link)
			return "the open file " + name
		}
		if name := u.socket(link); name != "" {
			return "the socket " + name
		}
	}
	return u.maps(dir)
}

// is tells whether a link of /proc leads there.
func (u Use) is(link string) bool {
	name, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(name, "/") {
		return false
	}
	if u.Dir != "" {
		return below(name, u.Dir)
	}
	var st unix.Stat_t
	return unix.Stat(link, &st) == nil && u.Device == Number{int(unix.Major(st.Dev)), int(unix.Minor(st.Dev))}
}

// socket is the name of the socket that a link of /proc leads to, if its file is there.
func (u Use) socket(link string) string {
	name, _ := os.Readlink(link)
	inode, ok := strings.CutPrefix(name, "socket:[")
	s, bound := u.sockets[strings.TrimSuffix(inode, "]")]
	if !ok || !bound || u.Dir != "" && !below(s.Path, u.Dir) || u.Dir == "" && u.Device != (Number{s.Major, s.Minor}) {
		return ""
	}
	return s.Path
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// maps looks for a mapped file: proc_pid_maps(5).
func (u Use) maps(dir string) string {
	f, err := os.Open(dir + "maps")
	if err != nil {
		return ""
	}
	defer f.Close()
	device := fmt.Sprintf("%02x:%02x", u.Device.Major, u.Device.Minor)
	for s := bufio.NewScanner(f); s.Scan(); {
		// address perms offset dev inode pathname
		fields := strings.Fields(s.Text())
		if len(fields) < 6 {
			continue
		}
		_, name, _ := strings.Cut(s.Text(), " "+fields[4]+" ")
		name = strings.TrimSpace(name)
		if u.Dir == "" && fields[3] == device || u.Dir != "" && below(name, u.Dir) {
			return "the mapped file " + name
		}
	}
	return ""
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

// ancestors are the processes that we stem from.
func ancestors() map[int]bool {
	all := map[int]bool{1: true}
	for pid := os.Getppid(); pid > 1 && !all[pid]; {
		all[pid] = true
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
		f := strings.Fields(rest)
		if err != nil || len(f) < 2 {
			break
		}
		pid, _ = strconv.Atoi(f[1])
	}
	return all
}

// spared are those without which the cluster does not know what is so, and the agents of other resources, which end by themselves.
func spared(pid int, name string) bool {
	if strings.HasPrefix(name, "pacemaker") || strings.HasPrefix(name, "systemd") ||
		slices.Contains([]string{"corosync", "corosync-qdevic", "pcsd", "sbd", "dlm_controld", "stonithd", "lrmd", "crmd", "cib", "attrd"}, name) {
		return true
	}
	ours, err := os.Stat("/proc/self/exe")
	if theirs, e := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && e == nil && os.SameFile(ours, theirs) {
		return true
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Contains(string(line), "/ocf/resource.d/")
}

// ending says whether a process is about to end, and shows no more what it uses: what it had open is closed last, which may
// have to be written first.
func ending() bool {
	threads, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	return slices.ContainsFunc(threads, func(dir string) bool {
		st, err := daemon.ReadStat(dir)
		return err == nil && st.Exiting() && st.State != 'Z' && st.State != 'X'
	})
}

// Holders says what else keeps a file system busy: mounts in other namespaces, and what the kernel itself uses.
func Holders(use Use) (list []string) {
	if use.Dir == "" {
		for _, ns := range namespaces(use.Device) {
			list = append(list, "the mount namespace of "+ns.String())
		}
	}
	table, err := mount.Read()
	if err != nil {
		return list
	}
	// Where it is mounted now.
	var dirs []string
	for _, m := range table.All {
		if m.Point == use.Dir || use.Dir == "" && m.Major == use.Device.Major && m.Minor == use.Device.Minor {
			dirs = append(dirs, m.Point)
		}
	}
	within := func(file string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return below(file, dir) })
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		b, err := os.ReadFile(l)
		if file := strings.TrimSpace(string(b)); err == nil && within(file) {
			list = append(list, "the loop device of "+file)
		}
	}
	swaps, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(swaps)) {
		if file, _, _ := strings.Cut(line, " "); within(file) {
			list = append(list, "the swap file "+file)
		}
	}
	return list
}

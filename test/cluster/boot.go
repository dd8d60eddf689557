package cluster

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is the PATH of everything that runs in a cluster.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// The node's inherited descriptors: the order to read, and a pipe for what went wrong, closed by exec.
const (
	fdOrder  = 3
	fdFailed = 4
)

// bootOrder is what a node's first process needs to know to become that node.
type bootOrder struct {
	Name, Addr, Dir string
	First           bool // the node has never booted: put its files in place
	Disks           []blockDevice
	Config          Config
}

// maskedUnits would act on the machine instead of on the node, or wait for hardware that is not there.
var maskedUnits = []string{
	"systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service",
	"systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service", "systemd-random-seed.service",
	"kmod-static-nodes.service", "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount", "dev-mqueue.mount",
	"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"systemd-journald-audit.socket", "systemd-firstboot.service", "systemd-machine-id-commit.service",
	"systemd-logind.service", "getty.target", "getty-static.service", "systemd-tmpfiles-clean.timer",
	"systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-hwdb-update.service", "ldconfig.service",
}

// bootNode is the main of a node's first process, PID 1 of the node: it turns its namespaces into the node and executes systemd.
func bootNode() int {
	unix.CloseOnExec(fdOrder)
	unix.CloseOnExec(fdFailed)
	failed := os.NewFile(fdFailed, "failed")
	var o bootOrder
	// The order comes when the NIC is there.
	if err := json.NewDecoder(os.NewFile(fdOrder, "order")).Decode(&o); err != nil {
		fmt.Fprintf(failed, "read the order: %v", err)
		return 1
	}
	fmt.Fprintf(failed, "%v", o.boot())
	return 1
}

// boot does not return if it succeeds.
func (o *bootOrder) boot() error {
	unix.Umask(0o022)
	if err := unix.Sethostname([]byte(o.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := ipBatch("link set lo up",
		"addr add "+o.Addr+"/24 brd + dev eth0",
		"link set eth0 up",
		"route add default via "+RackAddr+" dev eth0"); err != nil {
		return err
	}
	var freight []cargo
	if o.First {
		var err error
		if freight, err = o.load(); err != nil {
			return err
		}
	}
	root := filepath.Join(o.Dir, "root")
	if err := o.mount(root); err != nil {
		return err
	}
	if err := pivot(root); err != nil {
		return err
	}
	if o.First {
		if err := o.prepare(freight); err != nil {
			return fmt.Errorf("prepare the root: %w", err)
		}
	}
	return unix.Exec("/usr/lib/systemd/systemd", []string{"systemd", "--system"}, []string{
		"PATH=" + defaultPath,
		"container=other",
		"SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=1 systemd.unit=multi-user.target",
	})
}

// mount builds the node's file systems at root.
func (o *bootOrder) mount(root string) error {
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", o.Config.Root, filepath.Join(o.Dir, "upper"), filepath.Join(o.Dir, "work"))
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		kind, at string
		flags    uintptr
		data     string
	}{
		{"overlay", "", 0, overlay},
		{"proc", "proc", quiet, ""},
		{"sysfs", "sys", quiet | unix.MS_RDONLY, ""}, // read-only: what is written there is the machine's
		{"cgroup2", "sys/fs/cgroup", quiet, ""},
		{"tmpfs", "dev", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", "dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", "dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"tmpfs", "run", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		at := filepath.Join(root, m.at)
		if strings.HasPrefix(m.at, "dev/") {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(m.kind, at, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s at /%s: %w", m.kind, m.at, err)
		}
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := makeNode(filepath.Join(root, "dev", name), unix.S_IFCHR|0o666, unix.Mkdev(1, minor)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(root, "dev/net"), 0o755); err != nil {
		return err
	}
	if err := makeNode(filepath.Join(root, "dev/net/tun"), unix.S_IFCHR|0o666, unix.Mkdev(10, 200)); err != nil {
		return err
	}
	if err := makeNode(filepath.Join(root, "dev/tty"), unix.S_IFCHR|0o666, unix.Mkdev(5, 0)); err != nil {
		return err
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	for _, d := range o.Disks {
		if err := d.make(root); err != nil {
			return err
		}
	}
	// A node that Pacemaker panics writes to sysrq-trigger first, and that would reboot the machine.
	for _, f := range []string{"proc/sysrq-trigger", "proc/sys/kernel/sysrq"} {
		if err := unix.Mount(filepath.Join(root, "dev/null"), filepath.Join(root, f), "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("hide /%s: %w", f, err)
		}
	}
	return nil
}

func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// The old root is stacked on the new one, so no directory for it is needed (pivot_root(2), notes).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}

// cargo is a file or a directory tree of the machine, opened before the machine's root goes out of sight.
type cargo struct {
	file File
	from *os.File
	tree *os.Root
}

func (o *bootOrder) load() ([]cargo, error) {
	var freight []cargo
	for _, dir := range o.Config.Overlay {
		tree, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		freight = append(freight, cargo{tree: tree})
	}
	files := []File{{Path: "/usr/sbin/" + roleFence, From: "/proc/self/exe", Mode: 0o755}}
	files = append(files, o.Config.Files...)
	for _, f := range append(files, o.Config.PerNode[o.Name]...) {
		c := cargo{file: f}
		if f.From != "" {
			var err error
			if c.from, err = os.Open(f.From); err != nil {
				return nil, err
			}
		}
		freight = append(freight, c)
	}
	return freight, nil
}

// prepare turns the root, as the machine's packages left it, into this node's. It runs in the node's own root.
func (o *bootOrder) prepare(freight []cargo) error {
	id := make([]byte, 16)
	rand.Read(id)
	remove := []string{
		"/usr/sbin/policy-rc.d",
		"/etc/systemd/system/*.wants/*",                                                  // nothing starts but what enable names
		"/etc/corosync/corosync.conf", "/etc/corosync/authkey", "/etc/pacemaker/authkey", // the packages' sample cluster
		"/var/lib/corosync/*", "/var/lib/pacemaker/cib/*", "/var/lib/pacemaker/pengine/*", "/var/lib/pcsd/*",
		"/var/log/pacemaker/*", "/var/log/corosync/*", "/var/log/journal/*",
	}
	for _, pattern := range remove {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	// Debian's systemctl neither enables nor disables a unit whose script has no links at all: these are as disable leaves them.
	links, err := filepath.Glob("/etc/rc[S0-6].d/S[0-9][0-9]*")
	if err != nil {
		return err
	}
	for _, p := range links {
		dir, name := filepath.Split(p)
		if err := os.Rename(p, dir+"K01"+name[3:]); err != nil {
			return err
		}
	}
	files := []File{
		{Path: "/etc/hostname", Content: o.Name + "\n"},
		{Path: "/etc/machine-id", Content: hex.EncodeToString(id) + "\n"},
		{Path: "/etc/hosts", Content: hosts(o.Config.Nodes)},
		{Path: "/etc/resolv.conf"},
		{Path: "/etc/fstab"},
	}
	for _, u := range maskedUnits {
		files = append(files, File{Path: "/etc/systemd/system/" + u, Link: "/dev/null"})
	}
	enable := []string{"pcsd.service"}
	if !o.Config.Bare {
		enable = []string{"corosync.service", "pacemaker.service"}
		files = append(files,
			File{Path: "/etc/corosync/corosync.conf", Content: corosyncConf(o.Config)},
			File{Path: "/var/lib/pacemaker/cib/cib.xml", Content: seedCIB(o.Config), Mode: 0o600, Owner: "hacluster:haclient"})
	}
	for _, u := range append(enable, o.Config.Units...) {
		files = append(files, File{Path: "/etc/systemd/system/multi-user.target.wants/" + u, Link: "/usr/lib/systemd/system/" + u})
	}
	if err := os.MkdirAll("/var/log/journal", 0o755); err != nil { // the journal outlives a power-off
		return err
	}
	if err := setPassword("hacluster", haclusterHash); err != nil {
		return err
	}
	for _, f := range files {
		if err := f.put(nil); err != nil {
			return err
		}
	}
	for _, c := range freight {
		if err := c.unload(); err != nil {
			return err
		}
	}
	return nil
}

func (c cargo) unload() error {
	if c.tree == nil {
		return c.file.put(c.from)
	}
	defer c.tree.Close()
	return fs.WalkDir(c.tree.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := File{Path: filepath.Join("/", path), Mode: info.Mode().Perm()}
		switch {
		case d.IsDir():
			return os.MkdirAll(f.Path, f.Mode)
		case info.Mode()&fs.ModeSymlink != 0:
			if f.Link, err = c.tree.Readlink(path); err != nil {
				return err
			}
			return f.put(nil)
		}
		from, err := c.tree.Open(path)
		if err != nil {
			return err
		}
		return f.put(from)
	})
}

// put writes the file, from what from holds if that is not nil, and closes from.
func (f File) put(from *os.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Link != "" {
		return os.Symlink(f.Link, f.Path)
	}
	mode := f.Mode
	var content io.Reader = strings.NewReader(f.Content)
	if from != nil {
		defer from.Close()
		content = from
		if info, err := from.Stat(); err == nil && mode == 0 {
			mode = info.Mode().Perm()
		}
	}
	if mode == 0 {
		mode = 0o644
	}
	out, err := os.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, content); err != nil {
		return err
	}
	if f.Owner != "" {
		uid, gid, err := owner(f.Owner)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if err := out.Chown(uid, gid); err != nil {
			return err
		}
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	return out.Close()
}

// owner looks "user" or "user:group" up in the node's files; os/user would load the machine's libraries in the node.
func owner(name string) (uid, gid int, err error) {
	user, group, grouped := strings.Cut(name, ":")
	entry, err := colonEntry("/etc/passwd", user)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(entry[2]); err != nil {
		return 0, 0, err
	}
	id := entry[3]
	if grouped {
		if entry, err = colonEntry("/etc/group", group); err != nil {
			return 0, 0, err
		}
		id = entry[2]
	}
	gid, err = strconv.Atoi(id)
	return uid, gid, err
}

func colonEntry(file, name string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if entry := strings.Split(lines.Text(), ":"); entry[0] == name && len(entry) > 3 {
			return entry, nil
		}
	}
	return nil, fmt.Errorf("%s: no entry %q", file, name)
}

// setPassword sets a user's password hash in the node's /etc/shadow.
func setPassword(user, hash string) error {
	const path = "/etc/shadow"
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(old)) {
		if entry := strings.SplitN(line, ":", 3); entry[0] == user && len(entry) == 3 {
			line = entry[0] + ":" + hash + ":" + entry[2]
		}
		b.WriteString(line)
	}
	return File{Path: path, Content: b.String(), Mode: 0o640, Owner: "root:shadow"}.put(nil)
}

package mount

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mount tables of nodes, cut down to what matters.
const (
	node = `21 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/cs-root rw,attr2
22 21 0:20 / /proc rw - proc proc rw
23 21 0:21 / /run rw,nosuid shared:12 - tmpfs tmpfs rw,size=1628944k
24 21 253:2 / /var rw,relatime shared:29 - xfs /dev/mapper/cs-var rw
30 24 8:16 / /var/lib/mysql rw,relatime shared:40 - ext4 /dev/sdb rw,errors=remount-ro
31 21 8:32 / /srv/with\040space\134and\011tab rw - ext4 /dev/disk\040c ro
32 21 8:33 / /srv/failed rw,relatime - ext4 /dev/sdd rw,emergency_ro
33 21 253:0 /backup /srv/bound ro,relatime shared:1 - xfs /dev/mapper/cs-root rw
34 21 0:50 / /srv/nfs rw,relatime - nfs4 server:/export rw,vers=4.2,addr=10.0.0.1
35 34 0:51 / /srv/nfs/sub rw,relatime - nfs4 server:/export/sub rw
`
	// /srv mounted twice, and /data/db hidden by what was mounted on /data later.
	stacked = `21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 8:16 / /srv rw - ext4 /dev/first rw
32 31 8:48 / /srv rw - ext4 /dev/third rw
31 30 8:32 / /srv rw - ext4 /dev/second rw
40 21 8:64 / /data rw - ext4 /dev/old rw
41 40 8:65 / /data/db rw - ext4 /dev/hidden rw
42 40 8:66 / /data rw - ext4 /dev/new rw
`
	container = `600 500 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
601 600 0:61 / /proc rw - proc proc rw
602 600 8:17 /volumes/db /var/lib/mysql rw - ext4 /dev/sdb1 rw
`
	// The root is mounted over another one, as after switch_root or in an ostree system.
	overRoot = `1 1 0:2 / / rw - rootfs none rw
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 254:0 /var /var rw - ext4 /dev/vda rw
23 21 0:30 / /srv rw - autofs systemd-1 rw,fd=30
24 23 0:31 / /srv rw - nfs server:/srv rw
`
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		table, path            string
		point, source          string
		readOnly, root, system bool
	}{
		{node, "/", "/", "/dev/mapper/cs-root", false, true, true},
		{node, "/etc/my.cnf", "/", "/dev/mapper/cs-root", false, true, true},
		{node, "/var/lib/mysql", "/var/lib/mysql", "/dev/sdb", false, false, false},
		{node, "/var/lib/mysql/db/t.ibd", "/var/lib/mysql", "/dev/sdb", false, false, false},
		{node, "/var/lib/mysql2", "/var", "/dev/mapper/cs-var", false, false, true},
		{node, "/srv/with space\\and\ttab/x", "/srv/with space\\and\ttab", "/dev/disk c", true, false, false},
		{node, "/srv/failed", "/srv/failed", "/dev/sdd", true, false, false},
		{node, "/srv/bound/x", "/srv/bound", "/dev/mapper/cs-root", true, true, true},
		{node, "/srv/nfs/sub/x", "/srv/nfs/sub", "server:/export/sub", false, false, false},
		{node, "/srv/nfs/subx", "/srv/nfs", "server:/export", false, false, false},
		{node, "/run/x", "/run", "tmpfs", false, false, true},
		{stacked, "/srv/x", "/srv", "/dev/third", false, false, false},
		{stacked, "/data/db", "/data", "/dev/new", false, false, false},
		{container, "/var/lib/mysql", "/var/lib/mysql", "/dev/sdb1", false, false, false},
		{container, "/var/lib", "/", "overlay", false, true, true},
		{overRoot, "/etc", "/", "/dev/vda", false, true, true},
		{overRoot, "/var/lib", "/var", "/dev/vda", false, true, true},
		{overRoot, "/srv/db", "/srv", "server:/srv", false, false, false},
	} {
		table, err := mountinfo.GetMountsFromReader(strings.NewReader(c.table), nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := lookup(table, c.path)
		if err != nil || m.Point != c.point || m.Source != c.source || m.ReadOnly != c.readOnly || m.Root != c.root || m.System != c.system {
			t.Errorf("%s: %+v, %v\nwant %+v", c.path, m, err, c)
		}
	}
	for _, table := range []string{"", "30 29 8:16 / /srv rw - ext4 /dev/sdb rw\n"} {
		list, err := mountinfo.GetMountsFromReader(strings.NewReader(table), nil)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := lookup(list, "/etc"); err == nil {
			t.Errorf("/etc in %q: %+v", table, m)
		}
	}
}

// A table that no kernel gives must neither crash nor loop.
func FuzzLookup(f *testing.F) {
	for _, table := range []string{node, stacked, container, overRoot, "1 2 0:1 / / rw - a b rw\n2 1 0:1 / / rw - a b rw\n"} {
		f.Add(table, "/var/lib/mysql")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		table, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
		if err != nil {
			return
		}
		if m, err := lookup(table, path); err == nil && !covers(m.Point, path) {
			t.Errorf("%q is not below %q", path, m.Point)
		}
	})
}

func TestOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	want, err := On(t.Context(), dir)
	if err != nil || want.Point == "" {
		t.Fatalf("%+v, %v", want, err)
	}
	if m, err := On(t.Context(), filepath.Join(dir, "link")); err != nil || m != want {
		t.Errorf("through a link: %+v, %v", m, err)
	}
	if m, err := On(t.Context(), filepath.Join(dir, "a/b/c")); !errors.Is(err, fs.ErrNotExist) || m != want {
		t.Errorf("what does not exist: %+v, %v", m, err)
	}
	if _, err := On(t.Context(), "relative"); err == nil {
		t.Error("a relative path is accepted")
	}
	if m, err := On(t.Context(), "/proc/self/fd"); err != nil || m.FSType != "proc" || m.Root {
		t.Errorf("/proc: %+v, %v", m, err)
	}
}

func TestSpace(t *testing.T) {
	s := Space{Total: 1000, Free: 300, Available: 100, Inodes: 10, FreeInodes: 4}
	if got := s.UsedPercent(); got != 87.5 {
		t.Errorf("UsedPercent = %v, as df counts it is 87.5", got)
	}
	if got := s.InodesUsedPercent(); got != 60 {
		t.Errorf("InodesUsedPercent = %v", got)
	}
	if got := (Space{}).UsedPercent(); got != 0 || math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
	s, err := Usage(t.Context(), t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total || s.Available > s.Free || s.Total < 1<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := Probe(t.Context(), filepath.Join(t.TempDir(), "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Probe of nothing: %v", err)
	}
}

func TestFrom(t *testing.T) {
	for _, c := range []struct {
		source, device string
		want           bool
	}{
		{"server:/export", "server:/export", true},
		{"server:/export", "server:/export/", true},
		{"server:/", "server:/", true},
		{"server:/export", "server:/export2", false},
		{"server:/", "server:", false},
		{"[fd00::1]:/export", "[fd00::1]:/export", true},
		{"//server/share", "//server/share/", true},
		{"//server/share", "//server/other", false},
		{"pool/data", "pool/data", true},
		{"/dev/nonexistent", "/dev/nonexistent", true},
	} {
		if got, err := (Mount{Source: c.source}).From(t.Context(), c.device); err != nil || got != c.want {
			t.Errorf("%s of %s: %v, %v", c.source, c.device, got, err)
		}
	}
	for _, missing := range []string{"/dev/nonexistent", "UUID=no-such", `LABEL="my data"`} {
		_, err := Mount{Source: "/dev/sdb"}.From(t.Context(), missing)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	if got := udevName("my data/ü+1"); got != `my\x20data\x2fü+1` {
		t.Errorf("udevName = %s", got)
	}
}

// changesAt begins to watch. What it returns is called after a change: nothing was told before, the change is, and a wait without one
// ends.
func changesAt(t *testing.T) func(change string) {
	t.Helper()
	changes, err := Watch()
	if err != nil {
		t.Fatal(err)
	}
	wait := func(long time.Duration) bool {
		fd, events := changes.Descriptor()
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int(long.Milliseconds()))
			if !errors.Is(err, unix.EINTR) {
				return n > 0
			}
		}
	}
	if wait(10 * time.Millisecond) {
		t.Error("told before any change")
	}
	return func(change string) {
		t.Helper()
		defer changes.Close()
		if !wait(30 * time.Second) {
			t.Errorf("%s is not told", change)
		}
	}
}

// Real mounts, in a mount namespace of the test's own.
func TestReal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root")
	}
	if os.Getenv("MOUNT_TEST_NAMESPACE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestReal$", "-test.v")
		cmd.Env = append(os.Environ(), "MOUNT_TEST_NAMESPACE=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) {
			t.Skip("SKIP: needs leave to make a mount namespace")
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, why, ok := strings.Cut(string(out), "SKIP: "); ok {
			t.Skipf("SKIP: %s", why)
		}
		return
	}
	mount := func(source, dir, fstype string, flags uintptr, data string) {
		t.Helper()
		if err := unix.Mount(source, dir, fstype, flags, data); err != nil {
			t.Fatalf("mount %s on %s: %v", source, dir, err)
		}
	}
	on := func(dir string) Mount {
		t.Helper()
		m, err := On(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	base := t.TempDir()
	data, bind, loop := filepath.Join(base, "my data"), filepath.Join(base, "bind"), filepath.Join(base, "loop")
	for _, dir := range []string{data, bind, loop} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := on(data)
	watched := changesAt(t)
	mount("store one", data, "tmpfs", 0, "size=1m")
	watched("a mount")
	defer func() { _ = unix.Unmount(data, unix.MNT_DETACH) }()
	if m := on(data); m.Point != data || m.Source != "store one" || m.FSType != "tmpfs" || m.Root || m.System || m.ReadOnly {
		t.Errorf("%+v", m)
	}
	if s, err := Usage(t.Context(), data); err != nil || s.Total != 1<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	watched = changesAt(t)
	mount("", data, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	watched("a remount")
	if m := on(data); !m.ReadOnly {
		t.Errorf("remounted read-only: %+v", m)
	}
	mount("two", data, "tmpfs", 0, "")
	if m := on(data); m.Source != "two" || m.ReadOnly {
		t.Errorf("stacked: %+v", m)
	}
	if err := os.Mkdir(filepath.Join(data, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	mount(filepath.Join(data, "sub"), bind, "", unix.MS_BIND, "")
	defer func() { _ = unix.Unmount(bind, unix.MNT_DETACH) }()
	m := on(bind)
	for device, want := range map[string]bool{filepath.Join(data, "sub"): true, data: false} {
		if got, err := m.From(t.Context(), device); err != nil || got != want {
			t.Errorf("%+v is of %s: %v, %v", m, device, got, err)
		}
	}
	watched = changesAt(t)
	for range 2 {
		if err := unix.Unmount(data, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	watched("an unmount")
	if m := on(data); m != before {
		t.Errorf("unmounted: %+v, want %+v", m, before)
	}

	image := filepath.Join(base, "image")
	if out, err := exec.Command("sh", "-c", `truncate -s 4M "$1" && mkfs.ext4 -q -L "my label" "$1" && mount -o loop "$1" "$2"`, "sh", image, loop).CombinedOutput(); err != nil {
		t.Skipf("SKIP: needs mkfs.ext4 and loop devices: %v: %s", err, out)
	}
	defer func() {
		if err := unix.Unmount(loop, 0); err != nil { // frees the loop device too
			t.Error(err)
		}
	}()
	m = on(loop)
	link := filepath.Join(base, "by-label")
	if err := errors.Join(os.Symlink(m.Source, link), os.WriteFile(filepath.Join(base, "other"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]bool{image: true, m.Source: true, link: true, filepath.Join(base, "other"): false, before.Source: false} {
		if got, err := m.From(t.Context(), device); err != nil || got != want {
			t.Errorf("%v is of %s: %v, %v", m, device, got, err)
		}
	}
	if m.FSType != "ext4" || m.Root {
		t.Errorf("%+v", m)
	}
}

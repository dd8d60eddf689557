package daemon

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/needs"
)

// TestLooksBesideEnding: servers of others that come and go while processes are looked at make nobody doubt.
// LOOKS=100000 looks that often.
func TestLooksBesideEnding(t *testing.T) {
	server := needs.Program(t, "mariadbd", "mariadb-server")
	needRoot(t)
	if os.Getenv("DAEMON_TEST_NAMESPACE") == "" { // few processes make a look quick
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=0")
		cmd.Env = append(os.Environ(), "DAEMON_TEST_NAMESPACE=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) {
			t.Skip("SKIP: needs leave to make namespaces")
		}
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "")); err != nil {
		t.Fatal(err)
	}
	looks := 1000
	if n, err := strconv.Atoi(os.Getenv("LOOKS")); err == nil {
		looks = n
	}

	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	servers := 0
	loop.Go(func() {
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, server, "--no-defaults", "--verbose", "--help")
			cmd.Dir = "/"
			_ = cmd.Run()
			servers++
		}
	})
	defer loop.Wait()
	defer cancel()

	id := Identity{Name: "MySQL server", Executables: []string{"mariadbd"}, Test: UsesDir(t.TempDir(), "datadir")}
	m := id.matcher()
	var doubts, wrong, met int
	for range looks {
		names, _ := readNames("/proc")
		if slices.ContainsFunc(names, func(name string) bool {
			exe, err := os.Readlink("/proc/" + name + "/exe")
			return err == nil && m.match(exe, "")
		}) {
			met++ // this look is one that tests something
		}
		found, err := id.FindAll(t.Context())
		if err != nil {
			if doubts++; doubts < 5 {
				t.Errorf("in doubt: %v", err)
			}
		}
		if len(found) > 0 {
			wrong++
			t.Errorf("found %v, which is another's", found)
		}
		for _, p := range found {
			p.Close()
		}
	}
	cancel()
	loop.Wait()
	t.Logf("%d looks, %d of them at a server, %d servers: %d doubts, %d wrong", looks, met, servers, doubts, wrong)
	if met < looks/4 || servers < 2 {
		t.Errorf("too few servers were met")
	}
	if doubts > 0 {
		t.Errorf("%d doubts", doubts)
	}
}

// TestStuckOnFrozenStorage: a server that does not come out of the kernel is told, be it another's.
func TestStuckOnFrozenStorage(t *testing.T) {
	needs.Installed(t, "e2fsprogs")
	for _, program := range []string{"mkfs.ext4", "fsfreeze"} {
		needs.Program(t, program, program)
	}
	if !inNamespace(t) {
		return
	}
	s := newSite(t)
	disk, dir := s.path("disk"), s.path("mounted")
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	run("mkdir", dir)
	run("truncate", "-s", "8M", disk)
	run("mkfs.ext4", "-q", disk)
	if out, err := exec.Command("mount", "-o", "loop", disk, dir).CombinedOutput(); err != nil {
		t.Skipf("SKIP: needs a loop device: %s", out)
	}
	t.Cleanup(func() { run("umount", dir) })
	run("fsfreeze", "-f", dir)
	p, err := Start(t.Context(), Command{Path: s.exe, Args: []string{"helper", "touch", filepath.Join(dir, "f")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the unmount
		run("fsfreeze", "-u", dir)
		if err := p.Wait(s.ctx); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	s.until("it is stuck", func() bool {
		st, err := p.Stat()
		return err == nil && st.State == 'D'
	})
	s.id.Test = UsesDir("/srv/elsewhere", "datadir")
	q, err := s.id.Find(s.ctx)
	var doubt *DoubtError
	if q != nil || !errors.As(err, &doubt) || !strings.Contains(err.Error(), "stuck in the kernel") {
		t.Errorf("got %v, %v", q, err)
	}
}

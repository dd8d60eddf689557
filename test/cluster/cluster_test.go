package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// timeout is for what takes seconds on an idle machine.
func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestThreeNodes takes one cluster through the life of a cluster; its parts build on each other.
func TestThreeNodes(t *testing.T) {
	overlay := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(overlay, "opt/tree"), 0o755))
	must(t, os.WriteFile(filepath.Join(overlay, "opt/tree/tool"), []byte("#!/bin/sh\necho tool\n"), 0o755))
	must(t, os.Symlink("tool", filepath.Join(overlay, "opt/tree/alias")))
	began := time.Now()
	c := New(t, Config{
		Overlay: []string{overlay},
		Files:   []File{{Path: "/etc/everywhere", Content: "all\n", Owner: "hacluster:haclient", Mode: 0o640}},
		PerNode: map[string][]File{"node2": {{Path: "/etc/only", Link: "everywhere"}}},
	})
	t.Logf("quorum, DC and three nodes online after %.1f s", time.Since(began).Seconds())
	n1, n2, n3 := c.Node("node1"), c.Node("node2"), c.Node("node3")

	t.Run("status", func(t *testing.T) {
		s, err := c.Status(timeout(t))
		must(t, err)
		if s.DC == "" || !s.Quorum || len(s.Nodes) != 3 {
			t.Errorf("%+v", s)
		}
		for _, n := range s.Nodes {
			if !n.Online || n.Unclean {
				t.Errorf("%+v", n)
			}
		}
	})
	t.Run("a frozen node is not waited for", func(t *testing.T) {
		ctx := timeout(t)
		n1.MustExec(ctx, t, "/bin/sh", "-c", "kill -STOP $(pidof pacemaker-based)")
		defer n1.MustExec(ctx, t, "/bin/sh", "-c", "kill -CONT $(pidof pacemaker-based)")
		c.Avoid("node1")
		_, err := c.Status(ctx)
		must(t, err)
		if c.answered == "node1" { // which of the others does is a matter of load
			t.Error("node1 has answered, though it was to be avoided")
		}
		c.Avoid()
		c.answered = "node1" // and is frozen now
		_, err = c.Status(ctx)
		must(t, err)
		if c.answered == "node1" {
			t.Error("node1 has answered, though it was frozen")
		}
		_, err = c.OnAny(ctx, "crm_node", "-q")
		must(t, err)
	})
	t.Run("nodes are hosts of their own", func(t *testing.T) {
		ctx := timeout(t)
		seen := map[string]string{}
		for _, kind := range []string{"net", "mnt", "pid", "ipc", "uts", "cgroup"} {
			space, err := os.Readlink("/proc/self/ns/" + kind)
			must(t, err)
			seen[space] = "the machine"
		}
		for _, n := range c.Nodes() {
			out := n.MustExec(ctx, t, "/bin/sh", "-c", "hostname; cat /proc/1/comm /etc/machine-id /sys/class/net/eth0/address; cd /proc/self/ns; readlink net mnt pid ipc uts cgroup")
			lines := strings.Fields(out)
			if len(lines) != 10 || lines[0] != n.Name || lines[1] != "systemd" {
				t.Fatalf("%s: %q", n.Name, out)
			}
			for _, l := range lines[2:] {
				if other, ok := seen[l]; ok {
					t.Errorf("%s and %s share %s", n.Name, other, l)
				}
				seen[l] = n.Name
			}
		}
	})
	t.Run("nothing failed at boot", func(t *testing.T) {
		ctx := timeout(t)
		must(t, n1.WaitBooted(ctx))
		if out := n1.MustExec(ctx, t, "systemctl", "list-units", "--failed", "--no-legend", "--plain"); out != "" {
			t.Errorf("failed units: %s", out)
		}
	})
	t.Run("files", func(t *testing.T) {
		ctx := timeout(t)
		if out := n3.MustExec(ctx, t, "stat", "-c", "%U:%G %a", "/etc/everywhere"); out != "hacluster:haclient 640\n" {
			t.Errorf("owner and mode: %q", out)
		}
		if out := n1.MustExec(ctx, t, "/opt/tree/alias"); out != "tool\n" {
			t.Errorf("overlay: %q", out)
		}
		if data, err := n2.ReadFile(ctx, "/etc/only"); err != nil || string(data) != "all\n" {
			t.Errorf("node2's own file: %q, %v", data, err)
		}
		if _, err := n1.ReadFile(ctx, "/etc/only"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("node2's file on node1: %v", err)
		}
		// An absolute link must lead to the node's file, not to the machine's.
		target := filepath.Join(t.TempDir(), "target")
		must(t, n1.WriteFile(ctx, target, []byte("node"), 0o600))
		n1.MustExec(ctx, t, "ln", "-s", target, "/etc/link")
		must(t, n1.WriteFile(ctx, "/etc/link", []byte("again"), 0o640))
		if out := n1.MustExec(ctx, t, "/bin/sh", "-c", "cat $0; stat -c %a $0", target); out != "again640\n" {
			t.Errorf("through the link: %q", out)
		}
		if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is on the machine: %v", err)
		}
	})
	t.Run("exec", func(t *testing.T) {
		ctx := timeout(t)
		res, err := n1.Shell(ctx, "echo out; echo err >&2; exit 7")
		var exit *ExitError
		if !errors.As(err, &exit) || res.Code != 7 || res.Stdout != "out\n" || res.Stderr != "err\n" {
			t.Errorf("%+v, %v", res, err)
		}
		if _, err := n1.Exec(ctx, "no-such-command"); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("no such command: %v", err)
		}
		res, err = n1.Run(ctx, Cmd{Argv: []string{"/bin/sh", "-c", "cat; echo $A"}, Stdin: strings.NewReader("in "), Env: []string{"A=b"}})
		if err != nil || res.Stdout != "in b\n" {
			t.Errorf("stdin and environment: %+v, %v", res, err)
		}
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if _, err := n1.Shell(short, "sleep 7654 & sleep 7654"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("killed by its context: %v", err)
		}
		must(t, poll(ctx, 10*time.Millisecond, func() error {
			if res, err := n1.Exec(ctx, "pgrep", "-f", "sleep 7654"); res.Code != 1 {
				return fmt.Errorf("it left %q, %v", res.Stdout, err)
			}
			return nil
		}))
	})
	t.Run("exec on a paused node", func(t *testing.T) {
		ctx := timeout(t)
		must(t, n3.Pause())
		defer n3.Resume()
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := n3.Exec(short, "true"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while it is paused: %v", err)
		}
		runtime.GC() // which waits for whoever is just making a process
		ran := make(chan error, 1)
		go func() {
			_, err := n3.Exec(ctx, "true")
			ran <- err
		}()
		must(t, n3.Resume())
		must(t, <-ran)
	})
	t.Run("signal from outside", func(t *testing.T) {
		ctx := timeout(t)
		n1.MustExec(ctx, t, "systemd-run", "--unit=victim", "sleep", "7655")
		inside, err := strconv.Atoi(strings.TrimSpace(n1.MustExec(ctx, t, "systemctl", "show", "-P", "MainPID", "victim")))
		must(t, err)
		pid, err := n1.HostPID(ctx, inside)
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		must(t, poll(ctx, 10*time.Millisecond, func() error {
			if out := n1.MustExec(ctx, t, "systemctl", "show", "-P", "Result", "victim"); out != "signal\n" {
				return fmt.Errorf("result %q", out)
			}
			return nil
		}))
		if _, err := n1.HostPID(ctx, inside); err == nil {
			t.Error("the dead process still has a process ID")
		}
	})

	// A floating address and a web server in a group: something a client can see.
	var at string
	t.Run("resources", func(t *testing.T) {
		ctx := timeout(t)
		for _, n := range c.Nodes() {
			must(t, n.WriteFile(ctx, "/run/systemd/system/web.service",
				[]byte("[Service]\nExecStart=/usr/bin/python3 -m http.server 80 --directory /etc\n"), 0o644))
			n.MustExec(ctx, t, "systemctl", "daemon-reload")
		}
		n1.MustExec(ctx, t, "pcs", "resource", "create", "ip", "ocf:heartbeat:IPaddr2", "ip=10.76.0.100", "--group", "g")
		n1.MustExec(ctx, t, "pcs", "resource", "create", "d", "ocf:pacemaker:Dummy", "--group", "g")
		var err error
		at, err = c.WaitRunning(ctx, "d")
		must(t, err)
		must(t, c.WaitIdle(ctx))
		if out, err := c.CIB(ctx, "//primitive[@id='d']"); err != nil || !strings.Contains(out, `type="Dummy"`) {
			t.Errorf("CIB: %q, %v", out, err)
		}
		c.Node(at).MustExec(ctx, t, "systemctl", "start", "web.service")
		if host := c.get(ctx, t, "10.76.0.100:80"); host != at {
			t.Errorf("the floating address answered with %q, not from %s", host, at)
		}
		if host := c.get(ctx, t, at+":80"); host != at {
			t.Errorf("%s answered with %q", at, host)
		}
		res, err := c.Client(ctx, Cmd{Argv: []string{"ping", "-c1", "-W2", "10.76.0.100"}})
		if err != nil {
			t.Errorf("ping from the rack: %v %s", err, res.Stdout)
		}
	})
	t.Run("power off", func(t *testing.T) {
		ctx := timeout(t)
		c.Node(at).MustExec(ctx, t, "/bin/sh", "-c", "echo disk >/var/lib/kept; echo memory >/run/lost")
		must(t, c.Node(at).PowerOff(ctx))
		must(t, c.Node(at).PowerOff(ctx)) // idempotent
		if on, err := c.Node(at).Alive(ctx); on || err != nil {
			t.Errorf("%s alive %v, %v", at, on, err)
		}
		if _, err := c.Node(at).Exec(ctx, "true"); !errors.Is(err, ErrOff) {
			t.Errorf("exec on a dead node: %v", err)
		}
		must(t, c.WaitStable(ctx))
		after, err := c.WaitRunning(ctx, "d")
		if err != nil || after == at {
			t.Fatalf("%s lost its power, d runs on %q: %v", at, after, err)
		}
		fencedOnce(t, c, at)
		// No one but the new node answers for the floating address.
		c.Node(after).MustExec(ctx, t, "systemctl", "start", "web.service")
		if host := c.get(ctx, t, "10.76.0.100:80"); host != after {
			t.Errorf("the floating address answered with %q, not from %s", host, after)
		}
	})
	t.Run("rejoin", func(t *testing.T) {
		ctx := timeout(t)
		must(t, c.Node(at).PowerOn(ctx))
		must(t, c.Node(at).PowerOn(ctx)) // idempotent
		must(t, c.WaitStable(ctx))
		if data, err := c.Node(at).ReadFile(ctx, "/var/lib/kept"); err != nil || string(data) != "disk\n" {
			t.Errorf("what was on disk: %q, %v", data, err)
		}
		if _, err := c.Node(at).ReadFile(ctx, "/run/lost"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was in memory: %v", err)
		}
	})
	t.Run("cut", func(t *testing.T) {
		ctx := timeout(t)
		before, err := c.Running(ctx, "d")
		must(t, err)
		if res, err := c.Node(before).Exec(ctx, "fence_rack", "-o", "status", "-n", before); err != nil {
			t.Errorf("status asked of the BMC: %+v, %v", res, err)
		}
		must(t, c.Node(before).Cut(ctx))
		if res, err := c.Node(before).Exec(ctx, "timeout", "0.5", "fence_rack", "-o", "status", "-n", "node1"); err == nil {
			t.Errorf("a cut node reaches the BMC: %+v", res)
		}
		must(t, c.WaitStable(ctx))
		after, err := c.WaitRunning(ctx, "d")
		if err != nil || after == before {
			t.Fatalf("%s was cut, d runs on %q: %v", before, after, err)
		}
		fencedOnce(t, c, at, before)
		must(t, c.Node(before).PowerOn(ctx))
		if res, err := c.Client(ctx, Cmd{Argv: []string{"ping", "-c1", "-W1", c.Node(before).Addr}}); err == nil {
			t.Errorf("the cable came back with the power: %s", res.Stdout)
		}
		must(t, c.Node(before).Heal(ctx))
		must(t, c.WaitStable(ctx))
	})
	t.Run("reboot and poweroff from inside", func(t *testing.T) {
		ctx := timeout(t)
		boot := func() string {
			data, err := n2.ReadFile(ctx, "/run/booted")
			if err != nil {
				return err.Error()
			}
			return string(data)
		}
		must(t, n2.WriteFile(ctx, "/run/booted", []byte("before"), 0o644))
		n2.Exec(ctx, "reboot", "-f") // how that ends depends on when the node dies under it
		must(t, poll(ctx, 50*time.Millisecond, func() error {
			if on, err := n2.Alive(ctx); !on || err != nil || boot() == "before" {
				return fmt.Errorf("on %v, %v, /run/booted: %s", on, err, boot())
			}
			return nil
		}))
		must(t, n2.WaitBooted(ctx))
		n2.Exec(ctx, "poweroff", "-f")
		must(t, poll(ctx, 50*time.Millisecond, func() error {
			if on, err := n2.Alive(ctx); on || err != nil {
				return fmt.Errorf("on %v, %v", on, err)
			}
			return nil
		}))
	})
	t.Run("logs", func(t *testing.T) {
		dir := t.TempDir()
		must(t, c.Logs(timeout(t), dir))
		for name, want := range map[string]string{
			"node1/pacemaker.log": "pacemaker-controld", "node1/corosync.log": "QUORUM", "node2/pacemaker.log": "pacemaker-controld",
			"node3/journal": "Pacemaker", "node2/journal": "systemd", "supervisor.log": "node is off",
		} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q in %d bytes, %v", name, want, len(text), err)
			}
		}
	})
}

// get asks the web server at addr, through Dial, for the host name of the node that serves it.
func (c *Cluster) get(ctx context.Context, t *testing.T, addr string) string {
	t.Helper()
	var text string
	err := poll(ctx, 50*time.Millisecond, func() error { // the server may be starting
		conn, err := c.Dial(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /hostname HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		out, err := io.ReadAll(conn)
		_, text, _ = strings.Cut(string(out), "\r\n\r\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// fencedOnce checks that these nodes were fenced, in this order, and no other.
func fencedOnce(t *testing.T, c *Cluster, nodes ...string) {
	t.Helper()
	events, err := c.Events(timeout(t))
	must(t, err)
	var got []string
	for _, e := range events {
		if e.Error != "" || (e.Action != "off" && e.Action != "reboot") {
			t.Errorf("BMC: %+v", e)
		}
		got = append(got, e.Node)
	}
	if !slices.Equal(got, nodes) {
		t.Errorf("fenced %v, want %v", got, nodes)
	}
}

func TestFenceReturns(t *testing.T) {
	c := New(t, Config{Nodes: 2, FenceReturns: true})
	ctx := timeout(t)
	must(t, c.Node("node1").PowerOff(ctx))
	// Fenced with the action reboot, node1 boots and joins without anybody's doing.
	must(t, poll(ctx, 50*time.Millisecond, func() error {
		if on, err := c.Node("node1").Alive(ctx); !on {
			return fmt.Errorf("node1 is off, %v", err)
		}
		return nil
	}))
	must(t, c.WaitStable(ctx))
	s, err := c.Status(ctx)
	must(t, err)
	if !s.Node("node1").Online || !s.Node("node2").Online {
		t.Errorf("%+v", s.Nodes)
	}
}

func TestSharedDisk(t *testing.T) {
	c := New(t, Config{Nodes: 2})
	ctx := timeout(t)
	n1, n2 := c.Node("node1"), c.Node("node2")
	dev, err := c.Disk(ctx, 64<<20)
	must(t, err)
	on := func(want ...string) {
		t.Helper()
		if at, err := c.MountedOn(ctx, dev); err != nil || !reflect.DeepEqual(at, want) {
			t.Errorf("mounted on %v, want %v; %v", at, want, err)
		}
	}
	on()
	n1.MustExec(ctx, t, "pcs", "resource", "create", "fs", "ocf:heartbeat:Filesystem", "device="+dev, "directory=/srv/shared", "fstype=ext4")
	at, err := c.WaitRunning(ctx, "fs")
	must(t, err)
	on(at)
	must(t, c.Node(at).WriteFile(ctx, "/srv/shared/file", []byte("kept"), 0o644))
	must(t, c.Node(at).PowerOff(ctx))
	must(t, c.WaitStable(ctx))
	after, err := c.WaitRunning(ctx, "fs")
	must(t, err)
	on(after)
	if data, err := c.Node(after).ReadFile(ctx, "/srv/shared/file"); err != nil || string(data) != "kept" {
		t.Errorf("on the other node: %q, %v", data, err)
	}
	// A node that boots finds the disk, and the check sees the disaster.
	must(t, c.Node(at).PowerOn(ctx))
	c.Node(at).MustExec(ctx, t, "mount", dev, "/mnt")
	on(n1.Name, n2.Name)
}

// A power cut ends who waits for a file system that is frozen, also where that is unmounted by now.
func TestFrozenDisk(t *testing.T) {
	c := New(t, Config{Nodes: 1})
	ctx := timeout(t)
	n := c.Node("node1")
	dev, err := c.Disk(ctx, 64<<20)
	must(t, err)
	n.MustExec(ctx, t, "sh", "-c", "set -e; mkfs.ext4 -q "+dev+"; mount "+dev+" /mnt; touch /mnt/file; fsfreeze -f /mnt; (echo written >>/mnt/file) >/dev/null 2>&1 & while ! grep -q '(sh) D ' /proc/$!/stat; do :; done; umount -l /mnt")
	must(t, n.PowerOff(ctx))
	must(t, n.PowerOn(ctx))
	if said := n.MustExec(ctx, t, "sh", "-c", "mount "+dev+" /mnt; cat /mnt/file"); strings.TrimSpace(said) != "written" && said != "" {
		t.Errorf("the file holds %q", said)
	}
}

func TestTwoAtOnce(t *testing.T) {
	a, b := New(t, Config{Nodes: 2}), New(t, Config{Nodes: 1})
	ctx := timeout(t)
	if a.Name() == b.Name() {
		t.Errorf("both are named %s", a.Name())
	}
	names, err := List()
	must(t, err)
	if !slices.Contains(names, a.Name()) || !slices.Contains(names, b.Name()) {
		t.Errorf("%v does not list %s and %s", names, a.Name(), b.Name())
	}
	if c, err := Start(ctx, Config{Name: a.Name(), Nodes: 1}); err == nil {
		t.Errorf("two clusters of one name: %v", c.Close())
	}
	must(t, a.Node("node1").PowerOff(ctx))
	must(t, a.WaitStable(ctx))
	must(t, b.WaitStable(ctx))
	if on, err := b.Node("node1").Alive(ctx); !on || err != nil {
		t.Errorf("the other cluster's node1: on %v, %v", on, err)
	}
	// By name, as another program would.
	again, err := Open(ctx, b.Name())
	must(t, err)
	if out := again.Node("node1").MustExec(ctx, t, "corosync-cmapctl", "-g", "totem.cluster_name"); !strings.Contains(out, b.Name()) {
		t.Errorf("opened %s, got %s", b.Name(), out)
	}
	if _, err := Open(ctx, "no-such-cluster"); err == nil {
		t.Error("opened a cluster that is not there")
	}
}

// TestBare builds the cluster as the documents say.
func TestBare(t *testing.T) {
	c := New(t, Config{Nodes: 2, Bare: true})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n := c.Node("node1")
	for _, file := range []string{"/etc/corosync/corosync.conf", "/var/lib/pacemaker/cib/cib.xml", "/usr/sbin/policy-rc.d"} {
		if _, err := n.ReadFile(ctx, file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, argv := range [][]string{
		{"pcs", "host", "auth", "node1", "node2", "-u", "hacluster", "-p", HaclusterPassword},
		{"pcs", "cluster", "setup", "openstack_mysql", "node1", "node2"},
		{"pcs", "cluster", "start", "--all", "--wait=120"},
		{"pcs", "stonith", "create", "fence", "fence_rack"},
	} {
		began := time.Now()
		n.MustExec(ctx, t, argv...)
		t.Logf("%.1f s: %s", time.Since(began).Seconds(), strings.Join(argv[:3], " "))
	}
	must(t, c.WaitStable(ctx))
	must(t, c.Node("node2").Cut(ctx))
	must(t, c.WaitStable(ctx))
	fencedOnce(t, c, "node2")
}

package sharedstorage

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const heartbeat = "/usr/lib/ocf/resource.d/heartbeat/Filesystem"

// TestBesideFilesystem is what ocf:heartbeat:Filesystem and this agent say of the same, and whether the kernel still has the file system
// open after a stop.
func TestBesideFilesystem(t *testing.T) {
	box.Need(t)
	needs.File(t, heartbeat, "resource-agents")
	was := dir
	dir = "/run/srv/data" // Filesystem does not find who uses one with a blank in its name
	defer func() { dir = was }()
	const open = "0 open"
	for _, row := range []struct {
		name         string
		do           func(h *host, call func(action string)) // after it the action
		action       string
		theirs, ours string
	}{
		{"stopped", nothing, ocf.Monitor, "7", "7"},
		{"stopped", nothing, ocf.Stop, "0", "0"},
		{"stopped", nothing, ocf.Start, "0", "0"},
		{"started", started, ocf.Start, "0", "0"},
		{"started", started, ocf.Monitor, "0", "0"},
		{"started", started, ocf.Stop, "0", "0"},
		{"no such device", with("device", "/dev/of-nobody"), ocf.Start, "5", "1"},
		{"no such directory", with("directory", "/run/of-nobody"), ocf.Start, "0", "0"},
		{"another type", with("fstype", "xfs"), ocf.Start, "1", "1"},
		{"an option that nobody knows", with("options", "of-nobody"), ocf.Start, "1", "1"},
		{"a clone", func(h *host, _ func(string)) { h.Agent = h.With("CRM_meta_clone", "0", "CRM_meta_clone_max", "2") }, ocf.Start, "6", "6"},
		{"a mount below", sh("mkdir -p '%[1]s/a'; mount -t tmpfs none '%[1]s/a'"), ocf.Start, "6", "1"},
		{"other storage on the directory", sh("mount -t tmpfs none '%s'"), ocf.Monitor, "0", "7"},
		{"other storage on the directory", sh("mount -t tmpfs none '%s'"), ocf.Start, "0", "1"},
		{"other storage over it", after("mount -t tmpfs none '%s'"), ocf.Monitor, "0", "1"},
		{"mounted elsewhere", elsewhere, ocf.Monitor, "7", "1"},
		{"mounted elsewhere", elsewhere, ocf.Start, "0", "1"},
		{"mounted elsewhere", elsewhere, ocf.Stop, open, "0"},
		{"remounted read-only", after("mount -o remount,ro '%s'"), ocf.Monitor, "0", "1"},
		{"shut down after an error", func(h *host, call func(string)) { call(ocf.Start); shutdown(h.T) }, ocf.Monitor, "0", "1"},
		{"ext4 has recorded an error", func(h *host, call func(string)) {
			call(ocf.Start)
			box.Sh(h.T, "echo of-the-test >/sys/fs/ext4/%s/trigger_fs_error", strings.TrimPrefix(h.device, "/dev/"))
		}, ocf.Monitor, "0", "190"},
		{"lazily unmounted, a file is open", lazily, ocf.Monitor, "7", "1"},
		{"lazily unmounted, a file is open", lazily, ocf.Start, "0", "1"},
		{"lazily unmounted, a file is open", lazily, ocf.Stop, open, "0"},
		{"in another mount namespace", func(h *host, call func(string)) { call(ocf.Start); h.namespace() }, ocf.Stop, open, "0"},
		{"a working directory in it", busy("true"), ocf.Stop, "0", "0"},
		{"a process that ignores SIGTERM", busy("trap '' TERM"), ocf.Stop, "0", "0"},
		{"a frozen process", func(h *host, call func(string)) {
			call(ocf.Start)
			box.Signal(h.T, syscall.SIGSTOP, h.in("true").Process.Pid)
		}, ocf.Stop, "0", "0"},
		{"a bind mount of it elsewhere", after("mkdir -p /run/bound; mount --bind '%s' /run/bound"), ocf.Stop, "0", "0"},
	} {
		for _, side := range []struct{ name, path, want string }{{"Filesystem", heartbeat, row.theirs}, {"shared-storage", "", row.ours}} {
			t.Run(row.name+", "+row.action+", "+side.name, func(t *testing.T) {
				h := newHost(t)
				if side.path == "" {
					side.path = h.Path
				}
				run := ocftest.Program(side.path)
				call := func(action string) ocftest.Result {
					c := ocftest.Call{Action: action, Params: h.Params, Timeout: 40 * time.Second, Env: []string{"OCF_ROOT=/usr/lib/ocf", "OCF_CHECK_LEVEL=0"}}
					if action == ocf.Start && h.Params["device"] != h.device {
						c.Timeout = 3 * time.Second // for a device that never comes
					}
					return run(context.Background(), c)
				}
				row.do(h, func(action string) { _ = call(action) })
				r := call(row.action)
				got := fmt.Sprint(int(r.Code))
				if row.action == ocf.Stop && h.open() {
					got += " open"
				}
				if got == "1 open" { // as it should be
					got = "1"
				}
				t.Logf("| %s | %s | %s | %s | %v", row.name, row.action, side.name, got, r.Elapsed.Round(time.Millisecond))
				if got != side.want {
					t.Errorf("%s, and %s was expected: %s", got, side.want, r)
				}
				h.clear()
			})
		}
	}
}

func nothing(*host, func(string))        {}
func started(_ *host, call func(string)) { call(ocf.Start) }
func with(name, value string) func(*host, func(string)) {
	return func(h *host, _ func(string)) { h.Agent = h.With(name, value) }
}

func sh(script string) func(*host, func(string)) {
	return func(h *host, _ func(string)) { box.Sh(h.T, script, dir) }
}

func after(script string) func(*host, func(string)) {
	return func(h *host, call func(string)) { call(ocf.Start); box.Sh(h.T, script, dir) }
}

func busy(script string) func(*host, func(string)) {
	return func(h *host, call func(string)) { call(ocf.Start); h.in(script) }
}

func elsewhere(h *host, _ func(string)) {
	box.Sh(h.T, "mkdir -p /run/other; mount %s /run/other", h.device)
}

func lazily(h *host, call func(string)) {
	call(ocf.Start)
	h.in("exec 3>file")
	box.Sh(h.T, "umount -l '%s'", dir)
}

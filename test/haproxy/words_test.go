package haproxy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// journal runs a journald of the box's own.
func (h *host) journal() {
	h.T.Helper()
	const daemon = "/lib/systemd/systemd-journald"
	needs.File(h.T, daemon, "systemd")
	box.Sh(h.T, "mkdir -p /run/systemd/journal")
	j := box.Background(h.T, daemon)
	box.Until(h.T, "journald takes streams", func() bool {
		_, err := os.Stat("/run/systemd/journal/stdout")
		return err == nil
	})
	h.T.Cleanup(func() { _ = j.Process.Kill(); _ = j.Wait(); box.Sh(h.T, "rm -rf /run/systemd /run/log/journal") })
}

// TestLastWords: where there is a journal, what HAProxy says long after its start is kept, and told.
func TestLastWords(t *testing.T) {
	h := newHost(t)
	h.journal()
	h.servers()
	h.write("/run/die.lua", "core.register_task(function() if io.open('/run/die') then os.execute('kill -9 $PPID') end end)\n")
	dies := with(t, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "    lua-load /run/die.lua\n    insecure-fork-wanted\n    log stdout format raw local0\n    log stderr format raw local0\n")
	h.write(config, dies)
	h.Start()
	h.Monitor(0, ocf.OK)
	_, w := h.family()

	// A journal that takes nothing does not make HAProxy wait.
	flags, err := strconv.ParseUint(strings.TrimSpace(box.Sh(t, "sed -n 's/^flags://p' /proc/%d/fdinfo/2", w)), 8, 64)
	if err != nil || flags&syscall.O_NONBLOCK == 0 {
		t.Errorf("the worker's standard error has the flags %o: %v", flags, err)
	}

	box.Signal(t, syscall.SIGKILL, w)
	h.Gone()
	h.Monitor(0, ocf.NotRunning, "HAProxy died: ", fmt.Sprintf("worker (%d)", w), "137")
	h.Stop()
	h.Monitor(0, ocf.NotRunning)

	// A reload in place whose new worker dies.
	h.Start()
	m, _ := h.family()
	h.write("/run/die", "")
	r := h.Run(ocftest.Call{Action: ocf.ReloadAgent, Timeout: 30 * time.Second})
	box.Until(t, "the master is gone", func() bool { return syscall.Kill(m, 0) != nil })
	t.Logf("reload: %s", r)
	if r.Code != ocf.Generic || !strings.Contains(r.Reason, "137") {
		t.Errorf("a reload whose worker dies: %s", r)
	}
	h.Monitor(0, ocf.NotRunning, "HAProxy died: ", "137")

	// A start whose worker dies.
	h.Stop()
	r = h.Run(ocftest.Call{Action: ocf.Start, Timeout: 30 * time.Second})
	t.Logf("start: %s", r)
	box.Sh(t, "rm /run/die")
	h.Gone()
	h.Stop()

	// One that an older agent started, detached, is known; a reload has it speak.
	h.write(config, text)
	box.Sh(t, "mkdir -p /run/haproxy; haproxy -W -D -S %s,mode,600 -p %s -f %s -f %s", master, pidFile, config, func() string {
		h.write(master+".cfg", "global\n    stats socket "+master+".stats mode 600 level admin expose-fd listeners\n")
		return master + ".cfg"
	}())
	h.Monitor(0, ocf.OK)
	old, _ := h.family()
	stop, failures := h.load(url, 4)
	h.Want(ocf.ReloadAgent, ocf.OK)
	if n := stop(); n == 0 || len(failures()) > 0 {
		t.Errorf("%d requests, failed: %v", n, failures())
	}
	box.Until(t, "the former one is gone", func() bool { return len(h.Pids()) == 2 })
	if now, _ := h.family(); now == old {
		t.Errorf("pid %d still has no voice", now)
	}
	h.Monitor(0, ocf.OK)
	h.Stop()
}

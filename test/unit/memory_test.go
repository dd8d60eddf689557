package unit

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/needs"
)

// TestOutOfMemory has the kernel kill a service, by its unit and without: it leaves no word, and who asks is to hear why all the
// same. The limit is that of a group of version 1, into which a process can be put without being taken out of its unit.
func TestOutOfMemory(t *testing.T) {
	needs.Turn(t, 1, 2)
	needs.Program(t, "memcached", "memcached")
	n := boot(t)
	by := on(t, n, "memcached", "memcached.service", nil)
	if r, err := n.Shell(t.Context(), "mkdir -p /run/memory && mount -t cgroup -o memory memory /run/memory"); err != nil {
		t.Skip("SKIP: needs the memory controller of cgroup 1: " + r.Stderr)
	}
	group := fmt.Sprintf("oom-%d", os.Getpid())
	by.sh("mkdir /run/memory/%[1]s; echo 4096 >/run/memory/%[1]s/memory.limit_in_bytes", group)
	t.Cleanup(func() { by.sh("rmdir /run/memory/%s", group) })
	// Its name is what the kernel calls it.
	if err := n.WriteFile(t.Context(), "/opt/hungry/memcached", []byte("#!/bin/sh\necho $$ >/run/memory/"+group+"/cgroup.procs\nwhile :; do a=$a$a.; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cause := []string{"the kernel killed memcached (pid ", "for lack of memory (limit of " + group + ")"}
	direct := *by
	direct.params = ocftest.Params{}
	for name, h := range map[string]*host{"by its unit": by, "directly": &direct} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.TB = t
			h.want(ocf.Start, ocf.OK)
			pid := h.sh("pgrep -o -x memcached")
			h.sh("echo %s >/run/memory/%s/cgroup.procs", pid, group)
			var dying ocftest.Result
			h.until("the kernel has killed it as it is asked", func() bool { // whatever it takes memory for
				dying = h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: h.params})
				return dying.Code != ocf.OK || h.sh("timeout 1 bash -c 'for i in 1 2 3 4; do exec 3<>/dev/tcp/127.0.0.1/11211; done' 2>/dev/null; kill -0 %s 2>/dev/null || echo gone", pid) == "gone"
			})
			for _, words := range cause {
				if dying.Code != ocf.OK && !strings.Contains(dying.Stderr, words) {
					t.Errorf("of one that dies as it is asked, without %q: %s", words, dying)
				}
			}
			h.until("nothing of it is left", func() bool {
				return h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: h.params}).Code == ocf.NotRunning
			})
			h.watch(0, ocf.NotRunning, append(cause, "no memcached runs")...)
			h.want(ocf.Stop, ocf.OK)
			h.want(ocf.Start, ocf.OK)
			h.want(ocf.Stop, ocf.OK)
			if r := h.want(ocf.Monitor, ocf.NotRunning, "no memcached runs"); strings.Contains(r.Stderr, "kernel") {
				t.Errorf("after a clean stop it tells of a former one: %s", r)
			}
			if h.params["unit"] != "" {
				h.dropIn("[Service]\nExecStart=\nExecStart=/opt/hungry/memcached\nUser=root\nNoExecPaths=\nExecPaths=\nProtectControlGroups=no\nMemoryDenyWriteExecute=no\n")
			} else {
				h.params = h.params.With("binary", "/opt/hungry/memcached").With("user", "root")
			}
			r := h.want(ocf.Start, ocf.Generic, cause...)
			if got := strings.Count(r.Stderr, "started once more"); got != 1 {
				t.Errorf("it was started again %d times: %s", got, r)
			}
			h.want(ocf.Stop, ocf.OK)
			probe := h.run(t.Context(), ocftest.Call{Action: ocf.Monitor, Params: h.params, Env: []string{"HA_RSCTMP=/run/never-began"}})
			if probe.Code != ocf.NotRunning || strings.Contains(probe.Stderr, "kernel") {
				t.Errorf("a probe where it never began tells of another's end: %s", probe)
			}
		})
	}
	t.Run("HAProxy's worker", func(t *testing.T) {
		needs.Program(t, "haproxy", "haproxy")
		by.write("/etc/haproxy/haproxy.cfg", strings.ReplaceAll(frontends, "${VIP}", "127.0.0.1"))
		for _, unit := range []string{"", "haproxy.service"} { // its master ends with it
			h := on(t, n, "haproxy", unit, nil)
			if unit == "" {
				h.params = nil
			}
			h.want(ocf.Start, ocf.OK)
			h.sh("echo $(pgrep -n -x haproxy) >/run/memory/%s/cgroup.procs", group)
			h.until("the kernel has killed it", func() bool {
				return h.sh("curl -s --max-time 1 http://127.0.0.1:8080/ >/dev/null || true; pgrep -x haproxy || true") == ""
			})
			h.watch(0, ocf.NotRunning, "the kernel killed haproxy (pid ", "for lack of memory (limit of "+group+")", "no HAProxy runs")
			h.want(ocf.Stop, ocf.OK)
		}
	})
}

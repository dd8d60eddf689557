package unit

import (
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/needs"
)

// TestSELinux is what the agents do where they find SELinux: its files are laid over /sys, and a restorecon notes what it is asked
// for. What the policy then allows is test/policy's to say.
func TestSELinux(t *testing.T) {
	needs.Program(t, "haproxy", "haproxy")
	needs.Program(t, "redis-server", "redis-server")
	n := boot(t)
	h := on(t, n, "haproxy", "haproxy.service", nil)
	h.sh(`mkdir /run/fs && mount -t tmpfs tmpfs /run/fs && mkdir /run/fs/cgroup /run/fs/selinux
		mount --rbind /sys/fs/cgroup /run/fs/cgroup && mount --rbind /run/fs /sys/fs`)
	if err := n.WriteFile(t.Context(), "/usr/sbin/restorecon", []byte("#!/bin/sh\necho \"$*\" >>/run/asked\n"+
		"[ \"$1\" != -n ] || echo Would relabel $3 from system_u:object_r:bin_t:s0 to system_u:object_r:its_own_exec_t:s0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	asked := func() string { return h.sh("cat /run/asked 2>/dev/null; rm -f /run/asked") }
	h.write("/etc/haproxy/haproxy.cfg", strings.NewReplacer("/run/haproxy.stats", "/run/made/by/haproxy/stats", "${VIP}", "127.0.0.1").Replace(frontends))
	direct := map[string]ocftest.Params{"haproxy": {}, "redis": {"socket": "/run/made/redis/redis.sock"}}
	for _, c := range []struct {
		enforce, how string // HAProxy's option: it may write to no stream that the agent has opened
		labels       bool
	}{{"", "-db", false}, {"0", "-db", true}, {"1", "-D", true}} {
		t.Run("enforce "+c.enforce, func(t *testing.T) {
			h.sh("rm -rf /run/made /run/fs/selinux/enforce")
			if c.enforce != "" {
				h.write("/sys/fs/selinux/enforce", c.enforce)
			}
			for agent, made := range map[string]string{"haproxy": "/run/made/by/haproxy", "redis": "/run/made/redis"} {
				h := *h
				h.TB, h.params = t, direct[agent]
				h.run = on(t, n, agent, "", nil).run
				asked()
				h.want(ocf.Start, ocf.OK)
				if got := asked(); (got == made) != c.labels || !c.labels && got != "" {
					t.Errorf("%s: of what it made, it asked restorecon for %q", agent, got)
				}
				if got := h.sh("tr '\\0' ' ' </proc/$(pgrep -o -x haproxy)/cmdline || true"); agent == "haproxy" && !strings.Contains(got, " "+c.how+" ") {
					t.Errorf("HAProxy runs as %q, and not with %s", got, c.how)
				}
				h.want(ocf.Stop, ocf.OK)
				for _, params := range []ocftest.Params{direct[agent], {"unit": map[string]string{"haproxy": "haproxy.service", "redis": "redis-server.service"}[agent]}} {
					r := h.run.Want(t, ocftest.Call{Action: ocf.ValidateAll, Params: params, Level: 10, Timeout: time.Minute}, ocf.OK)
					if got := strings.Contains(r.Stderr, "is labelled bin_t, not its_own_exec_t"); got != (c.enforce == "1") {
						t.Errorf("%s %v: validate-all says %s", agent, params, r)
					}
				}
			}
		})
	}
}

package unit

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
)

// BenchmarkUnit is what running a service by its unit costs: redis, whose unit tells systemd when it serves. It is not in
// test/bench, whose processes have a namespace of their own and take the clusters of others for dead.
func BenchmarkUnit(b *testing.B) {
	needs.Program(b, "redis-server", "redis-server")
	n := boot(b)
	agent := func(action string, env ...string) cluster.Cmd {
		env = append(env, "OCF_ROOT=/usr/lib/ocf", "OCF_RA_VERSION_MAJOR=1", "OCF_RA_VERSION_MINOR=1", "OCF_RESOURCE_INSTANCE=redis",
			"OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_timeout=60000", "HA_RSCTMP=/run/resource-agents")
		return cluster.Cmd{Argv: []string{"/usr/lib/ocf/resource.d/openstack/redis", action}, Env: env}
	}
	const unit = "OCF_RESKEY_unit=redis-server.service"
	systemctl := func(verb string) cluster.Cmd { return cluster.Cmd{Argv: []string{"systemctl", verb, "redis-server"}} }
	timed := func(c cluster.Cmd) time.Duration {
		b.Helper()
		began := time.Now()
		if r, err := n.Run(context.Background(), c); err != nil {
			b.Fatalf("%v: %v: %s", c.Argv, err, r.Stderr)
		}
		return time.Since(began)
	}
	var plain, ours, direct, by []time.Duration
	timed(agent("start", unit)) // makes the unit the cluster's, once
	timed(systemctl("stop"))
	for b.Loop() {
		plain = append(plain, timed(systemctl("start")))
		timed(systemctl("stop"))
		ours = append(ours, timed(agent("start", unit)))
		for range 5 {
			direct = append(direct, timed(agent("monitor")))
			by = append(by, timed(agent("monitor", unit)))
		}
		timed(systemctl("stop"))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op") // all together: says nothing
	b.ReportMetric(median(ours)-median(plain), "ms-more")
	b.ReportMetric(median(by), "ms-monitor")
	b.Logf("systemctl start %.1f ms, a start by the unit %.1f ms (aim: at most 100 ms more)", median(plain), median(ours))
	b.Logf("level 0 without a unit %.2f ms, with it %.2f ms (aim: no more)", median(direct), median(by))
}

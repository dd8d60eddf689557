package bench

import (
	"slices"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// BenchmarkFloatingIPAgainstIPaddr2 has both agents start, look and stop in turn, with the announcements of their own
// defaults: IPaddr2 waits for those of IPv6. Duplicate address detection takes the kernel its 1 or 2 s for both; IPaddr2
// looks every second whether it has ended. It is left out here.
func BenchmarkFloatingIPAgainstIPaddr2(b *testing.B) {
	box.Need(b)
	const script = "/usr/lib/ocf/resource.d/heartbeat/IPaddr2"
	needs.File(b, script, "resource-agents")
	box.Sh(b, `ip link add eth0 type veth peer name lan0
		ip addr add 192.0.2.1/24 brd + dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up; ip link set lan0 up`)
	b.Cleanup(func() { box.Sh(b, "ip link del eth0") })
	box.Until(b, "eth0 is ready", func() bool { return box.Sh(b, "ip -6 addr show tentative") == "" })
	for name, ip := range map[string]string{"IPv4": "192.0.2.10", "IPv6": "2001:db8::10"} {
		var ours, theirs []*contender
		for _, action := range []string{ocf.Start, ocf.Monitor, ocf.Stop} {
			c := agent(b, "floating-ip", action, "OCF_RESKEY_ip="+ip, "OCF_RESKEY_nodad=true")
			ours = append(ours, c)
			theirs = append(theirs, &contender{name: "ocf:heartbeat:IPaddr2 " + action, argv: []string{script, action}, env: c.env})
		}
		for i := range ours {
			b.Run(name+" "+ours[i].name, func(b *testing.B) {
				for _, c := range slices.Concat(ours, theirs) {
					c.wall, c.cpu = nil, nil
				}
				for b.Loop() {
					for _, c := range slices.Concat(ours, theirs) {
						c.run(b)
					}
				}
				wall, _ := report(b, ours[i], theirs[i])
				target(b, "at most 0.15 of the time of theirs", wall, 1/0.15)
				b.Logf("processes made: %d, and %d", len(box.Forks(b, ours[1].env, int(ocf.NotRunning), ours[1].argv...)), len(box.Forks(b, theirs[1].env, int(ocf.NotRunning), theirs[1].argv...)))
			})
		}
	}
}

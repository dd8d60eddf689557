package floatingip

import (
	"context"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const real = "/usr/lib/ocf/resource.d/heartbeat/IPaddr2"

// oracle is a case: what is on the host beside its own addresses, and the parameters. differs says why the real agent
// makes something else of it.
type oracle struct {
	name, setup string
	params      ocftest.Params
	differs     string
}

func p(pairs ...string) ocftest.Params { return ocftest.Params{"arp_count": "1"}.With(pairs...) }

// TestAsIPaddr2 has IPaddr2 itself start each case, and wants of ours the same address at the same interface, with the
// same prefix, broadcast address, label and flags; or a failure where it fails.
func TestAsIPaddr2(t *testing.T) {
	needs.File(t, real, "resource-agents")
	h := newHost(t)
	box.Sh(t, "ip link add eth1 type veth peer name lan1 netns lan; ip -n lan link set lan1 up; ip link set eth1 up")
	eth1Ready := func() {
		box.Until(t, "eth1 is ready", func() bool {
			return box.Sh(t, "ip -6 addr show dev eth1 tentative; ip -6 addr show dev eth1 scope link | grep -q fe80 || echo not yet") == ""
		})
	}
	t.Cleanup(func() { box.Sh(t, "ip link del eth1") })
	for _, c := range []oracle{
		{"nothing but the address", "", p("ip", "192.0.2.10"), ""},
		{"one that is another's beginning", "ip addr add 192.0.2.100/24 dev eth1 brd 192.0.2.127 noprefixroute", p("ip", "192.0.2.10"), ""},
		{"prefix alone", "", p("ip", "192.0.2.10", "cidr_netmask", "32"), ""},
		{"prefix of a smaller network", "", p("ip", "192.0.2.10", "cidr_netmask", "26"), ""},
		{"prefix of a larger network than the route's", "", p("ip", "192.0.2.10", "cidr_netmask", "16"), ""},
		{"interface alone", "", p("ip", "192.0.2.10", "nic", "eth0"), ""},
		{"interface without such a network", "", p("ip", "192.0.2.10", "nic", "eth1"), ""},
		{"interface and prefix", "", p("ip", "192.0.2.10", "nic", "eth1", "cidr_netmask", "24"), ""},
		{"interface and prefix, of no network here", "", p("ip", "203.0.113.9", "nic", "eth0", "cidr_netmask", "28"), ""},
		{"no network here", "", p("ip", "203.0.113.9"), ""},
		{"netmask in dots", "", p("ip", "192.0.2.10", "cidr_netmask", "255.255.255.0"), ""},
		{"too long a prefix", "", p("ip", "192.0.2.10", "cidr_netmask", "33"), ""},
		{"prefix that is no number", "", p("ip", "192.0.2.10", "cidr_netmask", "x"), ""},
		{"no such interface", "", p("ip", "192.0.2.10", "nic", "eth7"), ""},
		{"broadcast +", "", p("ip", "192.0.2.10", "broadcast", "+"), ""},
		{"broadcast -", "", p("ip", "192.0.2.10", "broadcast", "-"), ""},
		{"broadcast +, without room", "", p("ip", "192.0.2.10", "broadcast", "+", "cidr_netmask", "31"), ""},
		{"broadcast address", "", p("ip", "192.0.2.10", "broadcast", "192.0.2.99"), ""},
		{"broadcast that is none", "", p("ip", "192.0.2.10", "broadcast", "all"), ""},
		{"own address without broadcast", "ip addr add 198.51.100.1/24 dev eth1", p("ip", "198.51.100.9"), ""},
		{"own address with a broadcast of its own", "ip addr add 198.51.100.1/24 brd 198.51.100.7 dev eth1", p("ip", "198.51.100.9"), ""},
		{"smaller network at the other interface", "ip addr add 198.51.100.1/24 dev eth0; ip addr add 198.51.100.65/26 brd + dev eth1", p("ip", "198.51.100.70"), ""},
		{"smaller network beside it", "ip addr add 198.51.100.1/24 dev eth0; ip addr add 198.51.100.65/26 brd + dev eth1", p("ip", "198.51.100.9"), ""},
		{"smaller network, and a prefix that excludes it", "ip addr add 198.51.100.1/24 dev eth0; ip addr add 198.51.100.65/26 brd + dev eth1", p("ip", "198.51.100.70", "cidr_netmask", "25"), ""},
		{"the same network at both", "ip addr add 198.51.100.1/24 brd + dev eth0; ip addr add 198.51.100.2/24 brd + dev eth1 metric 300", p("ip", "198.51.100.9"), ""},
		{"the same network at both, the other way round", "ip addr add 198.51.100.1/24 brd + dev eth0 metric 300; ip addr add 198.51.100.2/24 brd + dev eth1", p("ip", "198.51.100.9"), "it looks for the broadcast address in the fifth word of the address, where an address with a metric has that"},
		{"the same network at both, and the interface", "ip addr add 198.51.100.1/24 brd + dev eth0; ip addr add 198.51.100.2/24 dev eth1 metric 300", p("ip", "198.51.100.9", "nic", "eth0"), ""},
		{"route without an address", "ip route add 198.51.100.0/24 dev eth1", p("ip", "198.51.100.9"), ""},
		{"route of a routing daemon, with a source", "ip route add 198.51.100.0/24 dev eth1 proto static src 192.0.2.1", p("ip", "198.51.100.9"), ""},
		{"route set by hand, with a source", "ip route add 198.51.100.0/24 dev eth1 src 192.0.2.1", p("ip", "198.51.100.9"), "it looks for the source in the seventh word of the route, where it is of a route that says by which protocol it came"},
		{"route by a gateway", "ip route add 198.51.100.0/24 via 192.0.2.2", p("ip", "198.51.100.9"), ""},
		{"route to everywhere", "ip route add default dev eth1", p("ip", "198.51.100.9"), ""},
		{"route to everywhere, in halves", "ip route add 128.0.0.0/1 dev eth1", p("ip", "198.51.100.9"), ""},
		{"route to the address itself", "ip route add 198.51.100.9 dev eth1", p("ip", "198.51.100.9"), ""},
		{"route that is a wall", "ip route add unreachable 198.51.100.0/24", p("ip", "198.51.100.9"), ""},
		{"route in another table", "ip route add 198.51.100.0/24 dev eth1 table 7", p("ip", "198.51.100.9"), ""},
		{"the other end of a line", "ip addr add 198.51.100.1 peer 198.51.100.2/24 dev eth1", p("ip", "198.51.100.9"), ""},
		{"loopback", "", p("ip", "127.0.0.5"), ""},
		{"loopback, with the interface", "", p("ip", "127.3.0.5", "nic", "lo", "cidr_netmask", "32"), ""},
		{"label", "", p("ip", "192.0.2.10", "iflabel", "vip"), ""},
		{"label with the interface", "", p("ip", "192.0.2.10", "nic", "eth0:1"), ""},
		{"too long a label", "", p("ip", "192.0.2.10", "iflabel", "0123456789ab"), ""},
		{"no route by it", "", p("ip", "192.0.2.10", "noprefixroute", "true", "cidr_netmask", "25"), ""},
		{"interface that is off", "ip link set eth1 down", p("ip", "198.51.100.9", "nic", "eth1", "cidr_netmask", "24"), ""},
		{"no address", "", p("ip", "192.0.2"), ""},
		{"an address that was written otherwise", "", p("ip", "2001:DB8:0:0::10"), ""},
		{"IPv6", "", p("ip", ip6), ""},
		{"IPv6 with interface", "", p("ip", ip6, "nic", "eth0"), ""},
		{"IPv6 with prefix", "", p("ip", ip6, "cidr_netmask", "128"), ""},
		{"IPv6 with both, no network here", "", p("ip", "2001:db8:7::1", "nic", "eth1", "cidr_netmask", "64"), ""},
		{"IPv6, no network here", "", p("ip", "2001:db8:7::1"), ""},
		{"IPv6 route without an address", "ip -6 route add 2001:db8:7::/48 dev eth1", p("ip", "2001:db8:7::1"), "it has the kernel make a second route, and with the address remove either"},
		{"IPv6, the same network at both", "ip addr add 2001:db8::3/64 dev eth1 nodad", p("ip", ip6), ""},
		{"IPv6, smaller network at the other", "ip addr add 2001:db8::13/124 dev eth1 nodad", p("ip", "2001:db8::11"), ""},
		{"IPv6 without detection, not preferred", "", p("ip", ip6, "nodad", "true", "preferred_lft", "0"), ""},
		{"IPv6 without a route", "", p("ip", ip6, "noprefixroute", "true"), ""},
		{"IPv6 of one link", "", p("ip", "fe80::5", "nic", "eth0"), ""},
		{"IPv6 of one link, without interface", "", p("ip", "fe80::5"), ""},
		{"IPv6 route by a gateway", "ip -6 route add 2001:db8:7::/48 via 2001:db8::2", p("ip", "2001:db8:7::1"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs := h.outcome(t, c, real, eth1Ready)
			ours := h.outcome(t, c, h.Path, eth1Ready)
			t.Logf("%s", ours)
			if (ours == theirs) == (c.differs != "") {
				t.Errorf("ours:\n%s\ntheirs:\n%s\ndiffers: %q", ours, theirs, c.differs)
			}
		})
	}
}

// outcome is what an agent's start makes of a case: the address, or a failure; after its stop all is as it was.
func (h *host) outcome(t *testing.T, c oracle, program string, ready func()) string {
	t.Helper()
	ready()
	if c.setup != "" {
		box.Sh(t, "%s", c.setup)
	}
	defer func() {
		box.Sh(t, `ip link set eth1 up; ip addr flush dev eth1 scope global
			for a in $(ip -o -4 addr show dev eth0 | awk '{print $4}' | grep -v ^192.0.2.1/); do ip addr del $a dev eth0; done
			for a in $(ip -o -6 addr show dev eth0 scope global | awk '{print $4}' | grep -v ^2001:db8::1/); do ip addr del $a dev eth0; done
			for a in $(ip -o -4 addr show dev lo | awk '{print $4}' | grep -v ^127.0.0.1/); do ip addr del $a dev lo; done
			for f in -4 -6; do ip $f route show proto boot; ip $f route show proto static; ip $f route show table 7 || :; done | sed 's/ metric.*//; s/ linkdown//' | while read r; do ip route del $r || ip -6 route del $r || ip route del $r table 7; done 2>/dev/null
			ip route del unreachable 198.51.100.0/24 2>/dev/null || :`)
		h.ready()
	}()
	h.ready()
	box.Until(t, "the kernel has a route to each of its addresses", func() bool {
		return box.Sh(t, "[ $(ip -6 -o addr | wc -l) = $(ip -6 route show table local type local | wc -l) ] || echo not yet") == ""
	})
	run := func(action string) (ocf.Code, string) {
		r := ocftest.Program(program)(context.Background(), ocftest.Call{Action: action, Params: c.params})
		return r.Code, r.Stderr
	}
	before, started := h.state(), false
	defer func() {
		if code, said := run(ocf.Stop); code != ocf.OK && started {
			t.Errorf("%s stop: %d: %s", program, code, said)
		}
		if after := h.state(); after != before && program == h.Path && c.name != "interface that is off" {
			t.Errorf("a start and a stop left\n%s\nof\n%s", after, before)
		}
	}()
	if code, said := run(ocf.Start); code != ocf.OK {
		t.Logf("%s: exit %d: %s", program, code, said)
		return "a failure"
	}
	started = true
	got := box.Sh(t, `ip -o addr show to %s | sed 's/^[0-9]*: //; s/  */ /g; s/\\\\//; s/ preferred_lft [0-9]*sec//'`, c.params["ip"])
	if got == "" {
		t.Errorf("%s: after the start there is no %s", program, c.params["ip"])
	}
	return got
}

package floatingip

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// advertisements are unsolicited ones of the address, from itself, with the hardware address.
func advertisements(all []heard, mac string) (n int) {
	ip := netip.MustParseAddr(ip6).AsSlice()
	for _, h := range all {
		p := h.packet
		if len(p) < 72 || p[6] != 58 || p[40] != 136 || !bytes.Equal(p[8:24], ip) || !bytes.Equal(p[48:64], ip) {
			continue
		}
		if p[7] == 255 && p[44] == 0x20 && p[64] == 2 && hex(p[66:72]) == strings.ReplaceAll(mac, ":", "") {
			n++
		}
	}
	return n
}

// announcers are the processes that a start leaves behind to tell the network.
func announcers() []int { return box.Programs("openstack-ocf")() }

func TestIPv6(t *testing.T) {
	box.Rows(t, newHost6, []box.Row[*host]{
		{"started, told, stopped", func(h *host) {
			before := h.state()
			said := h.listen(unix.ETH_P_IPV6)
			h.With("arp_count", "3").Start()
			h.has("eth0 inet6 2001:db8::10/64 scope global")
			if tentative := box.Sh(h.T, "ip addr show to %s tentative", ip6); tentative != "" {
				h.T.Errorf("when the start ended: %s", tentative)
			}
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.OK)
			box.Until(h.T, "it is advertised 3 times", func() bool { return advertisements(said(), h.mac("", "eth0")) == 3 })
			h.Stop()
			if after := h.state(); after != before {
				h.T.Errorf("a start and a stop left\n%s\nof\n%s", after, before)
			}
		}},
		{"another host has it", func(h *host) {
			box.Sh(h.T, "ip -n lan addr add %s/64 dev lan0 nodad", ip6)
			h.Want(ocf.Start, ocf.Generic, "another host of the network has 2001:db8::10 too: the kernel found it")
			h.hasNot(ip6)
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.With("nodad", "true").Start()
			h.Await(10*time.Second, 10, ocf.Degraded, "another host, with MAC "+h.mac("lan", "lan0")+", has 2001:db8::10 too")
		}},
		{"another host says that it has it while a monitor stays", func(h *host) {
			h.Start()
			box.Until(h.T, "it was told", func() bool { return len(announcers()) == 0 })
			said := h.listen(unix.ETH_P_IPV6)
			h.Stays(func() {
				box.Sh(h.T, "ip -n lan addr add %s/64 dev lan0 nodad", ip6)
				h.claim(ip6)
			}, ocf.Degraded, "another host, with MAC "+h.mac("lan", "lan0")+", has 2001:db8::10 too")
			box.Until(h.T, "the network is told who has it", func() bool { return advertisements(said(), h.mac("", "eth0")) == 1 })
		}},
		{"found out later that another host has it", func(h *host) {
			box.Sh(h.T, "ip -n lan addr add %s/64 dev lan0 nodad; ip addr add %[1]s/64 dev eth0", ip6)
			box.Until(h.T, "the kernel knows", func() bool { return box.Sh(h.T, "ip addr show dev eth0 dadfailed") != "" })
			h.Monitor(0, ocf.Generic, "another host of the network has 2001:db8::10 too")
			h.Want(ocf.Start, ocf.Generic, "another host of the network has 2001:db8::10 too")
		}},
		{"interface switched off", func(h *host) {
			h.Start()
			box.Sh(h.T, "ip link set eth0 down") // the kernel removes it
			h.Monitor(0, ocf.NotRunning, "2001:db8::10 is not on this node")
			h.With("nic", "eth0", "cidr_netmask", "64").Start()
			if tentative := box.Sh(h.T, "ip addr show to %s tentative", ip6); tentative != "" {
				h.T.Errorf("when the start ended: %s", tentative)
			}
		}},
		{"no carrier", func(h *host) {
			box.Sh(h.T, "ip -n lan link set lan0 down")
			lax := h.With("check_link_status", "false", "nic", "eth0", "cidr_netmask", "64")
			lax.Want(ocf.Start, ocf.OK)
			lax.Monitor(0, ocf.Degraded, "has no carrier")
			box.Sh(h.T, "ip -n lan link set lan0 up")
			lax.Await(20*time.Second, 0, ocf.OK)
		}},
		{"IPv6 switched off", func(h *host) {
			box.Sh(h.T, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")
			h.With("nic", "eth0", "cidr_netmask", "64").Want(ocf.Start, ocf.BadArgument, "IPv6 is switched off at eth0: set net.ipv6.conf.eth0.disable_ipv6=0")
		}},
		{"of one link, and another interface has it too", func(h *host) {
			local := h.With("ip", "fe80::5")
			local.Want(ocf.Start, ocf.NotConfigured, "nic is needed")
			box.Sh(h.T, "ip addr add fe80::5/64 dev lo")
			h.T.Cleanup(func() { box.Sh(h.T, "ip addr del fe80::5/64 dev lo") })
			local = local.With("nic", "eth0")
			local.Want(ocf.Monitor, ocf.NotRunning)
			local.Want(ocf.Start, ocf.OK)
			local.Monitor(0, ocf.OK)
			local.Want(ocf.Stop, ocf.OK)
			local.Want(ocf.Monitor, ocf.NotRunning)
			if box.Sh(h.T, "ip addr show dev lo to fe80::5") == "" {
				h.T.Error("lo's is gone")
			}
		}},
		{"not to be the source of connections", func(h *host) {
			h.With("preferred_lft", "0", "noprefixroute", "true").Start()
			h.has("2001:db8::10/64 scope global deprecated noprefixroute")
			h.Monitor(0, ocf.OK)
			h.With("preferred_lft", "soon").Want(ocf.Start, ocf.NotConfigured, "want seconds, or forever")
			h.With("broadcast", "+").Want(ocf.Start, ocf.NotConfigured, "IPv6 has none")
		}},
		{"to be the source of connections only where that is wanted", func(h *host) {
			labels := func() string { return box.Sh(h.T, "ip addrlabel list | sort") }
			from := func() string { return box.Sh(h.T, "ip -6 route get 2001:db8::2 | sed 's/.* src \\([^ ]*\\).*/\\1/'") }
			before := labels()
			h.Start()
			if from() != "2001:db8::1" {
				h.T.Errorf("this node sends from %s", from())
			}
			h.Stop()
			if after := labels(); after != before {
				h.T.Errorf("a start and a stop left\n%s\nof\n%s", after, before)
			}
			own := h.With("lvs_ipv6_addrlabel", "false")
			own.Want(ocf.Start, ocf.OK)
			if from() != ip6 || labels() != before {
				h.T.Errorf("this node sends from %s, with %s", from(), labels())
			}
			own.Want(ocf.Stop, ocf.OK)
			box.Sh(h.T, "ip addrlabel add prefix %s label 7", ip6) // somebody else's
			h.Start()
			h.Stop()
			if !strings.Contains(labels(), "label 7") {
				h.T.Error("the label of somebody else is gone")
			}
			box.Sh(h.T, "ip addrlabel del prefix %s label 7", ip6)
		}},
		{"its process ends at a stop", func(h *host) {
			h.With("arp_count", "1000", "arp_interval", "20").Start()
			box.Until(h.T, "it runs", func() bool { return len(announcers()) > 0 })
			r := h.Run(ocftest.Call{Action: ocf.Stop})
			if r.Code != ocf.OK {
				h.T.Error(r)
			}
			box.Until(h.T, "no process is left", func() bool { return len(announcers()) == 0 })
		}},
	})
}

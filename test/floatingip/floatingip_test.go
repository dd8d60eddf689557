package floatingip

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	agent "github.com/openstack-ocf/agents/agents/floatingip"
	"github.com/openstack-ocf/agents/lib/neighbour"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

func TestContract(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *host{"IPv4": newHost, "IPv6": newHost6} {
		t.Run(name, func(t *testing.T) {
			h := make(t)
			ocftest.Run(t, ocftest.Subject{
				New: agent.New, Program: h.Path, Params: h.Params,
				Broken: ocftest.Params{"arp_count": "many"}, Unidentified: ocftest.Params{"ip": "192.0.2.0/24"},
				Kill: func(t testing.TB) {
					box.Sh(t, "ip addr del %s/$(ip -o addr show to %s | sed 's/.*%[1]s.\\([0-9]*\\) .*/\\1/') dev eth0", h.Params["ip"], h.Params["ip"])
				},
			})
		})
	}
}
func TestOCFTester(t *testing.T) { newHost(t).OCFTester() }
func TestNoForks(t *testing.T)   { newHost(t).NoForks(0, 10) }
func TestMemory(t *testing.T)    { newHost(t).Memory(10) }

func TestFaults(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"started twice at once, stopped twice", func(h *host) {
			before := h.state()
			done := h.Go(ocftest.Call{Action: ocf.Start})
			h.Start()
			if r := <-done; r.Code != ocf.OK {
				h.T.Errorf("the other start: %s", r)
			}
			h.has("eth0 inet 192.0.2.10/24 brd 192.0.2.255 scope global secondary eth0")
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.OK)
			h.Stop()
			h.Stop()
			if after := h.state(); after != before {
				h.T.Errorf("a start and a stop left\n%s\nof\n%s", after, before)
			}
		}},
		{"removed by somebody", func(h *host) {
			h.Start()
			box.Sh(h.T, "ip addr del %s/24 dev eth0", ip4)
			h.Monitor(0, ocf.NotRunning, "192.0.2.10 is not on this node")
			h.Start()
		}},
		{"removed while a monitor stays", func(h *host) {
			h.Start()
			h.Stays(func() { box.Sh(h.T, "ip addr del %s/24 dev eth0", ip4) }, ocf.NotRunning, "192.0.2.10 is not on this node")
		}},
		{"added by somebody", func(h *host) {
			box.Sh(h.T, "ip addr add %s/24 dev eth0", ip4)
			h.Monitor(0, ocf.OK)
			h.Start()
			h.Stop()
			h.hasNot(ip4)
		}},
		{"interface switched off", func(h *host) {
			h.Start()
			box.Sh(h.T, "ip link set eth0 down")
			h.Monitor(0, ocf.Generic, "192.0.2.10 is at eth0, which is switched off: nobody reaches it")
			h.Stop()
			h.With("nic", "eth0", "cidr_netmask", "24").Start()
			h.With("nic", "eth0", "cidr_netmask", "24").Monitor(0, ocf.OK)
		}},
		{"no carrier", func(h *host) {
			h.Start()
			box.Sh(h.T, "ip -n lan link set lan0 down")
			h.Monitor(0, ocf.Generic, "192.0.2.10 is at eth0, which has no carrier: nobody reaches it")
			lax := h.With("check_link_status", "false")
			lax.Monitor(0, ocf.Degraded, "has no carrier")
			lax.Want(ocf.Start, ocf.OK)
			h.Stop()
			h.hasNot(ip4)
			lax.Want(ocf.Start, ocf.OK)
			h.Stop()
			h.Want(ocf.Start, ocf.Generic, "has no carrier")
			h.hasNot(ip4) // what a start could not do, it takes back
		}},
		{"the carrier comes while the start waits", func(h *host) {
			box.Sh(h.T, "ip -n lan link set lan0 down")
			done := h.Go(ocftest.Call{Action: ocf.Start})
			box.Until(h.T, "the address is there", func() bool { return strings.Contains(h.addresses("eth0"), ip4) })
			box.Sh(h.T, "ip -n lan link set lan0 up")
			if r := <-done; r.Code != ocf.OK {
				h.T.Error(r)
			}
		}},
		{"another host has it", func(h *host) {
			h.Start()
			box.Sh(h.T, "ip -n lan addr add %s/32 dev lan0", ip4)
			also := []string{"another host, with MAC " + h.mac("lan", "lan0") + ", has 192.0.2.10 too", "eth0"}
			h.Await(10*time.Second, 0, ocf.Degraded, also...) // who tells the network has asked it
			h.Monitor(10, ocf.Degraded, also...)
			h.Want(ocf.Monitor, ocf.OK) // a probe
			h.Stop()
			h.With("arp_bg", "false", "arp_count", "1").Start()
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, also...) // nobody else does
			h.Stop()
			box.Sh(h.T, "ip addr add %s/24 dev eth0", ip4)
			h.Monitor(10, ocf.Degraded, also...) // nor of one that was there
			h.Stop()
			h.Start() // as IPaddr2, who does not ask
			h.Stop()
			h.With("run_arping", "true").Want(ocf.Start, ocf.Generic, "another host, with MAC "+h.mac("lan", "lan0")+", has 192.0.2.10")
			h.hasNot(ip4)
			box.Sh(h.T, "ip -n lan addr del %s/32 dev lan0", ip4)
			h.With("run_arping", "true").Start()
		}},
		{"another host has it later", func(h *host) {
			const answer = "/run/resource-agents/openstack-*.answer"
			also := "another host, with MAC " + h.mac("lan", "lan0") + ", has 192.0.2.10 too"
			minute := func() { box.Sh(h.T, "touch -d '-61 sec' %s", answer) }
			h.Start()
			box.Until(h.T, "who tells the network has asked it", func() bool { return strings.HasSuffix(box.Sh(h.T, "cat %s", answer), " -") })
			box.Sh(h.T, "ip -n lan addr add %s/32 dev lan0", ip4)
			h.Monitor(0, ocf.OK)
			minute()
			h.Monitor(0, ocf.Degraded, also)
			h.Monitor(0, ocf.Degraded, also)
			h.Want(ocf.Monitor, ocf.OK) // a probe
			box.Sh(h.T, "ip -n lan addr del %s/32 dev lan0", ip4)
			h.Monitor(0, ocf.Degraded, also)
			minute()
			h.Monitor(0, ocf.OK)
			box.Sh(h.T, "rm %s; ip -n lan addr add %s/32 dev lan0", answer, ip4)
			h.Await(30*time.Second, 0, ocf.Degraded, also) // of an address that was there for long
		}},
		{"another host says that it has it while a monitor stays", func(h *host) {
			h.Start()
			box.Until(h.T, "it was told", func() bool { return len(announcers()) == 0 })
			said := h.listen(unix.ETH_P_ARP)
			told := func() int { at, _ := announcements(said(), h.mac("", "eth0")); return len(at) }
			h.Stays(func() {
				box.Sh(h.T, "ip -n lan addr add %s/32 dev lan0", ip4)
				h.claim(ip4)
			}, ocf.Degraded, "another host, with MAC "+h.mac("lan", "lan0")+", has 192.0.2.10 too")
			box.Until(h.T, "the network is told who has it", func() bool { return told() == 2 })
			h.Monitor(0, ocf.Degraded)
			box.Sh(h.T, "ip -n lan addr del %s/32 dev lan0; touch -d '-11 sec' /run/resource-agents/openstack-*.answer", ip4)
			h.Monitor(0, ocf.OK)
			box.Until(h.T, "and again, when the other host is gone", func() bool { return told() == 4 })
			h.Monitor(0, ocf.OK)
			if n := told(); n != 4 {
				h.T.Errorf("%d packets where nobody else has it any more", n-4)
			}
		}},
		{"another host says so, and is gone", func(h *host) {
			at, ended := h.disputed(func(func() []time.Time) { h.claimOnce(h.mac("lan", "lan0"), ip4) }) // of two, the second would come when it asks
			if len(at) != 2 {
				h.T.Errorf("the network is told by %d packets, not by 2", len(at))
			}
			if ended.Code != ocf.OK {
				h.T.Errorf("nobody else has it: %s", ended)
			}
		}},
		{"another host says so several times", func(h *host) { // who says it last has the clients
			var last time.Time
			at, ended := h.disputed(func(told func() []time.Time) {
				box.Sh(h.T, "ip -n lan addr add %s/32 dev lan0", ip4)
				h.claim(ip4)
				box.Until(h.T, "the network is told who has it", func() bool { return len(told()) == 2 })
				for range 4 {
					last = time.Now()
					h.claim(ip4)
					time.Sleep(50 * time.Millisecond) // between two
				}
			})
			if len(at) != 4 || !at[3].After(last) {
				h.T.Errorf("the network is told at %v, not twice at once and twice at the end, after %v", at, last)
			}
			if ended.Code != ocf.Degraded {
				h.T.Errorf("another host has it: %s", ended)
			}
		}},
		{"another host says so, and it is stopped by hand while that is answered", func(h *host) {
			var stopped time.Time
			at, _ := h.disputed(func(told func() []time.Time) {
				h.claimOnce(h.mac("lan", "lan0"), ip4)
				box.Until(h.T, "the network is told who has it", func() bool { return len(told()) == 2 })
				h.claim(ip4)
				h.Want(ocf.Stop, ocf.OK)
				stopped = time.Now()
			})
			for _, said := range at {
				if said.After(stopped) {
					h.T.Errorf("%v after the stop the network is told that it is here", said.Sub(stopped))
				}
			}
		}},
		{"the first monitor holds nobody up", func(h *host) {
			h.Start()
			shortest := map[int]time.Duration{0: time.Hour, 10: time.Hour}
			for range 10 { // one of them is let be by what else goes on here
				for level := range shortest {
					began := time.Now()
					h.Monitor(level, ocf.OK)
					shortest[level] = min(shortest[level], time.Since(began))
				}
			}
			// To ask, it would have to wait for an answer that nobody gives, 50 ms.
			if waits := shortest[10] - shortest[0]; waits > 40*time.Millisecond {
				h.T.Errorf("it waits for %v: it is the process that tells the network which asks it", waits)
			}
		}},
		{"another interface of this host answers too", func(h *host) {
			box.Sh(h.T, `ip link add eth1 type veth peer name lan1 netns lan
				ip -n lan link add br0 type bridge; ip -n lan link set br0 up
				ip -n lan link set lan0 master br0; ip -n lan link set lan1 master br0 up; ip link set eth1 up`)
			h.T.Cleanup(func() { box.Sh(h.T, "ip link del eth1") })
			box.Until(h.T, "the bridge lets packets pass", func() bool {
				return strings.Count(box.Sh(h.T, "ip netns exec lan bridge link | grep -o 'state forwarding' || :"), "forwarding") == 2
			})
			h.Start()
			h.Monitor(10, ocf.OK)
		}},
		{"two interfaces in its network", func(h *host) { // resource-agents issues 1963 and 2001
			warned := func(a *box.Agent, want bool) {
				h.T.Helper()
				r := a.Call(ocftest.Call{Action: ocf.ValidateAll, Level: 10}, ocf.OK)
				if strings.Contains(r.Stderr, "are both in the network of 192.0.2.10 by the routes, and ") != want {
					h.T.Errorf("warned: %t, want %t: %s", !want, want, r)
				}
			}
			warned(h.Agent, false)
			box.Sh(h.T, "ip link add eth1 type veth peer name lan1 netns lan; ip addr add 192.0.2.3/24 dev eth1 metric 101; ip link set eth1 up")
			h.T.Cleanup(func() { box.Sh(h.T, "ip link del eth1") })
			warned(h.Agent, true)
			warned(h.With("nic", "eth0"), false)
			box.Sh(h.T, "ip addr flush dev eth1; ip addr add 192.0.2.129/25 dev eth1") // of another network
			warned(h.Agent, false)
		}},
		{"a label, in either way", func(h *host) {
			h.With("iflabel", "vip").Start()
			h.has("brd 192.0.2.255 scope global secondary eth0:vip")
			h.Monitor(0, ocf.OK)
			h.Stop()
			h.With("nic", "eth0:old").Start()
			h.has("eth0:old")
			h.With("nic", "eth0:old").Monitor(0, ocf.OK)
			h.Stop()
			h.With("nic", "eth0", "iflabel", "far-too-long-one").Want(ocf.Start, ocf.NotConfigured, "more than 15 characters")
			h.With("iflabel", "far-too-long-one").Want(ocf.Start, ocf.BadArgument, "more than 15 characters")
		}},
		{"no such interface, no network", func(h *host) {
			wrong := h.With("nic", "eth7")
			wrong.Want(ocf.Start, ocf.BadArgument, "there is no interface eth7 on this node")
			wrong.Validate(ocf.BadArgument, "eth7")
			wrong.Want(ocf.Monitor, ocf.NotRunning)
			wrong.Want(ocf.Stop, ocf.OK)
			h.With("ip", "198.51.100.1").Want(ocf.Start, ocf.Generic, "no interface is in the network of 198.51.100.1 by the routes: set nic and cidr_netmask")
			h.With("ip", "198.51.100.1", "nic", "eth0").Want(ocf.Start, ocf.Generic, "no network of 198.51.100.1 is at eth0 by the routes: set cidr_netmask")
			h.Validate(ocf.OK)
		}},
		{"at another interface, with another prefix", func(h *host) {
			box.Sh(h.T, "ip link add eth1 type bridge; ip link set eth1 up; ip addr add %s/24 dev eth1 noprefixroute", ip4)
			h.T.Cleanup(func() { box.Sh(h.T, "ip link del eth1") })
			h.Monitor(0, ocf.OK)
			at0 := h.With("nic", "eth0")
			at0.Want(ocf.Monitor, ocf.Generic, "this node has 192.0.2.10/24 at eth1, and not at eth0, as the parameters have it")
			at0.Want(ocf.Start, ocf.Generic, "192.0.2.10/24 at eth1")
			at0.Want(ocf.Stop, ocf.OK)
			at0.Start()
			h.has("192.0.2.10/24")
			h.With("cidr_netmask", "32").Monitor(0, ocf.Generic, "this node has 192.0.2.10/24 at eth0, and not as /32, as the parameters have it")
			h.With("cidr_netmask", "255.255.255.0").Monitor(0, ocf.OK)
		}},
		{"lo has it for a balancer's sake", func(h *host) {
			box.Sh(h.T, "ip addr add %s/32 dev lo", ip4)
			h.T.Cleanup(func() { box.Sh(h.T, "ip addr del %s/32 dev lo", ip4) })
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.Start()
			h.Stop()
			if !strings.Contains(box.Sh(h.T, "ip addr show dev lo"), ip4) {
				h.T.Error("the stop removed it from lo")
			}
		}},
		{"other addresses of the network, whoever is first", func(h *host) {
			box.Sh(h.T, "sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.eth0.promote_secondaries=0; ip addr del 192.0.2.1/24 dev eth0")
			first := h.With("nic", "eth0", "cidr_netmask", "24")
			first.Start() // it is the network's first, and those that follow go with it
			box.Sh(h.T, "ip addr add 192.0.2.1/24 brd + dev eth0 label eth0:own; ip addr add 192.0.2.77/24 dev eth0; ip route add 198.51.100.0/24 via 192.0.2.2")
			h.has("192.0.2.10/24 scope global eth0", "192.0.2.1/24 brd 192.0.2.255 scope global secondary eth0:own", "192.0.2.77/24 scope global secondary")
			first.Want(ocf.Stop, ocf.OK)
			h.has("192.0.2.1/24 brd 192.0.2.255 scope global eth0:own", "192.0.2.77/24 scope global secondary")
			if routes := box.Sh(h.T, "ip route; cat /proc/sys/net/ipv4/conf/eth0/promote_secondaries"); !strings.Contains(routes, "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1") || !strings.Contains(routes, "198.51.100.0/24 via 192.0.2.2") || !strings.HasSuffix(routes, "\n0") {
				h.T.Errorf("left: %s", routes)
			}
		}},
		{"the interface's last address, and routes set by hand", func(h *host) {
			box.Sh(h.T, "ip addr del 192.0.2.1/24 dev eth0; ip route add 198.51.100.0/24 dev eth0 metric 7; ip route add 203.0.113.0/24 dev eth0 table 7 proto static mtu 1400")
			alone := h.With("nic", "eth0", "cidr_netmask", "24")
			before := h.state()
			alone.Start()
			box.Sh(h.T, "ip route add default via 192.0.2.2") // with the address goes its gateway
			alone.Want(ocf.Stop, ocf.OK)
			if after := h.state(); after != before {
				h.T.Errorf("a start and a stop left\n%s\nof\n%s", after, before)
			}
		}},
		{"in a network namespace", func(h *host) {
			there := h.With("network_namespace", "lan", "nic", "lan0")
			there.Start()
			there.Monitor(0, ocf.OK)
			there.Monitor(10, ocf.OK)
			if !strings.Contains(box.Sh(h.T, "ip -n lan addr"), ip4) {
				h.T.Error("not in there")
			}
			h.Want(ocf.Monitor, ocf.NotRunning)
			there.Stop()
			none := h.With("network_namespace", "none")
			none.Want(ocf.Start, ocf.BadArgument, "there is no network namespace none")
			none.Want(ocf.Monitor, ocf.NotRunning)
			none.Want(ocf.Stop, ocf.OK)
		}},
		{"what is refused", func(h *host) {
			for name, value := range map[string]string{"lvs_support": "true", "clusterip_hash": "sourceip", "unique_clone_address": "yes", "mac": "02:00:00:00:00:01"} {
				h.With(name, value).Want(ocf.Start, ocf.NotConfigured, name, "keep ocf:heartbeat:IPaddr2 for it")
			}
			h.With("lvs_support", "no", "clusterip_hash", "sourceip-sourceport", "arp_sender", "iputils_arping", "send_arp_opts", "-A", "flush_routes", "true", "monitor_retries", "3", "arp_bg", "yes", "proto", "kernel", "clusterip_table", "mangle").Start()
			h.With("ip", "192.0.2.10/24").Want(ocf.Start, ocf.NotConfigured, "no prefix or interface with it")
			h.With("cidr_netmask", "64").Want(ocf.Start, ocf.NotConfigured, "an IPv4 address has 32 bits")
			h.With("broadcast", "all").Want(ocf.Start, ocf.NotConfigured, "want an IPv4 address, + or -")
		}},
	})
}

// announcements are ARP packets of which sender and target are the address.
func announcements(all []heard, mac string) (list []time.Time, operations []byte) {
	ip := netip.MustParseAddr(ip4).AsSlice()
	for _, h := range all {
		if p := h.packet; bytes.Equal(p[14:18], ip) && bytes.Equal(p[24:28], ip) && strings.ReplaceAll(mac, ":", "") == hex(p[8:14]) {
			list, operations = append(list, h.at), append(operations, p[7])
		}
	}
	return list, operations
}

func hex(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

func TestAnnounced(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"at once, and in the background", func(h *host) {
			said := h.listen(unix.ETH_P_ARP)
			mac := h.mac("", "eth0")
			h.With("arp_count", "4", "arp_interval", "2000").Start()
			if at, _ := announcements(said(), mac); len(at) >= 8 {
				h.T.Error("the start waited for all that is told")
			}
			box.Until(h.T, "4 requests and 4 replies are heard", func() bool { at, _ := announcements(said(), mac); return len(at) >= 8 })
			at, operations := announcements(said(), mac)
			if !slices.Equal(operations[:2], []byte{1, 2}) {
				h.T.Errorf("requests (1) and replies (2): %v", operations)
			}
			if d := at[len(at)-1].Sub(at[0]); d < 4*time.Second {
				h.T.Errorf("all within %v", d)
			}
		}},
		{"a stop ends it", func(h *host) {
			said := h.listen(unix.ETH_P_ARP)
			mac := h.mac("", "eth0")
			h.With("arp_count", "1000", "arp_interval", "20").Start()
			box.Until(h.T, "it goes on", func() bool { at, _ := announcements(said(), mac); return len(at) >= 6 && len(announcers()) > 0 })
			h.Stop()
			box.Until(h.T, "no process is left", func() bool { return len(announcers()) == 0 })
		}},
		{"in the start itself", func(h *host) {
			said := h.listen(unix.ETH_P_ARP)
			h.With("arp_count", "3", "arp_interval", "50", "arp_bg", "false").Start()
			box.Until(h.T, "6 packets are heard", func() bool { at, _ := announcements(said(), h.mac("", "eth0")); return len(at) == 6 })
		}},
		{"by a monitor, if that is wanted, and by no probe", func(h *host) {
			said := h.listen(unix.ETH_P_ARP)
			heard := func() int { at, _ := announcements(said(), h.mac("", "eth0")); return len(at) }
			h.With("arp_count", "1").Start()
			box.Until(h.T, "the start's are heard", func() bool { return heard() == 2 && len(announcers()) == 0 })
			h.Monitor(0, ocf.OK)
			h.With("arp_count_refresh", "1").Want(ocf.Monitor, ocf.OK)
			if n := heard(); n > 2 {
				h.T.Errorf("%d packets of a monitor and a probe", n-2)
			}
			h.With("arp_count_refresh", "1").Monitor(0, ocf.OK)
			box.Until(h.T, "they are heard", func() bool { return heard() == 4 })
		}},
		{"a neighbour learns it", func(h *host) {
			box.Sh(h.T, "ip -n lan neigh add %s lladdr 02:00:00:00:00:99 nud stale dev lan0", ip4)
			h.Start()
			box.Until(h.T, "lan knows where it is", func() bool {
				return strings.Contains(box.Sh(h.T, "ip -n lan neigh show %s", ip4), h.mac("", "eth0"))
			})
		}},
	})
}

func TestHeard(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"another host, of the address alone", func(h *host) {
			link, err := linkOf("eth0")
			if err != nil {
				h.T.Fatal(err)
			}
			for addr, other := range map[string]string{ip4: "192.0.2.2", ip6: "2001:db8::2"} {
				l, err := neighbour.Listen(link, netip.MustParseAddr(addr))
				if err != nil {
					h.T.Fatal(err)
				}
				defer l.Close()
				h.claim(other)
				if addr == ip6 { // it is said from the address itself
					box.Sh(h.T, "ip -n lan addr add %s/64 dev lan0 nodad", ip6)
				} else {
					h.claimOnce(h.mac("", "eth0"), ip4) // as a switch that sends back what it got
				}
				h.claim(addr)
				box.Until(h.T, addr+" is heard", l.Heard)
				if addr == ip4 && !l.Heard() {
					h.T.Error("a request and a reply are two packets")
				}
				if l.Heard() {
					h.T.Errorf("%s: more is heard than what another host says of it", addr)
				}
			}
		}},
	})
}

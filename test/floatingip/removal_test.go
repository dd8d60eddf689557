package floatingip

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// TestRemovedBeside is about what a stop may not take with the address, and not bring back.
func TestRemovedBeside(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"two of one network, at once", func(h *host) {
			box.Sh(h.T, "sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.eth0.promote_secondaries=0; ip addr del 192.0.2.1/24 dev eth0")
			first, second := h.With("nic", "eth0", "cidr_netmask", "24", "arp_count", "1"), h.With("ip", "192.0.2.11", "nic", "eth0", "cidr_netmask", "24", "arp_count", "1")
			for range 40 {
				box.Sh(h.T, "ip addr add 192.0.2.10/24 dev eth0; ip addr add 192.0.2.11/24 dev eth0")
				done := first.Go(ocftest.Call{Action: ocf.Stop})
				if r := second.Run(ocftest.Call{Action: ocf.Stop}); r.Code != ocf.OK {
					h.T.Errorf("the second: %s", r)
				}
				if r := <-done; r.Code != ocf.OK {
					h.T.Errorf("the first: %s", r)
				}
				if left := h.addresses("eth0"); strings.Contains(left, "192.0.2.") {
					h.T.Fatalf("both are stopped, and there is\n%s", left)
				}
			}
		}},
		{"the way to everywhere, from it", func(h *host) {
			box.Sh(h.T, "ip route add default via 192.0.2.2")
			for _, setup := range []string{":", "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1; ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.1/24 dev eth0; ip route add default via 192.0.2.2 || :"} { // it is secondary, and primary
				h.Start()
				box.Sh(h.T, "%s; ip route replace default via 192.0.2.2 src %s", setup, ip4)
				h.Stop()
				if routes := box.Sh(h.T, "ip route show default"); !strings.Contains(routes, "default via 192.0.2.2 dev eth0") {
					h.T.Errorf("left: %s", box.Sh(h.T, "ip route"))
				}
			}
		}},
	})
}

// TestRoutesOfOthers is about routes to the address's network that are there without an address, as by a router's word.
func TestRoutesOfOthers(t *testing.T) {
	h := newHost6(t)
	for _, route := range []string{"proto ra metric 100", "proto kernel metric 256", "proto kernel metric 256 expires 600", "metric 1024"} {
		t.Run(route, func(t *testing.T) {
			box.Sh(t, "ip addr add 2001:db8:9::1/128 dev eth0 nodad; ip -6 route add 2001:db8:9::/64 dev eth0 %s", route)
			defer box.Sh(t, "ip addr del 2001:db8:9::1/128 dev eth0; ip -6 route flush 2001:db8:9::/64")
			state := func() string { return box.Sh(t, "ip -6 route | grep db8:9: | sed 's/expires [0-9]*sec/expires/'") }
			before := state()
			v := h.With("ip", "2001:db8:9::10")
			v.Want(ocf.Start, ocf.OK)
			v.Monitor(0, ocf.OK)
			if during := state(); during != before {
				t.Errorf("a start made\n%s\nof\n%s", during, before)
			}
			v.Want(ocf.Stop, ocf.OK)
			if after := state(); after != before {
				t.Errorf("a stop left\n%s\nof\n%s", after, before)
			}
			if strings.Contains(route, "kernel") {
				return // what the kernel has made its own, nobody puts there again
			}
			box.Sh(t, "ip addr add 2001:db8:9::10/64 dev eth0 nodad") // as IPaddr2
			v.Want(ocf.Stop, ocf.OK)
			if after := state(); !strings.Contains(after, before) {
				t.Errorf("a stop of what another agent started left\n%s\nof\n%s", after, before)
			}
		})
	}
}

// TestListedWhileItChanges has the kernel interrupt its lists: who is in one twice was listed before and after.
func TestListedWhileItChanges(t *testing.T) {
	newHost(t)
	var batch strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&batch, "addr add 203.0.%d.%d/32 dev eth0\n", 100+i/200, 1+i%200)
	}
	box.Sh(t, "ip -batch - <<'EOF'\n%s\nEOF", batch.String())
	k, err := rtnl.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	done := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				box.Sh(t, "ip addr add 203.0.99.1/32 dev lo; ip addr del 203.0.99.1/32 dev lo")
			}
		}
	})
	defer wg.Wait()
	defer close(done)
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
		list, err := k.Addresses(unix.AF_INET)
		if err != nil {
			continue // it changes all the time
		}
		seen := map[netip.Prefix]bool{}
		for _, a := range list {
			if seen[a.Prefix] {
				t.Fatalf("%s is listed twice", a.Prefix)
			}
			seen[a.Prefix] = true
		}
	}
}

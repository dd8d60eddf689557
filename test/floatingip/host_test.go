// Package floatingip tests ocf:openstack:floating-ip on real interfaces, in a box: a host of its own, and another one
// at the other end of its cable.
package floatingip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/neighbour"
	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

const (
	ip4 = "192.0.2.10"
	ip6 = "2001:db8::10"
)

func TestMain(m *testing.M) { box.Main(m) }

// host has eth0 with addresses of its own; at the other end is lan0 of the host lan, a network namespace.
type host struct{ *box.Agent }

func newHost(t testing.TB) *host { return newHostWith(t, ocftest.Params{"ip": ip4}) }

func newHost6(t testing.TB) *host { return newHostWith(t, ocftest.Params{"ip": ip6}) }

func newHostWith(t testing.TB, params ocftest.Params) *host {
	t.Helper()
	box.Need(t)
	t.Cleanup(func() { // after the stop: what is done last is done first
		box.Sh(t, "ip link del eth0 2>/dev/null || :; ip netns del lan")
	})
	box.Sh(t, `ip netns add lan
		ip link add eth0 type veth peer name lan0 netns lan
		ip -n lan link set lo up
		ip -n lan addr add 192.0.2.2/24 brd + dev lan0
		ip -n lan addr add 2001:db8::2/64 dev lan0 nodad
		ip -n lan link set lan0 up
		ip addr add 192.0.2.1/24 brd + dev eth0
		ip addr add 2001:db8::1/64 dev eth0 nodad
		ip link set eth0 up`)
	h := &host{box.NewAgent(t, box.Agent{
		Name: "floating-ip", Params: params, Limit: 20 * time.Second, Watch: 10 * time.Second,
		Pids: func() []int { return nil }, // it has no process
	})}
	h.ready()
	return h
}

// ready waits until the cable is connected, and the kernel's own addresses are usable.
func (h *host) ready() {
	h.T.Helper()
	box.Until(h.T, "eth0 is ready", func() bool {
		return box.Sh(h.T, "cat /sys/class/net/eth0/operstate 2>/dev/null || ip -br link show eth0 | awk '{print tolower($2)}'") == "up" &&
			box.Sh(h.T, "ip -6 addr show dev eth0 tentative; ip -n lan -6 addr show dev lan0 tentative") == ""
	})
}

// addresses are those of an interface, as ip shows them, without lifetimes.
func (h *host) addresses(nic string) string {
	h.T.Helper()
	return box.Sh(h.T, "ip -o addr show dev %s scope global | sed 's/ *\\\\\\\\.*//; s/^[0-9]*: *//; s/  */ /g'", nic)
}

// has wants that the address is there, in those words of ip.
func (h *host) has(words ...string) {
	h.T.Helper()
	got := h.addresses("eth0")
	for _, w := range words {
		if !strings.Contains(got, w) {
			h.T.Errorf("want %q, eth0 has\n%s", w, got)
		}
	}
}

func (h *host) hasNot(word string) {
	h.T.Helper()
	if got := h.addresses("eth0"); strings.Contains(got, word) {
		h.T.Errorf("want no %q, eth0 has\n%s", word, got)
	}
}

// state is all that a start and a stop may not change.
func (h *host) state() string {
	h.T.Helper()
	return box.Sh(h.T, "ip -o addr | sed 's/ *\\\\\\\\.*//'; ip route show table all | sort; ip -6 route show table all | sed 's/ expires [0-9]*sec//' | sort; cat /proc/sys/net/ipv4/conf/*/promote_secondaries")
}

// mac is the hardware address of an interface of a host: "" is this one.
func (h *host) mac(netns, nic string) string {
	h.T.Helper()
	if netns != "" {
		netns = "-n " + netns
	}
	return box.Sh(h.T, "ip %s -o link show dev %s | sed 's/.*link.ether \\([^ ]*\\).*/\\1/'", netns, nic)
}

// claim has lan say that it has an address, whether it has it or not.
func (h *host) claim(addr string) {
	h.T.Helper()
	h.fromLan(func(link rtnl.Link) error { return neighbour.Announce(link, netip.MustParseAddr(addr)) })
}

// claimOnce has lan send one packet that says that an interface with that hardware address has an IPv4 address.
func (h *host) claimOnce(by, addr string) {
	h.T.Helper()
	mac, err := net.ParseMAC(by)
	if err != nil {
		h.T.Fatal(err)
	}
	ip := netip.MustParseAddr(addr).AsSlice()
	frame := slices.Concat(bytes.Repeat([]byte{0xff}, 6), mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac, ip, make([]byte, 6), ip)
	h.fromLan(func(link rtnl.Link) error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6})
	})
}

// disputed has something happen while a monitor stays, which may ask when the network was told where the address is, and returns that,
// and how the monitor ended.
func (h *host) disputed(happens func(told func() []time.Time)) (told []time.Time, ended ocftest.Result) {
	h.T.Helper()
	h.Start()
	box.Until(h.T, "it was told", func() bool { return len(announcers()) == 0 })
	said := h.listen(unix.ETH_P_ARP)
	now := func() []time.Time { at, _ := announcements(said(), h.mac("", "eth0")); return at }
	stays := ocftest.Call{Action: ocf.Monitor, Interval: 8 * time.Second, Timeout: 40 * time.Second}
	h.Call(stays, ocf.OK)
	time.Sleep(stays.Interval) // as the cluster does
	done := h.Go(stays)
	box.Until(h.T, "it listens", func() bool { return strings.Contains(box.Sh(h.T, "cat /proc/net/packet"), " 0806 ") })
	happens(now)
	ended = <-done
	return now(), ended
}

// fromLan does something as the host lan, at lan0.
func (h *host) fromLan(do func(rtnl.Link) error) {
	h.T.Helper()
	done := make(chan error)
	go func() {
		done <- func() error {
			if err := rtnl.Enter("lan"); err != nil {
				return err
			}
			link, err := linkOf("lan0")
			if err != nil {
				return err
			}
			return do(link)
		}()
	}()
	if err := <-done; err != nil {
		h.T.Fatal(err)
	}
}

// linkOf is an interface in the network namespace of the calling thread.
func linkOf(nic string) (rtnl.Link, error) {
	k, err := rtnl.Open()
	if err != nil {
		return rtnl.Link{}, err
	}
	defer k.Close()
	return k.LinkByName(nic)
}

// heard is a packet that lan got.
type heard struct {
	at     time.Time
	packet []byte
}

// listen has lan take down what it hears at lan0 of a protocol, until the function is called, or the test ends.
func (h *host) listen(protocol uint16) func() []heard {
	h.T.Helper()
	fds := make(chan int)
	go func() {
		fd := -1
		if err := rtnl.Enter("lan"); err != nil {
			h.T.Error(err)
		} else if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol)))); err != nil {
			h.T.Error(err)
		}
		fds <- fd
	}()
	fd := <-fds
	if fd < 0 {
		h.T.FailNow()
	}
	tv := unix.NsecToTimeval(int64(10 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		h.T.Fatal(err)
	}
	var mu sync.Mutex
	var all []heard
	done := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2048)
		for {
			select {
			case <-done:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, b, 0)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, heard{time.Now(), append([]byte(nil), b[:n]...)})
			mu.Unlock()
		}
	})
	h.T.Cleanup(func() { close(done); wg.Wait(); unix.Close(fd) })
	return func() []heard { mu.Lock(); defer mu.Unlock(); return append([]heard(nil), all...) }
}

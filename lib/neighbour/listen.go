package neighbour

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
)

// Listener hears other hosts of a link that say, without having been asked, that they have an address.
type Listener struct{ s *socket }

// Listen begins to listen. The kernel keeps all other packets away.
func Listen(link rtnl.Link, addr netip.Addr) (*Listener, error) {
	protocol := uint16(unix.ETH_P_ARP)
	if addr.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	s, err := open(link, protocol)
	if err != nil {
		return nil, err
	}
	if err := s.listen(claims(link.MAC, addr)); err != nil {
		s.close()
		return nil, err
	}
	return &Listener{s}, nil
}

// Descriptor is where poll(2) finds that somebody was heard (see [ocf.Ender]).
func (l *Listener) Descriptor() (fd int, events int16) { return l.s.fd, unix.POLLIN }

// Heard tells whether somebody was.
func (l *Listener) Heard() bool {
	n, _, err := unix.Recvfrom(l.s.fd, make([]byte, 1), unix.MSG_DONTWAIT)
	return err == nil && n > 0
}

// Await waits at most so long for the next that is heard, and tells whether one was.
func (l *Listener) Await(within time.Duration) bool {
	packet, _, err := l.s.receive(time.Now().Add(within))
	return err == nil && packet != nil
}

// Close ends it.
func (l *Listener) Close() error { l.s.close(); return nil }

// claims is a filter that lets pass by what another one than mac says that he has the address: what [arpSays] or [advertisementSays]
// tells. A switch may send back what was sent.
func claims(mac net.HardwareAddr, addr netip.Addr) []unix.SockFilter {
	const load, equal = unix.BPF_LD | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	type field struct {
		size      uint16
		at, value uint32
	}
	a := addr.AsSlice()
	fields := []field{{unix.BPF_W, 14, binary.BigEndian.Uint32(a)}}
	if addr.Is6() {
		fields = []field{{unix.BPF_B, 6, unix.IPPROTO_ICMPV6}, {unix.BPF_B, 7, hopLimit}, {unix.BPF_B, ip6HeaderLen, neighborAdvertisement}}
		for i := uint32(0); i < net.IPv6len; i += 4 {
			fields = append(fields, field{unix.BPF_W, ip6HeaderLen + 8 + i, binary.BigEndian.Uint32(a[i:])})
		}
	}
	const sender = 1<<32 - 0x200000 + macLen // in the Ethernet header: linux/filter.h, SKF_LL_OFF
	end := []unix.SockFilter{
		{Code: load | unix.BPF_W, K: sender},
		{Code: equal, K: binary.BigEndian.Uint32(mac), Jf: 2},
		{Code: load | unix.BPF_H, K: sender + 4},
		{Code: equal, K: uint32(binary.BigEndian.Uint16(mac[4:])), Jt: 1},
		{Code: unix.BPF_RET, K: 1 << 16}, // accept so many bytes
		{Code: unix.BPF_RET},             // refuse
	}
	var filter []unix.SockFilter
	for i, f := range fields {
		filter = append(filter, unix.SockFilter{Code: load | f.size, K: f.at},
			unix.SockFilter{Code: equal, K: f.value, Jf: uint8(2*(len(fields)-i-1) + len(end) - 1)}) // to the refusal
	}
	return append(filter, end...)
}

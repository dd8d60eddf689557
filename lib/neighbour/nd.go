package neighbour

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
)

// Of neighbour discovery (RFC 4861, 4.3 and 4.4).
const (
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	hopLimit              = 255 // of all of its packets: no router has let it pass
	ip6HeaderLen          = 40
	ndLen                 = 24 // without options
	flagRouter            = 0x80
	flagOverride          = 0x20
)

// advertise sends all nodes an unsolicited neighbour advertisement, from the address itself.
func advertise(link rtnl.Link, addr netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("ICMPv6: %w", err)
	}
	defer unix.Close(fd)
	for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: hopLimit, unix.IPV6_MULTICAST_IF: link.Index, unix.IPV6_MULTICAST_LOOP: 0} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
			return fmt.Errorf("ICMPv6: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: addr.As16(), ZoneId: uint32(link.Index)}); err != nil {
		return fmt.Errorf("ICMPv6 from %s: %w", addr, err)
	}
	flags := byte(flagOverride)
	// Who hears that a router is none takes it off its list of default routers.
	if forwarding, _ := os.ReadFile("/proc/sys/net/ipv6/conf/" + link.Name + "/forwarding"); strings.TrimSpace(string(forwarding)) == "1" {
		flags |= flagRouter
	}
	b := append([]byte{neighborAdvertisement, 0, 0, 0, flags, 0, 0, 0}, addr.AsSlice()...) // the kernel makes its checksum
	b = append(append(b, 2, 1), link.MAC...)                                               // target link-layer address
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: netip.IPv6LinkLocalAllNodes().As16(), ZoneId: uint32(link.Index)}); err != nil {
		return fmt.Errorf("ICMPv6 from %s: %w", addr, err)
	}
	return nil
}

// solicited is the multicast address that who has an address listens to.
func solicited(addr netip.Addr) netip.Addr {
	b := netip.MustParseAddr("ff02::1:ff00:0").As16()
	a := addr.As16()
	copy(b[13:], a[13:])
	return netip.AddrFrom16(b)
}

func solicitedMAC(addr netip.Addr) [8]byte {
	b := solicited(addr).As16()
	return [8]byte{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// solicitation is the question of one who has no address yet, to which who has this one answers all (RFC 4862, 5.4.2).
func solicitation(addr netip.Addr) []byte {
	icmp := append([]byte{neighborSolicitation, 0, 0, 0, 0, 0, 0, 0}, addr.AsSlice()...)
	to := solicited(addr).AsSlice()
	pseudo := append(make([]byte, net.IPv6len), to...) // RFC 8200, 8.1
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(icmp)))
	pseudo = append(append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6), icmp...)
	binary.BigEndian.PutUint16(icmp[2:], checksum(pseudo))
	header := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(icmp)))
	header = append(append(header, unix.IPPROTO_ICMPV6, hopLimit), make([]byte, net.IPv6len)...)
	return append(append(header, to...), icmp...)
}

// checksum is the Internet's (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// advertisementSays tells whether a packet says that its sender has the address.
func advertisementSays(packet []byte, from net.HardwareAddr, addr netip.Addr) (net.HardwareAddr, bool) {
	if len(packet) < ip6HeaderLen+ndLen || packet[6] != unix.IPPROTO_ICMPV6 || packet[7] != hopLimit {
		return nil, false
	}
	icmp := packet[ip6HeaderLen:]
	return from, icmp[0] == neighborAdvertisement && bytes.Equal(icmp[8:ndLen], addr.AsSlice())
}

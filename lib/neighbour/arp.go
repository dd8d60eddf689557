// Package neighbour speaks with the other hosts of a link: it tells them at which interface an address is now, and asks
// whether somebody else has it, by ARP for IPv4 (RFC 826, RFC 5227), and neighbour discovery for IPv6 (RFC 4861, RFC 4862).
package neighbour

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
)

var broadcast = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const macLen = 6

// Can tells whether other hosts can be spoken to by an interface: where it is none of Ethernet's kind there are none, as
// at lo, or they have addresses of another kind, as on InfiniBand.
func Can(link rtnl.Link) bool {
	return link.Type == unix.ARPHRD_ETHER && len(link.MAC) == macLen && link.Flags&unix.IFF_NOARP == 0
}

// Announce tells all hosts of the link that the address is at this interface.
func Announce(link rtnl.Link, addr netip.Addr) error {
	if addr.Is6() {
		return advertise(link, addr)
	}
	s, err := open(link, unix.ETH_P_ARP)
	if err != nil {
		return err
	}
	defer s.close()
	// A request for its own address, which RFC 5227 wants, and a reply: there are hosts that learn of the one alone.
	return errors.Join(s.send(arp(arpRequest, link.MAC, addr, addr), broadcast), s.send(arp(arpReply, link.MAC, addr, addr), broadcast))
}

// Other asks, twice within the time, who else has the address, and returns the first that says so; nil if nobody does.
// mine tells whether an interface of this host has a hardware address: it answers by others too.
func Other(link rtnl.Link, addr netip.Addr, within time.Duration, mine func(net.HardwareAddr) bool) (net.HardwareAddr, error) {
	protocol, question, to := uint16(unix.ETH_P_ARP), arp(arpRequest, link.MAC, netip.IPv4Unspecified(), addr), broadcast
	has := arpSays
	if addr.Is6() {
		protocol, question, to, has = unix.ETH_P_IPV6, solicitation(addr), solicitedMAC(addr), advertisementSays
	}
	s, err := open(link, protocol)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.listen(nil); err != nil {
		return nil, err
	}
	for range 2 {
		if err := s.send(question, to); err != nil {
			return nil, err
		}
		for deadline := time.Now().Add(within / 2); ; {
			packet, from, err := s.receive(deadline)
			if err != nil || packet == nil {
				if err != nil {
					return nil, err
				}
				break
			}
			if mac, ok := has(packet, from, addr); ok && !mine(mac) {
				return mac, nil
			}
		}
	}
	return nil, nil
}

const (
	arpRequest = 1
	arpReply   = 2
	arpLen     = 28
)

// arp is a packet of ARP for Ethernet. In a request nobody knows yet whose target it is.
func arp(operation uint16, mac net.HardwareAddr, sender, target netip.Addr) []byte {
	b := binary.BigEndian.AppendUint16(nil, unix.ARPHRD_ETHER)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	b = append(b, macLen, net.IPv4len)
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(b, mac...)
	b = append(b, sender.AsSlice()...)
	if operation == arpReply {
		b = append(b, mac...)
	} else {
		b = append(b, make([]byte, macLen)...)
	}
	return append(b, target.AsSlice()...)
}

// arpSays tells whether a packet says that its sender has the address: in a reply, and in a request of its own too.
func arpSays(packet []byte, _ net.HardwareAddr, addr netip.Addr) (net.HardwareAddr, bool) {
	if len(packet) < arpLen || !bytes.Equal(packet[2:6], []byte{unix.ETH_P_IP >> 8, 0, macLen, net.IPv4len}) {
		return nil, false
	}
	return net.HardwareAddr(packet[8:14]), bytes.Equal(packet[14:18], addr.AsSlice())
}

// socket sends and receives the packets of one protocol at one interface.
type socket struct {
	fd       int
	index    int
	protocol uint16 // in the network's byte order
}

// open makes one that sends, and receives nothing yet.
func open(link rtnl.Link, protocol uint16) (*socket, error) {
	swapped := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return &socket{fd, link.Index, swapped}, nil
}

// listen has it receive what a filter lets pass; without one that is all.
func (s *socket) listen(filter []unix.SockFilter) (err error) {
	if len(filter) > 0 {
		err = unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		err = unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: s.protocol, Ifindex: s.index})
	}
	if err != nil {
		return fmt.Errorf("listen at interface %d: %w", s.index, err)
	}
	return nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

func (s *socket) send(packet []byte, to [8]byte) error {
	if err := unix.Sendto(s.fd, packet, 0, &unix.SockaddrLinklayer{Protocol: s.protocol, Ifindex: s.index, Halen: macLen, Addr: to}); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// receive is the next packet from somebody else, nil after the deadline.
func (s *socket) receive(deadline time.Time) ([]byte, net.HardwareAddr, error) {
	b := make([]byte, 256) // what is asked about is in the beginning
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil, nil
		}
		tv := unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return nil, nil, err
		}
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		at, ok := from.(*unix.SockaddrLinklayer)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, nil, fmt.Errorf("receive: %w", err)
		case ok && at.Pkttype != unix.PACKET_OUTGOING && int(at.Halen) == macLen:
			return b[:n], net.HardwareAddr(at.Addr[:macLen]), nil
		}
	}
}

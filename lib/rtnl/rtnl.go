package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Loopback is the index of the interface lo, the first of every network namespace.
const Loopback = 1

// Forever is the lifetime of an address that does not expire.
const Forever = ^uint32(0)

// Link is an interface.
type Link struct {
	Index int
	Name  string
	Type  uint16 // unix.ARPHRD_ETHER and others
	Flags uint32
	MAC   net.HardwareAddr
}

// Up tells whether the interface is switched on.
func (l Link) Up() bool { return l.Flags&unix.IFF_UP != 0 }

// Carrier tells whether the interface is connected with something. One that is not switched on never is.
func (l Link) Carrier() bool { return l.Flags&unix.IFF_LOWER_UP != 0 }

// Links lists the interfaces.
func (c *Conn) Links() ([]Link, error) {
	return list(c, linkRequest(0, unix.NLM_F_DUMP), func(data []byte) (Link, bool, error) {
		l, err := parseLink(data)
		return l, true, err
	})
}

// LinkByIndex is one interface. The error is unix.ENODEV if there is none.
func (c *Conn) LinkByIndex(index int) (Link, error) { return c.link(linkRequest(index, 0)) }

// LinkByName is one interface by its name, or an alternative name. The error is unix.ENODEV if there is none.
func (c *Conn) LinkByName(name string) (Link, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		l, err := c.link(linkRequest(0, 0).attr(unix.IFLA_ALT_IFNAME, append([]byte(name), 0)))
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
			err = unix.ENODEV
		}
		return l, err
	}
	return c.link(linkRequest(0, 0).attr(unix.IFLA_IFNAME, append([]byte(name), 0)))
}

// SetUp switches an interface on.
func (c *Conn) SetUp(index int) error {
	m := linkRequest(index, unix.NLM_F_ACK)
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_NEWLINK)
	fixed := m[unix.SizeofNlMsghdr:]
	binary.NativeEndian.PutUint32(fixed[8:], unix.IFF_UP)  // ifi_flags
	binary.NativeEndian.PutUint32(fixed[12:], unix.IFF_UP) // ifi_change
	return c.ask(m[:unix.SizeofNlMsghdr+unix.SizeofIfInfomsg], func([]byte) error { return nil })
}

func (c *Conn) link(m message) (l Link, err error) {
	err = c.ask(m, func(data []byte) error { l, err = parseLink(data); return err })
	return l, err
}

// linkRequest leaves out the counters, which are most of an answer.
func linkRequest(index int, flags uint16) message {
	m := newMessage(unix.RTM_GETLINK, flags, make([]byte, unix.SizeofIfInfomsg)...)
	binary.NativeEndian.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	return m.attr32(unix.IFLA_EXT_MASK, skipStats)
}

func parseLink(data []byte) (l Link, err error) {
	err = attributes(data, unix.SizeofIfInfomsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = text(value)
		case unix.IFLA_ADDRESS:
			l.MAC = append(net.HardwareAddr(nil), value...)
		}
	})
	if err == nil {
		l.Type = binary.NativeEndian.Uint16(data[2:])
		l.Index, l.Flags = int(binary.NativeEndian.Uint32(data[4:])), binary.NativeEndian.Uint32(data[8:])
	}
	return l, err
}

// number is the first one of an attribute.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

// Address is an address of an interface.
type Address struct {
	Index     int          // of the interface
	Prefix    netip.Prefix // the address itself, and how many bits of it are its network's
	Broadcast netip.Addr   // of IPv4; not valid: none
	Label     string       // of IPv4
	Scope     byte
	Flags     uint32        // unix.IFA_F_TENTATIVE and others
	Preferred uint32        // for how many seconds it is the source of new connections
	Made      time.Duration // when it was added, after the boot (CLOCK_MONOTONIC)
	raw       []byte        // the kernel's message, by which it can be put there again
}

// Addresses lists the addresses of IPv4 (unix.AF_INET) or IPv6.
func (c *Conn) Addresses(family byte) ([]Address, error) {
	fixed := make([]byte, unix.SizeofIfAddrmsg)
	fixed[0] = family
	return list(c, newMessage(unix.RTM_GETADDR, unix.NLM_F_DUMP, fixed...), func(data []byte) (Address, bool, error) {
		a, err := parseAddress(data)
		return a, err == nil && data[0] == family, err // a kernel without IPv6 lists IPv4's
	})
}

func parseAddress(data []byte) (a Address, err error) {
	var local, peer netip.Addr
	err = attributes(data, unix.SizeofIfAddrmsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(value)
		case unix.IFA_BROADCAST:
			a.Broadcast, _ = netip.AddrFromSlice(value)
		case unix.IFA_LABEL:
			a.Label = text(value)
		case unix.IFA_FLAGS:
			a.Flags = number(value)
		case unix.IFA_CACHEINFO:
			a.Preferred = number(value)
			if len(value) >= 12 { // struct ifa_cacheinfo: the third is when it was created, in hundredths of a second
				a.Made = time.Duration(binary.NativeEndian.Uint32(value[8:])) * 10 * time.Millisecond
			}
		}
	})
	if err != nil {
		return a, err
	}
	if !local.IsValid() { // IPv6 has it where IPv4 has the other end's
		local = peer
	}
	a.Prefix, a.Scope, a.Index = netip.PrefixFrom(local, int(data[1])), data[3], int(binary.NativeEndian.Uint32(data[4:]))
	a.raw = bytes.Clone(data)
	return a, nil
}

// Add adds an address. The error is unix.EEXIST if it is there.
func (c *Conn) Add(a Address) error {
	fixed := make([]byte, unix.SizeofIfAddrmsg)
	fixed[0], fixed[1], fixed[3] = unix.AF_INET, byte(a.Prefix.Bits()), a.Scope
	if a.Prefix.Addr().Is6() {
		fixed[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(fixed[4:], uint32(a.Index))
	ip := a.Prefix.Addr().AsSlice()
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, fixed...).attr(unix.IFA_LOCAL, ip).attr(unix.IFA_ADDRESS, ip)
	if a.Broadcast.IsValid() {
		m = m.attr(unix.IFA_BROADCAST, a.Broadcast.AsSlice())
	}
	if a.Label != "" {
		m = m.attr(unix.IFA_LABEL, append([]byte(a.Label), 0))
	}
	if a.Flags != 0 {
		m = m.attr32(unix.IFA_FLAGS, a.Flags)
	}
	if a.Preferred != Forever {
		var info []byte // ifa_prefered, ifa_valid, and two that only the kernel sets
		for _, v := range []uint32{a.Preferred, Forever, 0, 0} {
			info = binary.NativeEndian.AppendUint32(info, v)
		}
		m = m.attr(unix.IFA_CACHEINFO, info)
	}
	return c.ask(m, func([]byte) error { return nil })
}

// Delete removes an address that was listed. The error is unix.EADDRNOTAVAIL if it is not there any more.
func (c *Conn) Delete(a Address) error {
	return c.ask(newMessage(unix.RTM_DELADDR, unix.NLM_F_ACK, a.raw...), func([]byte) error { return nil })
}

// Same tells whether two are at one interface, with one prefix.
func (a Address) Same(b Address) bool { return a.Index == b.Index && a.Prefix == b.Prefix }

// Restore puts an address that was listed there again, as it was.
func (c *Conn) Restore(a Address) error {
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, a.raw...)
	return c.ask(m, func([]byte) error { return nil })
}

// SetLabel gives an IPv6 address a label, by which the kernel chooses what to send from (RFC 6724, 2.1). The error is unix.EEXIST
// where it has one.
func (c *Conn) SetLabel(ip netip.Addr, label uint32) error {
	m := labelRequest(unix.RTM_NEWADDRLABEL, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, ip).attr32(unix.IFAL_LABEL, label)
	return c.ask(m, func([]byte) error { return nil })
}

// RemoveLabel takes that label back; another one stays.
func (c *Conn) RemoveLabel(ip netip.Addr, label uint32) error {
	is := false
	err := c.ask(labelRequest(unix.RTM_GETADDRLABEL, 0, ip), func(data []byte) error {
		return attributes(data, sizeofLabel, func(kind uint16, value []byte) {
			is = is || kind == unix.IFAL_LABEL && number(value) == label && int(data[2]) == ip.BitLen()
		})
	})
	if err != nil || !is {
		return err
	}
	return c.ask(labelRequest(unix.RTM_DELADDRLABEL, unix.NLM_F_ACK, ip).attr32(unix.IFAL_LABEL, label), func([]byte) error { return nil })
}

const sizeofLabel = 12 // struct ifaddrlblmsg: family, reserved, length of the prefix, flags, index, seq

func labelRequest(kind, flags uint16, ip netip.Addr) message {
	fixed := make([]byte, sizeofLabel)
	fixed[0], fixed[2] = unix.AF_INET6, byte(ip.BitLen())
	return newMessage(kind, flags, fixed...).attr(unix.IFAL_ADDRESS, ip.AsSlice())
}

// Route is a route to one next hop.
type Route struct {
	To      netip.Prefix
	Index   int // of the interface, 0 where there is more than one, or none
	Table   int
	Type    byte       // unix.RTN_UNICAST and others
	Scope   byte       // of IPv4: unix.RT_SCOPE_LINK is what is there without a gateway
	Gateway bool       // it goes by way of one
	Source  netip.Addr // what the kernel prefers to send from; not valid: whatever it finds
	raw     []byte     // the kernel's message, by which it can be put there again
}

// Same tells whether two are one.
func (r Route) Same(o Route) bool { return bytes.Equal(r.raw, o.raw) }

// Automatic tells whether the kernel itself makes and removes the route, as that to an address's network.
func (r Route) Automatic() bool { return r.raw[5] == unix.RTPROT_KERNEL }

// RestoreRoute puts a route that was listed there again, as it was, or without what the kernel is to prefer to send from.
func (c *Conn) RestoreRoute(r Route, source bool) error {
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, r.raw[:unix.SizeofRtMsg]...)
	fixed := m[unix.SizeofNlMsghdr:]
	binary.NativeEndian.PutUint32(fixed[8:], binary.NativeEndian.Uint32(fixed[8:])&^(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN)) // rtm_flags
	err := attributes(r.raw, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		if kind != unix.RTA_PREFSRC || source {
			m = m.attr(kind, value)
		}
	})
	if err != nil {
		return err
	}
	return c.ask(m, func([]byte) error { return nil })
}

// Routes lists the routes of all tables, of IPv4 (unix.AF_INET) or IPv6.
func (c *Conn) Routes(family byte) ([]Route, error) {
	fixed := make([]byte, unix.SizeofRtMsg)
	fixed[0] = family
	return list(c, newMessage(unix.RTM_GETROUTE, unix.NLM_F_DUMP, fixed...), func(data []byte) (Route, bool, error) {
		r, err := parseRoute(data)
		return r, err == nil && data[0] == family && r.To.IsValid(), err
	})
}

func parseRoute(data []byte) (r Route, err error) {
	to := netip.IPv4Unspecified()
	if len(data) > 0 && data[0] == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	err = attributes(data, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.Index = int(number(value))
		case unix.RTA_TABLE:
			r.Table = int(number(value))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.Gateway = true
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(value)
		}
	})
	if err != nil {
		return r, err
	}
	r.To, r.Scope, r.Type = netip.PrefixFrom(to, int(data[1])), data[6], data[7]
	if r.Table == 0 {
		r.Table = int(data[4])
	}
	r.raw = bytes.Clone(data)
	return r, nil
}

package floatingip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

// place finds where the address belongs, as ocf:heartbeat:IPaddr2 does: what the parameters leave open, the routes say.
func (a *agent) place(k *rtnl.Conn) (rtnl.Address, rtnl.Link, error) {
	address := rtnl.Address{Preferred: rtnl.Forever}
	nic, label := a.where()
	var link rtnl.Link
	if nic != "" {
		var err error
		if link, err = k.LinkByName(nic); errors.Is(err, unix.ENODEV) {
			return address, link, ocf.Errorf(ocf.BadArgument, "there is no interface %s on this node: see ip link, and correct nic", nic)
		} else if err != nil {
			return address, link, failed(err, "cannot ask the kernel for %s", nic)
		}
	}
	routes, err := k.Routes(a.family())
	if err != nil {
		return address, link, failed(err, "cannot ask the kernel for routes")
	}
	route := choose(routes, a.ip, a.prefix, link.Index)
	bits := a.prefix
	switch {
	case bits < 0 && route == nil && nic != "":
		return address, link, ocf.Errorf(ocf.Generic, "no network of %s is at %s by the routes: set cidr_netmask, or give %s an address of its own there", a.ip, nic, nic)
	case route == nil && nic == "":
		return address, link, ocf.Errorf(ocf.Generic, "no interface is in the network of %s by the routes: set nic and cidr_netmask, or give one an address there", a.ip)
	case bits < 0:
		bits = route.To.Bits()
	}
	if nic == "" {
		if link, err = k.LinkByIndex(route.Index); err != nil {
			return address, link, failed(err, "cannot ask the kernel for interface %d", route.Index)
		}
	}
	address.Index, address.Prefix = link.Index, netip.PrefixFrom(a.ip, bits)
	if a.ip.Is6() {
		address.Preferred = a.preferred
		if a.noDAD {
			address.Flags |= unix.IFA_F_NODAD
		}
	} else {
		if a.ip.IsLoopback() {
			address.Scope = unix.RT_SCOPE_HOST
		}
		if label != "" {
			address.Label = link.Name + ":" + label
		}
		if len(address.Label) >= unix.IFNAMSIZ {
			return address, link, ocf.Errorf(ocf.BadArgument, "the label %s has more than 15 characters: shorten iflabel", address.Label)
		}
		if address.Broadcast, err = a.broadcastOf(k, address.Prefix, route); err != nil {
			return address, link, err
		}
	}
	if a.without(k, route, address) {
		address.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	return address, link, nil
}

// without says that the address is to make no route to its network: as noprefixroute has it, and where that of IPv6 is at the
// interface by other means than an address (a router's word, by hand, NetworkManager). The kernel would make such a route its own,
// or another one, and with the address remove either.
func (a *agent) without(k *rtnl.Conn, route *rtnl.Route, address rtnl.Address) bool {
	if a.noRoute {
		return true
	}
	if route == nil || a.ip.Is4() || route.To != address.Prefix.Masked() || route.Index != address.Index {
		return false
	}
	all, err := k.Addresses(inet6)
	return err == nil && !slices.ContainsFunc(all, func(o rtnl.Address) bool {
		return o.Index == address.Index && o.Prefix.Masked() == route.To && o.Flags&unix.IFA_F_NOPREFIXROUTE == 0
	})
}

// choose is the route to the network that the address is in: of those without a gateway, and at that interface if it is
// known (not 0), the one to the smallest network, and the last of equal ones. bits, if not negative, is the least a network
// may have. A route to one host, or to all, says nothing of a network.
func choose(routes []rtnl.Route, ip netip.Addr, bits, index int) *rtnl.Route {
	if bits < 0 {
		bits = ip.BitLen()
	}
	best := func(table int, kind, scope byte) (best *rtnl.Route) {
		for i, r := range routes {
			n := r.To.Bits()
			switch {
			case r.Table != table || r.Type != kind || r.Gateway || ip.Is4() && r.Scope != scope:
			case r.Index == 0 || index != 0 && r.Index != index:
			case n == 0 || n == ip.BitLen() || n > bits || !r.To.Contains(ip):
			case best == nil || n >= best.To.Bits():
				best = &routes[i]
			}
		}
		return best
	}
	route := best(unix.RT_TABLE_MAIN, unix.RTN_UNICAST, unix.RT_SCOPE_LINK)
	if route == nil && ip.Is4() && ip.IsLoopback() { // its network is in no other table
		route = best(unix.RT_TABLE_LOCAL, unix.RTN_LOCAL, unix.RT_SCOPE_HOST)
	}
	return route
}

// broadcastOf is the broadcast address that the parameter says, or that the interface's own address in the network has.
func (a *agent) broadcastOf(k *rtnl.Conn, prefix netip.Prefix, route *rtnl.Route) (netip.Addr, error) {
	switch {
	case a.broadcast == "+" || a.broadcast == "-":
		if prefix.Bits() > 30 { // there is no room for one
			return netip.Addr{}, nil
		}
		first := binary.BigEndian.Uint32(prefix.Masked().Addr().AsSlice())
		if a.broadcast == "+" {
			first |= 1<<(32-prefix.Bits()) - 1
		}
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first))), nil
	case a.broadcast != "":
		return netip.ParseAddr(a.broadcast)
	case route == nil || !route.Source.IsValid():
		return netip.Addr{}, nil
	}
	own, err := k.Addresses(inet)
	if err != nil {
		return netip.Addr{}, failed(err, "cannot ask the kernel for addresses")
	}
	for _, address := range own {
		if address.Prefix.Addr() == route.Source {
			return address.Broadcast, nil
		}
	}
	return netip.Addr{}, nil
}

// validateAll looks at level 10 whether this node has a place for the address.
func (a *agent) validateAll(ctx context.Context, r *ocf.Request) error {
	if r.Level < 10 {
		return nil
	}
	return a.in(func(_ context.Context, r *ocf.Request, k *rtnl.Conn) error {
		_, link, err := a.place(k)
		if nic, _ := a.where(); err != nil || nic != "" {
			return err
		}
		routes, err := k.Routes(a.family())
		if err != nil {
			return failed(err, "cannot ask the kernel for routes")
		}
		// Another interface in the same network: the order of the kernel's routes decides, which another node may have otherwise.
		chosen := choose(routes, a.ip, a.prefix, link.Index)
		others := slices.DeleteFunc(slices.Clone(routes), func(o rtnl.Route) bool { return o.Index == link.Index })
		if o := choose(others, a.ip, a.prefix, 0); o != nil && chosen != nil && o.To == chosen.To {
			other, err := k.LinkByIndex(o.Index)
			if err != nil {
				return failed(err, "cannot ask the kernel for interface %d", o.Index)
			}
			r.Log.Warn(fmt.Sprintf("%s and %s are both in the network of %s by the routes, and %s is taken: set nic", link.Name, other.Name, a.ip, link.Name))
		}
		return nil
	})(ctx, r)
}

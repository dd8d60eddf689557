package floatingip

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

// stop removes the address, wherever on this node it is.
func (a *agent) stop(_ context.Context, r *ocf.Request, k *rtnl.Conn) error {
	if !a.ip.IsValid() {
		return ocf.Errorf(ocf.Generic, "cannot tell which one to stop: ip is not set")
	}
	mine, err := a.here(k)
	if err != nil {
		return err
	}
	for _, address := range mine {
		r.Step("removing %s", at(k, address))
		if err := a.remove(r, k, address); err != nil {
			return err
		}
		r.Log.Info("the address was removed", "address", address.Prefix.String())
	}
	if mine, err = a.here(k); err == nil && len(mine) > 0 {
		err = ocf.Errorf(ocf.Generic, "%s was removed, and is here again: find out who adds it", list(k, mine))
	}
	return err
}

// remove removes one address, and nothing else. With the first address of a network at an interface the kernel removes the
// others of that network there too, unless promote_secondaries is set; and with the last of IPv4 all routes by the interface.
func (a *agent) remove(r *ocf.Request, k *rtnl.Conn, address rtnl.Address) error {
	undo := func() error { return nil }
	if a.ip.Is4() && address.Flags&unix.IFA_F_SECONDARY == 0 {
		defer promote(k, address.Index)()
		addresses, err := k.Addresses(inet)
		if err != nil {
			return failed(err, "cannot ask the kernel for addresses")
		}
		routes, err := k.Routes(inet)
		if err != nil {
			return failed(err, "cannot ask the kernel for routes")
		}
		undo = func() error { return errors.Join(restore(r, k, addresses, address), reroute(r, k, routes, address)) }
	}
	if err := k.Delete(address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return failed(err, "cannot remove %s", at(k, address))
	}
	return undo()
}

// restore puts those of the addresses there again that went with one.
func restore(r *ocf.Request, k *rtnl.Conn, before []rtnl.Address, removed rtnl.Address) error {
	now, err := k.Addresses(inet)
	if err != nil {
		return failed(err, "cannot ask the kernel for addresses")
	}
	for _, was := range before {
		if was.Same(removed) || was.Index != removed.Index || !removed.Prefix.Masked().Contains(was.Prefix.Addr()) || slices.ContainsFunc(now, was.Same) {
			continue
		}
		r.Log.Warn("the kernel removed another address with ours (net.ipv4.conf.all.promote_secondaries is 0): it is put there again", "address", at(k, was))
		if err := k.Restore(was); err != nil && !errors.Is(err, unix.EEXIST) {
			return failed(err, "%s was removed with %s, and cannot be put there again", at(k, was), removed.Prefix.Addr())
		}
	}
	return nil
}

// reroute puts those of the routes there again that went with an address and do without it. Others, by a gateway of its
// network, have gone with it.
func reroute(r *ocf.Request, k *rtnl.Conn, before []rtnl.Route, removed rtnl.Address) error {
	now, err := k.Routes(inet)
	if err != nil {
		return failed(err, "cannot ask the kernel for routes")
	}
	for _, was := range before {
		if was.Index != removed.Index || was.Automatic() || slices.ContainsFunc(now, was.Same) {
			continue
		}
		err := k.RestoreRoute(was)
		r.Log.Warn("the kernel removed a route with the address: it is put there again, if it does without", "route", was.To.String(), "error", err)
	}
	return nil
}

// promote has the kernel keep the other addresses of an interface when the first goes, and returns what ends that.
func promote(k *rtnl.Conn, index int) (end func()) {
	link, err := k.LinkByIndex(index)
	if err != nil {
		return func() {}
	}
	// A dot in a name, as in eth0.5, stands as it is in a path.
	path := "/proc/sys/net/ipv4/conf/" + link.Name + "/promote_secondaries"
	was, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(was)) != "0" || os.WriteFile(path, []byte("1"), 0o644) != nil {
		return func() {} // where it cannot be set, what goes is put there again
	}
	return func() { _ = os.WriteFile(path, was, 0o644) }
}

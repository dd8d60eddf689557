package floatingip

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

// stop removes the address, wherever on this node it is.
func (a *agent) stop(ctx context.Context, r *ocf.Request, k *rtnl.Conn) error {
	if !a.ip.IsValid() {
		return ocf.Errorf(ocf.Generic, "cannot tell which one to stop: ip is not set")
	}
	mine, err := a.here(k)
	if err != nil {
		return err
	}
	for _, address := range mine {
		r.Step("removing %s", at(k, address))
		if err := a.remove(ctx, r, k, address); err != nil {
			return err
		}
		r.Log.Info("the address was removed", "address", address.Prefix.String())
	}
	if a.ip.Is6() && a.unpreferred {
		_ = k.RemoveLabel(a.ip, uint32(a.addrLabel)) // that of an address that is not here does nothing
	}
	_ = os.Remove(a.answer(r))
	if mine, err = a.here(k); err == nil && len(mine) > 0 {
		err = ocf.Errorf(ocf.Generic, "%s was removed, and is here again: find out who adds it", list(k, mine))
	}
	return err
}

// changing is held by who adds or removes an address: a stop that puts others there again must not meet the stop of one of those.
// Where there is no lock it is done without.
func (a *agent) changing(ctx context.Context, r *ocf.Request) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout/4)
	defer cancel()
	release, err := lock.Take(ctx, filepath.Join(r.TempDir(), "openstack-"+r.Agent+".changing"))
	if err != nil {
		r.Log.Warn("it is not known whether another address is removed at the same time", "error", err)
		return func() {}
	}
	return release
}

// remove removes one address, and nothing else. With the first address of a network at an interface the kernel removes the
// others of that network there too, unless promote_secondaries is set; with the last of IPv4 all routes by the interface, with
// any of IPv4 the routes from it, and with one of IPv6 any route to its network.
func (a *agent) remove(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address) error {
	defer a.changing(ctx, r)()
	routes, err := k.Routes(a.family())
	if err != nil {
		return failed(err, "cannot ask the kernel for routes")
	}
	undo := func() error { return nil }
	if a.ip.Is4() && address.Flags&unix.IFA_F_SECONDARY == 0 {
		end, promoted := promote(k, address.Index)
		defer end()
		if !promoted {
			addresses, err := k.Addresses(inet)
			if err != nil {
				return failed(err, "cannot ask the kernel for addresses")
			}
			undo = func() error { return restore(r, k, addresses, address) }
		}
	}
	if err := k.Delete(address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return failed(err, "cannot remove %s", at(k, address))
	}
	return errors.Join(undo(), a.reroute(r, k, routes, address))
}

// restore puts those of the addresses there again that went with one.
func restore(r *ocf.Request, k *rtnl.Conn, before []rtnl.Address, removed rtnl.Address) error {
	now, err := k.Addresses(inet)
	if err != nil {
		return failed(err, "cannot ask the kernel for addresses")
	}
	for _, was := range before {
		if was.Same(removed) || was.Index != removed.Index || was.Prefix.Masked() != removed.Prefix.Masked() || slices.ContainsFunc(now, was.Same) {
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
// network, have gone with it; but the way to everywhere that it was the source for stays, from another one.
func (a *agent) reroute(r *ocf.Request, k *rtnl.Conn, before []rtnl.Route, removed rtnl.Address) error {
	now, err := k.Routes(a.family())
	if err != nil {
		return failed(err, "cannot ask the kernel for routes")
	}
	for _, was := range before {
		if was.Index != removed.Index || was.Automatic() || slices.ContainsFunc(now, was.Same) {
			continue
		}
		from := was.Source == removed.Prefix.Addr()
		if from && (was.To.Bits() > 0 || was.Table != unix.RT_TABLE_MAIN) {
			continue
		}
		if err := k.RestoreRoute(was, !from); !errors.Is(err, unix.EEXIST) { // of IPv6, what is listed of a route changes
			r.Log.Warn("the kernel removed a route with the address: it is put there again, if it does without", "route", was.To.String(), "error", err)
		}
	}
	return nil
}

// promote has the kernel keep the other addresses of an interface when the first goes, and returns what ends that. Where it
// cannot be set (done is false), what goes has to be put there again.
func promote(k *rtnl.Conn, index int) (end func(), done bool) {
	link, err := k.LinkByIndex(index)
	if err != nil {
		return func() {}, false
	}
	// A dot in a name, as in eth0.5, stands as it is in a path.
	path := "/proc/sys/net/ipv4/conf/" + link.Name + "/promote_secondaries"
	was, err := os.ReadFile(path)
	switch {
	case err == nil && strings.TrimSpace(string(was)) != "0":
		return func() {}, true
	case err != nil || os.WriteFile(path, []byte("1"), 0o644) != nil:
		return func() {}, false
	}
	return func() { _ = os.WriteFile(path, was, 0o644) }, true
}

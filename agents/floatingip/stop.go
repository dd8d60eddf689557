package floatingip

import (
	"context"
	"errors"
	"os"
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

// remove removes one address, and no other. With the first address of a network at an interface the kernel removes the
// others of that network there too, unless promote_secondaries is set.
func (a *agent) remove(r *ocf.Request, k *rtnl.Conn, address rtnl.Address) error {
	var before []rtnl.Address
	if a.ip.Is4() && address.Flags&unix.IFA_F_SECONDARY == 0 {
		defer promote(k, address.Index)()
		var err error
		if before, err = k.Addresses(inet); err != nil {
			return failed(err, "cannot ask the kernel for addresses")
		}
	}
	if err := k.Delete(address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return failed(err, "cannot remove %s", at(k, address))
	}
	return a.restore(r, k, before, address)
}

// restore puts those of the addresses there again that went with one.
func (a *agent) restore(r *ocf.Request, k *rtnl.Conn, before []rtnl.Address, removed rtnl.Address) error {
	if len(before) == 0 {
		return nil
	}
	now, err := k.Addresses(inet)
	if err != nil {
		return failed(err, "cannot ask the kernel for addresses")
	}
	left := map[rtnl.Key]bool{}
	for _, address := range now {
		left[address.Key()] = true
	}
	for _, address := range before {
		if left[address.Key()] || address.Key() == removed.Key() || address.Index != removed.Index || !removed.Prefix.Masked().Contains(address.Prefix.Addr()) {
			continue
		}
		r.Log.Warn("the kernel removed another address with ours (net.ipv4.conf.all.promote_secondaries is 0): it is put there again", "address", at(k, address))
		if err := k.Restore(address); err != nil && !errors.Is(err, unix.EEXIST) {
			return failed(err, "%s was removed with %s, and cannot be put there again", at(k, address), a.ip)
		}
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

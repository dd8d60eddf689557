package floatingip

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/neighbour"
	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

// settle is for how long a start waits for the carrier of an interface that it has switched on.
const settle = 8 * time.Second

// teller is what the process that tells the network is known by, beside the parameters that it has from the start.
const teller = "of_start"

// start puts the address where it belongs, and tells the network.
func (a *agent) start(ctx context.Context, r *ocf.Request, k *rtnl.Conn) error {
	events, err := rtnl.Open(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR) // from now on, so that none is missed
	if err != nil {
		return failed(err, "cannot ask the kernel for addresses")
	}
	defer events.Close()
	address, link, err := a.served(k)
	if err != nil {
		return err
	}
	added := address == nil
	if added {
		if address, link, err = a.add(ctx, r, k); err != nil {
			return err
		}
	}
	if link, err = a.up(ctx, r, k, events, link); err == nil {
		err = a.detected(ctx, r, k, events)
	}
	if ocf.CodeOf(err) != ocf.OK && ocf.CodeOf(err) != ocf.Degraded {
		if added { // nobody should find it here
			if undo := a.stop(ctx, r, k); undo != nil {
				r.Log.Warn("the address is left", "error", undo)
			}
		}
		return err
	}
	if err != nil {
		r.Log.Warn("started with a handicap", "error", err)
	}
	if link.Carrier() {
		a.tell(ctx, r, k, *address, link)
	}
	return nil
}

// add adds the address.
func (a *agent) add(ctx context.Context, r *ocf.Request, k *rtnl.Conn) (*rtnl.Address, rtnl.Link, error) {
	r.Step("looking where %s belongs", a.ip)
	address, link, err := a.place(k)
	if err != nil {
		return nil, link, err
	}
	if a.probe && a.ip.Is4() {
		mac, err := a.other(r, k, link, listen)
		if err != nil {
			return nil, link, failed(err, "cannot ask the network who has %s", a.ip)
		}
		if mac != nil {
			return nil, link, ocf.Errorf(ocf.Generic, "another host, with MAC %s, has %s: it has to give it up first (found behind %s)", mac, a.ip, link.Name)
		}
	}
	r.Step("adding %s to %s", address.Prefix, link.Name)
	release := a.changing(ctx, r)
	if a.ip.Is6() && a.unpreferred {
		if err := k.SetLabel(a.ip, uint32(a.addrLabel)); err != nil && !errors.Is(err, unix.EEXIST) {
			r.Log.Warn("the address gets no label: connections that this node makes may come from it", "error", err)
		}
	}
	err = k.Add(address)
	release()
	switch {
	case errors.Is(err, unix.EACCES) && a.ip.Is6():
		return nil, link, ocf.Errorf(ocf.BadArgument, "IPv6 is switched off at %s: set net.ipv6.conf.%s.disable_ipv6=0", link.Name, link.Name)
	case err != nil && !errors.Is(err, unix.EEXIST): // two starts at once
		return nil, link, failed(err, "cannot add %s to %s", address.Prefix, link.Name)
	}
	r.Log.Info("the address was added", "address", address.Prefix.String(), "interface", link.Name, "broadcast", address.Broadcast.String(), "label", address.Label)
	return &address, link, nil
}

// up switches the interface on if it is off, and waits until it is connected.
func (a *agent) up(ctx context.Context, r *ocf.Request, k, events *rtnl.Conn, link rtnl.Link) (rtnl.Link, error) {
	if !link.Up() {
		r.Log.Info("the interface is switched on", "interface", link.Name)
		if err := k.SetUp(link.Index); err != nil {
			return link, failed(err, "cannot switch %s on", link.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		now, err := k.LinkByIndex(link.Index)
		if err != nil {
			return link, failed(err, "%s has gone", link.Name)
		}
		if now.Carrier() || !a.check && link.Up() { // who may do without does not wait for what was not there before
			return now, nil
		}
		r.Step("waiting for the carrier of %s", link.Name)
		if err := events.Wait(ctx); err != nil {
			return now, nil // a look says the rest
		}
	}
}

// detected waits until the kernel has found that nobody else has the address (IPv6), and looks whether all is well.
func (a *agent) detected(ctx context.Context, r *ocf.Request, k, events *rtnl.Conn) error {
	for {
		address, link, err := a.served(k)
		if err == nil && address == nil {
			return ocf.Errorf(ocf.Generic, "%s was added, and somebody removed it at once", a.ip)
		}
		if err != nil {
			return err
		}
		err = a.well(*address, link)
		if address.Flags&unix.IFA_F_TENTATIVE == 0 || address.Flags&unix.IFA_F_DADFAILED != 0 || !link.Carrier() || err == nil {
			return err
		}
		r.Step("waiting for the end of duplicate address detection of %s at %s", a.ip, link.Name)
		if err := events.Wait(ctx); err != nil {
			return err
		}
	}
}

// tell tells the network arp_count times that the address is here: by a process of its own, unless that is not wanted. The
// first is not left out for the start to send: to close a packet socket takes the kernel longer than all else of a start.
func (a *agent) tell(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link) {
	if a.background && neighbour.Can(link) {
		if now, _, err := a.served(k); err == nil && now != nil {
			_ = a.leave(r, *now, "?") // else the first monitor asks
		}
		err := a.repeat(r, a.arpCount)
		if err == nil {
			return
		}
		_ = os.Remove(a.answer(r))
		r.Log.Warn("the network is told by the start itself", "error", err)
	}
	a.announce(ctx, r, k, address, link, a.arpCount)
}

// repeat starts the process that tells the network n times, and then asks it who else has the address: a monitor, which tells by
// arp_count_refresh, and never adds an address.
func (a *agent) repeat(r *ocf.Request, n int) error {
	lasts := time.Duration(n*a.arpInterval)*time.Millisecond + time.Minute
	env := []string{
		"OCF_RESKEY_arp_count_refresh=" + strconv.Itoa(n), "OCF_CHECK_LEVEL=0", "OCF_RESKEY_CRM_meta_interval=1", "OCF_RESKEY_CRM_meta_" + teller + "=true",
		"OCF_RESKEY_crm_feature_set=", // not the cluster's own, so that it does not stay
		"OCF_RESKEY_CRM_meta_timeout=" + strconv.FormatInt(lasts.Milliseconds(), 10),
	}
	for _, was := range os.Environ() {
		name, _, _ := strings.Cut(was, "=")
		if !slices.ContainsFunc(env, func(now string) bool { return strings.HasPrefix(now, name+"=") }) {
			env = append(env, was)
		}
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	files := []uintptr{uintptr(null), uintptr(null), uintptr(null)}
	_, err = syscall.ForkExec("/proc/self/exe", []string{r.Agent, ocf.Monitor}, &syscall.ProcAttr{Dir: "/", Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}})
	return err
}

// announce tells the network n times that the address is here, as long as it is.
func (a *agent) announce(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link, n int) {
	if !neighbour.Can(link) {
		return
	}
	for i := range n {
		if i > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(a.arpInterval) * time.Millisecond):
			}
		}
		if now, at, err := a.served(k); err != nil || now == nil || at.Index != address.Index { // it may have been stopped meanwhile
			return
		}
		if err := neighbour.Announce(link, a.ip); err != nil {
			r.Log.Warn("the network was not told where the address is", "address", a.ip.String(), "interface", link.Name, "error", err)
		}
	}
}

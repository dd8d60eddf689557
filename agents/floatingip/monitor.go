package floatingip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/neighbour"
	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

const (
	inet  = unix.AF_INET
	inet6 = unix.AF_INET6

	// listen is for how long the network is asked who has the address: who has, answers within milliseconds.
	listen = 500 * time.Millisecond
	// listenFirst is for how long the first monitor after a start asks, where nobody else does: Pacemaker may start what comes next
	// in the group only when it has ended. Who answers later is told by the one after it.
	listenFirst = 50 * time.Millisecond
	// first is how long after the address was added a monitor may be that one.
	first = 20 * time.Second
	// askEvery is how long level 0 goes by what was found, before it asks the network again.
	askEvery = time.Minute
	// defendEvery is the same while another host has the address: RFC 5227, 2.4, DEFEND_INTERVAL.
	defendEvery = 10 * time.Second
	// quiet is for how long another host says nothing when it has said for now that it has the address: IPaddr2 says so five times,
	// 0.2 s apart.
	quiet = 500 * time.Millisecond
	// quiets is after how many of them in a row it is not waited for any more: arping says so once a second.
	quiets = 3
	// defendAtMost is for how long one monitor answers.
	defendAtMost = 5 * time.Second
)

// in makes an action of one that asks the kernel, in the network namespace that is meant.
func (a *agent) in(do func(context.Context, *ocf.Request, *rtnl.Conn) error) func(context.Context, *ocf.Request) error {
	return func(ctx context.Context, r *ocf.Request) error {
		if a.namespace != "" {
			switch err := rtnl.Enter(a.namespace); { // what is not there holds no address
			case errors.Is(err, fs.ErrNotExist) && r.Action == ocf.Stop:
				return nil
			case errors.Is(err, fs.ErrNotExist) && (r.Action == ocf.Monitor || r.Action == ocf.Status):
				return ocf.Errorf(ocf.NotRunning, "%s is not on this node: there is no network namespace %s", a.ip, a.namespace)
			case errors.Is(err, fs.ErrNotExist):
				return ocf.Errorf(ocf.BadArgument, "there is no network namespace %s on this node: see ip netns list", a.namespace)
			case err != nil:
				return failed(err, "cannot enter the network namespace %s", a.namespace)
			}
		}
		k, err := rtnl.Open()
		if err != nil {
			return failed(err, "cannot ask the kernel for addresses")
		}
		defer k.Close()
		return do(ctx, r, k)
	}
}

// failed carries the exit code of what the kernel refused.
func failed(err error, format string, args ...any) error {
	code := ocf.Generic
	if errors.Is(err, unix.EPERM) {
		code = ocf.Permission
	}
	return ocf.Errorf(code, "%s: %w", fmt.Sprintf(format, args...), err)
}

// here are this node's addresses that are meant: those of that IP, whoever put them there. lo may hold it for another
// purpose (a balancer's servers do), and one that begins with fe80 may be at every interface.
func (a *agent) here(k *rtnl.Conn) ([]rtnl.Address, error) {
	all, err := k.Addresses(a.family())
	if err != nil {
		return nil, failed(err, "cannot ask the kernel for addresses")
	}
	var mine []rtnl.Address
	for _, address := range all {
		if address.Prefix.Addr() == a.ip && (address.Index != rtnl.Loopback || a.ip.IsLoopback() || a.nic == "lo") {
			mine = append(mine, address)
		}
	}
	if len(mine) == 0 || a.ip.Is4() || !a.ip.IsLinkLocalUnicast() {
		return mine, nil
	}
	nic, _ := a.where()
	link, err := k.LinkByName(nic)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	} else if err != nil {
		return nil, failed(err, "cannot ask the kernel for %s", nic)
	}
	for _, address := range mine {
		if address.Index == link.Index {
			return []rtnl.Address{address}, nil
		}
	}
	return nil, nil
}

// served is the address as it should be, and its interface; a nil address is nowhere on this node.
func (a *agent) served(k *rtnl.Conn) (*rtnl.Address, rtnl.Link, error) {
	mine, err := a.here(k)
	if err != nil || len(mine) == 0 {
		return nil, rtnl.Link{}, err
	}
	nic, _ := a.where()
	for _, address := range mine {
		link, err := k.LinkByIndex(address.Index)
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return nil, link, failed(err, "cannot ask the kernel for interface %d", address.Index)
		}
		if err == nil && (a.prefix < 0 || a.prefix == address.Prefix.Bits()) && (nic == "" || a.named(k, nic, link)) {
			return &address, link, nil
		}
	}
	want := ""
	if a.prefix >= 0 {
		want = fmt.Sprintf(" as /%d", a.prefix)
	}
	if nic != "" {
		want += " at " + nic
	}
	return nil, rtnl.Link{}, ocf.Errorf(ocf.Generic, "this node has %s, and not%s, as the parameters have it: a stop removes it; correct nic or cidr_netmask", list(k, mine), want)
}

// named tells whether an interface is called that, be it by an alternative name.
func (a *agent) named(k *rtnl.Conn, nic string, link rtnl.Link) bool {
	if link.Name == nic {
		return true
	}
	other, err := k.LinkByName(nic)
	return err == nil && other.Index == link.Index
}

// monitor is levels 0 and 10.
func (a *agent) monitor(ctx context.Context, r *ocf.Request, k *rtnl.Conn) error {
	if r.Stays() { // whatever changes from here on is an event to look again
		if events, err := rtnl.Open(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err == nil {
			r.Release(events)
			if a.arpRefresh == 0 { // else each monitor tells the network
				r.Told()
			}
		}
	}
	address, link, err := a.served(k)
	switch {
	case err != nil:
		return err
	case address == nil:
		return ocf.Errorf(ocf.NotRunning, "%s is not on this node", a.ip)
	}
	if r.Stays() {
		a.watch(r, *address, link)
	}
	err = a.well(*address, link)
	teller := r.Meta(teller) != ""
	switch {
	case err != nil || teller:
	case r.Level >= 10:
		err = a.alone(ctx, r, k, *address, link)
	case !r.Probe():
		err = a.known(ctx, r, k, *address, link)
	}
	if !r.Probe() && link.Carrier() && ocf.CodeOf(err) != ocf.Generic && a.arpRefresh > 0 {
		a.announce(ctx, r, k, *address, link, a.arpRefresh)
	}
	if teller {
		a.hear(r, k, *address, link)
	}
	return err
}

// age is for how long the address has been there.
func age(address rtnl.Address) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return first
	}
	return time.Duration(now.Nano()) - address.Made
}

// answer is the file in which whoever asks the network leaves who else answered for an address: of which address, by when it was
// made, and the MAC; "?" is not known, "-" nobody, "!" somebody who has said so unasked.
func (a *agent) answer(r *ocf.Request) string {
	return r.TempFile(".answer")
}

// leave writes it.
func (a *agent) leave(r *ocf.Request, address rtnl.Address, who string) error {
	return os.WriteFile(a.answer(r), fmt.Appendf(nil, "%d %s", address.Made, who), 0o600)
}

// hear asks the network who else has the address, and leaves the answer.
func (a *agent) hear(r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link) {
	who := "-"
	mac, err := a.other(r, k, link, listen)
	switch now, _, gone := a.served(k); {
	case gone != nil || now == nil || now.Made != address.Made: // it was stopped meanwhile
		return
	case err != nil:
		who = "?"
	case mac != nil:
		who = mac.String()
	}
	if err := a.leave(r, address, who); err != nil {
		r.Log.Warn("who else has the address is not told to the monitors", "error", err)
	}
}

// heard is what was found of this address when the network was asked last, and when that was; ok is false if nobody has asked.
func (a *agent) heard(r *ocf.Request, address rtnl.Address) (who string, when time.Time, ok bool) {
	file := a.answer(r)
	b, _ := os.ReadFile(file)
	made, who, _ := strings.Cut(string(b), " ")
	info, err := os.Stat(file)
	if err != nil || made != strconv.FormatInt(int64(address.Made), 10) {
		return "", time.Time{}, false
	}
	return who, info.ModTime(), true
}

// says is what a monitor answers to what was found.
func (a *agent) says(who string, link rtnl.Link) error {
	if !disputed(who) {
		return nil
	}
	return a.shared(who, link)
}

// claimed is who has the address when somebody has said that he has, and was not asked yet.
const claimed = "!"

// disputed tells whether an answer is that another host has the address.
func disputed(who string) bool { return who != "" && who != "?" && who != "-" }

// watch has a monitor that stays ask the network at once when another host says that it has the address.
func (a *agent) watch(r *ocf.Request, address rtnl.Address, link rtnl.Link) {
	if !neighbour.Can(link) {
		return
	}
	l, err := neighbour.Listen(link, a.ip)
	if err != nil { // it asks once a minute
		r.Log.Warn("nobody listens whether another host says that it has the address", "error", err)
		return
	}
	r.Release(&claims{l, func() {
		if who, when, ok := a.heard(r, address); ok && disputed(who) && time.Since(when) < defendEvery {
			return // it is known, and the network was told
		}
		_ = a.leave(r, address, claimed)
	}})
}

// claims leaves to the next question, before which it is closed, that another host was heard.
type claims struct {
	*neighbour.Listener
	leave func()
}

func (c *claims) Close() error {
	if c.Heard() {
		c.leave()
	}
	return c.Listener.Close()
}

// shared says that another host has the address. To restart ours would not help.
func (a *agent) shared(mac string, link rtnl.Link) error {
	return ocf.Errorf(ocf.Degraded, "another host, with MAC %s, has %s too: find it behind %s (a node that was not fenced?)", mac, a.ip, link.Name)
}

// well tells whether an address that is there can be reached.
func (a *agent) well(address rtnl.Address, link rtnl.Link) error {
	switch {
	case !link.Up():
		return ocf.Errorf(ocf.Generic, "%s is at %s, which is switched off: nobody reaches it (ip link set %s up)", a.ip, link.Name, link.Name)
	case !link.Carrier():
		code := ocf.Generic
		if !a.check {
			code = ocf.Degraded
		}
		return ocf.Errorf(code, "%s is at %s, which has no carrier: nobody reaches it: look at its cable, switch, or lower interface", a.ip, link.Name)
	case address.Flags&unix.IFA_F_DADFAILED != 0:
		return ocf.Errorf(ocf.Generic, "another host of the network has %s too: the kernel found it (duplicate address detection) at %s and does not use it", a.ip, link.Name)
	case address.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC) == unix.IFA_F_TENTATIVE:
		return ocf.Errorf(ocf.Degraded, "%s is at %s and not in use yet: duplicate address detection has not ended", a.ip, link.Name)
	}
	return nil
}

// known is what level 0 says of other hosts that have the address: what was found last, and it asks when that is old. That the
// network cannot be asked is no fault of the address.
func (a *agent) known(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link) error {
	who, when, ok := a.heard(r, address)
	if !ok && age(address) < first { // the start after this one must not wait
		return nil
	}
	long := askEvery
	if disputed(who) {
		long = defendEvery
	}
	if since := time.Since(when); ok && who != claimed && since >= 0 && since < long {
		return a.says(who, link)
	}
	err := a.ask(ctx, r, k, address, link, listen)
	if err != nil && ocf.CodeOf(err) != ocf.Degraded {
		r.Log.Warn("it is not known whether another host has the address", "error", err)
		if who != claimed {
			_ = a.leave(r, address, "?")
		}
		return nil
	}
	return err
}

// alone is level 10, which asks each time, but right after a start, when the process that tells the network asks in its place.
func (a *agent) alone(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link) error {
	if age(address) >= first {
		return a.ask(ctx, r, k, address, link, listen)
	}
	if who, _, ok := a.heard(r, address); ok && who != claimed {
		return a.says(who, link)
	}
	return a.ask(ctx, r, k, address, link, listenFirst)
}

// ask asks the network: another host that has the address is told by its hardware address. Where one has it, or has just said so, who
// heard that is told where the address is: else he would go to the other one until he asks anew, for up to a minute.
func (a *agent) ask(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link, within time.Duration) error {
	was, _, _ := a.heard(r, address)
	mac, err := a.other(r, k, link, within)
	if err != nil {
		return failed(err, "cannot ask the network who has %s", a.ip)
	}
	who := "-"
	if mac != nil {
		who = mac.String()
	}
	if r.Probe() { // which tells the network nothing: who said so has to be answered yet
		return a.says(who, link)
	}
	_ = a.leave(r, address, who) // else it is asked again
	switch {
	case was == claimed:
		a.defend(ctx, r, k, address, link)
	case disputed(who) || disputed(was):
		a.announce(ctx, r, k, address, link, 1)
	}
	return a.says(who, link)
}

// defend tells the network where the address is, and again when the other host has said so again: who says it last has the clients.
func (a *agent) defend(ctx context.Context, r *ocf.Request, k *rtnl.Conn, address rtnl.Address, link rtnl.Link) {
	l, err := neighbour.Listen(link, a.ip)
	a.announce(ctx, r, k, address, link, 1)
	if err != nil {
		return
	}
	defer l.Close()
	answered, silent := true, 0
	for until := time.Now().Add(defendAtMost); silent < quiets && time.Now().Before(until); {
		if l.Await(quiet) {
			answered, silent = false, 0
			continue
		}
		silent++
		if !answered {
			a.announce(ctx, r, k, address, link, 1)
			answered = true
		}
	}
}

// other is the hardware address of another host that has the address, nil if none says so.
func (a *agent) other(r *ocf.Request, k *rtnl.Conn, link rtnl.Link, within time.Duration) (net.HardwareAddr, error) {
	if !neighbour.Can(link) || !link.Carrier() {
		return nil, nil
	}
	r.Step("asking the network at %s who has %s", link.Name, a.ip)
	links, err := k.Links()
	if err != nil {
		return nil, err
	}
	return neighbour.Other(link, a.ip, within, func(mac net.HardwareAddr) bool {
		for _, l := range links {
			if l.MAC.String() == mac.String() {
				return true
			}
		}
		return false
	})
}

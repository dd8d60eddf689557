package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/ocf"
)

// listening compares where the worker listens with where the configuration wants it.
func listening(c setup, worker *daemon.Process) (handicaps []string, _ error) {
	bound, err := listensOn(worker)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, ocf.Errorf(ocf.Generic, "%s has just ended: %w", worker, errChanged)
	}
	if err != nil {
		return nil, ocf.Errorf(ocf.Generic, "cannot tell where HAProxy listens: %w", err)
	}
	var missing []string
	for _, b := range c.Binds {
		for port := int(b.Low); port <= int(b.High); port++ {
			if at := netip.AddrPortFrom(b.Address, uint16(port)); !b.Elsewhere && !slices.Contains(bound, at) {
				missing = append(missing, fmt.Sprintf("%s of frontend %s (%s)", at, b.Frontend, b.Where))
			}
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return []string{"reload HAProxy if its configuration was edited: it does not listen on " + some(missing)}, nil
}

// takesConnections tells whether any process of it listens for TCP.
func takesConnections(in *instance) bool {
	return slices.ContainsFunc(in.processes(), func(p *daemon.Process) bool {
		bound, err := listensOn(p)
		return err == nil && len(bound) > 0
	})
}

// listensOn are the TCP addresses that the process listens on.
func listensOn(p *daemon.Process) ([]netip.AddrPort, error) {
	all, err := sockets.Of(p.PID, sockets.Listen)
	if err != nil && !p.Alive() {
		err = os.ErrProcessDone
	}
	var list []netip.AddrPort
	for _, l := range all {
		list = append(list, l.Local)
	}
	return list, err
}

// bindable tries the addresses of the configuration; ports that the ones that
// run have may be in use. HAProxy tells such errors too, but on a reload only
// after its old worker has closed all ports for seconds (measured: 2 to 4 on 2.6).
func bindable(c setup, running instances) error {
	var own []netip.AddrPort
	for _, in := range running {
		for _, p := range in.processes() {
			l, err := listensOn(p)
			if err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("cannot tell where HAProxy listens: %w", err)
			}
			own = append(own, l...)
		}
	}
	for _, b := range c.Binds {
		for port := int(b.Low); port <= int(b.High) && !b.Elsewhere; port++ {
			at := netip.AddrPortFrom(b.Address, uint16(port))
			taken := slices.ContainsFunc(own, func(o netip.AddrPort) bool { return o.Port() == at.Port() })
			if err := tryBind(at, b); err != nil && !(errors.Is(err, unix.EADDRINUSE) && taken) {
				return unbindable(at, b, err)
			}
		}
	}
	return nil
}

// unbindable says what is in the way, and what to do about it.
func unbindable(at netip.AddrPort, b haproxy.Bind, err error) error {
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		sysctl := "net.ipv4.ip_nonlocal_bind"
		if at.Addr().Is6() {
			sysctl = "net.ipv6.ip_nonlocal_bind"
		}
		return fmt.Errorf("%s is not on this node: start the floating IP first, or set %s=1, or bind it transparent (frontend %s, %s): %w", at, sysctl, b.Frontend, b.Where, err)
	case !errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("frontend %s cannot listen on %s (%s): %w", b.Frontend, at, b.Where, err)
	}
	if l, found := socketOn(at.Port(), sockets.Listen); found {
		return fmt.Errorf("%s has the port of %s, frontend %s (%s): stop it, or have it listen on an address of its own: %w", holder(l), at, b.Frontend, b.Where, err)
	}
	// A connection out of this node has it for its own end.
	if c, found := socketOn(at.Port(), sockets.Established); found {
		return fmt.Errorf("%s has port %d for its connection to %s: sysctl net.ipv4.ip_local_reserved_ports=%d, then end that connection (frontend %s, %s): %w", holder(c), at.Port(), c.Remote, at.Port(), b.Frontend, b.Where, err)
	}
	return fmt.Errorf("another process has the port of %s, frontend %s (%s): see ss -tanp: %w", at, b.Frontend, b.Where, err)
}

// tryBind binds as HAProxy would, but does not listen, so that nobody is led astray.
func tryBind(at netip.AddrPort, b haproxy.Bind) error {
	family, level, transparent := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(at.Port())}
	if at.Addr().Is6() {
		family, level, transparent = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		sa = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	} else {
		sa.(*unix.SockaddrInet4).Addr = at.Addr().As4()
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	options := []struct {
		level, name int
		want        bool
	}{{unix.SOL_SOCKET, unix.SO_REUSEADDR, true}, {level, transparent, b.Transparent}, {unix.SOL_IPV6, unix.IPV6_V6ONLY, b.V6Only && family == unix.AF_INET6}}
	for _, o := range options {
		if !o.want {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, sa)
}

// socketOn is the socket that has the port for its own.
func socketOn(port uint16, state sockets.State) (sockets.Socket, bool) {
	all, _ := sockets.TCP("self", state)
	i := slices.IndexFunc(all, func(s sockets.Socket) bool { return s.Local.Port() == port })
	if i < 0 {
		return sockets.Socket{}, false
	}
	return all[i], true
}

// holder names the process that has the socket open.
func holder(s sockets.Socket) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && link == "socket:["+s.Inode+"]" {
			pid := strings.Split(fd, "/")[2]
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
		}
	}
	return "another process"
}

package haproxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/ocf"
)

// listening compares where the worker listens with where the configuration wants it.
func (a *agent) listening(_ context.Context, s settings, worker *daemon.Process, add func(string, ...any)) error {
	bound, err := listensOn(worker)
	if errors.Is(err, os.ErrProcessDone) {
		return ocf.Errorf(ocf.Generic, "%s has just ended: %w", worker, errChanged)
	}
	if err != nil {
		return ocf.Errorf(ocf.Generic, "cannot tell where HAProxy listens: %w", err)
	}
	var missing []string
	for _, b := range s.Binds {
		for port := int(b.Low); port <= int(b.High); port++ {
			if at := netip.AddrPortFrom(b.Address, uint16(port)); !b.Elsewhere && !slices.Contains(bound, at) {
				missing = append(missing, fmt.Sprintf("%s of frontend %s (%s)", at, b.Frontend, b.Where))
			}
		}
	}
	if len(missing) > 0 {
		add("reload HAProxy if its configuration was edited: it does not listen on %s", some(missing))
	}
	return nil
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
	files, err := p.Files()
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, link := range files {
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	sockets, err := listeners(strconv.Itoa(p.PID))
	if err != nil && !p.Alive() {
		err = os.ErrProcessDone
	}
	var list []netip.AddrPort
	for _, l := range sockets {
		if own[l.inode] {
			list = append(list, l.at)
		}
	}
	return list, err
}

type listener struct {
	at    netip.AddrPort
	inode string
}

// listeners are the TCP sockets that listen in the network namespace of a
// process ("self", or a pid).
func listeners(pid string) ([]listener, error) {
	theirs, err := os.Readlink("/proc/" + pid + "/ns/net")
	if ours, oerr := os.Readlink("/proc/self/ns/net"); err == nil && oerr == nil && ours == theirs {
		if list, err := diagnose(); err == nil {
			return list, nil
		} // a kernel may be without it
	}
	return listenersInProc(pid)
}

// listenersInProc is the same for any namespace.
func listenersInProc(pid string) ([]listener, error) {
	var list []listener
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + pid + "/net/" + table)
		if errors.Is(err, os.ErrNotExist) && table == "tcp6" {
			continue // no IPv6 here
		}
		if err != nil {
			return nil, err
		}
		l, err := parseListeners(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		list = append(list, l...)
	}
	return list, nil
}

// parseListeners reads proc_pid_net(5)'s tcp or tcp6. The kernel lists sockets
// that listen before all others, and of those there may be many thousands, so
// reading ends with the first of them.
func parseListeners(r io.Reader) ([]listener, error) {
	const listen = "0A" // TCP_LISTEN of include/net/tcp_states.h
	var list []listener
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[0] == "sl" {
			continue
		}
		if f[3] != listen {
			break
		}
		at, err := parseHex(f[1])
		if err != nil {
			return nil, err
		}
		list = append(list, listener{at, f[9]})
	}
	return list, lines.Err()
}

// parseHex reads ADDRESS:PORT in hexadecimal: the address as 32 bit words in
// the machine's byte order, the port as a number.
func parseHex(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(host)
	if err != nil || len(words) != 4 && len(words) != 16 {
		return netip.AddrPort{}, fmt.Errorf("not an address of /proc/net/tcp: %q", text)
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("not an address of /proc/net/tcp: %q", text)
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, _ := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// bindable tries the addresses of the configuration; ports that the ones that
// run have may be in use. HAProxy tells such errors too, but on a reload only
// after its old worker has closed all ports for seconds (measured: 2 to 4 on 2.6).
func bindable(s settings, running instances) error {
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
	for _, b := range s.Binds {
		for port := int(b.Low); port <= int(b.High) && !b.Elsewhere; port++ {
			at := netip.AddrPortFrom(b.Address, uint16(port))
			err := tryBind(at, b)
			switch {
			case err == nil:
			case errors.Is(err, unix.EADDRNOTAVAIL):
				sysctl := "net.ipv4.ip_nonlocal_bind"
				if at.Addr().Is6() {
					sysctl = "net.ipv6.ip_nonlocal_bind"
				}
				return fmt.Errorf("%s is not on this node: start the floating IP first, or set %s=1, or bind it transparent (frontend %s, %s): %w", at, sysctl, b.Frontend, b.Where, err)
			case errors.Is(err, unix.EADDRINUSE):
				if !slices.ContainsFunc(own, func(o netip.AddrPort) bool { return o.Port() == at.Port() }) {
					return fmt.Errorf("%s has the port of %s, frontend %s (%s): stop it, or have it listen on an address of its own: %w", holder(at.Port()), at, b.Frontend, b.Where, err)
				}
			default:
				return fmt.Errorf("frontend %s cannot listen on %s (%s): %w", b.Frontend, at, b.Where, err)
			}
		}
	}
	return nil
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

// holder names the process that listens on the port.
func holder(port uint16) string {
	sockets, err := listeners("self")
	if err != nil {
		return "another process"
	}
	for _, l := range sockets {
		if l.at.Port() != port {
			continue
		}
		fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, fd := range fds {
			if link, err := os.Readlink(fd); err == nil && link == "socket:["+l.inode+"]" {
				pid := strings.Split(fd, "/")[2]
				comm, _ := os.ReadFile("/proc/" + pid + "/comm")
				return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
			}
		}
	}
	return "another process"
}

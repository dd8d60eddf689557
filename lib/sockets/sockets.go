// Package sockets tells which TCP sockets there are on this node, and whose they are. It asks the kernel by sock_diag(7)
// where it can, and reads proc_pid_net(5) where it cannot.
package sockets

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// State is a TCP socket's, as include/net/tcp_states.h numbers it.
type State byte

// The states that are of use here.
const (
	Established State = 1
	Listen      State = 10
)

// Socket is one end of a connection, or one that listens.
type Socket struct {
	Local, Remote netip.AddrPort
	Inode         string // of the file that it is to its process
}

// Of are the sockets in that state that a process has open. The error wraps fs.ErrNotExist when the process has ended.
func Of(pid int, state State) ([]Socket, error) {
	own, err := inodes(pid)
	if len(own) == 0 {
		return nil, err
	}
	all, err := TCP(strconv.Itoa(pid), state)
	var list []Socket
	for _, s := range all {
		if own[s.Inode] {
			list = append(list, s)
		}
	}
	return list, err
}

// First is the first of these sockets that a process has open, and whether there is one. Where it is the first of them,
// which a server opened before its thousands of clients came, the others are not looked at.
func First(pid int, list []Socket) (s Socket, found bool, err error) {
	best := len(list)
	err = eachInode(pid, func(inode []byte) bool {
		for i := range best {
			if list[i].Inode == string(inode) {
				best = i
				break
			}
		}
		return best > 0
	})
	if err != nil || best == len(list) {
		return Socket{}, false, err
	}
	return list[best], true, nil
}

// inodes are those of the sockets that a process has open.
func inodes(pid int) (map[string]bool, error) {
	own := map[string]bool{}
	err := eachInode(pid, func(inode []byte) bool { own[string(inode)] = true; return true })
	return own, err
}

// eachInode calls f with the inode of each socket that a process has open, until f says that it is enough.
func eachInode(pid int, f func(inode []byte) bool) error {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	var buf [64]byte // what is longer is a file's name
	for _, name := range names {
		n, _ := unix.Readlinkat(int(dir.Fd()), name, buf[:])
		inode, ok := bytes.CutPrefix(buf[:max(n, 0)], []byte("socket:["))
		if ok && !f(bytes.TrimSuffix(inode, []byte("]"))) {
			break
		}
	}
	return nil
}

// Unix are the unix sockets that a process listens on, as it named them: a path, deleted or not, or an abstract name
// with @ in front.
func Unix(pid int) ([]string, error) {
	own, err := inodes(pid)
	if len(own) == 0 {
		return nil, err
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/unix")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(b)) {
		var f [7]string // Num RefCount Protocol Flags Type St Inode, then the path with whatever is in it
		path := strings.TrimSuffix(line, "\n")
		for i := range f {
			f[i], path, _ = strings.Cut(strings.TrimLeft(path, " "), " ")
		}
		if path != "" && f[3] == acceptsConnections && own[f[6]] {
			list = append(list, path)
		}
	}
	return list, nil
}

// acceptsConnections is the flag of a socket that listens (SO_ACCEPTCON of linux/net.h).
const acceptsConnections = "00010000"

// TCP are all TCP sockets in that state in the network namespace of a process ("self", or a pid).
func TCP(pid string, state State) ([]Socket, error) {
	theirs, err := os.Readlink("/proc/" + pid + "/ns/net")
	if ours, oerr := os.Readlink("/proc/self/ns/net"); err == nil && oerr == nil && ours == theirs {
		if list, err := diagnose(state); err == nil {
			return list, nil
		} // a kernel may be without it
	}
	return inProc(pid, state)
}

// inProc is the same for any namespace.
func inProc(pid string, state State) ([]Socket, error) {
	var list []Socket
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + pid + "/net/" + table)
		if errors.Is(err, os.ErrNotExist) && table == "tcp6" {
			continue // no IPv6 here
		}
		if err != nil {
			return nil, err
		}
		l, err := parse(f, state)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		list = append(list, l...)
	}
	return list, nil
}

// parse reads proc_pid_net(5)'s tcp or tcp6. The kernel lists sockets that listen before all others, and of those there
// may be many thousands, so reading ends with the first of them if none other is wanted.
func parse(r io.Reader, state State) ([]Socket, error) {
	var list []Socket
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[0] == "sl" {
			continue
		}
		if n, err := strconv.ParseUint(f[3], 16, 8); err != nil || State(n) != state {
			if state == Listen {
				break
			}
			continue
		}
		local, err := parseHex(f[1])
		if err != nil {
			return nil, err
		}
		remote, err := parseHex(f[2])
		if err != nil {
			return nil, err
		}
		list = append(list, Socket{local, remote, f[9]})
	}
	return list, lines.Err()
}

// parseHex reads ADDRESS:PORT in hexadecimal: the address as 32 bit words in the machine's byte order, the port as a
// number.
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

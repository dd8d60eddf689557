// Package sockets tells which TCP sockets there are on this node, and whose they are. It asks the kernel by sock_diag(7)
// where it can, and reads proc_pid_net(5) where it cannot.
package sockets

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
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

// inodes are those of the sockets that a process has open.
func inodes(pid int) (map[string]bool, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	files, err := os.ReadDir(dir)
	own := map[string]bool{}
	for _, f := range files {
		link, _ := os.Readlink(dir + "/" + f.Name())
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return own, err
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

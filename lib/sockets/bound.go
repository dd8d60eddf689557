package sockets

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bound is a socket of this host alone (unix(7)) that has a file. It keeps the file system of that in use, and what a process
// has open of it shows no file.
type Bound struct {
	Path         string // as it was given: it may be relative, and long gone
	Major, Minor int    // of the file system, as in stat(2)
}

// BoundIn are the sockets with a file in a network namespace, by inode; netns is its file, such as /proc/1/ns/net.
func BoundIn(netns string) (map[string]Bound, error) {
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	there, err := os.Readlink(netns)
	if err != nil || here == there {
		return bound()
	}
	type result struct {
		list map[string]Bound
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: no other goroutine may find itself in that namespace
		fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			_ = unix.Close(fd)
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		list, err := bound()
		done <- result{list, err}
	}()
	r := <-done
	return r.list, r.err
}

// bound asks with a unix_diag_req, and reads unix_diag_msg and its attributes (linux/unix_diag.h).
func bound() (map[string]Bound, error) {
	const (
		requestLen, states, show = 24, 4, 12
		showName, showFile       = 1, 2
		messageLen, inode        = 16, 4
		name, file               = 0, 1 // attributes
	)
	request := make([]byte, requestLen)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[states:], ^uint32(0))
	binary.NativeEndian.PutUint32(request[show:], showName|showFile)
	list := map[string]Bound{}
	err := dump(request, messageLen, func(answer []byte) {
		var b Bound
		onFile := false
		for rest := answer[messageLen:]; len(rest) >= unix.SizeofRtAttr; {
			size := int(binary.NativeEndian.Uint16(rest))
			if size < unix.SizeofRtAttr || size > len(rest) {
				return
			}
			value := rest[unix.SizeofRtAttr:size]
			switch kind := binary.NativeEndian.Uint16(rest[2:]); {
			case kind == name:
				b.Path = strings.TrimRight(string(value), "\x00")
			case kind == file && len(value) >= 8: // struct unix_diag_vfs: an inode, and the device as the kernel writes it to itself
				device := binary.NativeEndian.Uint32(value[4:])
				b.Major, b.Minor, onFile = int(device>>20), int(device&(1<<20-1)), true
			}
			rest = rest[min(len(rest), (size+3)&^3):]
		}
		if onFile {
			list[strconv.FormatUint(uint64(binary.NativeEndian.Uint32(answer[inode:])), 10)] = b
		}
	})
	return list, err
}

// Package rtnl asks the kernel for the interfaces, addresses and routes of a network namespace, and has it add and remove
// addresses, by rtnetlink(7). It is as much of that as a floating IP needs. A library for all of netlink would be in the
// binary that all agents are: vishvananda/netlink added half a millisecond to the start of each (4.1 to 4.6 ms), unused;
// jsimonetti/rtnetlink nothing to that, but four modules.
package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection to the kernel, for one goroutine.
type Conn struct {
	fd     int
	answer []byte
}

// Open connects to the kernel's part for the network namespace of the calling thread. groups are the multicast groups
// (unix.RTNLGRP_LINK and others) whose events [Conn.Wait] waits for.
func Open(groups ...int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &Conn{fd: fd}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return c, nil
}

// buffer is where an answer is read. Of a connection that is only watched there is none: to clear one costs as much as to ask.
func (c *Conn) buffer() []byte {
	if c.answer == nil {
		c.answer = make([]byte, 32<<10) // the kernel sends at most that at once
	}
	return c.answer
}

// Close ends the connection.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Enter takes the calling goroutine into a network namespace that has a name (ip-netns(8)), for the rest of its life. The
// error is fs.ErrNotExist if there is none.
func Enter(name string) error {
	fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and nobody else finds himself in there
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// Wait waits for an event of the connection's groups until ctx ends: look again then.
func (c *Conn) Wait(ctx context.Context) error {
	for {
		left := time.Second // ctx may end without a deadline
		if deadline, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(deadline))
		}
		if err := ctx.Err(); err != nil || left <= 0 {
			return context.DeadlineExceeded
		}
		if err := c.timeout(left); err != nil {
			return err
		}
		switch _, _, err := unix.Recvfrom(c.fd, c.buffer(), 0); {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err == nil, errors.Is(err, unix.ENOBUFS): // of more events than fit, some are lost: that is one too
			return nil
		default:
			return fmt.Errorf("netlink: %w", err)
		}
	}
}

// Descriptor is where poll(2) finds an event of the connection's groups (see [ocf.Ender]).
func (c *Conn) Descriptor() (fd int, events int16) { return c.fd, unix.POLLIN }

func (c *Conn) timeout(d time.Duration) error {
	tv := unix.NsecToTimeval(max(d, time.Millisecond).Nanoseconds())
	return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

// message is a request: its header, the fixed part of its kind, and attributes.
type message []byte

func newMessage(kind, flags uint16, fixed ...byte) message {
	m := make(message, unix.SizeofNlMsghdr, 128)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST)
	return append(m, fixed...)
}

func (m message) attr(kind uint16, value []byte) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofRtAttr+len(value)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, value...)
	return append(m, make([]byte, -len(m)&(unix.NLMSG_ALIGNTO-1))...)
}

func (m message) attr32(kind uint16, value uint32) message {
	return m.attr(kind, binary.NativeEndian.AppendUint32(nil, value))
}

// list sends a request for many, and parses each. What the kernel had listed when something changed is listed anew: it may be
// listed twice, and gone.
func list[T any](c *Conn, m message, parse func(data []byte) (v T, is bool, err error)) ([]T, error) {
	var all []T
	for range 5 {
		all = all[:0]
		again, err := c.once(m, func(data []byte) error {
			v, is, err := parse(data)
			if is && err == nil {
				all = append(all, v)
			}
			return err
		})
		if !again {
			return all, err
		}
	}
	return nil, errors.New("netlink: what is asked for changes all the time")
}

// ask sends a request, and calls each with the data of the answer.
func (c *Conn) ask(m message, each func(data []byte) error) error {
	_, err := c.once(m, each)
	return err
}

// once is ask, but for what has changed while the kernel listed it: again says so.
func (c *Conn) once(m message, each func(data []byte) error) (again bool, err error) {
	if err := c.timeout(5 * time.Second); err != nil { // the kernel answers at once, or holds its lock for somebody else
		return false, err
	}
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	if err := unix.Sendto(c.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("netlink: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buffer(), unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, fmt.Errorf("netlink: %w", err)
		case n > len(c.answer):
			return false, fmt.Errorf("netlink: an answer of %d bytes", n)
		}
		messages, err := syscall.ParseNetlinkMessage(c.answer[:n])
		if err != nil {
			return false, fmt.Errorf("netlink: %w", err)
		}
		for _, got := range messages {
			again = again || got.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			last := got.Header.Flags&unix.NLM_F_MULTI == 0
			switch got.Header.Type {
			case unix.NLMSG_DONE:
				return again, nil
			case unix.NLMSG_ERROR:
				if number := -int32(binary.NativeEndian.Uint32(got.Data)); number != 0 {
					return false, unix.Errno(number)
				}
				return false, nil
			}
			if err := each(got.Data); err != nil || last {
				return false, err
			}
		}
	}
}

// attributes calls each with those that follow the fixed part of a message.
func attributes(data []byte, fixed int, each func(kind uint16, value []byte)) error {
	if len(data) < fixed {
		return fmt.Errorf("netlink: %d bytes where %d are needed", len(data), fixed)
	}
	for data = data[fixed:]; len(data) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(data))
		if size < unix.SizeofRtAttr || size > len(data) {
			return fmt.Errorf("netlink: an attribute of %d bytes in %d", size, len(data))
		}
		each(binary.NativeEndian.Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), data[unix.SizeofRtAttr:size])
		data = data[min(len(data), (size+3)&^3):]
	}
	return nil
}

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// socketPrefix begins the abstract socket name of every cluster's supervisor. The kernel drops the name with the
// last descriptor, so a name that can be connected to is a cluster that lives.
const socketPrefix = "@openstack-ocf-cluster/"

// request is what a client asks of a supervisor, one a connection.
type request struct {
	Op     string  // what is to be done, see [supervisor.handle]
	Node   string  `json:",omitempty"`
	Size   int64   `json:",omitempty"`
	Config *Config `json:",omitempty"`
}

// reply is the supervisor's answer; the descriptors of some operations travel beside it.
type reply struct {
	Error  string      `json:",omitempty"`
	Nodes  []NodeState `json:",omitempty"`
	Device string      `json:",omitempty"`
	Events []Event     `json:",omitempty"`
	Fd     *os.File    `json:"-"` // closed by the receiver
}

// NodeState is the state of a node as the rack sees it.
type NodeState struct {
	Name, Addr string
	On         bool              // its init lives
	Cut        bool              // its network cable is unplugged
	Disks      map[string]uint64 // the device numbers of the shared disks, by their paths: each node has one of its own
}

// Event is a request that reached the BMC.
type Event struct {
	Time   time.Time
	From   string // address of the node that asked
	Action string // on, off or reboot
	Node   string
	Error  string // empty: done
}

func call(ctx context.Context, name string, req request) (reply, error) {
	rep, err := roundTrip(ctx, name, req)
	if err == nil && rep.Error != "" {
		err = errors.New(rep.Error)
	}
	if err != nil {
		err = fmt.Errorf("cluster %s: %s: %w", name, strings.TrimSpace(req.Op+" "+req.Node), err)
	}
	return rep, err
}

func roundTrip(ctx context.Context, name string, req request) (rep reply, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socketPrefix+name)
	if err != nil {
		return rep, cmp.Or(ctx.Err(), err) // of a context that is over, package net says that the supervisor has not answered
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	conn := c.(*net.UnixConn)
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return rep, err
	}
	if err := conn.CloseWrite(); err != nil {
		return rep, err
	}
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return rep, err
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		return rep, err
	}
	if oobn > 0 {
		fd, err := parseRights(oob[:oobn])
		if err != nil {
			return rep, err
		}
		rep.Fd = os.NewFile(uintptr(fd), req.Op)
	}
	if n == 0 {
		return rep, errors.New("the supervisor died")
	}
	return rep, json.Unmarshal(append(buf[:n], rest...), &rep)
}

func parseRights(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("control message: %w", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("descriptors in control message: %w", err)
	}
	return fds[0], nil
}

// answer serves one connection with handle. Only root may ask: abstract sockets have no file permissions.
func answer(conn *net.UnixConn, handle func(request) reply) error {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	if cred.Uid != 0 {
		return fmt.Errorf("request from uid %d refused", cred.Uid)
	}
	var req request
	if err := json.NewDecoder(conn).Decode(&req); err != nil {
		return err
	}
	rep := handle(req)
	out, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	var oob []byte
	if rep.Fd != nil {
		defer rep.Fd.Close()
		oob = unix.UnixRights(int(rep.Fd.Fd()))
	}
	n, _, err := conn.WriteMsgUnix(out, oob, nil)
	if err == nil && n < len(out) {
		_, err = conn.Write(out[n:])
	}
	return err
}

// List returns the names of the clusters that live on this machine.
func List() ([]string, error) {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		// Connections to the socket carry its name too; flag 0x10000 (__SO_ACCEPTCON) marks the listener.
		if len(f) == 8 && f[3] == "00010000" && strings.HasPrefix(f[7], socketPrefix) {
			names = append(names, strings.TrimPrefix(f[7], socketPrefix))
		}
	}
	return names, nil
}

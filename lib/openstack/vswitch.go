package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// hasSwitch tells whether ovs-vswitchd serves on this node. Nothing else shows
// it: with it dead the agent answers and reports as ever. An upgrade that
// restarts it is waited for.
func (i *instance) hasSwitch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(5*time.Second, service.Remaining(ctx)/2))
	defer cancel()
	i.r.Step("waiting for ovs-vswitchd to answer")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := askSwitch(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "%w: restart openvswitch: without it no network works on this node", err)
		}
	}
}

func askSwitch(ctx context.Context) error {
	p, err := daemon.Identity{Name: "ovs-vswitchd", Executables: []string{"ovs-vswitchd"}, Test: daemon.OnNode}.Find(ctx)
	if err != nil {
		return err
	}
	if p == nil {
		return errors.New("no ovs-vswitchd runs")
	}
	defer p.Close()
	if err := service.Thawed(p); err != nil {
		return err
	}
	args, err := p.Cmdline(ctx)
	if err != nil {
		return err
	}
	socket := controlSocket(args, p.PID)
	if !files.Exists(socket) {
		return nil // whoever moved it: the process runs
	}
	if err := askControl(ctx, socket); err != nil {
		return fmt.Errorf("%s hangs: %w", p, err)
	}
	return nil
}

// controlSocket is where the daemon takes commands (ovs-vswitchd(8), --unixctl).
func controlSocket(args []string, pid int) string {
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "--unixctl="); ok && filepath.IsAbs(path) {
			return path
		}
	}
	return fmt.Sprintf("/run/openvswitch/ovs-vswitchd.%d.ctl", pid)
}

// askControl asks for the version, by JSON-RPC 1.0 (ovs-appctl(8)): the daemon's
// main loop answers, the one that programs the data path.
func askControl(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := fmt.Fprint(conn, `{"id":0,"method":"version","params":[]}`); err != nil {
		return err
	}
	var reply struct {
		Result string `json:"result"`
		Error  any    `json:"error"`
	}
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("%s: %v", socket, reply.Error)
	}
	return nil
}

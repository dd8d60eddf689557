package openstack

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/sockets"
)

// cutOff tells whether neither the process nor a child of it has a connection
// to its bus. That there is one proves nothing (the broker may hang, the
// service too), but without one nobody can reach the service, however
// fresh its row is. When in doubt it says no.
func cutOff(p *daemon.Process, bus oslo.Transport) bool {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.PID))
	if err != nil {
		return false
	}
	pids := []int{p.PID}
	for _, child := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(child)
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		connections, err := sockets.Of(pid, sockets.Established)
		if err != nil {
			return false
		}
		for _, c := range connections {
			if slices.ContainsFunc(bus.Brokers, func(b oslo.Broker) bool { return b.Port == int(c.Remote.Port()) }) {
				return false
			}
		}
	}
	return true
}

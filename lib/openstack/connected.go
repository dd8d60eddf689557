package openstack

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
)

// cutOff tells whether neither the process nor a child of it has a connection
// to its bus. That there is one proves nothing (the broker may hang, the
// service too), but without one nobody can reach the service, however
// fresh its row is. When in doubt it says no.
func cutOff(p *daemon.Process, bus oslo.Transport) bool {
	dir := fmt.Sprintf("/proc/%d", p.PID)
	children, err := os.ReadFile(fmt.Sprintf("%s/task/%d/children", dir, p.PID))
	if err != nil {
		return false
	}
	own := map[string]bool{} // inodes of sockets
	for _, pid := range append(strings.Fields(string(children)), strconv.Itoa(p.PID)) {
		fds, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			return false
		}
		for _, fd := range fds {
			link, _ := os.Readlink("/proc/" + pid + "/fd/" + fd.Name())
			if inode, ok := strings.CutPrefix(link, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	ports := map[string]bool{}
	for _, b := range bus.Brokers {
		ports[fmt.Sprintf("%04X", b.Port)] = true
	}
	for _, family := range []string{"tcp", "tcp6"} {
		found, err := established(dir+"/net/"+family, ports, own)
		if found || err != nil && !os.IsNotExist(err) {
			return false
		}
	}
	return true
}

// established looks in a table of sockets (proc_pid_net(5)) for a connection
// from one of the sockets to one of the ports.
func established(table string, ports, sockets map[string]bool) (bool, error) {
	f, err := os.Open(table)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		col := strings.Fields(lines.Text())
		if len(col) < 10 || col[3] != "01" {
			continue
		}
		_, port, _ := strings.Cut(col[2], ":")
		if ports[port] && sockets[col[9]] {
			return true, nil
		}
	}
	return false, lines.Err()
}

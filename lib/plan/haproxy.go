package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// HAProxyFile is where HAProxy looks for its configuration on the nodes; "" without HAProxy.
func (cp *ControlPlane) HAProxyFile() string {
	b := cp.balancer()
	if b == nil {
		return ""
	}
	return cmp.Or(b.parameter("config"), b.parameter("conffile"), "/etc/haproxy/haproxy.cfg")
}

const haproxyHead = `# Written by openstack-ocf from the description of the control plane: change that, and run it again.
global
    log /dev/log local0
    user haproxy
    group haproxy
    # Each takes two file descriptors; HAProxy does not start if the limit, often 20000, does not allow that.
    maxconn 8000

defaults
    mode http
    log global
    option httplog
    option dontlognull
    option forwardfor
    balance roundrobin
    # A request that meets a server that just died goes to another one.
    retries 3
    option redispatch 1
    # So does one that the server took with it, if asking twice does no harm (disable-l7-retry below).
    retry-on conn-failure empty-response
    maxconn 8000
    timeout connect 2s
    timeout queue 10s
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout check 5s
    # Longer than the slowest API call.
    timeout client 90s
    timeout server 90s
    # A dead server is found within seconds; a check every 10 s would take half a minute.
    default-server inter 2s fastinter 1s downinter 5s fall 2 rise 2
`

// HAProxy is haproxy.cfg for the API services; "" without them.
func (cp *ControlPlane) HAProxy() string {
	if len(cp.apis) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(haproxyHead)
	for _, a := range cp.apis {
		fmt.Fprintf(&b, "\nlisten %s\n", a.name.s)
		fmt.Fprintf(&b, "    bind %s\n", net.JoinHostPort(cp.ipAddress(), strconv.Itoa(a.port)))
		if a.tunnel {
			b.WriteString("    balance source\n    timeout tunnel 1h\n")
		}
		b.WriteString("    http-request disable-l7-retry unless METH_GET\n")
		fmt.Fprintf(&b, "    option httpchk GET %s\n    http-check expect %s\n", a.check, a.healthy)
		for _, n := range cp.nodes {
			if len(a.nodes) == 0 || slices.Contains(names(a.nodes), n.name.s) {
				fmt.Fprintf(&b, "    server %s %s check\n", n.name.s, net.JoinHostPort(n.value.s, strconv.Itoa(a.port)))
			}
		}
	}
	return b.String()
}

// WriteHAProxy writes HAProxy's configuration into a file, in one step, if HAProxy finds no fault in it.
func (cp *ControlPlane) WriteHAProxy(ctx context.Context, file string) error {
	text := cp.HAProxy()
	if text == "" {
		return errors.New("the file describes no HAProxy")
	}
	dir, err := os.MkdirTemp("", "plan")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := checkHAProxy(ctx, dir, text); err != nil {
		return err
	}
	return replace(file, text)
}

package haproxy

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/openstack-ocf/agents/lib/placement"
)

// Place is where the agent stands in a control plane.
func Place() placement.Place {
	return placement.Place{Balancer: &placement.Balancer{
		File: func(parameter func(string) string) string {
			first, _, _ := strings.Cut(cmp.Or(parameter("config"), parameter("conffile"), defaultConfig), " ") // of several files
			return first
		},
		Config: balance,
		Ours:   func(text string) bool { return strings.HasPrefix(text, written) },
		Check:  []string{"haproxy", "-c", "-f"},
	}, Confined: func(root string, _ func(string) string) string { return confined(root) }}
}

const written = "# Written by openstack-ocf "

const head = written + `from the description of the control plane: change that, and run it again.
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

// balance is the configuration for API services.
func balance(apis []placement.Frontend) string {
	var b strings.Builder
	b.WriteString(head)
	for _, a := range apis {
		fmt.Fprintf(&b, "\nlisten %s\n    bind %s\n", a.Name, a.Bind)
		if a.Tunnel {
			b.WriteString("    balance source\n    timeout tunnel 1h\n")
		}
		b.WriteString("    http-request disable-l7-retry unless METH_GET\n")
		fmt.Fprintf(&b, "    option httpchk GET %s\n    http-check expect %s\n", a.Check, a.Healthy)
		for _, s := range a.Servers {
			fmt.Fprintf(&b, "    server %s %s check\n", s.Name, s.At)
		}
	}
	return b.String()
}

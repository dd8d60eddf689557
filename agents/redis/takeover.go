package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/takeover"
)

// Place is where it may stand in a control plane.
func Place() placement.Place {
	return placement.Place{Port: 6379, PortParameter: "port", Single: "who holds a lock in one Redis is unknown to another"}
}

// Takeover is how a running Redis is taken over.
func Takeover() takeover.Kind {
	return takeover.Kind{
		Types: []string{"redis-server", "redis", "valkey-server", "valkey"}, OCF: []string{"heartbeat:redis"},
		Identity: daemon.Identity{Name: "redis-server", Executables: executables("redis-server")}, Derive: derive, Direct: direct,
	}
}

// derive reads the title that a server gives itself in place of its command line: "redis-server 127.0.0.1:6379", or
// "redis-server unixsocket:/run/redis.sock". Its configuration file is not in there.
func derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	f := takeover.Params{}
	self := New()
	_, at, _ := strings.Cut(p.Title, " ")
	at, _, _ = strings.Cut(at, " ") // of a cluster or a sentinel more follows
	f.Set(p.Given, "user", p.User, takeover.Default(self, "user"))
	if socket, ok := strings.CutPrefix(at, "unixsocket:"); ok {
		f.Set(p.Given, "socket", socket, "")
		return f, nil
	}
	colon := strings.LastIndexByte(at, ':') // an IPv6 address stands there without brackets
	if colon < 0 {
		return nil, fmt.Errorf("what Redis listens on cannot be told from its title %q: set port or socket", p.Title)
	}
	host, port := at[:colon], at[colon+1:]
	f.Set(p.Given, "port", port, takeover.Default(self, "port"))
	if host != "*" { // all addresses, and so 127.0.0.1
		f.Set(p.Given, "listen", host, takeover.Default(self, "listen"))
	}
	return f, nil
}

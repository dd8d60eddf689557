package memcached

import (
	"context"
	"fmt"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/takeover"
)

// Place is where it may stand in a control plane: anywhere.
func Place() placement.Place { return placement.Place{Port: 11211, PortParameter: "port"} }

// Takeover is how a running memcached is taken over.
func Takeover() takeover.Kind {
	return takeover.Kind{Types: []string{"memcached"}, Identity: daemon.Identity{Name: "memcached", Executables: []string{"memcached"}}, Derive: derive, Direct: direct}
}

// derive reads memcached's command line, of which values may follow their letter at once (-m64).
func derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	const valued = "aBbcDefIlmnopPRstuUY"
	f := takeover.Params{}
	self := New()
	var more, addresses []string
	for i := 0; i < len(p.Args); i++ {
		words := p.Args[i : i+1]
		name, value := words[0], ""
		if short := !strings.HasPrefix(name, "--"); short && len(name) > 2 && strings.Contains(valued, name[1:2]) {
			name, value = name[:2], name[2:]
		} else if before, after, ok := strings.Cut(name, "="); ok && !short {
			name, value = before, after
		} else if short && len(name) == 2 && strings.Contains(valued, name[1:2]) && i+1 < len(p.Args) {
			i++
			words, value = p.Args[i-1:i+1], p.Args[i]
		}
		param := map[string]string{"-p": "port", "--port": "port", "-m": "memory", "--memory-limit": "memory", "-c": "max_connections", "--conn-limit": "max_connections"}[name]
		switch {
		case param != "":
			f.Set(p.Given, param, value, takeover.Default(self, param))
		case name == "-l" || name == "--listen":
			addresses = append(addresses, strings.Split(value, ",")...)
		case name == "-s" || name == "--unix-socket":
			return nil, fmt.Errorf("memcached listens on the socket %s alone, and the agent finds it by its port", value)
		case name == "-d", name == "--daemon", name == "-P", name == "--pidfile", name == "-u", name == "--user":
		default:
			more = append(more, words...)
		}
	}
	if len(addresses) == 0 {
		addresses = []string{"0.0.0.0", "::"} // all, of both kinds
	}
	f.Set(p.Given, "listen", addresses[0], takeover.Default(self, "listen"))
	for _, a := range addresses[1:] {
		more = append(more, "-l", a)
	}
	f.Set(p.Given, "user", p.User, takeover.Default(self, "user"))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, nil
}

package haproxy

import (
	"maps"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
)

func TestDerive(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  string
		user  string
		unit  string
		given map[string]string
		want  map[string]string // nil: an error with the words
		words string
	}{
		{name: "Debian's haproxy", args: "-Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock", want: map[string]string{}},
		{name: "reloaded", args: "-D -f /srv/h.cfg -p /run/h.pid -n 100 -sf 12 13 -x /run/s", want: map[string]string{"config": "/srv/h.cfg", "pid": "/run/h.pid", "additional_parameters": "-n 100"}},
		{name: "configurations behind --", args: "-f /a -n 3 -- /b c", want: map[string]string{"config": "/a /b /cwd/c", "additional_parameters": "-n 3"}},
		{name: "one behind --", args: "-W -n 3 -- c.cfg", want: map[string]string{"config": "/cwd/c.cfg", "additional_parameters": "-n 3"}},
		{name: "another directory", args: "-C /srv -f h.cfg", words: "-C /srv"},
		{name: "EL's haproxy", args: "-Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d -p /run/haproxy.pid", want: map[string]string{"config": "/etc/haproxy/haproxy.cfg /etc/haproxy/conf.d"}},
		{name: "by its unit", unit: "haproxy.service", args: "-C /srv -f h.cfg", want: map[string]string{}},
		{name: "no configuration", args: "-D", words: "without a configuration file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := derive(t.Context(), takeover.Process{Args: strings.Fields(c.args), Dir: "/cwd", User: c.user, Unit: c.unit, Given: c.given})
			if c.want == nil {
				if err == nil || !strings.Contains(err.Error(), c.words) {
					t.Fatalf("%v, %v; want an error with %q", got, err, c.words)
				}
				return
			}
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

package openstack

import (
	"maps"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
)

func TestDerive(t *testing.T) {
	d := Declaration{Binary: "svc", Config: "/etc/svc.conf", Project: "svc"}
	for _, c := range []struct {
		name  string
		args  string
		user  string
		given map[string]string
		want  map[string]string // nil: an error with the words
		words string
	}{
		{
			name: "EL's OpenStack service", user: "svc", args: "/usr/bin/svc --config-file /usr/share/svc/svc-dist.conf --config-file=/etc/svc.conf --config-file /etc/more.conf --logfile /var/log/svc.log",
			want: map[string]string{"additional_parameters": "--logfile /var/log/svc.log --config-file=/etc/more.conf"},
		},
		{name: "a title", args: "", words: "no script"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := d.derive(t.Context(), takeover.Process{Args: strings.Fields(c.args), Dir: "/cwd", User: c.user, Given: c.given})
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

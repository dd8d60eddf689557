package openstack

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
		unit  string
		given map[string]string
		want  map[string]string // nil: an error with the words
		words string
	}{
		{
			name: "EL's OpenStack service", user: "svc", args: "/usr/bin/svc --config-file /usr/share/svc/svc-dist.conf --config-file=/etc/svc.conf --config-file /etc/more.conf --logfile /var/log/svc.log",
			want: map[string]string{"additional_parameters": "--config-file=/etc/more.conf --logfile /var/log/svc.log"},
		},
		{name: "a title", args: "", words: "no script"},
		{name: "a title, by its unit", unit: "svc.service", args: "", want: map[string]string{}},
		{name: "by its unit, however that gives its files", unit: "svc.service", args: "/usr/bin/svc --config-dir /d --config-file=/etc/svc.conf --config-file /x --logfile /y", want: map[string]string{}},
		{name: "by its unit, with another file", unit: "svc.service", args: "/usr/bin/svc --config-file /usr/share/svc/svc-dist.conf --config-file x.conf", want: map[string]string{"config": "/cwd/x.conf"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := d.derive(t.Context(), takeover.Process{Args: strings.Fields(c.args), Dir: "/cwd", User: c.user, Unit: c.unit, Given: c.given})
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

// What is given in which order stays: the agent gives the distribution's file, config, the second file, then the rest.
func TestDeriveKeepsTheOrder(t *testing.T) {
	dir := t.TempDir()
	ini := filepath.Join(dir, "plugin.ini")
	if err := os.WriteFile(ini, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := Declaration{Binary: "neutron-openvswitch-agent", Config: "/etc/neutron/neutron.conf", Project: "neutron", Plugin: Plugin{Param: "plugin_config", Files: []string{"/nothing", ini}}}
	without := d
	without.Plugin.Files = nil
	const rdo = "--config-file /usr/share/neutron/neutron-dist.conf --config-file /etc/neutron/neutron.conf --config-file %s --config-dir /etc/neutron/conf.d/common --config-dir /etc/neutron/conf.d/neutron-openvswitch-agent --log-file /var/log/neutron/openvswitch-agent.log"
	const dirs = "--config-dir=/etc/neutron/conf.d/common --config-dir=/etc/neutron/conf.d/neutron-openvswitch-agent --log-file /var/log/neutron/openvswitch-agent.log"
	for _, c := range []struct {
		name  string
		d     Declaration
		args  string
		given map[string]string
		want  map[string]string // nil: an error with the words
		words string
	}{
		{"RDO's", d, fmt.Sprintf(rdo, ini), nil, map[string]string{"additional_parameters": dirs}, ""},
		{"RDO's, another file", d, fmt.Sprintf(rdo, "/etc/ovs.ini"), nil, map[string]string{"plugin_config": "/etc/ovs.ini", "additional_parameters": dirs}, ""},
		{"RDO's, the resource says so", d, fmt.Sprintf(rdo, "/etc/ovs.ini"), map[string]string{"plugin_config": "/etc/ovs.ini"}, map[string]string{"additional_parameters": dirs}, ""},
		{"the resource says otherwise", d, fmt.Sprintf(rdo, "/etc/ovs.ini"), map[string]string{"plugin_config": "/x"}, nil, "plugin_config=/x"},
		{"no second file, and none would come", without, "--config-file /etc/neutron/neutron.conf --config-dir rel", nil, map[string]string{"additional_parameters": "--config-dir=/cwd/rel"}, ""},
		{"no second file, and one would come", d, "--config-file /etc/neutron/neutron.conf --config-dir /d", nil, nil, "started without " + ini},
		{"a directory before the file", d, "--config-dir /d --config-file /etc/neutron/neutron.conf", nil, nil, "--config-dir=/d before"},
		{"a directory between files", d, "--config-file /f --config-file " + ini + " --config-dir /d --config-file /g", nil, map[string]string{"config": "/f", "additional_parameters": "--config-dir=/d --config-file=/g"}, ""},
		{"the same file twice", d, "--config-file /f --config-file " + ini + " --config-file /f", nil, map[string]string{"config": "/f", "additional_parameters": "--config-file=/f"}, ""},
		{"another's distribution file", d, "--config-file /usr/share/nova/nova-dist.conf --config-file " + ini, nil, map[string]string{"config": "/usr/share/nova/nova-dist.conf"}, ""},
		{"only the distribution's file", without, "--config-file /usr/share/neutron/neutron-dist.conf", nil, map[string]string{"config": "/usr/share/neutron/neutron-dist.conf"}, ""},
		{"only a directory", d, "--config-dir /d", nil, map[string]string{"additional_parameters": "--config-dir=/d"}, ""},
		{"nothing", d, "", nil, map[string]string{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.d.derive(t.Context(), takeover.Process{Args: strings.Fields("/usr/bin/neutron-openvswitch-agent " + c.args), Dir: "/cwd", User: "neutron", Given: c.given})
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

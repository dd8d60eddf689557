package osagents

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	agents "github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/needs"
)

// older are the parameters of the shell agents that these replace: a resource
// that is moved over keeps them.
var older = map[string]string{
	"ceilometer-agent-central": "amqp_server_port",
	"cinder-api":               "url keystone_get_token_url os_username os_password os_tenant_name",
	"cinder-schedule":          "amqp_server_port",
	"cinder-volume":            "amqp_server_port multibackend",
	"glance-api":               "os_username os_password os_tenant_name os_auth_url client_binary",
	"glance-registry":          "url keystone_get_token_url os_username os_password os_tenant_name",
	"heat-engine":              "amqp_server_port zeromq",
	"keystone":                 "client_binary os_username os_password os_tenant_name os_auth_url",
	"neutron-agent-dhcp":       "plugin_config amqp_server_port",
	"neutron-agent-l3":         "plugin_config neutron_server_port",
	"neutron-metadata-agent":   "agent_config amqp_server_port",
	"neutron-server":           "plugin_config url keystone_get_token_url os_username os_password os_tenant_name",
	"nova-api":                 "url keystone_get_token_url os_username os_password os_tenant_name",
	"nova-cert":                "database_server_port amqp_server_port zeromq",
	"nova-consoleauth":         "database_server_port amqp_server_port zeromq",
	"nova-network":             "database_server_port amqp_server_port zeromq",
	"nova-novnc":               "console_port web",
	"nova-scheduler":           "database_server_port amqp_server_port zeromq",
	// These have no predecessor.
	"neutron-l2-agent": "plugin_config cleanup",
	"nova-conductor":   "",
	"manila-share":     "",
}

func TestDeclarations(t *testing.T) {
	all := agents.Agents()
	if len(all) != len(older)+1 {
		t.Errorf("there are %d agents, want %d and neutron-cleanup", len(all), len(older))
	}
	for name, make := range all {
		t.Run(name, func(t *testing.T) {
			a := make()
			if a.Name != name {
				t.Errorf("it calls itself %s", a.Name)
			}
			for _, err := range a.Check() {
				t.Error(err)
			}
			var xml strings.Builder
			if err := a.WriteMetaData(&xml); err != nil {
				t.Fatal(err)
			}
			want := strings.Fields(older[name])
			if _, ok := older[name]; ok {
				want = append(want, "binary", "config", "user", "pid", "additional_parameters")
			}
			for _, p := range want {
				if !strings.Contains(xml.String(), `<parameter name="`+p+`"`) {
					t.Errorf("it has no parameter %s", p)
				}
			}
			run := ocftest.InProcess(make)
			run.Want(t, ocftest.Call{Action: ocf.ValidateAll}, ocf.OK)
			run.Want(t, ocftest.Call{Action: "dance"}, ocf.Unimplemented)
			for _, schema := range [][]string{{"/usr/share/resource-agents", "--valid"}, {"/usr/share/pcs/data", "--nonet", "--relaxng", "ocf-1.1.rng"}} {
				lint(t, schema[0], xml.String(), schema[1:]...)
			}
		})
	}
}

func lint(t *testing.T, dir, xml string, args ...string) {
	t.Helper()
	needs.Program(t, "xmllint", "libxml2-utils")
	if found, _ := filepath.Glob(dir + "/*"); len(found) == 0 {
		t.Skip("SKIP: needs " + dir)
	}
	cmd := exec.Command("xmllint", append(append([]string{"--noout"}, args...), "-")...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(xml)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("xmllint %v: %v\n%s", args, err, out)
	}
}

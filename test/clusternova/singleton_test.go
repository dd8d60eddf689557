package clusternova

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/scenario"
)

// plain is what a service needs that has its host's name on all nodes, so that what it stores has its manager wherever it runs.
func plain(project, own string) string {
	return `[DEFAULT]
host = ` + scenario.Controller + `
transport_url = amqp://` + scenario.FloatingIP + `:5672/
rpc_ping_enabled = true
auth_strategy = noauth
report_interval = 2
service_down_time = 10
` + own + `
[database]
connection = mysql+pymysql://` + project + `:` + scenario.SQLPassword + `@` + scenario.FloatingIP + `/` + project + `
[oslo_concurrency]
lock_path = /var/lock/` + project + `
`
}

// The back ends are the projects' own for tests: what must run once is the service, whatever stores its volumes and shares.

func cinder(t *testing.T) scenario.Service {
	return byUnit(t, "cinder", "cinder-volume", "enabled_backends = one\n[one]\nvolume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver")
}

func manila(t *testing.T) scenario.Service {
	return byUnit(t, "manila", "manila-share", "enabled_share_backends = one\n[one]\nshare_driver = manila.tests.share.drivers.dummy.DummyDriver\n"+
		"share_backend_name = one\ndriver_handles_share_servers = false")
}

// byUnit is a service of a project that Debian packages, by its unit.
func byUnit(t *testing.T, project, program, own string) scenario.Service {
	t.Helper()
	needs.File(t, "/usr/bin/"+program, program)
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		t.Skip("SKIP: needs python3")
	}
	conf := "/etc/" + project + "/" + project + ".conf"
	return scenario.Noted(scenario.Service{
		ID: program, Agent: "ocf:openstack:" + program,
		Options: []string{"unit=" + program + ".service", "op", "monitor", "interval=3s", "timeout=40s"},
		Daemon:  []string{filepath.Base(python)}, Script: program, Speaks: program + "'s RPC", Unit: "pings", Diskless: true,
		Pause: 100 * time.Millisecond,
		Files: []cluster.File{{Path: conf, Owner: "root:" + project, Mode: 0o640, Content: plain(project, own)}},
		Setup: func(ctx context.Context, s *scenario.Stage) error {
			return s.MakeDatabase(ctx, project, project+"-manage db sync")
		},
		Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) {
			return pings{dial, "openstack", program, "scheduler", scenario.Controller + "@one"}, nil
		},
	}, program+".service")
}

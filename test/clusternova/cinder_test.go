package clusternova

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// The back end is one of cinder's own for tests: what must run once is the service, whatever stores its volumes.
const cinderConf = `[DEFAULT]
host = ` + scenario.Controller + `
transport_url = amqp://` + scenario.FloatingIP + `:5672/
rpc_ping_enabled = true
auth_strategy = noauth
report_interval = 2
service_down_time = 10
enabled_backends = one
[one]
volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver
[database]
connection = mysql+pymysql://cinder:` + scenario.SQLPassword + `@` + scenario.FloatingIP + `/cinder
[oslo_concurrency]
lock_path = /var/lock/cinder
`

// cinder is cinder-volume by its unit, with the same host on all nodes, so that volumes have their manager wherever it runs.
func cinder(t *testing.T) scenario.Service {
	t.Helper()
	if _, err := os.Stat("/usr/bin/cinder-volume"); err != nil {
		t.Skip("SKIP: needs cinder-volume")
	}
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		t.Skip("SKIP: needs python3")
	}
	return scenario.Service{
		ID: "cinder-volume", Agent: "ocf:openstack:cinder-volume",
		Options: []string{"unit=cinder-volume.service", "op", "monitor", "interval=3s", "timeout=40s"},
		Daemon:  []string{filepath.Base(python)}, Script: "cinder-volume", Speaks: "cinder-volume's RPC", Unit: "pings", Diskless: true,
		Pause: 100 * time.Millisecond,
		Files: []cluster.File{{Path: "/etc/cinder/cinder.conf", Owner: "root:cinder", Mode: 0o640, Content: cinderConf}},
		Setup: func(ctx context.Context, s *scenario.Stage) error {
			return s.MakeDatabase(ctx, "cinder", "cinder-manage db sync")
		},
		Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) {
			return pings{dial, "openstack", "cinder-volume", "scheduler", scenario.Controller + "@one"}, nil
		},
	}
}

package osagents

import (
	"database/sql"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/openstack"
)

// keystoneAll is our own: keystone has had no server program since Newton, only an application for others' servers.
//
//go:embed keystone-all
var keystoneAll string

// TestServices is the table of the services that have no table of their own, each with the smallest
// configuration that it runs with. glance-registry, nova-cert and nova-network are gone from Debian 12.
func TestServices(t *testing.T) {
	box.Need(t)
	t.Parallel()
	db, rabbit := openstack.StartMariaDB(t), openstack.StartRabbit(t)
	nova := openstack.NewNova(t, db, rabbit.TransportURL())
	neutron := openstack.NewNeutron(t, db, rabbit.TransportURL(), new(openstack.Switch)) // of which no row needs one
	neutron.StartServer()
	for name, manage := range map[string]string{"cinder": "cinder-manage db sync", "heat": "heat-manage db_sync", "manila": "manila-manage db sync"} {
		manage, action, _ := strings.Cut(manage, " ")
		if _, err := exec.LookPath(manage); err != nil {
			continue // the rows below say so
		}
		conf := write(t, filepath.Join(t.TempDir(), name), "[database]\nconnection = "+db.URL(name)+"\n")
		db.Exec("CREATE DATABASE " + name + " CHARACTER SET utf8") // manila's tables are converted to it
		box.Sh(t, "%s --config-file %s %s", manage, conf, action)
	}
	// On top of the plane's own configuration.
	onNova := ocftest.Params{"config": nova.Conf, "additional_parameters": "--config-file={conf}"}
	onNeutron := ocftest.Params{"config": neutron.Conf, "plugin_config": "{conf}"}
	const cinder = `[DEFAULT]
transport_url = {bus}
rpc_ping_enabled = true
state_path = {dir}
host = node1
scheduler_driver_init_wait_time = 2
report_interval = 2
service_down_time = 10
auth_strategy = noauth
api_paste_config = /etc/cinder/api-paste.ini
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
enabled_backends = one,two
[one]
volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver
[two]
volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver
[database]
connection = {db}cinder
[oslo_concurrency]
lock_path = {dir}
`
	for _, row := range []struct {
		agent, program string         // that the test needs
		conf           string         // {bus} is its URL, {db} that of a database but for its name, {dir} a directory, {port} a free port
		p              ocftest.Params // {conf} is the file
		deep           bool           // level 10 has it answer over the bus
		rows           string         // "database host ...": where it reports, which the bus would hide
		workers        bool           // it has two, and one of them serves alone
		prepare        string         // a shell command
	}{
		{agent: "cinder-api", program: "cinder-api", conf: cinder},
		{agent: "cinder-schedule", program: "cinder-scheduler", conf: cinder, deep: true, rows: "cinder node1"},
		{agent: "cinder-volume", program: "cinder-volume", conf: cinder, deep: true, rows: "cinder node1@one node1@two"},
		{agent: "glance-api", program: "glance-api", conf: `[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
workers = 1
enabled_backends = files:file
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {dir}
[database]
connection = {db}glance
[paste_deploy]
config_file = /etc/glance/glance-api-paste.ini
`},
		{agent: "heat-engine", program: "heat-engine", deep: true, rows: "heat node1", conf: `[DEFAULT]
transport_url = {bus}
host = node1
rpc_ping_enabled = true
num_engine_workers = 1
periodic_interval = 5
auth_encryption_key = 0123456789abcdef0123456789abcdef
[database]
connection = {db}heat
`},
		{agent: "manila-share", program: "manila-share", deep: true, rows: "manila node1@one node1@two", conf: `[DEFAULT]
transport_url = {bus}
rpc_ping_enabled = true
state_path = {dir}
host = node1
report_interval = 2
service_down_time = 10
enabled_share_backends = one,two
enabled_share_protocols = NFS
[one]
share_driver = manila.tests.share.drivers.dummy.DummyDriver
share_backend_name = one
driver_handles_share_servers = false
[two]
share_driver = manila.tests.share.drivers.dummy.DummyDriver
share_backend_name = two
driver_handles_share_servers = false
[database]
connection = {db}manila
[oslo_concurrency]
lock_path = {dir}
`},
		{agent: "keystone", program: "keystone-manage", prepare: "keystone-manage --config-file {conf} fernet_setup --keystone-user root --keystone-group root", p: ocftest.Params{"config": "{conf}", "binary": "{dir}/keystone-all"}, conf: `[eventlet_server]
public_bind_host = 127.0.0.1
public_port = {port}
[fernet_tokens]
key_repository = {dir}/keys
`},
		{agent: "ceilometer-agent-central", program: "ceilometer-polling", conf: "[DEFAULT]\ntransport_url = {bus}\n", p: ocftest.Params{
			"config": "{conf}", "binary": "ceilometer-polling", "additional_parameters": "--polling-namespaces central",
		}},
		{agent: "nova-scheduler", program: "nova-scheduler", p: onNova, deep: true, rows: "nova node1"},
		{agent: "nova-conductor", program: "nova-conductor", p: onNova, deep: true, rows: "nova node1"},
		{agent: "nova-api", program: "nova-api", p: onNova, workers: true, conf: `[DEFAULT]
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = {port}
osapi_compute_workers = 2
[api]
auth_strategy = noauth2
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
`},
		{agent: "nova-novnc", program: "nova-novncproxy", p: onNova, conf: "[vnc]\nnovncproxy_host = 127.0.0.1\nnovncproxy_port = {port}\n"},
		{agent: "neutron-agent-l3", program: "neutron-l3-agent", p: onNeutron, deep: true, rows: "neutron node1", conf: "[DEFAULT]\ninterface_driver = openvswitch\n"},
		{agent: "neutron-agent-dhcp", program: "neutron-dhcp-agent", p: onNeutron, deep: true, rows: "neutron node1", conf: "[DEFAULT]\ninterface_driver = openvswitch\n"},
		{agent: "neutron-metadata-agent", program: "neutron-metadata-agent", rows: "neutron node1", p: ocftest.Params{"config": neutron.Conf, "agent_config": "{conf}"}},
	} {
		t.Run(row.agent, func(t *testing.T) {
			t.Parallel()
			needs.Program(t, row.program, row.program)
			dir := t.TempDir()
			conf := filepath.Join(dir, "service.conf")
			text := strings.NewReplacer("{bus}", rabbit.TransportURL(), "{db}", strings.TrimSuffix(db.URL(""), "?charset=utf8"),
				"{dir}", dir, "{port}", fmt.Sprint(openstack.Ports(t, 1)[0]), "{conf}", conf)
			write(t, conf, text.Replace(row.conf))
			write(t, filepath.Join(dir, "keystone-all"), keystoneAll)
			box.Sh(t, "%s", text.Replace(row.prepare))
			p := ocftest.Params{"config": conf}
			for k, v := range row.p {
				p[k] = text.Replace(v)
			}
			s := newService(t, row.agent, p)
			ocfTester(s)
			s.Start()
			s.Await(30*time.Second, 0, ocf.OK)
			if row.deep {
				before := len(s.Said())
				s.Monitor(10, ocf.OK)
				if said := s.Said()[before:]; strings.Contains(said, "Traceback") {
					t.Errorf("the question troubled it:\n%s", said)
				}
			}
			if database, hosts, ok := strings.Cut(row.rows, " "); ok {
				for host := range strings.FieldsSeq(hosts) {
					reports(t, db.Open(database), queries[database], host, row.program)
				}
			}
			if row.workers {
				worker := slices.Max(s.Pids())
				box.Signal(t, syscall.SIGSTOP, worker)
				s.Monitor(0, ocf.Degraded, "1 of 2 child processes", fmt.Sprintf("(pid %d", worker))
				box.Signal(t, syscall.SIGCONT, worker)
				s.Monitor(0, ocf.OK)
			}
			s.Signal(syscall.SIGSTOP)
			s.Monitor(0, ocf.Generic, "frozen")
			if r := s.Stop(); strings.Contains(r.Stderr, "SIGKILL") {
				t.Errorf("not all of it was continued, so that it could end: %s", r)
			}
		})
	}
}

// queries are how the agents read the tables of reports, by the database's name.
var queries = map[string]string{"nova": oslo.NovaServices, "neutron": oslo.NeutronAgents, "cinder": oslo.CinderServices, "manila": oslo.CinderServices, "heat": oslo.HeatServices}

// reports wants two reports in the service's row.
func reports(t testing.TB, db *sql.DB, query, host, binary string) {
	t.Helper()
	var first, now, disabled, down, age int64
	box.Until(t, fmt.Sprintf("%s reports as %s", binary, host), func() bool {
		if err := db.QueryRow(query, host, binary).Scan(&now, &disabled, &down, &age); err != nil || age < 0 {
			return false
		}
		if first == 0 {
			first = now
		}
		return now > first
	})
}

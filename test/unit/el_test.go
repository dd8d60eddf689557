package unit

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
	"github.com/openstack-ocf/agents/test/openstack"
	"github.com/openstack-ocf/agents/test/scenario"
)

// lay writes files into the node.
func (h *host) lay(files []cluster.File) {
	h.Helper()
	for _, f := range files {
		text := []byte(f.Content)
		mode := cmp.Or(f.Mode, 0o644)
		if f.From != "" {
			var err error
			if text, err = os.ReadFile(f.From); err != nil {
				h.Fatal(err)
			}
			mode = 0o755
		}
		if err := h.Node.WriteFile(context.Background(), f.Path, text, mode); err != nil {
			h.Fatal(err)
		}
	}
}

// TestMySQLOfEL: the server, its option files, socket, pid file and log where EL has them.
func TestMySQLOfEL(t *testing.T) {
	needs.Turn(t, 1, 2)
	needs.Program(t, "mariadbd", "mariadb-server")
	n := boot(t)
	h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
	const data = scenario.DataDir
	h.sh("mkdir /srv/data; chown mysql: /srv/data; mariadb-install-db --user=mysql --datadir=/srv/data --skip-test-db --innodb-log-file-size=8M >&2") // Debian's looks for the server in /usr/sbin alone
	h.lay(scenario.ELMariaDB())
	h.write("/etc/my.cnf.d/zz-small.cnf", "[mariadb]\ninnodb-log-file-size=8M\n")
	h.sh("rm /usr/sbin/mariadbd; rm -rf %[1]s; install -d -o mysql -g mysql -m 755 %[1]s; systemctl daemon-reload; systemd-tmpfiles --create mariadb.conf", data)

	t.Run("storage not mounted", func(t *testing.T) {
		h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
		h.want(ocf.Start, ocf.Generic, "mount it first")
		if got := h.sh("ls %s", data); got != "" {
			t.Errorf("the unit filled the directory under the storage: %s", got)
		}
		h.want(ocf.Monitor, ocf.NotRunning)
		h.want(ocf.Stop, ocf.OK)
	})
	h.sh("mount -t tmpfs -o size=400M tmpfs %[1]s; chown mysql: %[1]s; mv /srv/data/* %[1]s", data)
	t.Run("as its packager meant", func(t *testing.T) {
		h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
		h.want(ocf.Start, ocf.OK)
		defer h.want(ocf.Stop, ocf.OK)
		h.watch(0, ocf.OK)
		h.watch(10, ocf.OK)
		h.watch(20, ocf.OK)
		if got := h.sh("tr '\\0' ' ' </proc/%d/cmdline", h.pid()); strings.TrimSpace(got) != "/usr/libexec/mariadbd --basedir=/usr" {
			t.Errorf("it runs as %q", got)
		}
		if got := h.sh("cat /run/mariadb/mariadb.pid"); got != h.sh("systemctl show --value --property=MainPID %s", h.unit) {
			t.Errorf("its pid file is not where EL has it: %q", got)
		}
	})
	t.Run("it cannot start", func(t *testing.T) {
		h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
		h.write("/etc/my.cnf.d/zz-wrong.cnf", "[mariadb]\nno-such-thing=1\n")
		h.want(ocf.Start, ocf.Generic, "no-such-thing")
		h.sh("rm /etc/my.cnf.d/zz-wrong.cnf")
		h.want(ocf.Stop, ocf.OK)
	})
	h.life(t)
}

// rdoUnit is an OpenStack service as RDO's units of nova and neutron have it (rdo-packages, of 2014 and 2022).
const rdoUnit = `[Unit]
Description=%[1]s by RDO's unit
After=network.target
[Service]
Type=simple
User=%[2]s
ExecStart=/usr/bin/%[1]s%[3]s
%[4]sRestart=on-failure
[Install]
WantedBy=multi-user.target
`

// placement is what nova-scheduler asks for versions when it starts.
const placement = `[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /srv/placement --bind 127.0.0.1 8778
`

// TestNovaOfRDO: nova-scheduler and nova-consoleauth, which are told nothing, or where to log.
func TestNovaOfRDO(t *testing.T) {
	needs.Turn(t, 1, 2)
	for _, program := range []string{"nova-scheduler", "nova-conductor", "rabbitmq-server", "mariadbd"} {
		needs.Program(t, program, program)
	}
	n := boot(t)
	h := on(t, n, "nova-scheduler", "openstack-nova-scheduler.service", nil)
	h.write("/etc/mysql/mariadb.conf.d/99-small.cnf", "[mysqld]\ninnodb-buffer-pool-size=8M\ninnodb-use-native-aio=0\n")
	h.write("/etc/systemd/system/placement.service", placement)
	h.write("/srv/placement/index.html", `{"versions":[{"id":"v1.0","max_version":"1.39","min_version":"1.0","status":"CURRENT","links":[{"rel":"self","href":""}]}]}`)
	// RDO's file for what the other does not say; it has the lines of packages, and nobody answers there.
	h.write("/usr/share/nova/nova-dist.conf", "[DEFAULT]\nlogdir = /var/log/nova\nstate_path = /var/lib/nova\ntransport_url = rabbit://nobody@127.0.0.1:1/\n[database]\nconnection = mysql://nova:nova@127.0.0.1:1/nova\n")
	h.write("/etc/nova/nova.conf", `[DEFAULT]
host = node1
transport_url = rabbit://guest:guest@127.0.0.1:5672/
report_interval = 2
service_down_time = 10
state_path = /var/lib/nova
[api_database]
connection = mysql+pymysql://nova:secret@127.0.0.1/nova_api
[database]
connection = mysql+pymysql://nova:secret@127.0.0.1/nova
[scheduler]
workers = 1
[placement]
auth_type = none
endpoint_override = http://127.0.0.1:8778
[oslo_concurrency]
lock_path = /var/lib/nova/tmp
`)
	h.sh("chgrp nova /etc/nova/nova.conf; systemctl unmask rabbitmq-server mariadb; systemctl daemon-reload; systemctl start mariadb rabbitmq-server placement")
	h.sh(`for db in nova nova_api nova_cell0; do mariadb -e "CREATE DATABASE $db; GRANT ALL ON $db.* TO nova@'%%' IDENTIFIED BY 'secret'"; done`)
	h.sh("su -s /bin/sh nova -c 'nova-manage api_db sync && nova-manage cell_v2 map_cell0 && nova-manage cell_v2 create_cell --name=cell1 && nova-manage db sync'")
	if err := n.WriteFile(t.Context(), "/usr/bin/nova-consoleauth", []byte(openstack.ConsoleauthScript()), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, args := range map[string]string{"nova-scheduler": "", "nova-consoleauth": " --logfile /var/log/nova/consoleauth.log"} {
		t.Run(program, func(t *testing.T) {
			h := on(t, n, program, "openstack-"+program+".service", nil)
			h.slow = true
			h.write("/usr/lib/systemd/system/"+h.unit, fmt.Sprintf(rdoUnit, program, "nova", args, ""))
			h.sh("systemctl daemon-reload")
			h.want(ocf.Start, ocf.OK)
			for _, level := range []int{0, 10, 20} {
				h.watch(level, ocf.OK)
			}
			h.want(ocf.Stop, ocf.OK)
			h.life(t, "killed", "frozen") // each takes half a minute
		})
	}
}

// TestL2AgentOfRDO: RDO's unit of the Open vSwitch agent passes three files and two directories, and leaves what it started
// alone when it is stopped (KillMode=process).
func TestL2AgentOfRDO(t *testing.T) {
	needs.Turn(t, 0, 2)
	for _, program := range []string{"neutron-openvswitch-agent", "neutron-server", "ovs-vswitchd", "rabbitmq-server", "mariadbd"} {
		needs.Program(t, program, program)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("SKIP: needs /dev/net/tun")
	}
	n := boot(t)
	h := on(t, n, "neutron-l2-agent", "neutron-openvswitch-agent.service", nil)
	h.slow = true
	for path, text := range map[string]string{
		"/etc/mysql/mariadb.conf.d/99-small.cnf": "[mysqld]\ninnodb-buffer-pool-size=8M\ninnodb-use-native-aio=0\n",
		"/usr/share/neutron/neutron-dist.conf":   "[DEFAULT]\nlogdir = /var/log/neutron\nstate_path = /var/lib/neutron\ntransport_url = rabbit://nobody@127.0.0.1:1/\n[database]\nconnection = mysql://neutron:neutron@127.0.0.1:1/neutron\n",
		"/etc/neutron/neutron.conf": `[DEFAULT]
transport_url = rabbit://guest:guest@127.0.0.1:5672/
rpc_ping_enabled = true
auth_strategy = noauth
core_plugin = ml2
service_plugins =
api_workers = 0
rpc_workers = 1
rpc_state_report_workers = 0
agent_down_time = 10
api_paste_config = /etc/neutron/api-paste.ini
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
[agent]
root_helper = sudo neutron-rootwrap /etc/neutron/rootwrap.conf
[oslo_concurrency]
lock_path = /var/lib/neutron/lock
[database]
connection = mysql+pymysql://neutron:secret@127.0.0.1/neutron
`,
		"/etc/neutron/plugin.ini":                                         "[ml2]\ntype_drivers = flat,vlan,vxlan\ntenant_network_types = vxlan\nmechanism_drivers = openvswitch\n[ml2_type_vxlan]\nvni_ranges = 1:1000\n",
		"/etc/neutron/plugins/ml2/openvswitch_agent.ini":                  "[ovs]\ndatapath_type = netdev\novsdb_connection = tcp:127.0.0.1:6640\nof_listen_address = 127.0.0.1\nlocal_ip = 127.0.0.1\n[agent]\ntunnel_types = vxlan\n[securitygroup]\nfirewall_driver = noop\nenable_security_group = false\n",
		"/etc/neutron/conf.d/common/agent.conf":                           "[agent]\nreport_interval = 2\n",
		"/etc/neutron/conf.d/neutron-openvswitch-agent/its-own-host.conf": "[DEFAULT]\nhost = the-l2-agents\n", // which alone decides where it is asked
		"/etc/systemd/system/switch.service": `[Service]
RuntimeDirectory=openvswitch
ExecStartPre=/usr/bin/ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ExecStartPre=/usr/sbin/ovsdb-server /run/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --remote=ptcp:6640:127.0.0.1 --detach --pidfile
ExecStartPre=/usr/bin/ovs-vsctl --no-wait init
ExecStart=/usr/sbin/ovs-vswitchd unix:/run/openvswitch/db.sock --no-chdir
`,
		"/etc/systemd/system/server.service": "[Service]\nUser=neutron\nExecStart=/usr/bin/neutron-server --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/plugin.ini\n",
		"/usr/lib/systemd/system/" + h.unit: fmt.Sprintf(rdoUnit, "neutron-openvswitch-agent", "neutron", " --config-file /usr/share/neutron/neutron-dist.conf --config-file /etc/neutron/neutron.conf  --config-file /etc/neutron/plugins/ml2/openvswitch_agent.ini"+
			" --config-dir /etc/neutron/conf.d/common --config-dir /etc/neutron/conf.d/neutron-openvswitch-agent --log-file /var/log/neutron/openvswitch-agent.log", "PrivateTmp=true\nKillMode=process\n"),
	} {
		h.write(path, text)
	}
	h.sh("install -d -o neutron /var/lib/neutron/lock; systemctl unmask rabbitmq-server mariadb; systemctl daemon-reload; systemctl start mariadb rabbitmq-server switch")
	h.sh(`mariadb -e "CREATE DATABASE neutron; GRANT ALL ON neutron.* TO neutron@'%%' IDENTIFIED BY 'secret'"`)
	h.sh("su -s /bin/sh neutron -c 'neutron-db-manage --config-file /etc/neutron/neutron.conf upgrade heads' && systemctl start server")
	h.until("neutron-server answers", func() bool { return h.sh("curl -s -o /dev/null http://127.0.0.1:9696/ && echo so || true") == "so" })
	h.want(ocf.Start, ocf.OK)
	for _, level := range []int{0, 10, 20} {
		h.watch(level, ocf.OK)
	}
	group := "/sys/fs/cgroup/system.slice/" + h.unit + "/cgroup.procs"
	if got := h.sh("wc -l <%s", group); got == "1" {
		t.Error("it has made no processes, so that nothing is known of how they end")
	}
	h.want(ocf.Stop, ocf.OK)
	if got := h.sh("cat %s 2>/dev/null || true", group); got != "" {
		t.Errorf("what it made goes on: %s", got)
	}
	h.leaves = "left there by one that died"
	h.life(t, "killed", "frozen") // each takes half a minute
}

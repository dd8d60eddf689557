package unit

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/needs"
)

// qpiddUnit runs the broker as upstream's unit does, which EL has (qpid-cpp, etc/fedora/qpidd.service): as its own user, told
// nothing but its configuration file.
const qpiddUnit = `[Unit]
Description=AMQP broker
After=network.target
[Service]
Type=simple
User=qpidd
Group=qpidd
ExecStart=%s --config /etc/qpid/qpidd.conf
[Install]
WantedBy=multi-user.target
`

// TestQpidd: a real broker where there is one (QPIDD, PATH), else the stand-in.
func TestQpidd(t *testing.T) {
	needs.Turn(t, 1, 2)
	path, err := broker.Find()
	if err != nil {
		t.Skip("SKIP: needs qpidd, or python3-qpid-proton for the stand-in")
	}
	n := boot(t)
	h := on(t, n, "qpidd", "qpidd.service", nil)
	if path == "" {
		t.Log("the stand-in")
		path = "/usr/sbin/qpidd"
		if err := n.WriteFile(context.Background(), path, broker.Script(), 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("a real broker: " + path)
	}
	h.sh("id qpidd >/dev/null 2>&1 || useradd --system --home-dir /var/lib/qpidd --create-home qpidd; mkdir -p /etc/qpid /var/lib/qpidd; chown qpidd: /var/lib/qpidd")
	h.write("/usr/lib/systemd/system/qpidd.service", strings.ReplaceAll(qpiddUnit, "%s", path))
	h.write("/etc/qpid/qpidd.conf", "auth=no\n")
	h.sh("systemctl daemon-reload")
	t.Run("its file names no data directory", func(t *testing.T) {
		h := on(t, n, "qpidd", "qpidd.service", nil)
		h.want(ocf.Start, ocf.OK)
		h.watch(0, ocf.OK)
		h.watch(20, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		h.want(ocf.Monitor, ocf.NotRunning, "/var/lib/qpidd/.qpidd")
	})
	t.Run("it works elsewhere than we are told", func(t *testing.T) {
		h := on(t, n, "qpidd", "qpidd.service", ocftest.Params{"data_dir": "/srv/other"})
		h.run.Want(t, ocftest.Call{Action: ocf.Start, Params: h.params, Timeout: 15 * time.Second}, ocf.Generic, "/var/lib/qpidd/.qpidd")
		h.want(ocf.Stop, ocf.OK)
	})
	h.write("/etc/qpid/qpidd.conf", "auth=no\ndata-dir=/var/lib/qpidd/data\nport=5673\n")
	on(t, n, "qpidd", "qpidd.service", nil).life(t)
	t.Run("replicated, which only its own options can say", func(t *testing.T) {
		h := on(t, n, "qpidd", "qpidd.service", ocftest.Params{"ha_cluster": "true", "ha_brokers_url": "amqp:127.0.0.1:5673"})
		h.want(ocf.Start, ocf.NotConfigured, "does not replicate", "ha-cluster=yes")
		h.want(ocf.Stop, ocf.OK)
		h.write("/etc/qpid/qpidd.conf", "auth=no\ndata-dir=/var/lib/qpidd/data\nport=5673\nha-cluster=yes\nha-brokers-url=amqp:127.0.0.1:5673\n")
		h.want(ocf.Start, ocf.OK)
		h.watch(0, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
	})
	t.Run("what says how it runs is refused", func(t *testing.T) {
		on(t, n, "qpidd", "qpidd.service", ocftest.Params{"user": "root"}).want(ocf.Start, ocf.NotConfigured, "user says how the service is run, and so does unit=qpidd.service")
	})
}

// TestRedis: Debian's redis-server.service, which sandboxes it most of all, and gives its stop no time.
func TestRedis(t *testing.T) {
	needs.Turn(t, 0, 2)
	needs.Program(t, "redis-server", "redis-server")
	n := boot(t)
	on(t, n, "redis", "redis-server.service", nil).life(t)
	t.Run("beside another on another port", func(t *testing.T) {
		h := on(t, n, "redis", "redis-server.service", nil)
		h.direct("exec redis-server --port 6380 --dir /tmp")
		h.want(ocf.Monitor, ocf.NotRunning)
		h.want(ocf.Start, ocf.OK)
		h.watch(10, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
		h.sh("pkill -f :6380")
	})
	t.Run("stopped by a Pacemaker that is being stopped", func(t *testing.T) {
		// The order of our drop-in has it stopped after pacemaker.service, whose own stop waits for the agent's.
		h := on(t, n, "redis", "redis-server.service", nil)
		h.write("/etc/systemd/system/pacemaker.service", `[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c "OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 OCF_RESOURCE_INSTANCE=redis OCF_RESKEY_CRM_meta_timeout=60000 OCF_RESKEY_unit=redis-server.service /usr/lib/ocf/resource.d/openstack/redis stop; echo $$? >/run/stopped"
TimeoutStopSec=5min
`)
		h.want(ocf.Start, ocf.OK)
		h.sh("systemctl daemon-reload; systemctl start pacemaker.service; systemctl stop pacemaker.service")
		if code, how := h.sh("cat /run/stopped"), h.state("Result"); code != "0" || how != "success" {
			t.Errorf("the stop exits %s, and the unit's result is %s: it was killed", code, how)
		}
		h.want(ocf.Monitor, ocf.NotRunning)
	})
	t.Run("killed while it starts", func(t *testing.T) {
		h := on(t, n, "redis", "redis-server.service", nil)
		h.killsFirst("/var/lib/redis", "/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd --daemonize no")
		h.want(ocf.Start, ocf.OK)
		h.watch(0, ocf.OK)
		h.want(ocf.Stop, ocf.OK)
	})
	t.Run("killed at each start", func(t *testing.T) {
		h := on(t, n, "redis", "redis-server.service", nil)
		h.dropIn("[Service]\nExecStart=\nExecStart=/bin/sh -c \"echo about to load; kill -KILL $$$$\"\nNoExecPaths=\nExecPaths=\n")
		r := h.want(ocf.Start, ocf.Generic, "redis-server.service: start failed (signal, of SIGKILL: by somebody, or for lack of memory)", "about to load")
		if got := strings.Count(r.Stderr, "started once more"); got != 1 {
			t.Errorf("it was started again %d times: %s", got, r)
		}
	})
}

// TestBrokenConfiguration: the reason in crm_mon, 128 bytes of it, names what the service does not understand.
func TestBrokenConfiguration(t *testing.T) {
	needs.Turn(t, 1, 2)
	n := boot(t)
	for _, c := range []struct{ agent, program, unit, file, line, names string }{
		{"haproxy", "haproxy", "haproxy.service", "/etc/haproxy/haproxy.cfg", "no-such-option x", "haproxy.cfg:"},
		{"redis", "redis-server", "redis-server.service", "/etc/redis/redis.conf", "no-such-option x", ""},
		{"mysql-shared-storage", "mariadbd", "mariadb.service", "/etc/mysql/mariadb.conf.d/99-local.cnf", "[mysqld]\nno-such-option=x", ""},
	} {
		t.Run(c.agent, func(t *testing.T) {
			needs.Program(t, c.program, c.program)
			params := ocftest.Params{}
			if c.agent == "mysql-shared-storage" {
				params["shared_storage"] = "false"
			}
			h := on(t, n, c.agent, c.unit, params)
			h.sh("printf '%s\n' >>%s", c.line, c.file)
			r := h.want(ocf.Start, ocf.Generic)
			_, reason, _ := strings.Cut(r.Stderr, "ocf-exit-reason:")
			reason, _, _ = strings.Cut(reason, "\n")
			if shown := reason[:min(len(reason), 128)]; !strings.Contains(shown, "no-such-option") || !strings.Contains(shown, c.names) {
				t.Errorf("crm_mon shows %q", shown)
			}
		})
	}
}

// killsFirst has the next start of a program end by SIGKILL, and later ones be as they are. dir is one that it may write to.
func (h *host) killsFirst(dir, program string) {
	h.Helper()
	h.sh("rm -f %s/killed", dir)
	h.dropIn("[Service]\nExecStart=\nExecStart=/bin/sh -c \"test -e " + dir + "/killed || { touch " + dir + "/killed; echo about to load; kill -KILL $$$$; }; exec " + program + "\"\nNoExecPaths=\nExecPaths=\n")
}

// TestCinder: cinder-scheduler as Debian packages it (the agent has the name of the older one), whose unit runs an init script that executes it, with a database and a
// message bus by their own units.
func TestCinder(t *testing.T) {
	needs.Turn(t, 1, 2)
	for _, program := range []string{"cinder-scheduler", "rabbitmq-server", "mariadbd"} {
		needs.Program(t, program, program)
	}
	n := boot(t)
	h := on(t, n, "cinder-schedule", "cinder-scheduler.service", nil)
	h.write("/etc/mysql/mariadb.conf.d/99-small.cnf", "[mysqld]\ninnodb-buffer-pool-size=8M\ninnodb-use-native-aio=0\n")
	h.write("/etc/cinder/cinder.conf", `[DEFAULT]
host = node1
transport_url = rabbit://guest:guest@127.0.0.1:5672/
report_interval = 2
service_down_time = 10
[database]
connection = mysql+pymysql://cinder:secret@127.0.0.1/cinder
`)
	h.sh("chgrp cinder /etc/cinder/cinder.conf; systemctl unmask rabbitmq-server mariadb; systemctl start mariadb rabbitmq-server")
	h.sh(`mariadb -e "CREATE DATABASE cinder; GRANT ALL ON cinder.* TO cinder@'%%' IDENTIFIED BY 'secret'"`)
	h.sh("su -s /bin/sh cinder -c 'cinder-manage db sync'")
	h.slow = true
	t.Run("what it dies of stands in its log alone", func(t *testing.T) {
		h := on(t, n, "cinder-schedule", "cinder-scheduler.service", nil)
		h.sh("sed -i '1a scheduler_driver = cinder.nowhere.Driver' /etc/cinder/cinder.conf")
		defer h.sh("sed -i /nowhere/d /etc/cinder/cinder.conf")
		h.want(ocf.Start, ocf.Generic, "No module named 'cinder.nowhere'")
		h.want(ocf.Stop, ocf.OK)
	})
	h.life(t)
	t.Run("EL's units", func(t *testing.T) {
		// What RDO's units pass: the distribution's file first, which says where nobody is, and what the later one does not.
		h.write("/usr/share/cinder/cinder-dist.conf", "[DEFAULT]\nlogdir = /var/log/cinder\nstate_path = /var/lib/cinder\nhost = of-the-distribution\ntransport_url = rabbit://nobody@127.0.0.1:1/\n"+
			"report_interval = 2\n[database]\nconnection = mysql+pymysql://cinder@127.0.0.1:1/cinder\n[oslo_concurrency]\nlock_path = /var/lib/cinder/tmp\n")
		h.sh(`printf '[DEFAULT]\nenabled_backends = one\n[one]\nvolume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver\n' >>/etc/cinder/cinder.conf
			sed -i /report_interval/d /etc/cinder/cinder.conf; mkdir -p /var/lib/cinder/tmp; chown cinder: /var/lib/cinder/tmp`)
		for agent, program := range map[string]string{"cinder-schedule": "scheduler", "cinder-volume": "volume"} {
			t.Run(program, func(t *testing.T) {
				h := on(t, h.Node, agent, "openstack-cinder-"+program+".service", nil)
				h.write("/usr/lib/systemd/system/"+h.unit, "[Service]\nLimitNOFILE=131072\nLimitNPROC=131072\nType=simple\nUser=cinder\n"+
					"ExecStart=/usr/bin/cinder-"+program+" --config-file /usr/share/cinder/cinder-dist.conf --config-file /etc/cinder/cinder.conf --logfile /var/log/cinder/"+program+".log\n"+
					"Restart=on-failure\n[Install]\nWantedBy=multi-user.target\n")
				h.sh("systemctl daemon-reload")
				h.want(ocf.Start, ocf.OK)
				h.watch(10, ocf.OK)
				h.sh("kill -KILL %d", h.pid())
				h.until("systemd has seen it die", func() bool { return h.state("ActiveState") == "failed" })
				h.watch(0, ocf.NotRunning)
				h.want(ocf.Stop, ocf.OK)
			})
		}
	})
}

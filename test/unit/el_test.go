package unit

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
)

// EL's units and layout, by hand on Debian: what they say, in our words.

// elUnit is EL's haproxy.service (2.4.17 and later) with its layout: a directory beside the file, an environment file, no
// master's socket.
const elUnit = `[Unit]
Description=HAProxy Load Balancer
After=network-online.target
[Service]
EnvironmentFile=-/etc/sysconfig/haproxy
Environment="CONFIG=/etc/haproxy/haproxy.cfg" "PIDFILE=/run/haproxy.pid" "CFGDIR=/etc/haproxy/conf.d"
ExecStartPre=/usr/sbin/haproxy -f $CONFIG -f $CFGDIR -c -q $OPTIONS
ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -f $CFGDIR -p $PIDFILE $OPTIONS
ExecReload=/usr/sbin/haproxy -f $CONFIG -f $CFGDIR -c -q $OPTIONS
ExecReload=/bin/kill -USR2 $MAINPID
SuccessExitStatus=143
KillMode=mixed
Type=notify
[Install]
WantedBy=multi-user.target
`

// elMariaDB is what EL 9's mariadb.service (MariaDB 10.5, `systemctl show` of October 2025) says of a service.
const elMariaDB = `[Unit]
Description=MariaDB by EL's unit
After=network.target
[Service]
Type=notify
User=mysql
Group=mysql
ExecStartPre=/usr/libexec/mariadb-check-socket
ExecStartPre=/usr/libexec/mariadb-prepare-db-dir %n
ExecStart=/usr/libexec/mariadbd --basedir=/usr $MYSQLD_OPTS $_WSREP_NEW_CLUSTER
ExecStartPost=/usr/libexec/mariadb-check-upgrade
KillSignal=SIGTERM
SendSIGKILL=no
Restart=on-abort
RestartSec=5s
UMask=007
TimeoutSec=300
PrivateTmp=true
[Install]
WantedBy=multi-user.target
`

// elScripts stand where EL's scripts do, and do what those do: a socket that somebody answers on fails the start, an empty data
// directory is filled (here with one directory), whatever ought to be mounted on it, and one of another version is spoken of.
var elScripts = map[string]string{
	"mariadb-check-socket":   "if mariadb-admin --socket=/var/lib/mysql/mysql.sock ping >/dev/null 2>&1; then echo Another server answers on the socket >&2; exit 1; fi\n",
	"mariadb-prepare-db-dir": "[ -d /var/lib/mysql/mysql ] && { echo Database MariaDB is probably initialized in /var/lib/mysql already, nothing is done.; echo If this is not the case, make sure the /var/lib/mysql is empty before running this.; exit 0; }\nmkdir /var/lib/mysql/mysql\n",
	"mariadb-check-upgrade":  "[ -e /var/lib/mysql/mysql_upgrade_info ] || echo The datadir may need mariadb-upgrade\nexit 0\n",
}

// TestMySQLOfEL: the server, its option files, socket, pid file and log where EL has them.
func TestMySQLOfEL(t *testing.T) {
	needs(t, "mariadbd", "mariadb-server")
	n := boot(t)
	h := on(t, n, "mysql-shared-storage", "mariadb.service", nil)
	const data = "/var/lib/mysql"
	h.sh("mkdir /srv/data; chown mysql: /srv/data; mariadb-install-db --user=mysql --datadir=/srv/data --skip-test-db --innodb-log-file-size=8M >&2") // Debian's looks for the server in /usr/sbin alone
	h.sh("rm -r /etc/mysql; install -D /usr/sbin/mariadbd /usr/libexec/mariadbd; rm /usr/sbin/mariadbd; install -d -o mysql -g mysql /run/mariadb /var/log/mariadb")
	h.write("/etc/my.cnf", "[client-server]\n!includedir /etc/my.cnf.d\n")
	h.write("/etc/my.cnf.d/mariadb-server.cnf", "[server]\n[mysqld]\ndatadir="+data+"\nsocket="+data+"/mysql.sock\nlog-error=/var/log/mariadb/mariadb.log\npid-file=/run/mariadb/mariadb.pid\n[galera]\n")
	h.write("/etc/my.cnf.d/zz-small.cnf", "[mariadb]\ninnodb-buffer-pool-size=8M\ninnodb-log-file-size=8M\ninnodb-use-native-aio=0\n")
	for name, script := range elScripts {
		if err := n.WriteFile(t.Context(), "/usr/libexec/"+name, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.sh("rm -f /lib/systemd/system/mariadb.service /etc/systemd/system/mariadb.service; rm -rf %[1]s; install -d -o mysql -g mysql -m 755 %[1]s", data)
	h.write("/usr/lib/systemd/system/mariadb.service", elMariaDB)
	h.sh("systemctl daemon-reload")

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

package scenario

import "github.com/openstack-ocf/agents/test/cluster"

// EL's units and layout, by hand on Debian: what they say, in our words.

// ELHAProxy is EL's haproxy.service (2.4.17 and later) with its layout: a directory beside the file, an environment file, no
// master's socket.
func ELHAProxy() []cluster.File {
	return []cluster.File{
		{Path: "/usr/lib/systemd/system/haproxy.service", Content: elHAProxy},
		{Path: "/etc/sysconfig/haproxy", Content: "VIP=127.0.0.1\n"},
		{Path: "/etc/haproxy/conf.d/api.cfg", Content: "frontend beside\n    bind 127.0.0.1:8081\n    http-request return status 200 content-type text/plain string api1\n"},
	}
}

const elHAProxy = `[Unit]
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

// ELMariaDB is EL 9's mariadb.service (MariaDB 10.5; what `systemctl show` said of it in October 2025), with the server, its
// option files, socket, pid file and log where EL has them.
func ELMariaDB() []cluster.File {
	list := []cluster.File{
		{Path: "/usr/lib/systemd/system/mariadb.service", Content: elMariaDB},
		{Path: "/usr/lib/tmpfiles.d/mariadb.conf", Content: "d /run/mariadb 0755 mysql mysql -\nd /var/log/mariadb 0750 mysql mysql -\n"},
		{Path: "/usr/libexec/mariadbd", From: "/usr/sbin/mariadbd"},
		{Path: "/etc/mysql/my.cnf", Content: "# Debian's files are not read.\n"},
		{Path: "/etc/my.cnf", Content: "[client-server]\n!includedir /etc/my.cnf.d\n"},
		{Path: "/etc/my.cnf.d/mariadb-server.cnf", Content: "[server]\n[mysqld]\ndatadir=" + DataDir + "\nsocket=" + DataDir + "/mysql.sock\n" +
			"log-error=/var/log/mariadb/mariadb.log\npid-file=/run/mariadb/mariadb.pid\n[galera]\n"},
		{Path: "/etc/my.cnf.d/zz-test.cnf", Content: "[mariadb]\nskip-name-resolve\ninnodb-buffer-pool-size=8M\ninnodb-use-native-aio=0\n"},
	}
	for name, script := range elScripts {
		list = append(list, cluster.File{Path: "/usr/libexec/" + name, Content: "#!/bin/sh\n" + script, Mode: 0o755})
	}
	return list
}

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
	"mariadb-check-socket":   "if mariadb-admin --socket=" + DataDir + "/mysql.sock ping >/dev/null 2>&1; then echo Another server answers on the socket >&2; exit 1; fi\n",
	"mariadb-prepare-db-dir": "[ -d " + DataDir + "/mysql ] && { echo Database MariaDB is probably initialized in " + DataDir + " already, nothing is done.; echo If this is not the case, make sure the " + DataDir + " is empty before running this.; exit 0; }\nmkdir " + DataDir + "/mysql\n",
	"mariadb-check-upgrade":  "[ -e " + DataDir + "/mysql_upgrade_info ] || echo The datadir may need mariadb-upgrade\nexit 0\n",
}

package swap

import (
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// consoleauth is nova-consoleauth on the group's database and broker, with an init script of the shape of EL's, and the
// later unit of the same package.
func consoleauth(t *testing.T) scenario.Service {
	s, kind, err := scenario.Consoleauth()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	t.Logf("nova-consoleauth: %s", kind)
	s.Files = append(s.Files,
		cluster.File{Path: "/etc/init.d/openstack-nova-consoleauth", Mode: 0o755, Content: `#!/bin/sh
### BEGIN INIT INFO
# Provides: openstack-nova-consoleauth
# Short-Description: console tokens
### END INIT INFO
pid=/run/nova/nova-consoleauth.pid
lock=/run/lock/openstack-nova-consoleauth
alive() { [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
case $1 in
start)
	alive && exit 0
	install -d -o nova -g nova /run/nova
	runuser -u nova -- sh -c "/usr/bin/nova-consoleauth --logfile /var/log/nova/consoleauth.log </dev/null >/dev/null 2>&1 & echo \$! >$pid"
	touch $lock ;;
stop)
	alive && kill "$(cat $pid)" && while alive; do sleep 0.1; done
	rm -f $pid $lock ;;
status)
	alive && exit 0
	[ -s $pid ] && exit 1
	[ -e $lock ] && exit 2
	exit 3 ;;
*) exit 2 ;;
esac
`},
		cluster.File{Path: "/etc/systemd/system/openstack-nova-consoleauth.service", Content: `[Service]
Type=notify
NotifyAccess=all
TimeoutStartSec=0
Restart=always
User=nova
ExecStart=/usr/bin/nova-consoleauth
`},
	)
	return s
}

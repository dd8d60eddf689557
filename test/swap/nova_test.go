package swap

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/openstack"
	"github.com/openstack-ocf/agents/test/scenario"
)

// controller is the host that nova-consoleauth registers as, on whatever node it runs.
const controller = "controller"

// consoleauth is nova-consoleauth on the group's database and broker, with an init script of the shape of EL's, or the
// later unit of the same package.
func consoleauth(t *testing.T) []cluster.File {
	openstack.NeedNova(t)
	program := cluster.File{Path: "/usr/bin/nova-consoleauth", Mode: 0o755, Content: openstack.ConsoleauthScript()}
	if path := openstack.RealConsoleauth(); path != "" {
		t.Logf("nova-consoleauth: %s", path)
		program.Content, program.From = "", path
	}
	return []cluster.File{
		program,
		{Path: "/etc/nova/nova.conf", Owner: "root:nova", Mode: 0o640, Content: `[DEFAULT]
host = ` + controller + `
transport_url = amqp://` + scenario.FloatingIP + `:5672/
[database]
connection = mysql+pymysql://nova:secret@` + scenario.FloatingIP + `/nova
`},
		{Path: "/etc/init.d/openstack-nova-consoleauth", Mode: 0o755, Content: `#!/bin/sh
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
		{Path: "/etc/systemd/system/openstack-nova-consoleauth.service", Content: `[Service]
Type=notify
NotifyAccess=all
TimeoutStartSec=0
Restart=always
User=nova
ExecStart=/usr/bin/nova-consoleauth
`},
	}
}

// makeNova makes nova's database on the group's server.
func makeNova(t *testing.T, s *scenario.Stage) {
	at, err := s.Cluster.Running(step(t), "db")
	must(t, err)
	_, err = s.Cluster.Node(at).Shell(step(t), `set -e
		mariadb -e "CREATE DATABASE nova; CREATE USER nova@'%' IDENTIFIED BY 'secret'; GRANT ALL ON nova.* TO nova@'%'"
		nova-manage db sync --local_cell`)
	must(t, err)
}

// tokens is nova-consoleauth as a console proxy uses it: it asks for a token, over the broker at the group's address.
type tokens struct{ dial scenario.Dialer }

func askTokens(t *testing.T, c *cluster.Cluster) *scenario.Writer { return write(t, tokens{c.Dial}) }

func (k tokens) Put(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	bus := oslo.Transport{
		Driver: oslo.AMQP1, Brokers: []oslo.Broker{{Host: scenario.FloatingIP, Port: 5672}}, Exchange: "nova",
		Addressing: oslo.Addressing{Mode: "dynamic", LegacyPrefix: "exclusive"},
	}
	ask := rpcping.Request{Topic: "consoleauth", Host: controller, Method: "check_token", Version: "2.1", Args: map[string]any{"token": fmt.Sprint(n)}}
	a := rpcping.Call(ctx, bus, ask, rpcping.Options{ReplyTo: "proxy", Dial: k.dial})
	if a.State != rpcping.Answered || string(a.Result) != "null" { // a token that there is not
		return fmt.Errorf("%s %s", a.Reason(), a.Result)
	}
	select {
	case <-time.After(50 * time.Millisecond): // it is a proxy's load, and no more
	case <-ctx.Done():
	}
	return nil
}

func (tokens) Numbers(context.Context) ([]int, error) {
	return nil, errors.New("nova-consoleauth keeps what it was given")
}
func (tokens) Close() error { return nil }

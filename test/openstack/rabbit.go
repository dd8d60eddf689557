package openstack

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/openstack-ocf/agents/test/needs"
)

// Rabbit is a RabbitMQ broker with the user guest.
type Rabbit struct {
	*Process
	Port int

	t    testing.TB
	dir  string
	env  []string
	node string
}

// StartRabbit starts a broker of its own, Erlang's port mapper with it.
// plugins, such as rabbitmq_amqp1_0, are enabled.
func StartRabbit(t testing.TB, plugins ...string) *Rabbit {
	t.Helper()
	needs.Installed(t, "rabbitmq-server")
	const server = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	needs.File(t, server, "rabbitmq-server")
	mapper := needs.Program(t, "epmd", "erlang-base")
	dir := t.TempDir()
	ports := Ports(t, 3)
	r := &Rabbit{t: t, dir: dir, Port: ports[0], node: fmt.Sprintf("ocf%d@localhost", ports[1])}
	conf := write(t, dir, "rabbitmq.conf", 0o644,
		fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", r.Port),
		"log.file.level = info", "log.console = true")
	enabled := write(t, dir, "enabled_plugins", 0o644, "["+strings.Join(plugins, ",")+"].")
	write(t, dir, ".erlang.cookie", 0o400, "OPENSTACKOCFTEST")
	r.env = []string{
		"RABBITMQ_NODENAME=" + r.node,
		"RABBITMQ_MNESIA_BASE=" + dir + "/mnesia",
		"RABBITMQ_LOG_BASE=" + dir + "/log",
		"RABBITMQ_CONFIG_FILE=" + conf,
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + enabled,
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[1]),
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[2]),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		// The script becomes the server, which else would outlive it when the tests end.
		"RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_START_ARGS=-noinput",
		// The mapper that Erlang would start leaves the process group and outlives it.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
		"RABBITMQ_CTL_ERL_ARGS=-start_epmd false",
	}
	epmd := start(t, "epmd", dir, r.env, mapper, "-address", "127.0.0.1", "-port", fmt.Sprint(ports[2]))
	epmd.Await(10*time.Second, "port mapper", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", ports[2]))
		if err == nil {
			conn.Close()
		}
		return err
	})
	r.Start()
	return r
}

// Start starts the broker again after a Kill, on its old data.
func (r *Rabbit) Start() {
	r.t.Helper()
	r.Process = start(r.t, "rabbitmq", r.dir, r.env, "/usr/lib/rabbitmq/bin/rabbitmq-server")
	r.Await(60*time.Second, "AMQP", func(context.Context) error {
		conn, err := amqp091.Dial(r.URL())
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// Address is "127.0.0.1:port".
func (r *Rabbit) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// URL is for a client of AMQP 0-9-1.
func (r *Rabbit) URL() string { return "amqp://guest:guest@" + r.Address() + "/" }

// TransportURL is for oslo.messaging.
func (r *Rabbit) TransportURL() string { return "rabbit://guest:guest@" + r.Address() + "/" }

// Ctl runs rabbitmqctl (about 2 s).
func (r *Rabbit) Ctl(args ...string) string {
	r.t.Helper()
	return run(r.t, r.dir, r.env, append([]string{"/usr/lib/rabbitmq/bin/rabbitmqctl", "-q"}, args...)...)
}

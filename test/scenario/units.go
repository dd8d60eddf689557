package scenario

import (
	"context"
	"strings"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/cluster"
)

// ByUnit is the service run by its systemd unit, with no more to say of it than the options.
func ByUnit(s Service, unit string, options ...string) Service {
	s.Options = append(options, "unit="+unit)
	return s
}

// noted is where units note how each of their runs ended: on the storage that must outlive it.
const noted = DataDir + "/ended"

// Noted has the service's unit say how each of its runs ended, what is mounted then, and what Pacemaker does: see [Ends].
func Noted(s Service, unit string) Service {
	s.Files = append(s.Files, cluster.File{Path: "/etc/systemd/system/" + unit + ".d/50-note.conf", Content: `[Service]
ExecStopPost=+/bin/sh -c "echo %p $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS on=$$(findmnt -no FSTYPE ` + DataDir + `) pacemaker=$$(systemctl is-active pacemaker.service) >>` + noted + `"
`})
	return s
}

// Ends is how the services ended since it was asked last, by their units: a line for each. The node has the group's storage.
func Ends(ctx context.Context, n *cluster.Node) ([]string, error) {
	r, err := n.Shell(ctx, "cat "+noted+" 2>/dev/null; : >"+noted)
	return strings.FieldsFunc(r.Stdout, func(r rune) bool { return r == '\n' }), err
}

// brokerUnit runs the broker as upstream's unit does: told nothing but its configuration file.
const brokerUnit = `[Unit]
Description=AMQP broker
After=network.target
[Service]
User=daemon
Group=daemon
ExecStart=PROGRAM --config /etc/qpid/qpidd.conf
`

// BrokerByUnit is [Broker] run by a unit.
func BrokerByUnit() (Service, broker.Kind, error) {
	s, kind, err := Broker()
	if err != nil {
		return s, kind, err
	}
	program, options := "/usr/sbin/qpidd", []string{"shared_storage=true"}
	if kind == broker.Real {
		if program, err = broker.Find(); err != nil {
			return s, kind, err
		}
		options = append(options, "store=linearstore")
	}
	s.Files = append(s.Files,
		cluster.File{Path: "/etc/qpid/qpidd.conf", Content: brokerConf + "data-dir=" + BrokerDir + "\n"},
		cluster.File{Path: "/usr/lib/systemd/system/qpidd.service", Content: strings.ReplaceAll(brokerUnit, "PROGRAM", program)})
	return ByUnit(s, "qpidd.service", options...), kind, nil
}

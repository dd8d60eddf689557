package scenario

import (
	"strings"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/cluster"
)

// ByUnit is the service run by its systemd unit, with no more to say of it than the options.
func ByUnit(s Service, unit string, options ...string) Service {
	s.Options = append(options, "unit="+unit)
	return s
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

// Package haproxy is the agent ocf:openstack:haproxy: one HAProxy in
// master-worker mode, in a group with the floating IP or as a clone beside it.
package haproxy

import (
	"net/url"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

type params struct {
	unit, binary, pid, checkURL string
	config, additional          []string
	softStop                    time.Duration
}

type agent struct{ *params }

const long = `Manages one HAProxy in master-worker mode: in a group with the floating IP, or as a
clone with the floating IP colocated. A clone needs net.ipv4.ip_nonlocal_bind=1, or
"transparent" on the bind lines of the floating IP; validate-all at level 10 says which
is missing. An HAProxy that an init script or a unit started is taken over as it runs.

The monitor's level 0 is enough alone: master and worker are found by what they were
started with, whatever happened to pid files; the runtime API answers in time; every
frontend is open, and listens where the configuration says. Level 10 adds: a backend
with no server up is degraded, and named; and check_url, if given, is asked for.

A new configuration takes effect by reload-agent without a connection lost: after a
change of config or of another reloadable parameter, or by hand after the file was
edited (openstack-ocf run haproxy reload-agent). If HAProxy finds an error in it, or
could not bind its addresses, the old one goes on serving, and the monitor says degraded
and why until a reload succeeds. One that a unit started keeps all its files and its
environment. HAProxy 1.9 and later is managed, for the master's socket (-S).`

// New declares the agent.
func New() ocf.Agent {
	p := &params{}
	a := &agent{params: p}
	run := service.Of(a.daemon)
	return ocf.Agent{
		Name: "haproxy", Version: "1.0",
		Short:      "HAProxy load balancer with hitless reload",
		Long:       long,
		Parameters: p.declare(),
		Validate:   a.validateParameters,

		StopUnidentified: run.StopUnidentified,
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 60 * time.Second, Run: a.start},
			{Name: ocf.Stop, Timeout: 60 * time.Second, Run: run.Stop},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 2 * time.Second, Run: a.monitor},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: a.monitor},
			{Name: ocf.ReloadAgent, Timeout: 60 * time.Second, Run: a.reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: a.validate},
		},
	}
}

// alias is a second name of a parameter: not given, it changes nothing.
type alias struct{ ocf.Value }

func (v alias) Set(s string) error {
	if s == "" {
		return nil
	}
	return v.Value.Set(s)
}

// aliases are the names of the community's agents ocf:heartbeat:haproxy.
func aliases() map[string]string {
	return map[string]string{"conffile": "config", "binpath": "binary", "pidfile": "pid", "extraconf": "additional_parameters", "statusurl": "check_url"}
}

func (p *params) declare() []ocf.Parameter {
	list := []ocf.Parameter{
		service.UnitParameter(&p.unit, "haproxy.service"),
		{
			Name: "config", Value: paths(&p.config), Default: defaultConfig, Identifies: true, Reloadable: true, Short: "Configuration files",
			Long: "Files, or directories whose *.cfg files are read, in HAProxy's order and separated by spaces. A change to other\nfiles is a reload. Left at its default it is what haproxy.service names (EL's has /etc/haproxy/conf.d besides).\nHAProxy gets the environment of the unit, or of /etc/default/haproxy and /etc/sysconfig/haproxy.",
		},
		{
			Name: "binary", Value: ocf.String(&p.binary), Default: "haproxy", Reloadable: true, Short: "HAProxy's binary",
			Long: "A path, or a name.",
		},
		{
			Name: "pid", Value: ocf.Path(&p.pid), Default: "/run/haproxy.pid", UniqueGroup: "pid", Short: "Pid file",
			Long: "HAProxy writes it; the agent only takes it for a hint. The master's socket and a stats\nsocket, which the agent adds, are beside it: haproxy-master.sock.ocf, as policies of SELinux and AppArmor allow.",
		},
		{
			Name: "additional_parameters", Value: ocf.Words(&p.additional), Reloadable: true, Short: "More options for HAProxy's command line",
			Long: "Separated by spaces, quoted as in a shell.",
		},
		{
			Name: "check_url", Value: ocf.String(&p.checkURL), Reloadable: true, Short: "URL that level 10 asks for",
			Long: "A request through a frontend, such as http://192.168.122.203:5000/v3. On a node that does not have its\naddress nothing is asked. A status of 500 and above, or none in time, is degraded; a refused connection is an error.",
		},
		{
			Name: "soft_stop", Value: ocf.Duration(&p.softStop), Default: "5s", Reloadable: true, Short: "Time that a stop gives connections to end",
			Long: "New connections are refused from the beginning of a stop, so this adds to the time that a fail-over takes.",
		},
	}
	for _, name := range []string{"conffile", "binpath", "pidfile", "extraconf", "statusurl"} {
		of := list[slices.IndexFunc(list, func(x ocf.Parameter) bool { return x.Name == aliases()[name] })]
		list = append(list, ocf.Parameter{
			Name: name, Value: alias{of.Value}, Identifies: of.Identifies || of.UniqueGroup != "", Reloadable: of.Reloadable, Deprecated: "the community's name for it.", ReplacedBy: of.Name,
			Short: of.Short, Long: "Accepted so that moving from ocf:heartbeat:haproxy is a change of type alone.",
		})
	}
	return list
}

// direct are the parameters that say how HAProxy is run; its unit says all of them.
var direct = []string{"config", "conffile", "binary", "binpath", "pid", "pidfile", "additional_parameters", "extraconf"}

// own are options that the agent itself gives, or that would keep it from knowing the process.
var own = []string{"-c", "-d", "-D", "-db", "-f", "-p", "-S", "-sf", "-st", "-W", "-Ws", "-x", "-C", "--"}

func (a *agent) validateParameters(r *ocf.Request) error {
	for other, name := range aliases() {
		if r.Given(other) && r.Given(name) {
			return ocf.Errorf(ocf.NotConfigured, "%s and %s are both given, and are the same parameter: remove %s", name, other, other)
		}
	}
	if err := service.UnitAlone(r, a.unit, direct...); err != nil {
		return err
	}
	for _, word := range a.additional {
		if slices.Contains(own, word) {
			return ocf.Errorf(ocf.NotConfigured, "additional_parameters: %s is for the agent to give: remove it (config takes all files and directories)", word)
		}
	}
	if a.checkURL != "" {
		u, err := url.Parse(a.checkURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			return ocf.Errorf(ocf.NotConfigured, "check_url: want a URL such as http://192.168.122.203:5000/v3")
		}
	}
	return nil
}

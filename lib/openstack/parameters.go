package openstack

import (
	"strings"

	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) parameters() []ocf.Parameter {
	plural := strings.Join(a.declaration.Plugin.Files, ", ")
	list := []ocf.Parameter{
		service.UnitParameter(&a.given.unit, a.declaration.Binary+".service"),
		{
			Name: "binary", Value: ocf.String(&a.given.binary), Default: a.declaration.Binary, Short: "Program of the service",
			Long: "A path, or a name that is looked for in the system's directories.",
		},
		{
			Name: "config", Value: ocf.Path(&a.given.config), Default: a.declaration.Config, Identifies: true, Short: "Configuration file",
			Long: "The service is started with it as --config-file, behind the distribution's own under\n/usr/share if there is one. Whom the health checks ask is read from the same files.",
		},
	}
	if a.declaration.Plugin.Param != "" {
		list = append(list, ocf.Parameter{
			Name: a.declaration.Plugin.Param, Value: ocf.Path(&a.given.plugin), Identifies: true, Short: "Second configuration file",
			Long: "Passed as a second --config-file. Without it the first of these that exists: " + plural + ".",
		})
	}
	list = append(
		list,
		ocf.Parameter{
			Name: "user", Value: ocf.String(&a.given.user), Default: a.declaration.Project, Short: "User that the service runs as",
			Long: "With that user's own groups.",
		},
		ocf.Parameter{
			Name: "pid", Value: ocf.Path(&a.given.pid), Identifies: true, Short: "Pid file",
			Long: "Written on start. The agent only takes it for a hint. Without it a file named after the resource\nin the agents' directory under /run.",
		},
		ocf.Parameter{
			Name: "log", Value: ocf.Path(&a.given.log), Short: "File for what the service prints",
			Long: "Standard output and error, and with them the whole log unless the service's configuration sends it\nelsewhere. Without it /var/log/" + a.declaration.Project + "/ and the name of the program.",
		},
		ocf.Parameter{
			Name: "additional_parameters", Value: ocf.Words(&a.given.additional), Short: "More options for the service's command line",
			Long: "Separated by spaces, quoted as in a shell. A --config-file or --config-dir among them counts for the\nhealth checks too.",
		},
	)
	if a.declaration.Cleanup != "" {
		list = append(list, ocf.Parameter{
			Name: "cleanup", Value: ocf.OneOf(&a.given.cleanup, never, onStop), Default: never, Short: "Whether a stop removes the service's ports from this node",
			Long: "never leaves ports and processes where they are, so that traffic goes on while the service is restarted.\non-stop removes them with every stop, a restart in place included: the cluster does not tell an agent\nwhether it comes back on the same node. To have them removed only when the service leaves the node,\nkeep this at never and put a resource of type ocf:openstack:neutron-cleanup before it in the group.",
		})
	}
	for _, name := range strings.Fields(a.declaration.Older) {
		p := a.older(name)
		p.Name = name
		list = append(list, p)
	}
	return list
}

// older are parameters of the older shell agents ocf:openstack:*.
func (a *agent) older(name string) ocf.Parameter {
	var port int
	const asked = "the health checks read from the service's configuration where that is."
	switch name {
	case "database_server_port":
		return ocf.Parameter{
			Value: ocf.Int(&port, 1, 65535), Default: "3306", Deprecated: asked,
			Short: "Port of the database (not used)", Long: "Accepted, so that moving from the older agent changes nothing.",
		}
	case "amqp_server_port":
		return ocf.Parameter{
			Value: ocf.Int(&port, 1, 65535), Default: "5672", Deprecated: asked,
			Short: "Port of the message bus (not used)", Long: "Accepted, so that moving from the older agent changes nothing.",
		}
	case "neutron_server_port":
		return ocf.Parameter{
			Value: ocf.Int(&port, 1, 65535), Default: "9696", Deprecated: asked,
			Short: "Port of neutron-server (not used)", Long: "Accepted, so that moving from the older agent changes nothing.",
		}
	case "zeromq":
		return ocf.Parameter{
			Value: ocf.Bool(&a.given.zeromq), Default: "false", Reloadable: true,
			Short: "The service uses ZeroMQ", Long: "If true, no message bus is asked.",
		}
	case "url":
		return ocf.Parameter{
			Value: ocf.String(&a.given.url), Reloadable: true,
			Short: "URL that the monitor gets", Long: "Without it the service's versions document, where its configuration says that it listens. An answer\nthat wants a login (401, 403) is an answer.",
		}
	case "console_port":
		return ocf.Parameter{
			Value: ocf.Int(&a.given.consolePort, 0, 65535), Default: "0", Reloadable: true,
			Short: "Port of the console proxy", Long: "0 is that of the service's configuration, or else 6080.",
		}
	case "web":
		return ocf.Parameter{
			Value: ocf.Path(&a.given.web), Default: "/usr/share/novnc",
			Short: "Folder of noVNC's web pages", Long: "Passed on as --web.",
		}
	case "multibackend":
		return ocf.Parameter{
			Value: ocf.String(&a.given.unused), Default: "false", Deprecated: "enabled_backends of the service's configuration says it.",
			Short: "There are several backends (not used)", Long: "Accepted, so that moving from the older agent changes nothing.",
		}
	default:
		return ocf.Parameter{
			Value: ocf.String(&a.given.unused), Secret: name == "os_password", Deprecated: "the monitor needs no login: it asks for what anybody may read.",
			Short: "Login of the older agent's monitor (not used)", Long: "Accepted, so that moving from the older agent changes nothing.",
		}
	}
}

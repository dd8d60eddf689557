// Package redis is the agent ocf:openstack:redis.
package redis

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

const long = `Manages one Redis, or Valkey, which must run on one node at a time where services coordinate themselves by it:
gnocchi, aodh, designate and others keep their locks and memberships in it (tooz).

The monitor's level 0 is enough alone: the process is found by the port or the unix socket that it listens on, and
answers PING. Level 10 has it store a value and give it back, and looks at its memory, its connections, how it last
wrote to its disk, and, of a replica, whether it has its master.

The server reads its own configuration file; what this agent's parameters say outweighs it.`

// agent holds the parameters.
type agent struct {
	unit, binary, config, user, group, listen, socket, log string
	username, password                                     string
	port, memoryPercent, connectionsPercent                int
	additional                                             []string
}

// direct are the parameters that say how the server is run.
var direct = []string{"binary", "config", "user", "group", "log", "additional_parameters"}

// New declares the agent.
func New() ocf.Agent {
	a := &agent{}
	run := service.Of(a.daemon)
	return ocf.Agent{
		Name: "redis", Version: "1.0", Short: "Redis on one node at a time", Long: long,
		Parameters: []ocf.Parameter{
			service.UnitParameter(&a.unit, "redis-server.service"),
			{Name: "binary", Value: ocf.String(&a.binary), Default: "redis-server", Short: "Server binary", Long: "A path, or a name that is looked for in the system's directories."},
			{Name: "config", Value: ocf.Path(&a.config), Default: "/etc/redis/redis.conf", Short: "Configuration file", Long: "It is read by the server alone. A password for its clients (requirepass) belongs there."},
			{Name: "user", Value: ocf.String(&a.user), Default: "redis", Short: "User that it runs as", Long: "It must be able to read the configuration file, and to write to the data directory that is named there."},
			{Name: "group", Value: ocf.String(&a.group), Short: "Group that it runs as", Long: "Without it the user's own."},
			{Name: "listen", Value: ocf.String(&a.listen), Default: "127.0.0.1", Short: "Address to listen on, and to ask at", Long: "Such as the floating IP that is in the same group. If it is not given, the server listens where its configuration file says (bind)."},
			{Name: "port", Value: ocf.Int(&a.port, 1, 65535), Default: "6379", UniqueGroup: "port", Short: "TCP port to listen on", Long: "The process is found by it. With a socket, and if it is not given, the port is left to the configuration file."},
			{Name: "socket", Value: ocf.Path(&a.socket), UniqueGroup: "socket", Short: "Unix socket to listen on", Long: "If it is given, the process is found by it, and asked there."},
			{Name: "username", Value: ocf.String(&a.username), Reloadable: true, Short: "User of the checks, in the server's access list", Long: "Without it the default user."},
			{Name: "password", Value: ocf.String(&a.password), Reloadable: true, Secret: true, Short: "Password of the checks", Long: "Level 0 does without: a server that wants a password answers."},
			{Name: "degraded_memory_percent", Value: ocf.Int(&a.memoryPercent, 0, 100), Default: "90", Reloadable: true, Short: "Memory in use from which on it is degraded (percent of maxmemory)", Long: "Looked at by level 10, where the server refuses writes when it is full (maxmemory-policy noeviction). 0 never says so."},
			{Name: "degraded_connections_percent", Value: ocf.Int(&a.connectionsPercent, 0, 100), Default: "90", Reloadable: true, Short: "Connections in use from which on it is degraded (percent of maxclients)", Long: "Looked at by level 10. 0 never says so."},
			{Name: "log", Value: ocf.Path(&a.log), Default: "/var/log/redis/redis-server.log", Short: "File for its output", Long: "In place of the one in the configuration file (logfile)."},
			{Name: "additional_parameters", Value: ocf.Words(&a.additional), Short: "More options for its command line", Long: "Separated by spaces, quoted as in a shell. Everybody on the node can read them: no password belongs here."},
		},
		Validate: func(r *ocf.Request) error {
			if a.username != "" && a.password == "" {
				return ocf.Errorf(ocf.NotConfigured, "username without a password: set password too")
			}
			return service.UnitAlone(r, a.unit, direct...)
		},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 120 * time.Second, Run: run.Start},
			{Name: ocf.Stop, Timeout: 120 * time.Second, Run: run.Stop},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 5 * time.Second, Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: run.Monitor},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: service.Reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: run.ValidateAll},
		},
		StopUnidentified: run.StopUnidentified,
	}
}

// daemon is all there is to know about Redis.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	return service.Daemon{
		Service: service.Service{
			Name: "Redis", On: a.address(), Answers: a.answers,
			Identity: daemon.Identity{Name: "redis-server", Executables: executables(a.binary), Test: a.ours(r)},
		},
		Unit: a.unit, User: a.user, Group: a.group,
		Binary:    func() (string, error) { return r.LookPath(a.binary) },
		Launch:    func(ctx context.Context, binary string) (daemon.Command, error) { return a.launch(ctx, r, binary) },
		Questions: []service.Question{{Level: 10, Ask: a.inDepth}},
		Patience:  func(ctx context.Context, p *daemon.Process) daemon.StopOptions { return a.patience(ctx, r, p) },
	}
}

// executables are the names of the file that a server runs. On Debian redis-server is a link to redis-check-rdb.
func executables(binary string) []string {
	return []string{binary, "redis-server", "redis-check-rdb", "redis-check-aof", "valkey-server", "valkey-check-rdb", "valkey-check-aof"}
}

// ours tells the process by its sockets: its command line is a title that it gives itself, once it has started.
func (a *agent) ours(r *ocf.Request) daemon.Test {
	port := strconv.Itoa(a.port)
	byPort := daemon.Any(daemon.HasOption(port, "--port"), daemon.Listens(uint16(a.port)))
	switch {
	case a.socket == "":
		return byPort
	case r.Named("port"):
		return daemon.Any(daemon.ListensOnUnix(a.socket), byPort)
	}
	return daemon.Any(daemon.HasOption(a.socket, "--unixsocket"), daemon.ListensOnUnix(a.socket))
}

func (a *agent) launch(ctx context.Context, r *ocf.Request, binary string) (daemon.Command, error) {
	if !files.Exists(a.config) {
		return daemon.Command{}, ocf.Errorf(ocf.BadArgument, "there is no configuration file %s: set config", a.config)
	}
	args := []string{a.config, "--daemonize", "no", "--supervised", "no", "--logfile", ""}
	if a.socket == "" || r.Given("port") {
		args = append(args, "--port", strconv.Itoa(a.port))
	}
	if r.Given("listen") {
		args = append(args, "--bind", a.listen)
	}
	if a.socket != "" {
		args = append(args, "--unixsocket", a.socket)
		account, err := service.Account(a.user, a.group)
		if err == nil {
			err = service.OwnDirs(ctx, account, filepath.Dir(a.socket))
		}
		if err != nil {
			return daemon.Command{}, err
		}
	}
	return daemon.Command{
		Path: binary, Args: append(args, a.additional...), User: a.user, Group: a.group, Umask: 0o007, Output: a.log, KillUnready: true,
		Limits: []daemon.Limit{{Resource: syscall.RLIMIT_NOFILE, Value: 65535}}, // it may not raise them itself, as Debian's unit does
	}, nil
}

// address is where it is asked.
func (a *agent) address() string {
	if a.socket != "" {
		return a.socket
	}
	return net.JoinHostPort(a.listen, strconv.Itoa(a.port))
}

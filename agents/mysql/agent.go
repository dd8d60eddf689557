// Package mysql is the agent ocf:openstack:mysql-shared-storage: one MySQL or
// MariaDB server, active on one node at a time, on storage that only one node
// mounts at a time.
package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/storage"
	"github.com/openstack-ocf/agents/ocf"
)

// params are the agent's parameters. Empty means: as the option file says, or
// else as the distribution has it (see settings.go).
type params struct {
	unit, binary, clientBinary, config     string
	datadir, user, group, log, pid, socket string
	testTable, testUser, testPasswd        string
	testDefaultsFile                       string
	enableCreation                         bool
	additional                             []string
	connectionsPercent                     int
	storage                                storage.Guard
	preflush                               time.Duration
}

const long = `Manages one MySQL or MariaDB server that is active on one node at a time, with its
data on shared storage that only one node mounts at a time.

Parameters are those of ocf:heartbeat:mysql, with the same names and meanings, so
that moving over is a change of type alone. With none it manages the distribution's
stock server: the option file's groups and includes say where its data directory,
socket and pid file are.

The monitor's level 0 is enough alone: the server's process is found by what it
holds, whatever happened to pid files; its storage is mounted and writable; and it
answers a ping within the time. A server that is alive but refuses the check (too
many connections, a wrong password) is degraded, and is not restarted. Level 10
reads test_table; level 20 writes a row in a schema of its own, openstack_ocf.`

// Place is where the agent stands in a control plane.
func Place() placement.Place {
	return placement.Place{
		Names: []string{"mysql", "mariadb"}, Port: 3306,
		Single: "two servers on one data directory destroy it",
		Confined: func(root string, parameter func(string) string) string {
			return confined(root, cmp.Or(parameter("datadir"), stockData))
		},
	}
}

// New declares the agent.
func New() ocf.Agent {
	p := &params{}
	a := &agent{params: p}
	return ocf.Agent{
		Name: "mysql-shared-storage", Version: "1.0",
		Short:      "MySQL or MariaDB on shared storage, active on one node",
		Long:       long,
		Parameters: slices.Concat(p.declare(), p.storage.Parameters(true), replication()),
		Validate:   a.validateParameters,

		StopUnidentified: func(ctx context.Context, r *ocf.Request, cause error) error {
			return a.of(ctx).StopUnidentified(ctx, r, cause)
		},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 300 * time.Second, Run: a.run(service.Of.Start)},
			{Name: ocf.Stop, Timeout: 120 * time.Second, Run: a.run(service.Of.Stop)},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 2 * time.Second, Run: a.run(service.Of.Monitor)},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: a.run(service.Of.Monitor)},
			{Name: ocf.Monitor, Timeout: 60 * time.Second, Interval: 300 * time.Second, Depth: 20, Run: a.run(service.Of.Monitor)},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: service.Reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: a.run(service.Of.ValidateAll)},
		},
	}
}

// of is the daemon; to know it the server is asked, within the action's time.
func (a *agent) of(ctx context.Context) service.Of {
	return func(r *ocf.Request) service.Daemon { return a.daemon(ctx, r) }
}

func (a *agent) run(action func(service.Of, context.Context, *ocf.Request) error) func(context.Context, *ocf.Request) error {
	return func(ctx context.Context, r *ocf.Request) error { return action(a.of(ctx), ctx, r) }
}

func (p *params) declare() []ocf.Parameter {
	return []ocf.Parameter{
		service.UnitParameter(&p.unit, "mariadb.service"),
		{
			Name: "binary", Value: ocf.String(&p.binary), Short: "Server binary",
			Long: "The server's binary: a path, or a name. Without it mariadbd or mysqld is looked for. A wrapper such as\nmysqld_safe is never run, because it restarts the server behind the cluster's back: the server behind it is,\nwith what the wrapper's option groups ask for (open-files-limit, malloc-lib, nice, core-file-size).",
		},
		{
			Name: "client_binary", Value: ocf.String(&p.clientBinary), Short: "Client binary (not used)",
			Long: "Accepted so that moving from ocf:heartbeat:mysql is a change of type alone. This agent speaks the\nprotocol itself and runs no client.",
		},
		{
			Name: "config", Value: ocf.Path(&p.config), Identifies: true, Short: "Option file",
			Long: "The server's option file; the installed server is asked what it makes of it. Without it /etc/mysql/my.cnf or\n/etc/my.cnf, whichever there is.",
		},
		{
			Name: "datadir", Value: ocf.Path(&p.datadir), UniqueGroup: "datadir", Short: "Data directory",
			Long: "The directory that contains the databases. Without it the option file's datadir, or else /var/lib/mysql.",
		},
		{
			Name: "user", Value: ocf.String(&p.user), Short: "User that the server runs as",
			Long: "Without it the option file's user, or else mysql.",
		},
		{
			Name: "group", Value: ocf.String(&p.group), Short: "Group that the server runs as",
			Long: "Also the group of the log and of directories that the agent makes. Without it the user's own group.",
		},
		{
			Name: "log", Value: ocf.Path(&p.log), Short: "Error log",
			Long: "The server's error log. Without it the option file's log-error, or else error.log or mariadb.log where the\ndistribution keeps such logs. A missing directory is made.",
		},
		{
			Name: "pid", Value: ocf.Path(&p.pid), UniqueGroup: "pid", Short: "Pid file",
			Long: "The server writes it; the agent only takes it for a hint. Without it the option file's pid-file, or else a\nfile beside the socket.",
		},
		{
			Name: "socket", Value: ocf.Path(&p.socket), UniqueGroup: "socket", Short: "Unix socket",
			Long: "Without it the option file's socket, or else the distribution's.",
		},
		{
			Name: "test_table", Value: ocf.String(&p.testTable), Default: "mysql.user", Reloadable: true, Short: "Table that level 10 reads",
			Long: "In the notation database.table. Level 10 of the monitor reads a row of it.",
		},
		{
			Name: "test_user", Value: ocf.String(&p.testUser), Default: "root", Reloadable: true, Short: "User of the health checks",
			Long: "Must be allowed to read test_table for level 10, and to create and write the schema openstack_ocf for level\n20. The stock server lets root in over the socket without a password.",
		},
		{
			Name: "test_passwd", Value: ocf.String(&p.testPasswd), Secret: true, Reloadable: true, Short: "Password of test_user",
			Long: "Visible in the cluster's configuration; test_defaults_file keeps it out of there.",
		},
		{
			Name: "test_defaults_file", Value: ocf.Path(&p.testDefaultsFile), Reloadable: true, Short: "File with user and password of the health checks",
			Long: "An option file whose group [client] holds user and password (and ssl-ca, ssl-cert, ssl-key, ssl-verify-server-cert for\nan account that is REQUIRE SSL), readable by root only. It wins over test_user and test_passwd. There is no default: a ~/.my.cnf never changes who the checks log in as.",
		},
		{
			Name: "enable_creation", Value: ocf.Bool(&p.enableCreation), Default: "false", Short: "Create the databases if there are none",
			Long: "Initialises an empty data directory on start; with shared_storage only one that is mounted.",
		},
		{
			Name: "additional_parameters", Value: ocf.Words(&p.additional), Short: "More options for the server's command line",
			Long: "Separated by spaces, quoted as in a shell.",
		},
		{
			Name: "degraded_connections_percent", Value: ocf.Int(&p.connectionsPercent, 0, 100), Default: "90", Reloadable: true, Short: "Connections in use from which on the server is degraded (percent)",
			Long: "Of max_connections; looked at from level 10 on. 0 never says so.",
		},
		{
			Name: "preflush", Value: ocf.Duration(&p.preflush), Default: "5s", Reloadable: true, Short: "Time for writing dirty pages before a stop",
			Long: "A stop first has the server write its dirty pages while it still serves, for so long at most, which\nshortens the time without service. 0 does not.",
		},
	}
}

// replication are the parameters of ocf:heartbeat:mysql that a server on shared
// storage has no use for: accepted at their defaults, refused otherwise.
func replication() []ocf.Parameter {
	var list []ocf.Parameter
	for _, p := range []struct{ name, def string }{
		{"replication_user", "root"},
		{"replication_passwd", ""},
		{"replication_port", "3306"},
		{"replication_require_ssl", "false"},
		{"replication_master_ssl_ca", ""},
		{"replication_master_ssl_cert", ""},
		{"replication_master_ssl_key", ""},
		{"max_slave_lag", "3600"},
		{"evict_outdated_slaves", "false"},
		{"reader_attribute", "readable"},
	} {
		list = append(list, ocf.Parameter{
			Name: p.name, Value: onlyDefault(p.def), Default: p.def, Secret: p.name == "replication_passwd",
			Deprecated: "this agent runs one server on shared storage and does not replicate.",
			Short:      "Of ocf:heartbeat:mysql's replication (not used)",
			Long:       "Accepted at its default only, so that a resource moved from ocf:heartbeat:mysql keeps its parameters.",
		})
	}
	return list
}

type onlyDefault string

func (onlyDefault) Type() string { return "string" }

func (d onlyDefault) Set(s string) error {
	if s != string(d) {
		return fmt.Errorf("this agent does not replicate: remove it, or use ocf:heartbeat:galera (it takes nothing but %q)", string(d))
	}
	return nil
}

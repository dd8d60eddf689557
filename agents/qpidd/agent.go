// Package qpidd is the agent ocf:openstack:qpidd: the Apache Qpid C++ broker,
// one of its kind with a group, or replicated as a promotable clone.
package qpidd

import (
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/storage"
	"github.com/openstack-ocf/agents/ocf"
)

// params are the agent's parameters. Empty means: as the broker's configuration
// file says, or else as the distribution has it (see settings.go).
type params struct {
	unit                                string
	binary, config, user, group, log    string
	iface, dataDir, pidDir, pid         string
	moduleDir, store                    string
	port                                int
	username, passwd, credentials, mech string
	sslCA, sslCert, sslKey              string
	additional                          []string
	haCluster                           bool
	haBrokers, haPublic, haReplicate    string
	coldStart                           time.Duration
	queuePercent, connectionsPercent    int
	storage                             storage.Guard
}

const long = `Manages the Apache Qpid C++ message broker, qpidd, in either of two ways.

As a primitive, in a group with a floating IP: one broker, active on one node. With
the data directory on shared storage and a message store, durable messages move with
it (shared_storage=true).

With ha_cluster=true, as a promotable clone: every node runs a broker, one is promoted
and serves clients, and the others replicate it, so that no message is lost when it
fails:

    pcs resource create qpidd ocf:openstack:qpidd ha_cluster=true \
        ha_brokers_url=amqp:node1:5672,node2:5672,node3:5672 promotable
    pcs constraint colocation add FLOATING-IP with promoted qpidd-clone INFINITY
    pcs constraint order promote qpidd-clone then start FLOATING-IP

A broker by its unit (unit=) replicates if its own options say so: ha-cluster=yes and
ha-brokers-url in its configuration file. link-heartbeat-interval=5, ha-backup-timeout=5
and link-maintenance-interval=0.2, which the agent gives otherwise, belong there too.

It needs no notifications. The primary's promotion score is 1000. It gives 100 to the
backups that have everything, and takes it from one that lost touch with it; others have
none. When all brokers start from nothing, the one with the newest store is promoted once
all have been heard (score 10), by the nodes' clocks. Fencing is essential: without it
two brokers may be active, and their messages diverge.

The monitor's level 0 is enough alone: the broker's process is found by the data
directory it holds, whatever happened to pid files, and a client's login is played
through (AMQP 1.0: connect, SASL, open, begin). A broker that is alive but refuses the
check (connection limit, wrong password, amqp.so not loaded) is degraded, and is not
restarted. Level 10 sends a message to itself through amq.direct; level 20 reads the
broker's management: queues near their limit, missing store, missing backups.`

// New declares the agent.
func New() ocf.Agent {
	p := &params{}
	a := &agent{params: p}
	run := service.Of(a.daemon)
	return ocf.Agent{
		Name: "qpidd", Version: "1.0",
		Short:      "Apache Qpid C++ message broker, single or replicated",
		Long:       long,
		Parameters: slices.Concat(p.declare(), p.storage.Parameters(false)),
		Validate:   a.validateParameters,

		StopUnidentified: run.StopUnidentified,
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 120 * time.Second, Run: run.Start},
			{Name: ocf.Stop, Timeout: 60 * time.Second, Run: run.Stop},
			// Those without a role watch the primitive, or the clone's unpromoted instances.
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 5 * time.Second, Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 3 * time.Second, Role: "Promoted", Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 31 * time.Second, Depth: 10, Role: "Promoted", Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 60 * time.Second, Depth: 20, Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 30 * time.Second, Interval: 61 * time.Second, Depth: 20, Role: "Promoted", Run: run.Monitor},
			{Name: ocf.Promote, Timeout: 60 * time.Second, Run: a.promote},
			{Name: ocf.Demote, Timeout: 180 * time.Second, Run: a.demote},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: service.Reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: run.ValidateAll},
		},
	}
}

func (p *params) declare() []ocf.Parameter {
	return []ocf.Parameter{
		service.UnitParameter(&p.unit, "qpidd.service"),
		{
			Name: "binary", Value: ocf.String(&p.binary), Default: "qpidd", Short: "Broker binary",
			Long: "A path, or a name that is looked for in the system's directories.",
		},
		{
			Name: "config", Value: ocf.Path(&p.config), Identifies: true, Short: "Configuration file",
			Long: "Without it /etc/qpid/qpidd.conf, or /etc/qpidd.conf, whichever there is.",
		},
		{
			Name: "user", Value: ocf.String(&p.user), Default: "qpidd", Short: "User that the broker runs as",
			Long: "As the packages' init script and unit have it.",
		},
		{
			Name: "group", Value: ocf.String(&p.group), Short: "Group that the broker runs as",
			Long: "Without it the user's own group.",
		},
		{
			Name: "port", Value: ocf.Int(&p.port, 0, 65535), Default: "0", UniqueGroup: "port", Short: "Port to listen on",
			Long: "0 is the configuration file's port, or else 5672.",
		},
		{
			Name: "interface", Value: ocf.String(&p.iface), Short: "Address or interface to listen on",
			Long: "Without it the configuration file's, or else all of them.",
		},
		{
			Name: "data_dir", Value: ocf.Path(&p.dataDir), UniqueGroup: "data_dir", Short: "Data directory",
			Long: "Where the broker keeps its lock and its store. Without it the configuration file's data-dir, or else\n/var/lib/qpidd.",
		},
		{
			Name: "pid_dir", Value: ocf.Path(&p.pidDir), Identifies: true, Short: "Directory of the broker's own pid file",
			Long: "Passed on to the broker. The agent finds the broker by the data directory it holds.",
		},
		{
			Name: "pid", Value: ocf.Path(&p.pid), Identifies: true, Short: "Pid file that the agent writes",
			Long: "For other tools that want one; the agent only takes it for a hint.",
		},
		{
			Name: "module_dir", Value: ocf.Path(&p.moduleDir), Short: "Directory of the broker's modules",
			Long: "All modules in it are loaded. Without it the broker's own default.",
		},
		{
			Name: "store", Value: ocf.OneOf(&p.store, "", "linearstore", "legacystore"), Short: "Message store that must be loaded",
			Long: "linearstore or legacystore. Start fails unless the broker has it: without a store a broker forgets durable\nmessages when it stops. Without the parameter any will do, and none.",
		},
		{
			Name: "log", Value: ocf.Path(&p.log), Default: "/var/log/qpidd.log", Short: "File for the broker's output",
			Long: "What it writes to standard error; where else it logs to is up to its configuration.",
		},
		{
			Name: "username", Value: ocf.String(&p.username), Reloadable: true, Short: "User of the health checks",
			Long: "Without it the checks log in as ANONYMOUS. A user who may read management is needed for levels 20 and for\nha_cluster where the broker has access control.",
		},
		{
			Name: "passwd", Value: ocf.String(&p.passwd), Secret: true, Reloadable: true, Short: "Password of username",
			Long: "Visible in the cluster's configuration; credentials_file keeps it out of there.",
		},
		{
			Name: "credentials_file", Value: ocf.Path(&p.credentials), Reloadable: true, Short: "File with user and password of the health checks",
			Long: "A file whose group [client] holds user and password, readable by root only. It wins over username and\npasswd.",
		},
		{
			Name: "sasl_mechanism", Value: ocf.OneOf(&p.mech, "", "ANONYMOUS", "PLAIN", "EXTERNAL"), Reloadable: true, Short: "SASL mechanism of the health checks",
			Long: "ANONYMOUS, PLAIN or EXTERNAL. Without it PLAIN with a user, ANONYMOUS without.",
		},
		{
			Name: "ssl_ca", Value: ocf.Path(&p.sslCA), Reloadable: true, Short: "Certificates (PEM) that the broker's must be signed by",
			Long: "For the health checks of a broker that takes TLS only (listen-disable=tcp, require-encryption). Without it\nthey do not look at its certificate: that the socket is the broker's own is known.",
		},
		{
			Name: "ssl_cert", Value: ocf.Path(&p.sslCert), Reloadable: true, Short: "Certificate (PEM) that the health checks show",
			Long: "Where the broker wants one (ssl-require-client-authentication).",
		},
		{
			Name: "ssl_key", Value: ocf.Path(&p.sslKey), Reloadable: true, Short: "Key (PEM) of ssl_cert",
			Long: "Without it ssl_cert holds both.",
		},
		{
			Name: "additional_parameters", Value: ocf.Words(&p.additional), Short: "More options for the broker's command line",
			Long: "Separated by spaces, quoted as in a shell. An option that has a parameter of its own counts here. The broker\nalways runs in the foreground: --daemon is left out.",
		},
		{
			Name: "ha_cluster", Value: ocf.Bool(&p.haCluster), Default: "false", Short: "Replicate: run as a promotable clone",
			Long: "Needs the module ha.so in every broker.",
		},
		{
			Name: "ha_brokers_url", Value: ocf.String(&p.haBrokers), Short: "URL that lists all brokers",
			Long: "Such as amqp:node1:5672,node2:5672,node3:5672. Needed with ha_cluster. It lists every node the clone may run\non; brokers come and go without a change to it.",
		},
		{
			Name: "ha_public_url", Value: ocf.String(&p.haPublic), Short: "URL that clients are told",
			Long: "Such as the floating IP. Without it ha_brokers_url.",
		},
		{
			Name: "ha_replicate", Value: ocf.OneOf(&p.haReplicate, "none", "configuration", "all"), Default: "all", Short: "What is replicated",
			Long: "all, configuration, or none. Queues may say otherwise for themselves.",
		},
		{
			Name: "cold_start_timeout", Value: ocf.Duration(&p.coldStart), Default: "60s", Reloadable: true, Short: "How long a cold start waits for brokers not yet heard",
			Long: "When all brokers start from nothing, the one with the newest store is promoted once all have been heard (as\nmany as instances of the clone, or as ha_brokers_url has brokers), or this long after the own broker's start.",
		},
		{
			Name: "degraded_queue_percent", Value: ocf.Int(&p.queuePercent, 0, 100), Default: "80", Reloadable: true, Short: "Fill of a queue from which on the broker is degraded (percent)",
			Long: "Of the queue's limit; looked at by level 20. 0 never says so.",
		},
		{
			Name: "degraded_connections_percent", Value: ocf.Int(&p.connectionsPercent, 0, 100), Default: "90", Reloadable: true, Short: "Connections in use from which on the broker is degraded (percent)",
			Long: "Of max-connections; looked at by level 20. 0 never says so.",
		},
	}
}

package oslo

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Host is the name under which the service writes its heartbeat row and
// subscribes on the bus: the option host, or else what Python's
// socket.gethostname gives.
func (c *Config) Host() (string, error) {
	v, err := c.Get("DEFAULT.host")
	if err == nil && v.Text != "" {
		return v.Text, nil
	}
	if err != nil && !errors.Is(err, ErrNotSet) {
		return "", err
	}
	return os.Hostname()
}

// ReportInterval is the time between two heartbeats of a nova or cinder
// service, 10 s unless set. Neutron's agents have AgentReportInterval.
func (c *Config) ReportInterval() (time.Duration, error) {
	return c.Seconds(10*time.Second, "DEFAULT.report_interval")
}

// ServiceDownTime is the age of a heartbeat at which nova or cinder call a
// service down, 60 s unless set.
func (c *Config) ServiceDownTime() (time.Duration, error) {
	return c.Seconds(60*time.Second, "DEFAULT.service_down_time")
}

// AgentReportInterval is the time between two heartbeats of a neutron agent,
// 30 s unless set.
func (c *Config) AgentReportInterval() (time.Duration, error) {
	return c.Seconds(30*time.Second, "agent.report_interval")
}

// AgentDownTime is the age of a heartbeat at which neutron-server calls an
// agent dead, 75 s unless set.
func (c *Config) AgentDownTime() (time.Duration, error) {
	return c.Seconds(75*time.Second, "DEFAULT.agent_down_time")
}

// RPCPingEnabled tells whether the service answers oslo_rpc_server_ping.
func (c *Config) RPCPingEnabled() (bool, error) {
	return c.Bool(false, "DEFAULT.rpc_ping_enabled")
}

// Cache is where a service keeps what must survive its move to another node;
// nova-consoleauth: its tokens.
type Cache struct {
	// Memcached are the servers, "host:port" each; none: the cache is in the
	// process and dies with it.
	Memcached []string
	Where     string
}

var memcacheBackends = []string{
	"oslo_cache.memcache_pool", "dogpile.cache.memcached",
	"dogpile.cache.pymemcache", "dogpile.cache.bmemcached", "dogpile.cache.pylibmc",
}

// Cache reads [cache], or Havana's [DEFAULT] memcached_servers.
func (c *Config) Cache() (Cache, error) {
	enabled, err := c.Bool(false, "cache.enabled")
	if err != nil {
		return Cache{}, err
	}
	backend, err := c.Str("", "cache.backend")
	if err != nil {
		return Cache{}, err
	}
	name := "DEFAULT.memcached_servers"
	if enabled {
		name = "cache.memcache_servers"
		if !slices.Contains(memcacheBackends, backend) {
			return Cache{Where: "cache.backend"}, nil
		}
	}
	v, err := c.Get(name)
	if errors.Is(err, ErrNotSet) {
		if enabled { // the default of [cache] memcache_servers
			return Cache{Memcached: []string{"localhost:11211"}, Where: "default"}, nil
		}
		return Cache{Where: "default"}, nil
	}
	if err != nil {
		return Cache{}, err
	}
	cache := Cache{Where: v.Where()}
	for _, item := range v.List() {
		host, port, err := cutPort(trimInet(item))
		if err != nil {
			return cache, v.errorf("an item is not host:port")
		}
		if port == 0 {
			port = 11211
		}
		cache.Memcached = append(cache.Memcached, Broker{Host: host, Port: port}.Address())
	}
	return cache, nil
}

// trimInet drops python-memcached's "inet:" and "inet6:", and the "inet6" before
// a bracket.
func trimInet(item string) string {
	if rest, found := strings.CutPrefix(item, "inet6"); found && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "[")) {
		return strings.TrimPrefix(rest, ":")
	}
	return strings.TrimPrefix(item, "inet:")
}

// Port reads a TCP port, such as DEFAULT.osapi_compute_listen_port.
func (c *Config) Port(fallback int, names ...string) (int, error) {
	port, err := c.Int(fallback, names...)
	if err == nil && (port < 1 || port > 65535) {
		return 0, fmt.Errorf("option %s: not a TCP port", names[0])
	}
	return port, err
}

package openstack

import "github.com/openstack-ocf/agents/lib/openstack"

// others are the services of the other projects.
func others() []openstack.Declaration {
	const (
		cinderConf = "/etc/cinder/cinder.conf"
		user       = " os_username os_password os_tenant_name os_auth_url client_binary"
	)
	return []openstack.Declaration{
		{
			Agent: "cinder-api", Title: "Cinder API", Project: "cinder", Binary: "cinder-api", Config: cinderConf,
			API: openstack.API{
				Host: []string{"DEFAULT.osapi_volume_listen"}, Port: []string{"DEFAULT.osapi_volume_listen_port"}, Default: 8776,
				TLS: []string{"DEFAULT.osapi_volume_use_ssl"},
			},
			Older: "url" + login,
		},
		{
			Agent: "cinder-schedule", Title: "Cinder scheduler", Project: "cinder", Binary: "cinder-scheduler", Config: cinderConf,
			Row: openstack.CinderRow, Bus: openstack.Bus{Topic: "cinder-scheduler", Exchange: "openstack"},
			Older: "amqp_server_port",
		},
		{
			Agent: "cinder-volume", Title: "Cinder volume service", Project: "cinder", Binary: "cinder-volume", Config: cinderConf,
			Long:   "With several backends (enabled_backends) each of them has to report and to answer.",
			Single: "two on the same backend change its volumes at the same time",
			Row:    openstack.CinderRow, Bus: openstack.Bus{Topic: "cinder-volume", Exchange: "openstack"}, Backends: "DEFAULT.enabled_backends",
			Older: "amqp_server_port multibackend",
		},
		{
			Agent: "glance-api", Title: "Glance API", Project: "glance", Binary: "glance-api", Config: "/etc/glance/glance-api.conf",
			API:   openstack.API{Host: []string{"DEFAULT.bind_host"}, Port: []string{"DEFAULT.bind_port"}, Default: 9292, TLS: []string{"DEFAULT.cert_file"}},
			Older: user,
		},
		{
			Agent: "glance-registry", Title: "Glance registry", Project: "glance", Binary: "glance-registry", Config: "/etc/glance/glance-registry.conf",
			API:   openstack.API{Host: []string{"DEFAULT.bind_host"}, Port: []string{"DEFAULT.bind_port"}, Default: 9191, TLS: []string{"DEFAULT.cert_file"}},
			Older: "url" + login,
		},
		{
			Agent: "heat-engine", Title: "Heat engine", Project: "heat", Binary: "heat-engine", Config: "/etc/heat/heat.conf",
			Row: openstack.HeatRow, Bus: openstack.Bus{Topic: "engine"},
			Older: "amqp_server_port zeromq",
		},
		{
			Agent: "keystone", Title: "Keystone", Project: "keystone", Binary: "keystone-all", Config: "/etc/keystone/keystone.conf",
			Long: "Up to Mitaka: later releases have no server of their own, but run under Apache httpd or uWSGI.",
			API: openstack.API{
				Host: []string{"eventlet_server.public_bind_host", "DEFAULT.public_bind_host", "DEFAULT.bind_host"},
				Port: []string{"eventlet_server.public_port", "DEFAULT.public_port"}, Default: 5000,
				TLS: []string{"eventlet_server_ssl.enable", "ssl.enable"},
			},
			Older: user,
		},
		{
			Agent: "manila-share", Title: "Manila share service", Project: "manila", Binary: "manila-share", Config: "/etc/manila/manila.conf",
			Long:   "With several backends (enabled_share_backends) each of them has to report and to answer.",
			Single: "two on the same backend change its shares at the same time",
			Row:    openstack.CinderRow, Bus: openstack.Bus{Topic: "manila-share", Exchange: "openstack"}, Backends: "DEFAULT.enabled_share_backends",
		},
		{
			Agent: "ceilometer-agent-central", Title: "Ceilometer central agent", Project: "ceilometer", Binary: "ceilometer-agent-central", Config: "/etc/ceilometer/ceilometer.conf",
			Single: "each of several counts all that there is",
			Long:   "It polls others and answers nobody, so that no more can be said of it than that its process lives.\nSince Newton: binary=ceilometer-polling additional_parameters='--polling-namespaces central'.",
			Older:  "amqp_server_port",
		},
	}
}

package plan

// answer is the status that a healthy API has for an unauthenticated request, as HAProxy wants it after http-check expect.
type answer string

const (
	// A versions document is served with 300 if there are several versions to choose from, or with 200.
	versions answer = "rstatus ^(200|300)$"
	page     answer = "rstatus ^[23]"
	// The service has no versions document, or keeps it from those who do not log in.
	noError answer = "! rstatus ^5"
)

// wellKnown is a service that everybody runs.
type wellKnown struct {
	port    int
	check   string // path of the request; "" is /
	healthy answer // "" is versions
	tunnel  bool   // of its websockets: for hours, and to the same server
}

// apis are the services of the document and of today with the ports and paths that they have as they come.
func apis() map[string]wellKnown {
	return map[string]wellKnown{
		"aodh":            {port: 8042},
		"barbican":        {port: 9311},
		"ceilometer":      {port: 8777, healthy: noError},
		"cinder":          {port: 8776},
		"designate":       {port: 9001},
		"glance":          {port: 9292},
		"glance-registry": {port: 9191, healthy: noError},
		"gnocchi":         {port: 8041, healthy: page},
		"heat":            {port: 8004},
		"heat-cfn":        {port: 8000},
		"heat-cloudwatch": {port: 8003},
		"horizon":         {port: 80, healthy: page},
		"ironic":          {port: 6385},
		"keystone":        {port: 5000},
		"keystone-admin":  {port: 35357},
		"manila":          {port: 8786},
		"neutron":         {port: 9696},
		"nova":            {port: 8774},
		"nova-ec2":        {port: 8773, check: "/services/Cloud", healthy: noError},
		"nova-metadata":   {port: 8775},
		"novnc":           {port: 6080, check: "/vnc_auto.html", healthy: noError, tunnel: true},
		"octavia":         {port: 9876},
		"placement":       {port: 8778},
		"swift":           {port: 8080, check: "/healthcheck", healthy: page},
	}
}

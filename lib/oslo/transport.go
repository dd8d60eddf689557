package oslo

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Driver is the way a service speaks to its message bus.
type Driver string

const (
	// Rabbit is AMQP 0-9-1: rabbit://, kombu:// and Havana's impl_kombu.
	Rabbit Driver = "rabbit"
	// AMQP1 is oslo.messaging's amqp://, AMQP 1.0.
	AMQP1 Driver = "amqp"
	// Qpid is qpid:// and Havana's impl_qpid, AMQP 0-10.
	Qpid Driver = "qpid"
)

// ErrDriver says that the service uses a bus that nothing here can speak to
// (fake://, zmq://, kafka://, kombu+memory://).
var ErrDriver = errors.New("no such message bus driver here")

// Transport is how a service reaches its message bus. It prints without
// passwords.
type Transport struct {
	Driver   Driver
	Brokers  []Broker // at least one, in the order of the file
	VHost    string   // "/" unless set, for Rabbit; "" unless set, for AMQP1
	Exchange string   // control_exchange
	TLS      *TLS     // nil: plain TCP

	// Topology is Qpid's qpid_topology_version, 1 or 2.
	Topology int
	// Addressing holds AMQP1's options for addresses.
	Addressing Addressing

	// Where is "file:line" of the option that names the brokers, for the operator.
	Where string
}

// Broker is one address of the bus.
type Broker struct {
	Host     string
	Port     int
	User     string // empty: anonymous
	Password Secret
}

// Address is "host:port" to dial.
func (b Broker) Address() string { return net.JoinHostPort(b.Host, strconv.Itoa(b.Port)) }

// TLS says how the service checks its broker.
type TLS struct {
	CAFile, CAPath, CertFile, KeyFile string
	// Verify: the certificate must be signed by CAFile (or the system's CAs).
	Verify bool
	// VerifyName: and must name the host.
	VerifyName bool
}

// Addressing is what [oslo_messaging_amqp] says of addresses.
type Addressing struct {
	Mode           string // dynamic, legacy or routable
	LegacyPrefix   string // server_request_prefix: "exclusive"
	RoutablePrefix string // rpc_address_prefix and unicast_address: "openstack.org/om/rpc/unicast"
	PseudoVHost    bool   // the vhost is part of the address, not of the connection
}

// String is the transport for an operator: a URL without passwords.
func (t Transport) String() string {
	hosts := make([]string, len(t.Brokers))
	for i, b := range t.Brokers {
		hosts[i] = b.Address()
		if b.User != "" {
			hosts[i] = b.User + "@" + hosts[i]
		}
	}
	return fmt.Sprintf("%s://%s/%s", t.Driver, strings.Join(hosts, ","), strings.TrimPrefix(t.VHost, "/"))
}

const (
	rabbitGroup = "oslo_messaging_rabbit"
	amqpGroup   = "oslo_messaging_amqp"
	qpidGroup   = "oslo_messaging_qpid"
)

// Transport tells how the service reaches its message bus: transport_url, or
// else the rpc_backend of Havana to Stein with its rabbit_* or qpid_* options.
// exchange is the service's own default of control_exchange, such as "nova"
// (it is in the service's code, not in its files).
func (c *Config) Transport(exchange string) (Transport, error) {
	exchange, err := c.Str(exchange, "DEFAULT.control_exchange")
	if err != nil {
		return Transport{}, err
	}
	t := Transport{Exchange: exchange, Where: "default"}
	urlOption, err := c.Get("DEFAULT.transport_url")
	if err != nil && !errors.Is(err, ErrNotSet) {
		return t, err
	}
	var query url.Values
	scheme := "rabbit"
	if err == nil && urlOption.Text != "" {
		t.Where = urlOption.Where()
		if scheme, query, err = t.parseURL(urlOption.Text); err != nil {
			return t, urlOption.errorf("%w", err)
		}
	} else {
		backend, err := c.Get("DEFAULT.rpc_backend")
		if err != nil && !errors.Is(err, ErrNotSet) {
			return t, err
		}
		if err == nil && backend.Text != "" {
			t.Where = backend.Where()
			// Havana names a module: nova.openstack.common.rpc.impl_qpid.
			scheme = strings.TrimPrefix(backend.Text[strings.LastIndexByte(backend.Text, '.')+1:], "impl_")
		}
	}
	switch scheme {
	case "rabbit", "kombu", "kombu+rabbit", "kombu+amqp", "kombu+pyamqp":
		err = c.rabbit(&t, query)
	case "amqp":
		t.Driver = AMQP1
		err = c.amqp1(&t, query)
	case "qpid":
		t.Driver = Qpid
		err = c.qpid(&t, query)
	default:
		err = fmt.Errorf("%s: message bus driver: %w", t.Where, ErrDriver)
	}
	return t, err
}

// parseURL reads driver://[user:pass@]host:port[,...]/vhost?query as
// oslo.messaging does.
func (t *Transport) parseURL(text string) (scheme string, query url.Values, err error) {
	u, err := splitURL(text)
	if err != nil {
		return "", nil, err
	}
	if u.scheme == "" {
		return "", nil, errors.New("a transport URL looks like driver://user:password@host:port/vhost")
	}
	if path, found := strings.CutPrefix(u.path, "/"); found {
		t.VHost = unescape(path)
	}
	for _, part := range strings.Split(u.netloc, ",") {
		if part == "" {
			continue
		}
		b, err := parseBroker(part)
		if err != nil {
			return "", nil, err
		}
		t.Brokers = append(t.Brokers, b)
	}
	query = parseQuery(u.query)
	for name, values := range query {
		query[name] = []string{strings.Join(values, ",")}
	}
	return u.scheme, query, nil
}

var errBroker = errors.New("a broker is written user:password@host:port, with any of @ : / ? # , in the password as %-escapes")

func parseBroker(text string) (Broker, error) {
	var b Broker
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		user, password, _ := strings.Cut(text[:i], ":")
		b.User, b.Password = unescape(user), Secret(unescape(password))
		if text = text[i+1:]; text == "" {
			return b, errBroker
		}
	}
	host, port, err := cutPort(text)
	b.Host, b.Port = host, port
	return b, err
}

// cutPort splits host:port or [v6]:port; a missing port is 0.
func cutPort(text string) (host string, port int, err error) {
	digits := ""
	if v6, found := strings.CutPrefix(text, "["); found {
		if host, digits, found = strings.Cut(v6, "]"); !found {
			return "", 0, errBroker
		}
		_, digits, _ = strings.Cut(digits, ":")
	} else {
		host, digits, _ = strings.Cut(text, ":")
	}
	if digits == "" {
		return host, 0, nil
	}
	if port, err = parsePort(digits); err != nil {
		return "", 0, errBroker
	}
	return host, port, nil
}

// asKombu is what kombu makes of what oslo.messaging hands on: one URL a broker, read a second time.
func (t *Transport) asKombu() error {
	for i := range t.Brokers {
		b := &t.Brokers[i]
		if strings.ContainsAny(b.User+b.Password.Reveal(), "/") {
			return errors.New("kombu, which is handed it unescaped, cannot read a / in a user or password")
		}
		b.Host = unescape(strings.ToLower(b.Host))
	}
	if i := strings.IndexAny(t.VHost, "#?;"); i >= 0 {
		t.VHost = t.VHost[:i]
	}
	t.VHost = unescape(t.VHost)
	return nil
}

// fill gives every broker what its URL left out.
func (t *Transport) fill(host string, port int, user string, password Secret) {
	if len(t.Brokers) == 0 {
		t.Brokers = []Broker{{}}
	}
	for i := range t.Brokers {
		b := &t.Brokers[i]
		if b.Host == "" {
			b.Host = host
		}
		if b.Port == 0 {
			b.Port = port
		}
		if b.User == "" || t.Driver == Rabbit { // kombu fills in user and password each for itself
			b.User, b.Password = cmp.Or(b.User, user), cmp.Or(b.Password, password)
		}
	}
}

// options reads a driver's options: the URL's query first, then the files. A
// missing value keeps what the target held; the first error is kept.
type options struct {
	cfg   *Config
	query url.Values
	where string // of the URL
	err   error
}

func (o *options) get(names []string) (Value, bool) {
	if o.err != nil {
		return Value{}, false
	}
	_, option, _ := strings.Cut(names[0], ".")
	if text := strings.Join(o.query[option], ","); text != "" {
		return Value{Text: text, File: o.where, name: "transport_url: " + option}, true
	}
	v, err := o.cfg.Get(names...)
	if err != nil {
		if !errors.Is(err, ErrNotSet) {
			o.err = err
		}
		return v, false
	}
	return v, v.Text != ""
}

func (o *options) str(target *string, names ...string) {
	if v, found := o.get(names); found {
		*target = v.Text
	}
}

func (o *options) bool(target *bool, names ...string) {
	v, found := o.get(names)
	if !found {
		return
	}
	b, err := v.bool()
	if err != nil {
		o.err = err
		return
	}
	*target = b
}

func (o *options) int(target *int, names ...string) {
	v, found := o.get(names)
	if !found {
		return
	}
	n, err := strconv.Atoi(v.Text)
	if err != nil {
		o.err = v.errorf("not a whole number")
		return
	}
	*target = n
}

// in names one option in its present group, under its older name, and in
// [DEFAULT], where Havana had them all.
func in(group, name string, older ...string) []string {
	names := []string{group + "." + name}
	for _, old := range older {
		names = append(names, group+"."+old)
	}
	names = append(names, defaultGroup+"."+name)
	for _, old := range older {
		names = append(names, defaultGroup+"."+old)
	}
	return names
}

func (c *Config) rabbit(t *Transport, query url.Values) error {
	o := &options{cfg: c, query: query, where: t.Where}
	user, password, vhost, tls := "guest", "guest", "/", false
	t.Driver = Rabbit
	if err := t.asKombu(); err != nil {
		return fmt.Errorf("%s: option transport_url: %w", t.Where, err)
	}
	o.bool(&tls, in(rabbitGroup, "ssl", "rabbit_use_ssl")...)
	if t.Brokers == nil && t.VHost == "" {
		o.str(&user, in(rabbitGroup, "rabbit_userid")...)
		o.str(&password, in(rabbitGroup, "rabbit_password")...)
		o.str(&vhost, in(rabbitGroup, "rabbit_virtual_host")...)
		c.hosts(o, t, in(rabbitGroup, "rabbit_hosts"), in(rabbitGroup, "rabbit_host"), in(rabbitGroup, "rabbit_port"))
	}
	t.fill("localhost", 5672, user, Secret(password))
	if t.VHost == "" {
		t.VHost = vhost
	}
	if tls {
		t.TLS = &TLS{}
		o.str(&t.TLS.CAFile, in(rabbitGroup, "ssl_ca_file", "kombu_ssl_ca_certs")...)
		o.str(&t.TLS.CertFile, in(rabbitGroup, "ssl_cert_file", "kombu_ssl_certfile")...)
		o.str(&t.TLS.KeyFile, in(rabbitGroup, "ssl_key_file", "kombu_ssl_keyfile")...)
		o.bool(&t.TLS.VerifyName, rabbitGroup+".ssl_enforce_hostname_verification")
		// Without a CA file kombu checks nothing at all.
		t.TLS.Verify = t.TLS.CAFile != ""
		t.TLS.VerifyName = t.TLS.VerifyName && t.TLS.Verify
	}
	return o.err
}

func (c *Config) amqp1(t *Transport, query url.Values) error {
	o := &options{cfg: c, query: query, where: t.Where}
	user, password, realm, tls := "", "", "", TLS{Verify: true, VerifyName: true}
	o.str(&user, amqpGroup+".username", "amqp1.username")
	o.str(&password, amqpGroup+".password", "amqp1.password")
	t.fill("localhost", 5672, user, Secret(password))
	o.str(&realm, amqpGroup+".sasl_default_realm")
	for i := range t.Brokers {
		if b := &t.Brokers[i]; realm != "" && b.User != "" && !strings.Contains(b.User, "@") {
			b.User += "@" + realm
		}
	}

	enabled := false
	o.bool(&enabled, amqpGroup+".ssl")
	o.str(&tls.CAFile, amqpGroup+".ssl_ca_file", "amqp1.ssl_ca_file")
	o.str(&tls.CertFile, amqpGroup+".ssl_cert_file", "amqp1.ssl_cert_file")
	o.str(&tls.KeyFile, amqpGroup+".ssl_key_file", "amqp1.ssl_key_file")
	if enabled || tls.CAFile != "" || tls.CertFile != "" {
		t.TLS = &tls
	}

	prefix, unicast := "openstack.org/om/rpc", "unicast"
	t.Addressing = Addressing{Mode: "dynamic", LegacyPrefix: "exclusive", PseudoVHost: true}
	o.str(&t.Addressing.Mode, amqpGroup+".addressing_mode")
	o.str(&t.Addressing.LegacyPrefix, amqpGroup+".server_request_prefix", "amqp1.server_request_prefix")
	o.str(&prefix, amqpGroup+".rpc_address_prefix")
	o.str(&unicast, amqpGroup+".unicast_address")
	o.bool(&t.Addressing.PseudoVHost, amqpGroup+".pseudo_vhost")
	t.Addressing.RoutablePrefix = prefix + "/" + unicast
	return o.err
}

func (c *Config) qpid(t *Transport, query url.Values) error {
	o := &options{cfg: c, query: query, where: t.Where}
	var user, password, protocol string
	o.str(&user, in(qpidGroup, "qpid_username")...)
	o.str(&password, in(qpidGroup, "qpid_password")...)
	if t.Brokers == nil {
		c.hosts(o, t, in(qpidGroup, "qpid_hosts"), in(qpidGroup, "qpid_hostname"), in(qpidGroup, "qpid_port"))
	}
	t.fill("localhost", 5672, user, Secret(password))
	t.Topology = 1
	o.int(&t.Topology, in(qpidGroup, "qpid_topology_version")...)
	if o.err == nil && t.Topology != 1 && t.Topology != 2 {
		return fmt.Errorf("option qpid_topology_version: neither 1 nor 2")
	}
	if o.str(&protocol, in(qpidGroup, "qpid_protocol")...); protocol == "ssl" {
		t.TLS = &TLS{} // qpid.messaging of that time checks no certificate
	}
	return o.err
}

// hosts reads the older list option, or else its single host and port.
func (c *Config) hosts(o *options, t *Transport, list, host, port []string) {
	if v, found := o.get(list); found {
		t.Where = v.Where()
		for _, item := range v.List() {
			h, p, err := cutPort(item)
			if err != nil {
				o.err = v.errorf("an item is not host:port")
				return
			}
			t.Brokers = append(t.Brokers, Broker{Host: h, Port: p})
		}
		return
	}
	var b Broker
	if v, found := o.get(host); found {
		t.Where, b.Host = v.Where(), v.Text
	}
	o.int(&b.Port, port...)
	t.Brokers = []Broker{b}
}

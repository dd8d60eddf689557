package oslo

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Database is how a service reaches its database. It prints without the
// password.
type Database struct {
	Dialect  string // mysql, postgresql, sqlite
	Host     string // localhost unless set; SQLAlchemy's drivers then use TCP, MySQLdb the socket
	Port     int    // 3306 unless set, for mysql
	Socket   string // unix_socket
	User     string
	Password Secret
	Name     string
	TLS      *TLS   // nil: plain; with it, plain too where the server has no TLS
	Source   string // bind-address, from which it connects; "" is any
	// Params are the URL's ?name=value and those of connection_parameters: charset, ssl_ca, read_default_file...
	Params url.Values
	Where  string // "file:line" of the option
	driver string // "pymysql"; "" is the dialect's own
}

// Address is "host:port" to dial where Socket is empty.
func (d Database) Address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.Port)) }

// String is the database for an operator: a URL without the password.
func (d Database) String() string {
	at := d.Address()
	if d.Socket != "" {
		at = "unix:" + d.Socket
	}
	return d.Dialect + "://" + d.User + "@" + at + "/" + d.Name
}

// Database tells how the service reaches its database: [database] connection
// or its older name sql_connection, and what else is read for it. ErrNotSet:
// the service uses none, or the default of its code.
func (c *Config) Database() (Database, error) {
	v, err := c.Get("database.connection", "DEFAULT.sql_connection", "database.sql_connection", "sql.connection")
	if err != nil {
		return Database{}, err
	}
	d, err := parseDatabase(v.Text)
	d.Where = v.Where()
	if err != nil {
		return d, v.errorf("%w", err)
	}
	more, err := c.Str("", "database.connection_parameters")
	if err != nil {
		return d, err
	}
	for name, values := range parseQuery(more) { // oslo.db: behind those of the URL
		d.Params[name] = append(d.Params[name], values...)
	}
	if d.Dialect == "mysql" || d.Dialect == "mariadb" {
		err = d.asPyMySQL(c.home)
	}
	if d.Host = cmp.Or(d.Host, "localhost"); err != nil {
		return d, v.errorf("%w", err)
	}
	return d, nil
}

var errDatabase = errors.New("not of the form dialect+driver://user:password@host:port/name?option=value")

// sqlalchemyURL is the expression by which SQLAlchemy takes a URL apart since 1.4, and before.
var sqlalchemyURL = sync.OnceValue(func() [2]*regexp.Regexp {
	const head, tail = `^([\w+]+)://(?:([^:/]*)(?::(`, `))?@)?(?:(?:\[([^/?]+)\]|([^/:?]+))?(:[^/?]*)?)?(?:/([^?]*))?(?:\?(.*))?`
	return [2]*regexp.Regexp{regexp.MustCompile(head + `[^@]*` + tail), regexp.MustCompile(head + `.*` + tail)}
})

// parseDatabase reads SQLAlchemy's URL. A password may hold an unescaped '/',
// and, as before SQLAlchemy 1.4, an unescaped '@'.
func parseDatabase(text string) (Database, error) {
	m := sqlalchemyURL()[0].FindStringSubmatch(text)
	if m != nil && strings.Contains(m[5], "@") {
		m = sqlalchemyURL()[1].FindStringSubmatch(text)
	}
	if m == nil {
		return Database{}, errDatabase
	}
	d := Database{User: unescape(m[2]), Password: Secret(unescape(m[3])), Host: cmp.Or(m[5], m[4]), Name: m[7], Params: parseQuery(m[8])}
	d.Dialect, d.driver, _ = strings.Cut(m[1], "+")
	if m[6] != "" {
		port, err := parsePort(m[6][1:])
		if err != nil {
			return d, errDatabase
		}
		d.Port = port
	}
	return d, nil
}

// asPyMySQL fills in what SQLAlchemy's mysql dialects and PyMySQL 1.0 make of the URL's parameters and of the
// option file that they may name. What they fail on is an error: the service does not reach its database either.
func (d *Database) asPyMySQL(home string) error {
	p := &params{values: d.Params}
	args := arguments{
		user: cmp.Or(p.get("user"), d.User), password: cmp.Or(p.get("password"), d.Password.Reveal(), p.get("passwd")),
		host: cmp.Or(p.get("host"), d.Host), database: cmp.Or(p.get("database"), d.Name, p.get("db")),
		socket: p.get("unix_socket"), source: p.get("bind_address"),
		ca: p.get("ssl_ca"), capath: p.get("ssl_capath"), cert: p.get("ssl_cert"), key: p.get("ssl_key"), cipher: p.get("ssl_cipher"),
	}
	if d.Port != 0 {
		args.port = strconv.Itoa(d.Port)
	}
	p.known(d.driver)
	if p.get("ssl") != "" && !slices.ContainsFunc(ofTLS, p.values.Has) { // which take its place
		p.fail(errors.New("ssl=... is no parameter that PyMySQL takes from a URL: name ssl_ca"))
	}
	if p.get("port") != "" {
		p.fail(errors.New("PyMySQL takes no port=... from a URL: write host:port"))
	}
	p.fail(args.readFile(p.get("read_default_file"), p.get("read_default_group"), home))
	port, err := parsePort(cmp.Or(args.port, "0"))
	p.fail(err)
	d.User, d.Password, d.Host, d.Name = args.user, Secret(args.password), args.host, args.database
	d.Socket, d.Source, d.Port = args.socket, args.source, cmp.Or(port, 3306)
	d.TLS = args.tls(p)
	return p.err
}

// arguments are those of PyMySQL's connect; "" is not given.
type arguments struct {
	user, password, host, database, socket, source, port string
	ca, capath, cert, key, cipher                        string
}

// readFile fills in what is not given from a group of an option file.
func (a *arguments) readFile(file, group, home string) error {
	if group != "" && file == "" {
		file = "/etc/my.cnf"
	}
	if rest, found := strings.CutPrefix(file, "~/"); found {
		if home == "" {
			return errors.New("read_default_file is below ~, and whose that is cannot be told: write an absolute path")
		}
		file = filepath.Join(home, rest)
	}
	if file == "" {
		return nil
	}
	options, err := readOptionFile(file)
	if err != nil {
		return err
	}
	for name, value := range map[string]*string{
		"user": &a.user, "password": &a.password, "host": &a.host, "database": &a.database, "socket": &a.socket, "bind-address": &a.source, "port": &a.port,
		"ssl-ca": &a.ca, "ssl-capath": &a.capath, "ssl-cert": &a.cert, "ssl-key": &a.key, "ssl-cipher": &a.cipher,
	} {
		*value = cmp.Or(*value, options.get(cmp.Or(group, "client"), name))
	}
	return nil
}

// tls is nil where nothing asks for it.
func (a arguments) tls(p *params) *TLS {
	t := &TLS{CAFile: a.ca, CAPath: a.capath, CertFile: a.cert, KeyFile: a.key, Verify: a.ca+a.capath != ""}
	t.VerifyName = p.bool("ssl_check_hostname", true) && t.Verify
	wanted := a.ca+a.capath+a.cert+a.key+a.cipher != "" || p.values.Has("ssl_check_hostname")
	// Given to PyMySQL itself these leave nothing of what SQLAlchemy and the file said.
	if verify, identity := p.get("ssl_verify_cert"), p.get("ssl_verify_identity"); verify+identity != "" {
		wanted, t = true, &TLS{Verify: slices.Contains([]string{"required", "optional", "1", "true", "yes"}, strings.ToLower(verify))}
	}
	if !wanted || p.get("ssl_disabled") != "" {
		return nil
	}
	return t
}

// params reads a URL's parameters, and keeps the first error.
type params struct {
	values url.Values
	err    error
}

func (p *params) fail(err error) { p.err = cmp.Or(p.err, err) }

// ofTLS are the parameters of which SQLAlchemy makes PyMySQL's ssl.
var ofTLS = []string{"ssl_ca", "ssl_key", "ssl_cert", "ssl_capath", "ssl_cipher", "ssl_check_hostname"}

// known fails on what PyMySQL takes for a mistake, such as the ssl_mode of other drivers. SQLAlchemy takes out its plugins'.
func (p *params) known(driver string) {
	if driver != "pymysql" || p.values.Has("plugin") {
		return
	}
	known := strings.Fields(`user password passwd host database db unix_socket port charset collation sql_mode read_default_file
		read_default_group conv use_unicode client_flag cursorclass init_command connect_timeout autocommit local_infile
		max_allowed_packet defer_connect auth_plugin_map read_timeout write_timeout bind_address binary_prefix program_name
		server_public_key ssl ssl_disabled ssl_key_password ssl_verify_cert ssl_verify_identity compress named_pipe`)
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(known, name) && !slices.Contains(ofTLS, name) {
			p.fail(fmt.Errorf("PyMySQL knows no parameter %s, and the service does not connect with it", name))
		}
	}
}

// get is a parameter that counts once; given twice it becomes a list, which no driver takes.
func (p *params) get(name string) string {
	if len(p.values[name]) > 1 {
		p.fail(errors.New(name + " is given more than once"))
	}
	return p.values.Get(name)
}

func (p *params) bool(name string, fallback bool) bool {
	switch strings.ToLower(strings.TrimFunc(p.get(name), isSpace)) {
	case "true", "yes", "on", "y", "t", "1":
		return true
	case "false", "no", "off", "n", "f", "0":
		return false
	case "":
		return fallback
	}
	p.fail(errors.New(name + " is neither true nor false"))
	return fallback
}

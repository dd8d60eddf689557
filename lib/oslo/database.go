package oslo

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
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
	// Params are the URL's ?name=value: charset, ssl_ca, read_default_file...
	Params url.Values
	Where  string // "file:line" of the option
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
// or its older name sql_connection. ErrNotSet: the service uses none, or the
// default of its code.
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
	return d, nil
}

var errDatabase = errors.New("not of the form dialect+driver://user:password@host:port/name?option=value")

// parseDatabase reads SQLAlchemy's URL. A password may hold an unescaped '/',
// and, as before SQLAlchemy 1.4, an unescaped '@'.
func parseDatabase(text string) (Database, error) {
	d := Database{Host: "localhost"}
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme == "" {
		return d, errDatabase
	}
	d.Dialect, _, _ = strings.Cut(scheme, "+")

	if i := strings.IndexAny(rest, ":/@"); i >= 0 && rest[i] != '/' {
		if at := strings.IndexByte(rest, '@'); at >= 0 {
			// More '@' before the path belong to the password.
			end := at + len(rest[at:])
			if n := strings.IndexAny(rest[at:], "/?"); n >= 0 {
				end = at + n
			}
			at = strings.LastIndexByte(rest[:end], '@')
			user, password, _ := strings.Cut(rest[:at], ":")
			d.User, d.Password = unescape(user), Secret(unescape(password))
			rest = rest[at+1:]
		}
	}
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if d.Params, err = url.ParseQuery(query); err != nil {
		return d, errDatabase
	}
	netloc, name, _ := strings.Cut(rest, "/")
	d.Name = name
	host, port, err := cutPort(netloc)
	if err != nil {
		return d, errDatabase
	}
	if host != "" {
		d.Host = host
	}
	if d.Port = port; port == 0 && (d.Dialect == "mysql" || d.Dialect == "mariadb") {
		d.Port = 3306
	}
	d.Socket = d.Params.Get("unix_socket")
	return d, nil
}

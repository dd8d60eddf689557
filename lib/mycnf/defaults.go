package mycnf

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Client is what the group [client] of an option file says. What it does not set is empty.
type Client struct {
	User, Password, Socket string
	TLS                    *tls.Config // nil: as the server likes
}

// LoadDefaults reads what a client needs to log in from the group [client] of the file at path, in the format of
// --defaults-extra-file: user, password, socket, ssl, ssl-ca, ssl-cert, ssl-key and ssl-verify-server-cert. As with the
// clients of MySQL and MariaDB, a certificate is verified only if the last one says so. A file that has nothing for a
// client is an error: who names it means somebody.
//
// It refuses the file, and every file that it includes, unless root or the calling user owns it and nobody else can
// read or write it: its password is the cluster's. There is no default path: the ~/.my.cnf of whoever runs
// the check must not decide as whom it logs in.
func LoadDefaults(path string) (Client, error) {
	r := reader{groups: []string{"client"}, check: private}
	if err := r.file(path, 0); err != nil {
		return Client{}, err
	}
	if len(r.List) == 0 {
		return Client{}, fmt.Errorf("%s sets nothing in a group [client]: write [client], user=... and password=... in it", path)
	}
	get := func(name string) string { v, _ := r.Get(name); return v }
	c := Client{User: get("user"), Password: get("password"), Socket: get("socket")}
	on := func(name string) bool {
		v, ok := r.Get(name)
		off := slices.Contains([]string{"0", "off", "false", "no"}, strings.ToLower(v))
		return ok && !off
	}
	ca, cert, key := get("ssl-ca"), get("ssl-cert"), get("ssl-key")
	if ca == "" && cert == "" && !on("ssl") && !on("ssl-verify-server-cert") {
		return c, nil
	}
	c.TLS = &tls.Config{ServerName: "localhost", InsecureSkipVerify: !on("ssl-verify-server-cert")}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		c.TLS.RootCAs = x509.NewCertPool()
		if err != nil || !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return c, fmt.Errorf("ssl-ca %s in %s: no certificate can be read from it (%w)", ca, path, cmp.Or(err, errors.New("no PEM")))
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return c, fmt.Errorf("ssl-cert and ssl-key in %s: %w", path, err)
		}
		c.TLS.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func private(path string, info fs.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s: mode %04o lets others than its owner in: chmod 600 it, and change the password in it", path, perm)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: cannot tell who owns it", path)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: owned by uid %d, not by root: chown it to root", path, st.Uid)
	}
	return nil
}

// ServerGroups are the groups that every server reads. Those of its version it says itself, see Ask.
var ServerGroups = []string{"mysqld", "server", "mariadb", "mariadbd", "client-server", "galera"}

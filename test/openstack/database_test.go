package openstack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/sqlping"
)

// TestDatabaseLogin: a database that wants TLS, a certificate or an address of its clients lets the agents in where it
// lets PyMySQL in, with the same settings, and nowhere else.
func TestDatabaseLogin(t *testing.T) {
	needPython(t, "oslo_db.sqlalchemy.engines", "python3-oslo.db")
	dir := t.TempDir()
	ca, server := certificates(t, dir, "127.0.0.1")
	_, client := certificates(t, dir, "client")
	otherCA, _ := certificates(t, dir, "127.0.0.2")
	cnf := func(name, text string) string { return write(t, dir, name, 0o600, text) }
	tripleo := cnf("tripleo.cnf", "[tripleo]\nbind-address = 127.0.0.3\nssl=1\nssl-ca="+ca)
	password := cnf("password.cnf", "[client]\nuser='tls'\npassword=\"secret é\"\nssl-ca = "+ca)
	db := StartMariaDB(t, "--ssl-ca="+client, "--ssl-cert="+server, "--ssl-key="+server)
	db.Exec("CREATE DATABASE nova", "CREATE USER tls IDENTIFIED BY 'secret' REQUIRE SSL", "CREATE USER cert REQUIRE X509", "CREATE USER plain",
		"CREATE USER here@'127.0.0.3' REQUIRE SSL", "GRANT ALL ON nova.* TO tls, cert, plain, here@'127.0.0.3'")
	type input struct{ URL, Parameters string }
	var inputs []input
	for _, user := range []string{"tls:secret", "cert", "plain", "here", "tls:wrong"} {
		for _, parameters := range []string{
			"", "charset=utf8", "ssl_ca=" + ca, "ssl_ca=" + otherCA, "ssl_ca=" + otherCA + "&ssl_check_hostname=false", "ssl_check_hostname=false",
			"ssl_cert=" + client + "&ssl_key=" + client, "ssl_ca=" + ca + "&ssl_cert=" + client + "&ssl_key=" + client,
			"read_default_file=" + tripleo + "&read_default_group=tripleo", "read_default_file=" + password, "read_default_file=/nowhere", "ssl_verify_cert=true", "ssl_disabled=1&ssl_ca=" + ca,
		} {
			inputs = append(inputs, input{fmt.Sprintf("mysql+pymysql://%s@127.0.0.1:%d/nova", user, db.Port), parameters})
		}
	}
	inputs = append(
		inputs,
		input{fmt.Sprintf("mysql+pymysql://127.0.0.1:%d/nova?read_default_file=%s", db.Port, password), ""},
		input{fmt.Sprintf("mysql+pymysql://tls:secret@localhost:%d/nova?unix_socket=%s", db.Port, db.Socket), "ssl_check_hostname=0"},
		input{fmt.Sprintf("mysql+pymysql://tls:secret@localhost:%d/nova", db.Port), "ssl_ca=" + ca}, // whose name is the address
		input{fmt.Sprintf("mysql+pymysql://tls:secret@localhost:%d/nova", db.Port), "ssl_check_hostname=no&ssl_ca=" + ca},
	)
	const script = `
import json, sys
import pymysql
from oslo_db.sqlalchemy import engines
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine.url import make_url
def connect(i):
    try:
        url = make_url(i['URL'])
        if i['Parameters']:
            url = engines._extend_url_parameters(url, i['Parameters'])
        _, args = MySQLDialect_pymysql(dbapi=pymysql).create_connect_args(url)
        c = pymysql.connect(**args)
        c.cursor().execute('SELECT 1')
        c.close()
        return ''
    except Exception as e:
        return str(e) or 'no'
json.dump([connect(i) for i in json.load(sys.stdin)], sys.stdout)
`
	in, err := json.Marshal(inputs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var refusals []string
	if err := json.Unmarshal(out, &refusals); err != nil {
		t.Fatal(err)
	}
	let := 0
	for i, in := range inputs {
		conf := write(t, dir, "nova.conf", 0o600, "[database]", "connection = "+in.URL, "connection_parameters = "+in.Parameters)
		cfg, err := oslo.Load(oslo.File(conf))
		if err != nil {
			t.Fatal(err)
		}
		target, err := openstack.Database(cfg)
		if err == nil {
			var c *sqlping.Conn
			if c, err = sqlping.Open(t.Context(), target); err == nil {
				_ = c.Close()
			}
		}
		if (err == nil) != (refusals[i] == "") {
			t.Errorf("%+v: %v; PyMySQL: %q", in, err, refusals[i])
		}
		if err == nil {
			let++
		}
	}
	if let < 15 || let > len(inputs)-15 {
		t.Errorf("%d of %d were let in: the test compares too little", let, len(inputs))
	}
}

// certificates makes a CA, and a certificate by it for the name or address, with its key and its CA in one file.
func certificates(t *testing.T, dir, name string) (ca, cert string) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (string, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of " + name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caPEM, caKey := issue(authority, authority, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature}
	if ip := net.ParseIP(name); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	}
	leafPEM, key := issue(leaf, authority, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca = write(t, dir, name+"-ca.pem", 0o644, caPEM)
	return ca, write(t, dir, filepath.Base(name)+".pem", 0o600, leafPEM, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), caPEM)
}

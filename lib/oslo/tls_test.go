package oslo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// testCA writes a CA, a certificate of it with its key in one file, whose only name is its common name
// db.example.org, and a directory of CAs as c_rehash leaves it. Files go through write.
func testCA(t *testing.T, write func(name, text string) string) (ca, cert, capath string) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	issue := func(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) string {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	caKey, key := newKey(), newKey()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of the test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caPEM := issue(authority, authority, caKey, caKey)
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "db.example.org"}, KeyUsage: x509.KeyUsageDigitalSignature}
	certPEM := issue(server, authority, key, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca = write("ca.pem", caPEM)
	write("0a1b2c3d.0", caPEM)
	return ca, write("cert.pem", certPEM+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), filepath.Dir(ca)
}

// TestTLS: a server is checked as strictly as the service checks it.
func TestTLS(t *testing.T) {
	ca, cert, capath := testCA(t, fileWriter(t))
	other, _, _ := testCA(t, fileWriter(t))
	pair, err := tls.LoadX509KeyPair(cert, cert)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = c.(*tls.Conn).Handshake(); _ = c.Close() }()
		}
	}()
	for _, row := range []struct {
		name, host string
		tls        TLS
		ok         bool
	}{
		{"nothing is checked", "127.0.0.1", TLS{}, true},
		{"its CA", "127.0.0.1", TLS{CAFile: ca, Verify: true}, true},
		{"its CA among a directory's", "127.0.0.1", TLS{CAPath: capath, Verify: true}, true},
		{"another CA", "127.0.0.1", TLS{CAFile: other, Verify: true}, false},
		{"another CA that is not asked", "127.0.0.1", TLS{CAFile: other}, true},
		{"its name, of the older kind", "db.example.org", TLS{CAFile: ca, Verify: true, VerifyName: true}, true},
		{"another name", "db2.example.org", TLS{CAFile: ca, Verify: true, VerifyName: true}, false},
		{"an address that it does not name", "127.0.0.1", TLS{CAFile: ca, Verify: true, VerifyName: true}, false},
	} {
		cfg, err := row.tls.Config(row.host)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := tls.Client(raw, cfg).Handshake(); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.name, err)
		}
		_ = raw.Close()
	}
	for _, bad := range []TLS{{CAFile: "/nowhere"}, {CAFile: filepath.Join(capath, "..")}, {CertFile: ca}} {
		if _, err := bad.Config("h"); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

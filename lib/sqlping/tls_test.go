package sqlping

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// selfSigned writes a certificate for 127.0.0.1 and its key, and returns a pool that trusts it.
func selfSigned(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert": certPEM, "key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pool := selfSigned(t, dir)
	s := startServer(t, "--ssl-cert="+filepath.Join(dir, "cert"), "--ssl-key="+filepath.Join(dir, "key"))
	exec1(t, s.open(t, s.Target), "CREATE USER ha IDENTIFIED BY 'c0rrect-horse' REQUIRE SSL", "GRANT ALL ON *.* TO ha")
	target := Target{Address: s.tcpAddr, User: "ha", Password: "c0rrect-horse"}
	check(t, Ping(t.Context(), target), Degraded, "error 1045") // REQUIRE SSL

	target.TLS = &tls.Config{RootCAs: pool}
	check(t, Ping(t.Context(), target), Healthy)
	if got := query1(t, s.open(t, target), "SHOW STATUS LIKE 'Ssl_version'"); got != "Ssl_version TLSv1.3" {
		t.Errorf("%s", got)
	}
	overSocket := Target{Socket: s.Socket, User: "ha", Password: "c0rrect-horse", TLS: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}}
	check(t, Ping(t.Context(), overSocket), Healthy)

	target.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	check(t, Ping(t.Context(), target), Degraded, "certificate", "the server is alive")
	target.TLS = &tls.Config{RootCAs: pool, ServerName: "elsewhere"}
	check(t, Ping(t.Context(), target), Degraded, "certificate")

	plain := startServer(t, "--skip-ssl")
	check(t, Ping(t.Context(), Target{Address: plain.tcpAddr, User: "root", TLS: &tls.Config{RootCAs: pool}}), Degraded, "does not support TLS")
}

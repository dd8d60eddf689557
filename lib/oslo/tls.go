package oslo

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Config checks the server as strictly as the service does, not more: the
// question is whether the service can work.
func (t *TLS) Config(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, InsecureSkipVerify: true} // what is checked is checked below
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	if t.CertFile != "" {
		key := t.KeyFile
		if key == "" {
			key = t.CertFile
		}
		pair, err := tls.LoadX509KeyPair(t.CertFile, key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if !t.Verify {
		return cfg, nil
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		server := s.PeerCertificates[0]
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := server.Verify(opts)
		if err == nil && t.VerifyName {
			err = verifyName(server, host)
		}
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return cfg, nil
}

// verifyName goes by the common name where a certificate has no other names, as Python does and Go no longer.
func verifyName(c *x509.Certificate, host string) error {
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) == 0 && net.ParseIP(host) == nil {
		named := *c
		named.DNSNames = []string{c.Subject.CommonName}
		return named.VerifyHostname(host)
	}
	return c.VerifyHostname(host)
}

// roots are the CAs of the service; nil are the system's.
func (t *TLS) roots() (*x509.CertPool, error) {
	if t.CAFile == "" && t.CAPath == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
	}
	if t.CAPath != "" {
		files, _ := filepath.Glob(filepath.Join(t.CAPath, "????????.[0-9]*")) // OpenSSL looks for its hashes only
		for _, file := range files {
			pem, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			pool.AppendCertsFromPEM(pem)
		}
	}
	return pool, nil
}

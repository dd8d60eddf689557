package rpcping

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/openstack-ocf/agents/lib/oslo"
)

var errTLS = errors.New("TLS")

func handshake(ctx context.Context, raw net.Conn, o *oslo.TLS, host string) (net.Conn, error) {
	cfg, err := o.Config(host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	return conn, nil
}

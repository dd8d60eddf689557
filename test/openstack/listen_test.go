package openstack

import (
	"net"
	"testing"
)

// listenSilently is a broker that accepts connections and says nothing.
func listenSilently(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel accepts for us
}

package memcached

import (
	"maps"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
)

func TestDerive(t *testing.T) {
	for args, want := range map[string]map[string]string{
		"-m 64 -p 11211 -u memcache -l 127.0.0.1 -l ::1 -P /var/run/memcached/memcached.pid": {"user": "memcache", "additional_parameters": "-l ::1"},
		"-u memcached -p 11212 -m128 -c1024 -l 127.0.0.1,::1 -v":                             {"user": "memcache", "port": "11212", "memory": "128", "additional_parameters": "-v -l ::1"},
		"-d --port=11213 -k -t 4 --listen=192.0.2.1":                                         {"user": "memcache", "port": "11213", "listen": "192.0.2.1", "additional_parameters": "-k -t 4"},
		"-U 0": {"user": "memcache", "listen": "0.0.0.0", "additional_parameters": "-U 0 -l ::"},
	} {
		got, err := derive(t.Context(), takeover.Process{Args: strings.Fields(args), User: "memcache"})
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", args, got, err, want)
		}
	}
	if _, err := derive(t.Context(), takeover.Process{Args: []string{"-s", "/run/m.sock"}}); err == nil {
		t.Error("a socket alone is taken")
	}
}

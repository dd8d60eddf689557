package haproxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/haproxy"
)

func TestWithoutTakeover(t *testing.T) {
	for in, want := range map[string]string{
		"-W -D -f a":                          "-W -D -f a",
		"-sf 12 -x sockpair@3 -W -D":          "-W -D",
		"-W -f a -x /run/w.sock -sf 7 8 -p b": "-W -f a -p b",
		"-W -st 1":                            "-W",
		"-W -x":                               "-W",
	} {
		if got := strings.Join(withoutTakeover(strings.Fields(in)), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAlerts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(file, []byte(`[NOTICE]   (298) : haproxy version is 2.6.12
[WARNING]  (298) : config : something harmless
[ALERT]    (298) : config : parsing [/run/t.cfg:4] : cannot find user id for 'haproxx' (0:Success)
[ALERT]    (298) : config : Error(s) found in configuration file : /run/t.cfg
[ALERT]    (298) : config : Fatal errors found in configuration.
[ALERT] 326/073452 (123) : parsing [x:3] : as before 2.4
`), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "/run/t.cfg:4: cannot find user id for 'haproxx' (0:Success), x:3: as before 2.4"
	if got := alerts(file); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := alerts(file + "x"); got != "" {
		t.Errorf("no file: %q", got)
	}
}

func TestBindable(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if strings.HasPrefix(address, "[") {
				continue // no IPv6 here; the parser has its own test
			}
			t.Fatal(err)
		}
		defer l.Close()
		at := netip.MustParseAddrPort(l.Addr().String())
		s := settings{Config: haproxy.Config{Binds: []haproxy.Bind{{Frontend: "api", Address: at.Addr(), Low: at.Port(), High: at.Port(), Where: "x.cfg:1"}}}}
		if err := bindable(s, nil); err == nil || !strings.Contains(err.Error(), at.String()) || !strings.Contains(err.Error(), "haproxy.test") {
			t.Errorf("a port that is taken: %v", err)
		}
		_ = l.Close()
		if err := bindable(s, nil); err != nil {
			t.Errorf("a free port: %v", err)
		}
	}
}

func TestValues(t *testing.T) {
	args := strings.Fields("haproxy -W -f a -f b -p -f")
	if got := values(args, "-f"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

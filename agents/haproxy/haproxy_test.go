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

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:25E0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1388 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 20 4 30 10 -1
`

func TestParseListeners(t *testing.T) {
	got, err := parseListeners(strings.NewReader(table))
	want := []listener{{netip.MustParseAddrPort("127.0.0.1:5000"), "4711"}, {netip.MustParseAddrPort("0.0.0.0:9696"), "4712"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if at, err := parseHex("B80D0120000000000000000001000000:0050"); err != nil || at != netip.MustParseAddrPort("[2001:db8::1]:80") {
		t.Errorf("%v %v", at, err)
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add(table)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseListeners(strings.NewReader(text))
		for _, l := range list {
			if err == nil && !l.at.IsValid() {
				t.Errorf("%v", l)
			}
		}
	})
}

// TestListeners: the kernel's own table, in which this process listens.
func TestListeners(t *testing.T) {
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
		fast, err := diagnose()
		if err != nil {
			t.Error(err) // works, but slower
		}
		slow, err := listenersInProc("self")
		here := func(x listener) bool { return x.at == at }
		i, j := slices.IndexFunc(fast, here), slices.IndexFunc(slow, here)
		if err != nil || i < 0 || j < 0 || fast[i] != slow[j] {
			t.Errorf("%v is not among both %v and %v: %v", at, fast, slow, err)
		}
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

package haproxy

import (
	"fmt"
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

// TestSaidFile: where policies let HAProxy write, if that is there and the name is HAProxy's alone.
func TestSaidFile(t *testing.T) {
	home := t.TempDir()
	for _, c := range [][3]string{
		{"/run/haproxy-master.sock.ocf", home, home + "/stats-haproxy-master.sock.ocf.out"},
		{"/run/haproxy-master.sock.ocf", home + "/none", "/run/haproxy-master.sock.ocf.out"},
		{"/srv/a/haproxy-master.sock.ocf", home, "/srv/a/haproxy-master.sock.ocf.out"},
	} {
		if got := saidFile(c[0], c[1]); got != c[2] {
			t.Errorf("%s, %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func TestAlerts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(file, []byte(`[NOTICE]   (298) : haproxy version is 2.6.12
[WARNING]  (298) : config : something harmless
[ALERT]    (298) : config : parsing [/run/t.cfg:4] : cannot find user id for 'haproxx' (0:Success)
[ALERT]    (298) : proxy 'placement' has no server available!
[ALERT]    (298) : backend 'nova' has no server available!
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
		s := setup{Config: haproxy.Config{Binds: []haproxy.Bind{{Frontend: "api", Address: at.Addr(), Low: at.Port(), High: at.Port(), Where: "x.cfg:1"}}}}
		if err := bindable(s, nil); err == nil || !strings.Contains(err.Error(), at.String()) || !strings.Contains(err.Error(), "haproxy.test") {
			t.Errorf("a port that is taken: %v", err)
		}
		_ = l.Close()
		if err := bindable(s, nil); err != nil {
			t.Errorf("a free port: %v", err)
		}
	}
}

func TestVersion(t *testing.T) {
	for said, old := range map[string]bool{
		"HA-Proxy version 1.5.18 2016/05/10\nCopyright 2000-2016 Willy Tarreau <willy@haproxy.org>\n": true,
		"HA-Proxy version 1.8.27-493ce0b 2020/11/06\n":                                                true,
		"HA-Proxy version 1.9.0 2018/12/19 - https://haproxy.org/\n":                                  false,
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n":                        false,
		"HAProxy version 3.4-dev5 2026/03/01\n":                                                       false,
		"something else":                                                                              false,
	} {
		if v := version(said); older(v) != old {
			t.Errorf("%q: %q, older %v", said, v, older(v))
		}
	}
}

func TestGiven(t *testing.T) {
	for line, want := range map[string]string{
		"haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d -p /run/haproxy.pid": "/etc/haproxy/haproxy.cfg /etc/haproxy/conf.d",
		"haproxy -D -f a.cfg -- b.cfg /c.cfg":                                                "/w/a.cfg /w/b.cfg /c.cfg",
		"haproxy -C conf -f a.cfg":                                                           "/w/conf/a.cfg",
		"haproxy -sf 1 2 -x sockpair@3 -W -f ./a/../b.cfg":                                   "/w/b.cfg",
		"haproxy": "",
	} {
		if got := strings.Join(given(strings.Fields(line), "/w"), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// TestNext: a reload loses no file and no variable of one that a unit started.
func TestNext(t *testing.T) {
	env := []string{"VIP=192.0.2.1", "HAPROXY_MWORKER_REEXEC=1", "NOTIFY_SOCKET=/run/systemd/notify"}
	for _, c := range []struct {
		runs, config, want string
		own                bool
	}{
		{"/a.cfg /conf.d", "/a.cfg", "/a.cfg /conf.d", false},
		{"/a.cfg", "/a.cfg /conf.d", "/a.cfg /conf.d", false},
		{"/conf.d /a.cfg", "/a.cfg /conf.d", "/conf.d /a.cfg", false},
		{"/a.cfg /conf.d", "/a.cfg /other.d", "", false},
		{"/a.cfg /conf.d", "/a.cfg /other.d", "/a.cfg /other.d", true},
	} {
		in := &instance{worker: map[bool]string{true: "/run/w.sock"}[c.own], setup: setup{files: strings.Fields(c.runs), env: env}}
		next, err := in.next(settings{config: strings.Fields(c.config), env: []string{"VIP=192.0.2.2"}})
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "/conf.d") || !strings.Contains(err.Error(), "config='/a.cfg /conf.d /other.d'") {
				t.Errorf("%s with config=%s: %v, %v", c.runs, c.config, next, err)
			}
			continue
		}
		vip := map[bool]string{false: "VIP=192.0.2.1", true: "VIP=192.0.2.2"}[c.own]
		if err != nil || next.String() != c.want || !slices.Equal(next.env, []string{vip}) {
			t.Errorf("%s with config=%s: %v %q, %v", c.runs, c.config, next, next.env, err)
		}
	}
}

// TestOutgoing: a port that a connection out of this node has is not anybody's to stop.
func TestOutgoing(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := net.Dial("tcp", peer.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := netip.MustParseAddrPort(c.LocalAddr().String())
	err = bindable(setup{Config: haproxy.Config{Binds: []haproxy.Bind{{Frontend: "novnc", Address: netip.IPv4Unspecified(), Low: at.Port(), High: at.Port(), Where: "x.cfg:1"}}}}, nil)
	for _, want := range []string{"haproxy.test (pid", "connection to " + peer.Addr().String(), fmt.Sprintf("ip_local_reserved_ports=%d", at.Port())} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestValues(t *testing.T) {
	args := strings.Fields("haproxy -W -f a -f b -p -f")
	if got := values(args, "-f"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

// TestConfined looks at nodes made by hand.
func TestConfined(t *testing.T) {
	for _, c := range []struct {
		enforce, boolean string
		warns            bool
	}{{"1", "0 0", true}, {"1", "0 1", true}, {"1", "1 1", false}, {"0", "0 0", false}, {"1", "", false}, {"", "", false}} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "sys/fs/selinux/booleans"), 0o755); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{"enforce": c.enforce, "booleans/haproxy_connect_any": c.boolean} {
			if text == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(root, "sys/fs/selinux", path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := confined(root); (got != "") != c.warns || c.warns && !strings.Contains(got, "setsebool -P haproxy_connect_any 1") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

package haproxy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-global.cfg": `
# comment
global   # another
	chroot /var/lib/haproxy
	user "haproxy"
	group ha\ proxy
	stats socket /run/haproxy/admin.sock mode 660 level admin
	stats socket unix@/run/two.sock
	stats socket ipv4@127.0.0.1:9999 level operator
	stats socket "${SOCK}"
	stats socket fd@3
	stats timeout 30s
defaults
	bind 192.0.2.9:1 # not a keyword here
`,
		"20-services.cfg": `frontend keystone
	bind 192.0.2.203:5000 transparent
	bind :35357,[2001:db8::1]:35357
	bind "${VIP}:1"
	bind $VIP:2
	bind vip.example.com:3
	bind /run/front.sock
	bind unix@/run/front.sock
	bind abns@x
	bind quic4@:443
	bind 192.0.2.203:6000-6002
listen old
	bind :9000
	disabled
	bind :9001
listen again
	disabled
	bind :9002
	enabled
listen neutron
	bind :::9696 v6only
	bind ipv6@:9697
	bind *:9698 interface eth0
.if defined(X)
	bind :9699
.endif
backend b
	bind :9700
peers p
	bind :9701
`,
		".hidden.cfg": "listen x\n\tbind :1\n",
		"notes.txt":   "listen x\n\tbind :2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ReadConfig(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Chroot != "/var/lib/haproxy" || c.User != "haproxy" || c.Group != "ha proxy" {
		t.Errorf("chroot %q, user %q, group %q", c.Chroot, c.User, c.Group)
	}
	if want := []string{"/run/haproxy/admin.sock", "/run/two.sock", "ipv4@127.0.0.1:9999"}; !slices.Equal(c.Sockets, want) {
		t.Errorf("sockets %q, want %q", c.Sockets, want)
	}
	var got []string
	for _, b := range c.Binds {
		got = append(got, fmt.Sprintf("%s %s %v %v %v", b, b.Frontend, b.Transparent, b.V6Only, b.Elsewhere))
	}
	want := []string{
		"192.0.2.203:5000 keystone true false false",
		"0.0.0.0:35357 keystone false false false",
		"[2001:db8::1]:35357 keystone false false false",
		"192.0.2.203:6000-6002 keystone false false false",
		"0.0.0.0:9002 again false false false",
		"[::]:9696 neutron false true false",
		"[::]:9697 neutron false false false",
		"0.0.0.0:9698 neutron false false true",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("binds:\n%q\nwant\n%q", got, want)
	}
	if c.Binds[0].Where != "20-services.cfg:2" {
		t.Errorf("where: %q", c.Binds[0].Where)
	}

	if _, err := ReadConfig(nil, filepath.Join(dir, "nowhere.cfg")); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := ReadConfig(nil, t.TempDir()); err == nil {
		t.Error("a directory without *.cfg is no configuration")
	}
}

func TestFields(t *testing.T) {
	for line, want := range map[string][]string{
		"":                        nil,
		"  # all comment":         nil,
		"a b\tc\n":                {"a", "b", "c"},
		`a "b c" 'd "e'`:          {"a", "b c", `d "e`},
		`a\ b c\#d`:               {"a b", "c#d"},
		`x "" y # z`:              {"x", "", "y"},
		`"quoted # no comment"`:   {"quoted # no comment"},
		`'single \ keeps'`:        {`single \ keeps`},
		`trailing \`:              {"trailing", `\`},
		`unclosed "quote goes on`: {"unclosed", "quote goes on"},
	} {
		if got, _ := fields(line, nil); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("listen a\n bind 1.2.3.4:80-90,:443 transparent\nglobal\n stats socket /x\n")
	f.Add("frontend \"\n bind :::1 v6only\n.if x\n.endif\ndisabled")
	f.Fuzz(func(t *testing.T, text string) {
		c := newReader([]string{"A=1.2.3.4"})
		c.read("x.cfg", text)
		for _, b := range c.Binds {
			if !b.Address.IsValid() || b.Low == 0 || b.High < b.Low {
				t.Errorf("%+v", b)
			}
			if _, err := netip.ParseAddr(b.Address.String()); err != nil {
				t.Error(err)
			}
		}
	})
}

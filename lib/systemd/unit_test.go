package systemd

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestRead: HAProxy's unit of EL, with what an administrator changes about it.
func TestRead(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if u, found := Read(root, "haproxy.service"); found {
		t.Errorf("no unit: %+v", u)
	}
	write("usr/lib/systemd/system/haproxy.service", `[Service]
EnvironmentFile=-/etc/sysconfig/haproxy
EnvironmentFile=-/nowhere
Environment="CONFIG=/etc/haproxy/haproxy.cfg" "PIDFILE=/run/haproxy.pid" "CFGDIR=/etc/haproxy/conf.d"
ExecStartPre=/usr/sbin/haproxy -f $CONFIG -f $CFGDIR -c -q $OPTIONS
ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -f ${CFGDIR} -p $PIDFILE $OPTIONS
`)
	write("etc/sysconfig/haproxy", "# Add extra options\n;no\nOPTIONS=\"-n 300 -dr\"\nexport VIP='192.0.2.1'\nPIDFILE=/run/other.pid\nbroken line\n=x\n")
	u, found := Read(root, "haproxy.service")
	want := []string{"/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/conf.d", "-p", "/run/other.pid", "-n", "300", "-dr"}
	if !found || !slices.Equal(u.Exec, want) {
		t.Errorf("got %q", u.Exec)
	}
	if env := []string{"CONFIG=/etc/haproxy/haproxy.cfg", "PIDFILE=/run/other.pid", "CFGDIR=/etc/haproxy/conf.d", "OPTIONS=-n 300 -dr", "VIP=192.0.2.1"}; !slices.Equal(u.Env, env) {
		t.Errorf("environment %q, want %q", u.Env, env)
	}
	write("etc/systemd/system/haproxy.service.d/ha.conf", "[Service]\nEnvironmentFile=\nEnvironment=\nEnvironment=VIP=192.0.2.2\n")
	if u, _ = Read(root, "haproxy.service"); !slices.Equal(u.Env, []string{"VIP=192.0.2.2"}) {
		t.Errorf("reset by a drop-in: %q", u.Env)
	}
	write("usr/lib/systemd/system/mariadb@.service", "[Service]\nUser=mysql\nEnvironment='FILE=--defaults-group-suffix=.%I'\nExecStart=/usr/sbin/mariadbd $FILE --datadir=/srv/%i\n")
	write("etc/systemd/system/mariadb@.service.d/x.conf", "[Service]\nUser=all\n")
	write("etc/systemd/system/mariadb@b-c.service.d/x.conf", "[Service]\nGroup=one\n")
	u, found = Read(root, "mariadb@b-c.service")
	if want := []string{"/usr/sbin/mariadbd", "--defaults-group-suffix=.b/c", "--datadir=/srv/b-c"}; !found || !slices.Equal(u.Exec, want) || u.User != "all" || u.Group != "one" {
		t.Errorf("an instance: %+v, want %q", u, want)
	}
}

func TestEnabled(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"multi-user.target.wants", "x.target.requires"} {
		dir = filepath.Join(root, "etc/systemd/system", dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/null", filepath.Join(dir, "a.service")); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := Enabled(root, "a.service"), Enabled(root, "b.service"); len(a) != 2 || len(b) != 0 {
		t.Errorf("%v, %v", a, b)
	}
}

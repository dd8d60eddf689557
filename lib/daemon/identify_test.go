package daemon

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// me is the process of this test.
func me(t *testing.T) *Process {
	t.Helper()
	p, err := open("", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestListens(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	want := func(want bool) {
		t.Helper()
		if ours, err := Listens(port)(t.Context(), me(t)); ours != want || err != nil {
			t.Errorf("listens on %d: %t, %v", port, ours, err)
		}
	}
	want(true)
	_ = l.Close()
	want(false)
}

func TestHoldsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds := func(path string, want bool) {
		t.Helper()
		if ours, err := HoldsFile(path)(t.Context(), me(t)); ours != want || err != nil {
			t.Errorf("holds %s: %t, %v", path, ours, err)
		}
	}
	holds(path, true)
	holds(path+"x", false)
	other := filepath.Join(t.TempDir(), "link")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	holds(other, true)
	_ = os.Remove(path)
	holds(path, true)
	_ = f.Close()
	holds(other, false)
}

func TestHasOption(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"served", "-p", "11211"}, true},
		{[]string{"served", "-p11211"}, true},
		{[]string{"served", "-v", "--port", "11211"}, true},
		{[]string{"served", "--port=11211"}, true},
		{[]string{"served", "-p", "11212"}, false},
		{[]string{"served", "-P", "11211"}, false},
		{[]string{"served", "-p"}, false},
		{[]string{"-p11211"}, false},
		{nil, false},
	} {
		if got := hasOption(c.args, "11211", []string{"-p", "--port"}); got != c.want {
			t.Errorf("%q: %t", c.args, got)
		}
	}
	if ours, err := HasOption("11211", "-p")(t.Context(), me(t)); ours || err != nil {
		t.Errorf("this test has no such option: %t, %v", ours, err)
	}
}

func TestListensOn(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	for want, addresses := range map[bool][]string{true: {"127.0.0.1", "0.0.0.0", "::"}, false: {"127.0.0.2", "::1"}} {
		for _, a := range addresses {
			if ours, err := ListensOn(netip.AddrPortFrom(netip.MustParseAddr(a), at.Port()))(t.Context(), me(t)); ours != want || err != nil {
				t.Errorf("%s: %t, %v", a, ours, err)
			}
		}
	}
	if ours, _ := ListensOn(netip.AddrPortFrom(at.Addr(), at.Port()+1))(t.Context(), me(t)); ours {
		t.Error("another port is taken for it")
	}
}

func TestListensOnUnix(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a socket"), filepath.Join(t.TempDir(), "link")
	abstract := "@daemon-test-" + strconv.Itoa(os.Getpid())
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, abstract} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for path, want := range map[string]bool{path: true, filepath.Join(link, "a socket"): true, abstract: true, path + "x": false, "": false} {
		if ours, err := ListensOnUnix(path)(t.Context(), me(t)); ours != want || err != nil {
			t.Errorf("%q: %t, %v", path, ours, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if ours, err := ListensOnUnix("/x", path)(t.Context(), me(t)); !ours || err != nil {
		t.Errorf("with its file deleted: %t, %v", ours, err)
	}
}

func TestNamedBy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if ours, err := NamedBy(file)(t.Context(), me(t)); !ours || err != nil {
		t.Errorf("got %t, %v", ours, err)
	}
	boot := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, boot, boot); err != nil {
		t.Fatal(err)
	}
	if ours, err := NamedBy(file)(t.Context(), me(t)); ours || err != nil {
		t.Errorf("a file older than the process names another: %t, %v", ours, err)
	}
}

// TestClaims: what is ours by our configuration is a doubt where the Test says no, and another's where neither says so.
func TestClaims(t *testing.T) {
	const data, conf = "/srv/mysql", "/etc/my.cnf"
	for _, c := range []struct {
		name, cwd string
		args      []string
		standard  bool
		want      string
	}{
		{"its directory", data, []string{"mysqld"}, false, "ours"},
		{"our file, another directory", "/srv/old", []string{"mysqld", "--defaults-file=/etc/my.cnf"}, false, "it was started by /etc/my.cnf, but works in /srv/old"},
		{"our file as two words", "/srv/old", []string{"mysqld", "--defaults-file", "/etc/my.cnf"}, false, "it was started by /etc/my.cnf, but works in /srv/old"},
		{"our file, the directory of its command line", "/srv/old", []string{"mysqld", "--defaults-file=/etc/my.cnf", "--datadir=/srv/old"}, false, ""},
		{"another file", "/srv/old", []string{"mysqld", "--defaults-file=/etc/b.cnf"}, true, ""},
		{"no file, and ours is the standard one", "/srv/old", []string{"mysqld"}, true, "it was started by"},
		{"no file, and ours is not the standard one", "/srv/old", []string{"mysqld"}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.add(7, proc{exe: "/usr/sbin/mysqld", cwd: c.cwd, cmdline: c.args, fds: map[int]string{3: c.cwd + "/ibdata1"}})
			id := Identity{
				Name: "mysqld", Executables: []string{"mysqld"}, Proc: f.dir, Test: UsesDir(data, "datadir"),
				Claims: []Claim{{Says: "was started by " + conf, Test: StartedBy("--defaults-file", conf, c.standard, "--datadir"), Differs: WorksIn}},
			}
			sure := id
			sure.Claims = []Claim{{Test: id.Claims[0].Test, Ours: true}}
			if p, err := sure.Find(t.Context()); (p != nil) != (c.want != "") || err != nil {
				t.Errorf("where the claim makes it ours: %v, %v", p, err)
			}
			p, err := id.Find(t.Context())
			var doubt *DoubtError
			switch {
			case c.want == "ours" && (p == nil || err != nil), c.want == "" && (p != nil || err != nil):
				t.Errorf("got %v, %v", p, err)
			case c.want == "" || c.want == "ours":
			case p != nil || !errors.As(err, &doubt) || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}

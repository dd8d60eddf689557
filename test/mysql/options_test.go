package mysql

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/box"
)

// site is a directory with an option file and data of its own, without the disk.
type site struct {
	*host
	dir string
}

var (
	template sync.Once
	// small is for servers that are run by hand.
	small = []string{"--user=mysql", "--innodb-use-native-aio=0", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=8M"}
)

// newSite makes DIR/data, with databases; DIR in text is where it is.
func newSite(t testing.TB, text string) *site {
	h := newHost(t)
	template.Do(func() {
		box.Sh(t, "mkdir /run/template; chown mysql: /run/template; mariadb-install-db --no-defaults --datadir=/run/template --user=mysql --skip-test-db --innodb-log-file-size=8M >/dev/null 2>&1")
	})
	s := &site{h, "/run/site"}
	box.Sh(t, "rm -rf %s /run/openstack-* /run/resource-agents; mkdir -p %s /run/mysqld; cp -a /run/template %s/data; cp -a /run/template %s/old; chown mysql: %s /run/mysqld; chmod 755 %s", s.dir, s.dir, s.dir, s.dir, s.dir, s.dir)
	s.configure(text)
	s.Agent = h.With("config", s.config(), "shared_storage", "false", "log", s.dir+"/e.log", "degraded_disk_percent", "0")
	s.Agent.Log = s.dir + "/e.log"
	return s
}

func (s *site) config() string { return s.dir + "/my.cnf" }

func (s *site) configure(text string) {
	s.T.Helper()
	if err := os.WriteFile(s.config(), []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o644); err != nil {
		s.T.Fatal(err)
	}
}

// byHand starts the server as an operator does.
func (s *site) byHand(more ...string) {
	s.T.Helper()
	_ = os.Remove(s.dir + "/e.log") // of an earlier start
	args := slices.Concat([]string{"--defaults-file=" + s.config()}, small, []string{"--log-error=" + s.dir + "/e.log"}, more)
	cmd := box.Background(s.T, "mariadbd", args...)
	box.Until(s.T, "the server serves", func() bool {
		if cmd.ProcessState != nil {
			s.T.Fatal("it died")
		}
		b, _ := os.ReadFile(s.dir + "/e.log")
		return strings.Contains(string(b), "ready for connections")
	})
}

// TestOptionFiles: a server that was started by hand by an option file is found by a probe with that file, and ended by
// a stop, whatever form its options have. Each of these was answered with 7 or 0, or with 1 where 190 is meant.
func TestOptionFiles(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"group of a version of MariaDB", "[mysqld]\ndatadir=DIR/old\n[mariadb-10.11]\ndatadir=DIR/data\n"},
		{"group of a version of mysqld", "[mysqld]\ndatadir=DIR/old\n[mysqld-10.11]\ndatadir=DIR/data\n"},
		{"group mariadbd", "[mysqld]\ndatadir=DIR/old\n[mariadbd-10.11]\ndatadir=DIR/data\n"},
		{"prefixes", "[mysqld]\ndatad=DIR/data\nsock=DIR/s\nlog-err=DIR/e.log\npid=DIR/p\n"},
		{"loose prefix", "[mysqld]\nloose-datad=DIR/data\n"},
		{"user twice", "[mysqld]\nuser=mysql\nuser=nobody\ndatadir=DIR/data\n"},
		{"basedir and a relative datadir", "[mysqld]\nbasedir=DIR\ndatadir=data\nlc-messages-dir=/usr/share/mysql\nplugin-dir=/usr/lib/mysql/plugin\n"},
		{"abstract socket", "[mysqld]\ndatadir=DIR/data\nsocket=@mariadb\n"},
		{"port 0", "[mysqld]\nport=0\ndatadir=DIR/data\n"},
		{"relative socket", "[mysqld]\ndatadir=DIR/data\nsocket=in-data.sock\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.text)
			s.byHand()
			s.Want(ocf.Monitor, ocf.OK)
			s.Monitor(0, ocf.OK)
			s.Start()
			s.Running()
			s.Stop()
			s.Start()
			s.Running()
			s.Stop()
		})
	}
}

// TestSocketGone: with its socket file deleted a server that answers by TCP is degraded, however its file says where;
// one that listens on no TCP is not, whoever else listens on the port that its file names.
func TestSocketGone(t *testing.T) {
	for _, c := range []struct {
		name, text string
		more       []string
		code       ocf.Code
	}{
		{"skip-networking off", "skip-networking\nskip_networking=OFF", nil, ocf.Degraded},
		{"loose-skip-networking", "skip-networking\nloose-skip-networking=0", nil, ocf.Degraded},
		{"skip-skip-networking", "skip-networking\nskip-skip-networking", nil, ocf.Degraded},
		{"floating IP", "bind-address=127.0.0.7", nil, ocf.Degraded},
		{"port in two words", "", []string{"additional_parameters", "--port 3398"}, ocf.Degraded},
		{"short port", "", []string{"additional_parameters", "-P3398"}, ocf.Degraded},
		{"another's port", "skip-networking", nil, ocf.Generic},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "[mysqld]\ndatadir=DIR/data\nsocket=DIR/s\ninnodb-use-native-aio=0\ninnodb-buffer-pool-size=8M\nport=3399\n"+c.text+"\n")
			s.Agent = s.With(c.more...)
			s.Start()
			if c.code == ocf.Generic {
				box.Sh(t, "mkdir %s/other; chown mysql: %s/other; cp -a /run/template %s/other/data", s.dir, s.dir, s.dir)
				args := append(small, "--datadir="+s.dir+"/other/data", "--socket="+s.dir+"/other/s", "--port=3399", "--log-error="+s.dir+"/other/log")
				box.Background(t, "mariadbd", append([]string{"--no-defaults"}, args...)...)
				box.Until(t, "the other serves", func() bool { _, err := os.Stat(s.dir + "/other/s"); return err == nil })
				defer func() {
					for _, pid := range s.Pids() {
						box.Signal(t, 9, pid)
					}
				}()
			}
			box.Sh(t, "rm %s/s", s.dir)
			s.Monitor(0, c.code, s.dir+"/s")
			s.Want(ocf.Stop, ocf.OK)
		})
	}
}

// TestInDoubt: a server on other data than the option file names now, but started by that file or on our socket, is
// never absent, and never let live by a stop that says 0.
func TestInDoubt(t *testing.T) {
	const base = "[mysqld]\nsocket=DIR/s\ninnodb-use-native-aio=0\ninnodb-buffer-pool-size=8M\nskip-networking\n"
	t.Run("the file was changed under a server started by hand", func(t *testing.T) {
		s := newSite(t, base+"datadir=DIR/old\n")
		s.byHand()
		s.configure(base + "datadir=DIR/data\n")
		s.Want(ocf.Monitor, ocf.Generic, s.dir+"/old, not on "+s.dir+"/data", "started by our option file")
		s.Want(ocf.Start, ocf.Generic, s.dir+"/old")
		s.Stop()
		s.Start()
		s.Stop()
	})
	t.Run("the file was changed under our server", func(t *testing.T) {
		s := newSite(t, base+"datadir=DIR/old\n")
		s.Start()
		s.Monitor(0, ocf.OK)
		s.configure(base + "datadir=DIR/data\n")
		s.Monitor(0, ocf.OK) // it goes on as it was started
		s.Want(ocf.Monitor, ocf.Generic, s.dir+"/old, not on "+s.dir+"/data")
		s.Stop()
	})
	t.Run("another server on our socket", func(t *testing.T) {
		s := newSite(t, base+"datadir=DIR/data\n")
		args := append(small, "--datadir="+s.dir+"/old", "--socket="+s.dir+"/s", "--skip-networking")
		box.Background(t, "mariadbd", append([]string{"--no-defaults"}, args...)...)
		box.Until(t, "it serves", func() bool { _, err := os.Stat(s.dir + "/s"); return err == nil })
		s.Want(ocf.Monitor, ocf.Generic, s.dir+"/old", "our socket")
		s.Within(10*time.Second).Want(ocf.Stop, ocf.Generic, s.dir+"/old")
		box.Signal(t, 9, s.Running()...)
		s.Want(ocf.Stop, ocf.OK)
	})
	t.Run("another resource by the same option file", func(t *testing.T) {
		s := newSite(t, base)
		one := s.With("datadir", s.dir+"/data")
		one.Start()
		other := s.With("datadir", s.dir+"/old", "socket", s.dir+"/other.sock")
		other.Want(ocf.Monitor, ocf.NotRunning)
		other.Want(ocf.Stop, ocf.OK)
		other.Start()
		if pids := s.Pids(); len(pids) != 2 {
			t.Errorf("%v run", pids)
		}
		other.Want(ocf.Stop, ocf.OK)
		one.Monitor(0, ocf.OK)
		one.Want(ocf.Stop, ocf.OK)
	})
}

// TestUnreadable: an option file that the server's account cannot read, or that all may write, is passed over by the
// server, and the operator is told; a server that root started by the same file, and so read it, is never absent.
func TestUnreadable(t *testing.T) {
	const text = "[mysqld]\ndatadir=DIR/data\nsocket=DIR/s\n!includedir DIR/conf.d\n"
	include := func(s *site, mode string) {
		box.Sh(t, "mkdir -p %s/conf.d; printf '[mysqld]\\ndatadir=%s/old\\n' >%s/conf.d/a.cnf; chmod %s %s/conf.d/a.cnf", s.dir, s.dir, s.dir, mode, s.dir)
	}
	for mode, words := range map[string]string{"600": "cannot read", "666": "World-writable"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t, text)
			include(s, mode)
			if r := s.Want(ocf.Start, ocf.OK); !strings.Contains(r.Stderr, words) || !strings.Contains(r.Stderr, "a.cnf") {
				t.Errorf("nobody is told of a file of mode %s: %s", mode, r)
			}
			if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.Running()[0])); cwd != s.dir+"/data" {
				t.Errorf("it serves %s", cwd)
			}
			s.Stop()
			s.byHand()
			code, where := ocf.Generic, "/old, not on "
			if mode == "666" {
				code, where = ocf.OK, ""
			}
			s.Want(ocf.Monitor, code, where)
			s.Stop()
		})
	}
}

// TestAsking: asking the server writes nothing among its data, and beside it no probe takes the asked for the server.
func TestAsking(t *testing.T) {
	s := newSite(t, "[mysqld]\ndatadir=DIR/data\nsocket=DIR/s\n")
	state := func() string { return box.Sh(t, "stat -c %%y%%z %s/data; ls -A %s/data", s.dir, s.dir) }
	probe := func() {
		t.Helper()
		box.Sh(t, "rm -f /run/resource-agents/*.options")
		s.Want(ocf.Monitor, ocf.NotRunning)
	}
	before := state()
	probe()
	if after := state(); after != before {
		t.Errorf("before and after:\n%s\n%s", before, after)
	}
	box.Background(t, "sh", "-c", "while :; do mariadbd --defaults-file="+s.config()+" --user=mysql --skip-grant-tables --verbose --help >/dev/null 2>&1; done")
	for range 20 {
		probe()
	}
}

package swap

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
)

func TestDerive(t *testing.T) {
	dir := t.TempDir()
	cnf := filepath.Join(dir, "my.cnf")
	galera := filepath.Join(dir, "galera.cnf")
	member := filepath.Join(dir, "qpidd.conf")
	for file, text := range map[string]string{member: "auth=no\nha-cluster=yes\n", cnf: "[mysqld]\nuser=dbuser\nsocket=/run/db.sock\n", galera: "[mysqld]\nwsrep_on=ON\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s string
	withDefaults := ocf.Agent{Parameters: []ocf.Parameter{
		{Name: "user", Value: ocf.String(&s), Default: "svc"},
		{Name: "config", Value: ocf.String(&s), Default: "/etc/svc.conf"},
		{Name: "pid", Value: ocf.String(&s), Default: "/run/haproxy.pid"},
	}}
	for _, c := range []struct {
		name   string
		derive func(context.Context, running) (map[string]string, error)
		args   string
		user   string
		given  map[string]string
		want   map[string]string // nil: an error with the words
		words  string
	}{
		{
			name: "mysqld_safe's", derive: deriveMySQL, user: "dbuser",
			args: "--defaults-file=" + cnf + " --basedir=/usr --datadir=" + dir + " --plugin_dir=/p --socket=/run/db.sock --log-error=err.log --port=3307 --skip-name-resolve",
			want: map[string]string{"config": cnf, "datadir": dir, "log": dir + "/err.log", "additional_parameters": "--port=3307 --skip-name-resolve", "shared_storage": "false"},
		},
		{
			name: "what the resource says stays", derive: deriveMySQL, user: "mysql", given: map[string]string{"config": cnf, "datadir": dir, "shared_storage": "false"},
			args: "--datadir=" + dir + " --socket=/other.sock", want: map[string]string{"socket": "/other.sock", "user": "mysql"},
		},
		{name: "Galera", derive: deriveMySQL, args: "--defaults-file=" + galera, words: "Galera"},
		{name: "options that must be first", derive: deriveMySQL, args: "--defaults-extra-file=/x", words: "--defaults-extra-file=/x"},
		{
			name: "EL's qpidd", derive: deriveQpidd, user: "svc", args: "--config /srv/qpidd.conf --daemon --wait 600 -p 5673 --auth no --data-dir=data",
			want: map[string]string{"config": "/srv/qpidd.conf", "port": "5673", "additional_parameters": "--auth no", "data_dir": "/cwd/data"},
		},
		{name: "a script's", derive: deriveQpidd, user: "root", args: "/usr/sbin/qpidd --port=0", want: map[string]string{"port": "0", "user": "root"}},
		{name: "a member of a cluster", derive: deriveQpidd, args: "--ha-cluster=yes", words: "promotable clone"},
		{name: "a member by its configuration", derive: deriveQpidd, args: "--config " + member, words: "create the clone as `openstack-ocf describe qpidd` shows"},
		{name: "no data directory", derive: deriveQpidd, args: "--no-data-dir", words: "--no-data-dir"},
		{name: "Debian's haproxy", derive: deriveHAProxy, args: "-Ws -f /etc/svc.conf -p /run/haproxy.pid -S /run/haproxy-master.sock", want: map[string]string{}},
		{name: "reloaded", derive: deriveHAProxy, args: "-D -f /srv/h.cfg -p /run/h.pid -n 100 -sf 12 13 -x /run/s", want: map[string]string{"config": "/srv/h.cfg", "pid": "/run/h.pid", "additional_parameters": "-n 100"}},
		{name: "two configurations", derive: deriveHAProxy, args: "-f /a -f /b", words: "2 configurations"},
		{
			name: "EL's OpenStack service", derive: deriveOslo, user: "svc", args: "/usr/bin/svc --config-file /usr/share/svc/svc-dist.conf --config-file=/etc/svc.conf --config-file /etc/more.conf --logfile /var/log/svc.log",
			want: map[string]string{"additional_parameters": "--logfile /var/log/svc.log --config-file=/etc/more.conf"},
		},
		{name: "a title", derive: deriveOslo, args: "", words: "no script"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.derive(t.Context(), running{args: strings.Fields(c.args), dir: "/cwd", user: c.user, given: c.given, agent: withDefaults})
			if c.want == nil {
				if err == nil || !strings.Contains(err.Error(), c.words) {
					t.Fatalf("%v, %v; want an error with %q", got, err, c.words)
				}
				return
			}
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func FuzzQuoted(f *testing.F) {
	f.Add("a b", "'\"\\")
	f.Fuzz(func(t *testing.T, a, b string) {
		var back []string
		if err := ocf.Words(&back).Set(quoted([]string{a, b})); err != nil || !slices.Equal(back, []string{a, b}) {
			t.Errorf("%q %q came back as %q, %v", a, b, back, err)
		}
	})
}

func TestUnit(t *testing.T) {
	for cgroups, want := range map[string]string{
		"0::/system.slice/mariadb.service\n":                                    "mariadb.service",
		"0::/system.slice/system-x.slice/mariadb@a.service\n":                   "mariadb@a.service",
		"12:cpu:/x.service\n1:name=systemd:/system.slice/qpidd.service\n0::/\n": "qpidd.service",
		"0::/system.slice/pacemaker.service\n":                                  "",
		"0::/system.slice/pacemaker_remote.service\n":                           "",
		"0::/user.slice/user-0.slice/session-3.scope\n":                         "",
		"": "",
	} {
		if got := unitIn(cgroups); got != want {
			t.Errorf("%q: %q, want %q", cgroups, got, want)
		}
	}
	mysql := services()[0]
	for _, c := range []struct {
		unit, prim string
		want       bool
	}{
		{"mariadb.service", `<primitive id="db" class="lsb" type="mysqld"/>`, true},
		{"percona.service", `<primitive id="db" class="systemd" type="percona"/>`, true},
		{"mysqld.service", `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"/>`, true},
		{"sshd.service", `<primitive id="db" class="lsb" type="mysqld"/>`, false},
		{"cron.service", `<primitive id="db" class="ocf" provider="heartbeat" type="mysql"/>`, false},
	} {
		if mysql.owns(c.unit, parse(t, c.prim)) != c.want {
			t.Errorf("%s of %s: %v", c.unit, c.prim, !c.want)
		}
	}
}

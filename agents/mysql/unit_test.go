package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/systemd"
)

func TestServerIn(t *testing.T) {
	for _, c := range []struct {
		exec []string
		want string
	}{
		{[]string{"/usr/libexec/mariadbd", "--basedir=/usr", "--datadir=/srv/my data"}, "/usr/libexec/mariadbd|--basedir=/usr|--datadir=/srv/my data"},
		{[]string{"/bin/sh", "-c", "set -f; [ ! -e /usr/bin/galera_recovery ] && VAR= || VAR=`/usr/bin/galera_recovery`; [ $? -eq 0 ] || exit 1; exec /usr/sbin/mariadbd --port=3307 $VAR"}, "/usr/sbin/mariadbd|--port=3307|$VAR"},
		{[]string{"/bin/sh", "-c", "exec /usr/sbin/mysqld -P 1 || exit 1"}, "/usr/sbin/mysqld|-P|1"},
		{[]string{"/usr/bin/mysqld_safe", "--basedir=/usr"}, "/usr/bin/mysqld_safe|--basedir=/usr"},
		{[]string{"/bin/sleep", "1000"}, ""},
		{nil, ""},
	} {
		if got := strings.Join(serverIn(c.exec), "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.exec, got, c.want)
		}
	}
}

// TestAsked: the server is asked with its unit's arguments, over which the parameters have the last word; an option file
// comes first, and is the unit's if that names one.
func TestAsked(t *testing.T) {
	for _, c := range []struct {
		p    params
		exec []string
		want []string
	}{
		{params{config: "/etc/my.cnf", datadir: "/d", additional: []string{"--x"}}, nil, []string{"--defaults-file=/etc/my.cnf", "--datadir=/d", "--x"}},
		{params{unit: "u"}, []string{"/m", "--port=1"}, []string{"--port=1"}},
		{params{unit: "u", datadir: "/d"}, []string{"/m", "--datadir=/e"}, []string{"--datadir=/e", "--datadir=/d"}},
		{params{unit: "u", config: "/c"}, []string{"/m", "--port=1"}, []string{"--defaults-file=/c", "--port=1"}},
		{params{unit: "u", config: "/c"}, []string{"/m", "--defaults-file=/e", "--port=1"}, []string{"--defaults-file=/e", "--port=1"}},
	} {
		config := c.p.config
		if config == "" {
			config = "/etc/mysql/my.cnf"
		}
		u := systemd.Unit{Exec: c.exec, User: "mysql", Env: []string{"A=b"}}
		got := c.p.asked(config, u)
		if !slices.Equal(got.Args, c.want) {
			t.Errorf("%+v %q: %q, want %q", c.p, c.exec, got.Args, c.want)
		}
		if c.p.unit != "" && (got.Path != "/m" || got.User != "mysql" || !slices.Equal(got.Env, u.Env)) {
			t.Errorf("%+v: %+v", c.p, got)
		}
	}
}

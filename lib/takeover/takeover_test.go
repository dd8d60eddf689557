package takeover

import (
	"slices"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
)

func FuzzQuoted(f *testing.F) {
	f.Add("a b", "'\"\\")
	f.Fuzz(func(t *testing.T, a, b string) {
		var back []string
		if err := ocf.Words(&back).Set(Quoted([]string{a, b})); err != nil || !slices.Equal(back, []string{a, b}) {
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
	k := Kind{Types: []string{"mysqld", "mariadb"}}
	for unit, want := range map[string]bool{"mariadb.service": true, "mysqld.service": true, "sshd.service": false, "percona.service": false} {
		if k.Owns(unit) != want {
			t.Errorf("%s: %v", unit, !want)
		}
	}
}

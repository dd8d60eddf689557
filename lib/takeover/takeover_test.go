package takeover

import (
	"context"
	"maps"
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

func TestParameters(t *testing.T) {
	k := Kind{Direct: []string{"user"}, Derive: func(context.Context, Process) (map[string]string, error) {
		return map[string]string{"user": "u", "port": "1"}, nil
	}}
	for unit, want := range map[string]map[string]string{"": {"user": "u", "port": "1"}, "a.service": {"unit": "a.service", "port": "1"}} {
		if got, err := k.Parameters(t.Context(), Process{Unit: unit}); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", unit, got, err)
		}
	}
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
	for unit, want := range map[string]bool{"mariadb.service": true, "mysqld.service": true, "mariadb@main.service": true, "mariadb": true, "sshd.service": false, "percona.service": false} {
		if k.Owns(unit) != want {
			t.Errorf("%s: %v", unit, !want)
		}
	}
}

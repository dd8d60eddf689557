package qpidd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
)

func TestDerive(t *testing.T) {
	member := filepath.Join(t.TempDir(), "qpidd.conf")
	if err := os.WriteFile(member, []byte("auth=no\nha-cluster=yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  string
		user  string
		given map[string]string
		want  map[string]string // nil: an error with the words
		words string
	}{
		{
			name: "EL's qpidd", user: "qpidd", args: "--config /srv/qpidd.conf --daemon --wait 600 -p 5673 --auth no --data-dir=data",
			want: map[string]string{"config": "/srv/qpidd.conf", "port": "5673", "additional_parameters": "--auth no", "data_dir": "/cwd/data"},
		},
		{name: "a script's", user: "root", args: "/usr/sbin/qpidd --port=0", want: map[string]string{"port": "0", "user": "root"}},
		{name: "a member of a cluster", args: "--ha-cluster=yes", words: "promotable clone"},
		{name: "a member by its configuration", args: "--config " + member, words: "create the clone as `openstack-ocf describe qpidd` shows"},
		{name: "no data directory", args: "--no-data-dir", words: "--no-data-dir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := derive(t.Context(), takeover.Process{Args: strings.Fields(c.args), Dir: "/cwd", User: c.user, Given: c.given})
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

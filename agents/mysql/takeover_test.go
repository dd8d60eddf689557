package mysql

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
)

func TestDerive(t *testing.T) {
	dir := t.TempDir()
	cnf, galera := filepath.Join(dir, "my.cnf"), filepath.Join(dir, "galera.cnf")
	for file, text := range map[string]string{cnf: "[mysqld]\nuser=dbuser\nsocket=/run/db.sock\n", galera: "[mysqld]\nwsrep_on=ON\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
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
			name: "mysqld_safe's", user: "dbuser",
			args: "--defaults-file=" + cnf + " --basedir=/usr --datadir=" + dir + " --plugin_dir=/p --socket=/run/db.sock --log-error=err.log --port=3307 --skip-name-resolve",
			want: map[string]string{"config": cnf, "datadir": dir, "log": dir + "/err.log", "additional_parameters": "--port=3307 --skip-name-resolve", "shared_storage": "false"},
		},
		{
			name: "what the resource says stays", user: "mysql", given: map[string]string{"config": cnf, "datadir": dir, "shared_storage": "false"},
			args: "--datadir=" + dir + " --socket=/other.sock", want: map[string]string{"socket": "/other.sock", "user": "mysql"},
		},
		{name: "Galera", args: "--defaults-file=" + galera, words: "Galera"},
		{name: "options that must be first", args: "--defaults-extra-file=/x", words: "--defaults-extra-file=/x"},
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

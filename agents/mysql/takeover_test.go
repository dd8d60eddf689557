package mysql

import (
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/test/needs"
)

// What the file says in a group that only a server of this version reads, the server is asked for.
func TestDeriveAsksTheServer(t *testing.T) {
	server := needs.Program(t, "mariadbd", "mariadb-server")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	said, err := mycnf.Ask(t.Context(), daemon.Command{Path: server, Args: []string{"--no-defaults"}, Dir: "/", User: me.Username})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(said.Groups, func(g string) bool { return !slices.Contains(mycnf.ServerGroups, g) })
	if i < 0 {
		t.Fatalf("%s reads no group of its version: %v", server, said.Groups)
	}
	dir := t.TempDir()
	cnf, bad := filepath.Join(dir, "my.cnf"), filepath.Join(dir, "bad.cnf")
	for file, text := range map[string]string{cnf: "socket=/run/db.sock\npid-file=db.pid\nlog-error=db.err\n", bad: "no group\n[mysqld\n"} {
		if file == cnf {
			text = "[" + said.Groups[i] + "]\ndatadir=" + dir + "\nuser=" + me.Username + "\n" + text
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	derived := func(cnf, args string) (map[string]string, error) {
		return derive(t.Context(), takeover.Process{
			Program: server, Args: strings.Fields("--defaults-file=" + cnf + " " + args), Dir: "/", User: me.Username,
		})
	}
	all := " --socket=/run/db.sock --pid-file=" + dir + "/db.pid --log-error=" + dir + "/db.err"
	want := map[string]string{"config": cnf, "shared_storage": "false"}
	for _, args := range []string{"", all, "--datadir=" + dir + all} {
		if got, err := derived(cnf, args); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", args, got, err, want)
		}
	}
	if got, err := derived(bad, ""); err == nil {
		t.Errorf("a file that the server refuses: %v", got)
	}
}

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
		unit  string
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
		{name: "by its unit, with options that must be first", unit: "mariadb@a.service", args: "--defaults-group-suffix=.a --port=3307", want: map[string]string{"shared_storage": "false"}},
		{name: "Galera", args: "--defaults-file=" + galera, words: "Galera"},
		{name: "options that must be first", args: "--defaults-extra-file=/x", words: "--defaults-extra-file=/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := derive(t.Context(), takeover.Process{Args: strings.Fields(c.args), Dir: map[bool]string{true: dir, false: "/cwd"}[c.unit != ""], User: c.user, Unit: c.unit, Given: c.given})
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

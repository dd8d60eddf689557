package openstack

import (
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

//go:embed consoleauth.py
var consoleauth string

// Nova is a control plane's configuration and databases; its services are
// started one by one.
type Nova struct {
	Conf string // path of nova.conf
	Host string // the name its services register under

	t   testing.TB
	dir string
}

// NewNova makes nova's databases in db and a nova.conf for the message bus of
// transportURL. lines follow in [DEFAULT].
func NewNova(t testing.TB, db *MariaDB, transportURL string, lines ...string) *Nova {
	t.Helper()
	NeedNova(t)
	n := &Nova{t: t, dir: t.TempDir(), Host: "node1"}
	db.Exec("CREATE DATABASE nova_api", "CREATE DATABASE nova", "CREATE DATABASE nova_cell0")
	// The scheduler dies at its start unless placement tells its versions.
	placement := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"versions":[{"id":"v1.0","max_version":"1.39","min_version":"1.0","status":"CURRENT","links":[{"rel":"self","href":""}]}]}`)
	}))
	t.Cleanup(placement.Close)
	n.Conf = n.Write("nova.conf", transportURL, append(lines,
		"[api_database]", "connection = "+db.URL("nova_api"),
		"[database]", "connection = "+db.URL("nova"),
		"[scheduler]", "workers = 1",
		"[conductor]", "workers = 1",
		"[placement]", "auth_type = none", "endpoint_override = "+placement.URL)...)
	manage := []string{needs.Program(t, "nova-manage", "nova-common"), "--config-file", n.Conf}
	run(t, n.dir, nil, append(manage, "api_db", "sync")...)
	run(t, n.dir, nil, append(manage, "cell_v2", "map_cell0", "--database_connection", db.URL("nova_cell0"))...)
	run(t, n.dir, nil, append(manage, "cell_v2", "create_cell", "--name=cell1")...)
	run(t, n.dir, nil, append(manage, "db", "sync")...)
	return n
}

// Write makes a config file with nova's usual options and the given lines
// behind them, in [DEFAULT] unless they say otherwise.
func (n *Nova) Write(name, transportURL string, lines ...string) string {
	n.t.Helper()
	return write(n.t, n.dir, name, 0o600, append([]string{
		"[DEFAULT]", "host = " + n.Host, "transport_url = " + transportURL,
		"report_interval = 2", "service_down_time = 10", "state_path = " + n.dir, "debug = false",
	}, lines...)...)
}

// StartConductor starts a nova-conductor.
func (n *Nova) StartConductor() *Process { return n.start("/usr/bin/nova-conductor") }

// StartScheduler starts a nova-scheduler.
func (n *Nova) StartScheduler() *Process { return n.start("/usr/bin/nova-scheduler") }

// StartConsoleauth starts the nova-consoleauth of [Nova.Consoleauth].
func (n *Nova) StartConsoleauth() *Process { return n.start(n.Consoleauth()) }

// RealConsoleauth is the path of a real nova-consoleauth, which NOVA_CONSOLEAUTH names: Nova has
// had none since Train. "" without one.
func RealConsoleauth() string { return os.Getenv("NOVA_CONSOLEAUTH") }

// ConsoleauthScript is our small nova-consoleauth, to be run by /usr/bin/python3.
func ConsoleauthScript() string { return consoleauth }

// Consoleauth is the path of a nova-consoleauth: the real one, or our own. It says which.
func (n *Nova) Consoleauth() string {
	n.t.Helper()
	if real := RealConsoleauth(); real != "" {
		n.t.Logf("nova-consoleauth: %s", real)
		link := filepath.Join(n.dir, "nova-consoleauth") // a test may take it away
		if err := os.Symlink(real, link); err != nil && !os.IsExist(err) {
			n.t.Fatal(err)
		}
		return link
	}
	n.t.Log("nova-consoleauth: our small manager")
	return write(n.t, n.dir, "nova-consoleauth", 0o755, consoleauth)
}

func (n *Nova) start(binary string, args ...string) *Process {
	n.t.Helper()
	name := filepath.Base(binary)
	return start(n.t, name, n.dir, nil, append([]string{python, binary, "--config-file", n.Conf}, args...)...)
}

// NeedNova skips the test unless Debian's nova is installed.
func NeedNova(t testing.TB) {
	t.Helper()
	needPython(t, "nova.service", "nova")
	needs.Program(t, "nova-scheduler", "nova-scheduler")
	needs.Program(t, "nova-conductor", "nova-conductor")
}

// needPython skips the test unless Debian's python has the module.
func needPython(t testing.TB, module, what string) {
	t.Helper()
	if _, err := os.Stat(python); err != nil || exec.Command(python, "-c", "import "+module).Run() != nil {
		t.Skip("SKIP: needs " + what)
	}
}

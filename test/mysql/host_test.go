// Package mysql tests ocf:openstack:mysql-shared-storage on a real MariaDB, in
// a box: a host of its own with a shared disk.
package mysql

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const (
	datadir = "/run/srv/mysql"
	config  = "/run/my.cnf"
	socket  = "/run/mysqld/mysqld.sock"
	pidFile = "/run/mysqld/mysqld.pid"
	errLog  = "/run/log/error.log"
	port    = 3399
)

func TestMain(m *testing.M) { box.Main(m, "/etc/mysql") }

// host is the box with its disk, and the agent.
type host struct{ *box.Agent }

var disk sync.Once

// newHost has the shared disk mounted, with databases on it, and no server running.
func newHost(t testing.TB) *host {
	needs.Program(t, "mariadbd", "mariadb-server")
	h := &host{box.NewAgent(t, box.Agent{
		Name: "mysql-shared-storage", Params: ocftest.Params{"config": config}, Log: errLog,
		Pids: box.Programs("mariadbd", "mysqld"), Processes: 1, Limit: time.Minute, Watch: 6 * time.Second,
		Unit: &box.Unit{Direct: []string{"binary", "user", "group", "log", "pid", "additional_parameters", "enable_creation"}, Service: unit},
	})}
	disk.Do(func() {
		box.Sh(t, "truncate -s 600M /run/disk.img; mkfs.ext4 -q -E nodiscard -e remount-ro /run/disk.img; mkdir -p %s", datadir)
		h.mount()
		h.writeConfig()
		box.Sh(t, "chown mysql:mysql %s; rmdir %s/lost+found", datadir, datadir)
		if box.InUnit() { // whose own way to it is a script of the package
			box.Sh(t, "mariadb-install-db --defaults-file=%s --user=mysql --skip-test-db >/dev/null 2>&1", config)
		}
		h.With("enable_creation", "true").Start()
		h.sql("CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(255)); CREATE USER check_me@localhost IDENTIFIED BY 'correct-horse'; GRANT ALL ON *.* TO check_me@localhost")
		h.Stop()
	})
	h.mount()
	h.writeConfig()
	box.Sh(t, "chown mysql:mysql %s; rm -rf /run/mysqld /run/log; rm -f %s/filler", datadir, datadir)
	return h
}

// unit is as Debian's, but for the sandbox.
func unit(p ocftest.Params) string {
	return "Type=notify\nUser=mysql\nGroup=mysql\nRuntimeDirectory=mysqld log\nRuntimeDirectoryPreserve=yes\nTimeoutStartSec=900\nTimeoutStopSec=900\nSendSIGKILL=no\nKillSignal=SIGTERM\n" +
		"ExecStart=/usr/sbin/mariadbd --defaults-file=" + p["config"] + " " + p["additional_parameters"] + "\n"
}

func (h *host) mount() {
	if exec.Command("mountpoint", "-q", datadir).Run() != nil {
		box.Sh(h.T, "mount -o loop /run/disk.img %s", datadir)
	}
}

func (h *host) writeConfig() {
	text := fmt.Sprintf("[mysqld]\ndatadir=%s\nsocket=%s\npid-file=%s\nlog-error=%s\nport=%d\nbind-address=127.0.0.1\ninnodb_log_file_size=32M\ninnodb_buffer_pool_size=32M\ninnodb_use_native_aio=0\nmax_connections=10\nskip-name-resolve\n",
		datadir, socket, pidFile, errLog, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		h.T.Fatal(err)
	}
}

func (h *host) sql(query string) string {
	h.T.Helper()
	out, err := exec.Command("mariadb", "--no-defaults", "-N", "-S", socket, "-uroot", "-e", query).CombinedOutput()
	if err != nil {
		h.T.Fatalf("%s: %v\n%s", query, err, out)
	}
	return strings.TrimSpace(string(out))
}

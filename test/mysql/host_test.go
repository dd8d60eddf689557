// Package mysql tests ocf:openstack:mysql-shared-storage on a real MariaDB, in
// a box: a host of its own with a shared disk.
package mysql

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

const (
	datadir = "/run/srv/mysql"
	config  = "/run/my.cnf"
	socket  = "/run/mysqld/mysqld.sock"
	pidFile = "/run/mysqld/mysqld.pid"
	errLog  = "/run/log/error.log"
	port    = 3399
)

func TestMain(m *testing.M) {
	if os.Getenv("STUBBORN") != "" {
		stubborn()
	}
	box.Main(m, "/etc/mysql")
}

// stubborn is a server that ignores SIGTERM and answers nobody.
func stubborn() {
	signal.Ignore(unix.SIGTERM, unix.SIGINT)
	if err := os.Chdir(datadir); err != nil {
		panic(err)
	}
	for {
		time.Sleep(time.Hour)
	}
}

// host is the box with its disk, and the agent.
type host struct {
	t   testing.TB
	run ocftest.Runner
	p   ocftest.Params
}

var disk sync.Once

// newHost has the shared disk mounted, with databases on it, and no server
// running; and sees to it that none is left.
func newHost(t testing.TB) *host {
	box.Need(t)
	if _, err := exec.LookPath("mariadbd"); err != nil {
		t.Skip("SKIP: needs mariadb-server")
	}
	h := &host{t: t, run: ocftest.Program(built.Agent(t, "mysql-shared-storage")), p: ocftest.Params{"config": config}}
	disk.Do(func() {
		box.Sh(t, "truncate -s 600M /run/disk.img; mkfs.ext4 -q -E nodiscard -e remount-ro /run/disk.img; mkdir -p %s", datadir)
		h.mount()
		h.writeConfig()
		box.Sh(t, "chown mysql:mysql %s; rmdir %s/lost+found", datadir, datadir)
		h.want(ocf.Start, h.p.With("enable_creation", "true"), ocf.OK)
		h.sql("CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(255)); CREATE USER check_me@localhost IDENTIFIED BY 'correct-horse'; GRANT ALL ON *.* TO check_me@localhost")
		h.want(ocf.Stop, h.p, ocf.OK)
	})
	h.mount()
	h.writeConfig()
	box.Sh(t, "chown mysql:mysql %s; rm -rf /run/mysqld /run/log; rm -f %s/filler", datadir, datadir)
	t.Cleanup(func() {
		r := h.run(context.Background(), ocftest.Call{Action: ocf.Stop, Params: h.p, Timeout: 60 * time.Second})
		if r.Code != ocf.OK {
			t.Errorf("clean-up: stop: %s", r)
		}
		if pids := h.servers(); len(pids) > 0 {
			t.Errorf("clean-up: servers left: %v", pids)
		}
	})
	return h
}

func (h *host) mount() {
	if exec.Command("mountpoint", "-q", datadir).Run() != nil {
		box.Sh(h.t, "mount -o loop /run/disk.img %s", datadir)
	}
}

func (h *host) writeConfig() {
	text := fmt.Sprintf("[mysqld]\ndatadir=%s\nsocket=%s\npid-file=%s\nlog-error=%s\nport=%d\nbind-address=127.0.0.1\ninnodb_log_file_size=32M\ninnodb_buffer_pool_size=32M\ninnodb_use_native_aio=0\nmax_connections=10\nskip-name-resolve\n",
		datadir, socket, pidFile, errLog, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) want(action string, p ocftest.Params, code ocf.Code, words ...string) ocftest.Result {
	h.t.Helper()
	return h.run.Want(h.t, ocftest.Call{Action: action, Params: p, Timeout: 60 * time.Second}, code, words...)
}

// monitor is a recurring monitor with a short time, which is what faults are found in.
func (h *host) monitor(p ocftest.Params, level int, code ocf.Code, words ...string) {
	h.t.Helper()
	h.run.Want(h.t, ocftest.Call{Action: ocf.Monitor, Params: p, Interval: 10 * time.Second, Level: level, Timeout: 6 * time.Second}, code, words...)
}

func (h *host) start() { h.t.Helper(); h.want(ocf.Start, h.p, ocf.OK) }

// servers are the pids of servers on the data directory, found without the agent.
func (h *host) servers() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var pids []int
	for _, l := range links {
		exe, _ := os.Readlink(l)
		if b := filepath.Base(strings.TrimSuffix(exe, " (deleted)")); b != "mariadbd" && b != "mysqld" {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
		pids = append(pids, pid)
	}
	return pids
}

func (h *host) server() int {
	h.t.Helper()
	pids := h.servers()
	if len(pids) != 1 {
		h.t.Fatalf("want one server, there are %v", pids)
	}
	return pids[0]
}

func (h *host) signal(sig syscall.Signal) int {
	h.t.Helper()
	pid := h.server()
	box.Signal(h.t, sig, pid)
	return pid
}

func (h *host) sql(query string) string {
	h.t.Helper()
	out, err := exec.Command("mariadb", "--no-defaults", "-N", "-S", socket, "-uroot", "-e", query).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", query, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *host) until(what string, ok func() bool) { h.t.Helper(); box.Until(h.t, what, ok) }

func (h *host) background(name string, args ...string) *exec.Cmd {
	h.t.Helper()
	return box.Background(h.t, name, args...)
}

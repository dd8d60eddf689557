package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no server
// running and its storage mounted.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(h *host)
	}{
		{"frozen by SIGSTOP", func(h *host) {
			h.start()
			h.signal(syscall.SIGSTOP)
			h.monitor(h.p, 0, ocf.Generic, "frozen")
			h.run.Want(h.t, ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 10 * time.Second}, ocf.Generic, "frozen")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"all connections in use, the reserved one too", func(h *host) {
			h.start()
			db, err := sql.Open("mysql", "root@unix("+socket+")/")
			if err != nil {
				h.t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxIdleConns(20)
			for range 11 {
				c, err := db.Conn(context.Background())
				if err != nil {
					h.t.Fatal(err)
				}
				defer c.Close()
			}
			h.monitor(h.p, 0, ocf.Degraded, "1040")
			h.monitor(h.p, 20, ocf.Degraded, "1040")
			h.want(ocf.Start, h.p, ocf.OK)
		}},
		{"many connections in use", func(h *host) {
			h.start()
			h.monitor(h.p.With("degraded_connections_percent", "5"), 10, ocf.Degraded, "max_connections")
			h.monitor(h.p.With("degraded_connections_percent", "5"), 0, ocf.OK)
		}},
		{"wrong test credentials", func(h *host) {
			h.start()
			bad := h.p.With("test_user", "check_me", "test_passwd", "wrong-horse")
			h.monitor(bad, 0, ocf.Degraded, "1045")
			h.monitor(bad, 10, ocf.Degraded, "1045")
			h.monitor(h.p.With("test_user", "check_me", "test_passwd", "correct-horse"), 20, ocf.OK)
			h.want(ocf.Start, bad, ocf.OK)
		}},
		{"test_defaults_file", func(h *host) {
			h.start()
			const file = "/run/check.cnf"
			write := func(password string, mode os.FileMode) {
				if err := os.WriteFile(file, []byte("[client]\nuser=check_me\npassword="+password+"\n"), mode); err != nil {
					h.t.Fatal(err)
				}
				if err := os.Chmod(file, mode); err != nil {
					h.t.Fatal(err)
				}
			}
			p := h.p.With("test_defaults_file", file)
			write("correct-horse", 0o600)
			h.monitor(p, 10, ocf.OK)
			write("wrong-horse", 0o600)
			h.monitor(p, 0, ocf.Degraded, "1045")
			write("correct-horse", 0o644)
			h.monitor(p, 0, ocf.Degraded, file)
			h.monitor(h.p.With("test_defaults_file", "/nowhere"), 0, ocf.Degraded, "/nowhere")
			h.want(ocf.Monitor, p.With("test_passwd", "x"), ocf.Configured, "test_passwd")
		}},
		{"root has a password nobody told us", func(h *host) {
			h.start()
			h.sql("ALTER USER root@localhost IDENTIFIED BY 'hidden'")
			defer box.Sh(h.t, "mariadb --no-defaults -S %s -uroot -phidden -e \"ALTER USER root@localhost IDENTIFIED VIA unix_socket\"", socket)
			h.monitor(h.p, 0, ocf.OK)
			h.monitor(h.p, 10, ocf.Degraded, "1045")
			h.monitor(h.p.With("test_user", "root"), 0, ocf.Degraded, "1045")
		}},
		{"disk full", func(h *host) {
			h.start()
			box.Sh(h.t, "fallocate -l 1G %s/filler || dd if=/dev/zero of=%s/filler bs=1M status=none || true", datadir, datadir)
			h.monitor(h.p, 0, ocf.Degraded, "% full")
			h.monitor(h.p.With("degraded_disk_percent", "0"), 0, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Start, h.p, ocf.Generic, "is full")
		}},
		{"file system gone read-only", func(h *host) {
			h.start()
			// As an I/O error does it: the kernel's own switch for testing, and errors=remount-ro.
			loop := box.Sh(h.t, "basename $(findmnt -no SOURCE %s)", datadir)
			box.Sh(h.t, "echo 1 >/sys/fs/ext4/%s/trigger_fs_error", loop)
			h.monitor(h.p, 0, ocf.Generic, "read-only")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Start, h.p, ocf.Generic, "read-only")
			box.Sh(h.t, "umount %s || { fuser -vm /srv/mysql; ps axf; exit 9; }; e2fsck -fy /run/disk.img >/dev/null || test $? -le 1", datadir)
		}},
		{"pid file deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", pidFile)
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"pid file garbage", func(h *host) {
			h.start()
			box.Sh(h.t, "echo -n 'not a pid \\200' >%s", pidFile)
			h.monitor(h.p, 0, ocf.OK)
			h.want(ocf.Stop, h.p, ocf.OK)
		}},
		{"pid reused by a stranger", func(h *host) {
			stranger := h.background("sleep", "600")
			h.start()
			h.signal(syscall.SIGKILL)
			box.Sh(h.t, "echo %d >%s", stranger.Process.Pid, pidFile)
			h.monitor(h.p, 0, ocf.NotRunning, datadir)
			h.want(ocf.Stop, h.p, ocf.OK)
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				h.t.Errorf("the stranger was signalled: %v", err)
			}
		}},
		{"a stranger's server on other data", func(h *host) {
			const other = "/run/other"
			box.Sh(h.t, "mkdir %s; chown mysql %s; mariadb-install-db --no-defaults --datadir=%s --user=mysql --skip-test-db >/dev/null 2>&1", other, other, other)
			srv := h.background("mariadbd", "--no-defaults", "--user=mysql", "--datadir="+other, "--socket="+other+"/s", "--pid-file="+other+"/pid", "--skip-networking", "--innodb-use-native-aio=0", "--innodb-buffer-pool-size=8M", "--log-error="+other+"/log")
			h.until("the other server serves", func() bool { _, err := os.Stat(other + "/s"); return err == nil })
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.start()
			h.want(ocf.Stop, h.p, ocf.OK)
			if err := srv.Process.Signal(syscall.Signal(0)); err != nil {
				h.t.Errorf("the other server was stopped: %v\n%s", err, box.Sh(h.t, "cat %s/log.err", other))
			}
			_ = srv.Process.Kill()
			h.until("the other server is gone", func() bool { return len(h.servers()) == 0 })
		}},
		{"started by hand, with another pid file", func(h *host) {
			box.Sh(h.t, "mkdir -p /run/mysqld /run/log; chown mysql:mysql /run/mysqld /run/log")
			h.background("mariadbd", "--defaults-file="+config, "--user=mysql", "--pid-file=/run/mysqld/by-hand.pid")
			h.until("it serves", func() bool { _, err := os.Stat(socket); return err == nil })
			h.want(ocf.Monitor, h.p, ocf.OK)
			h.want(ocf.Start, h.p, ocf.OK)
			h.server()
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			if log, _ := os.ReadFile(errLog); !strings.Contains(string(log), "Shutdown complete") {
				h.t.Errorf("the shutdown was not clean:\n%s", log)
			}
		}},
		{"run by mysqld_safe, and frozen", func(h *host) {
			box.Sh(h.t, "mkdir -p /run/mysqld /run/log; chown mysql:mysql /run/mysqld /run/log")
			h.background("mysqld_safe", "--defaults-file="+config, "--user=mysql")
			h.until("it serves", func() bool { _, err := os.Stat(socket); return err == nil })
			h.want(ocf.Monitor, h.p, ocf.OK)
			h.signal(syscall.SIGSTOP)
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			if left := box.Sh(h.t, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o 'mysqld_safe -[-]' || true"); left != "" {
				h.t.Error("mysqld_safe is left and will restart the server")
			}
		}},
		{"option file deleted while running", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", config)
			h.want(ocf.Start, h.p, ocf.Args, config)
			h.want(ocf.Stop, h.p, ocf.OK)
			if left := h.servers(); len(left) > 0 {
				h.t.Errorf("stop said 0, and %v run", left)
			}
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"storage unmounted lazily under the server", func(h *host) {
			h.start()
			box.Sh(h.t, "umount -l %s", datadir)
			h.monitor(h.p, 0, ocf.Generic, "no longer mounted")
			h.want(ocf.Stop, h.p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.want(ocf.Start, h.p, ocf.Generic, "not mounted")
		}},
		{"storage not mounted", func(h *host) {
			box.Sh(h.t, "umount %s", datadir)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
			h.want(ocf.Start, h.p.With("enable_creation", "true"), ocf.Generic, "not mounted")
			h.want(ocf.Stop, h.p, ocf.OK)
			if e, _ := os.ReadDir(datadir); len(e) > 0 {
				h.t.Errorf("something was written below the mount point: %v", e)
			}
		}},
		{"data directory missing", func(h *host) {
			p := h.p.With("datadir", "/run/srv/nowhere")
			h.want(ocf.Monitor, p, ocf.NotRunning)
			h.want(ocf.Start, p, ocf.Generic, "/run/srv/nowhere")
			h.want(ocf.Stop, p, ocf.OK)
		}},
		{"the wrong storage is mounted", func(h *host) {
			h.want(ocf.Start, h.p.With("fstype", "xfs"), ocf.Generic, "not xfs")
			h.want(ocf.Start, h.p.With("device", "/dev/null"), ocf.Generic, "/dev/null")
			h.want(ocf.Start, h.p.With("device", "/run/disk.img", "fstype", "ext4"), ocf.OK)
		}},
		{"no databases on the storage", func(h *host) {
			empty := datadir + "/empty"
			box.Sh(h.t, "mkdir -p %s; chown mysql:mysql %s", empty, empty)
			defer box.Sh(h.t, "rm -rf %s", empty)
			p := h.p.With("datadir", empty, "socket", "/run/mysqld/empty.sock", "pid", "/run/mysqld/empty.pid")
			h.want(ocf.Start, p, ocf.Generic, "enable_creation")
			h.want(ocf.Start, p.With("enable_creation", "true"), ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
		}},
		{"wrong owner of the data", func(h *host) {
			box.Sh(h.t, "chown root:root %s; chmod 755 %s", datadir, datadir)
			h.want(ocf.Start, h.p, ocf.Permission, "chown")
			h.run.Want(h.t, ocftest.Call{Action: ocf.ValidateAll, Params: h.p, Level: 10}, ocf.Permission, datadir)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"no such user", func(h *host) {
			h.want(ocf.Start, h.p.With("user", "nobody-by-that-name"), ocf.Args, "nobody-by-that-name")
		}},
		{"binary missing", func(h *host) {
			p := h.p.With("binary", "/usr/sbin/no-such-mysqld")
			h.want(ocf.Monitor, p, ocf.Installed, "no-such-mysqld")
			h.want(ocf.Start, p, ocf.Installed)
			h.want(ocf.Stop, p, ocf.OK)
			h.start()
			h.want(ocf.Monitor, p, ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"binary replaced while running", func(h *host) {
			box.Sh(h.t, "cp /usr/sbin/mariadbd /run/mariadbd")
			p := h.p.With("binary", "/run/mariadbd")
			h.want(ocf.Start, p, ocf.OK)
			box.Sh(h.t, "rm /run/mariadbd")
			h.monitor(p, 0, ocf.OK)
			h.want(ocf.Stop, p, ocf.OK)
			if left := h.servers(); len(left) > 0 {
				h.t.Errorf("stop said 0, and %v run", left)
			}
		}},
		{"port taken", func(h *host) {
			h.background("python3", "-c", fmt.Sprintf("import socket,time; s=socket.create_server(('127.0.0.1',%d)); time.sleep(600)", port))
			h.until("the port is taken", func() bool { return strings.Contains(box.Sh(h.t, "ss -ltn"), fmt.Sprint(port)) })
			r := h.want(ocf.Start, h.p, ocf.Generic, "Address already in use")
			if r.Elapsed > 20*time.Second {
				h.t.Errorf("start took %v to see that the server had died", r.Elapsed)
			}
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"crash recovery", func(h *host) {
			h.start()
			h.sql("SET GLOBAL innodb_flush_log_at_trx_commit=2; INSERT INTO app.t(v) SELECT RPAD(seq,250,'x') FROM mysql.help_topic, (SELECT 1 seq UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) s")
			rows := h.sql("SELECT COUNT(*) FROM app.t")
			h.signal(syscall.SIGKILL)
			box.Sh(h.t, "rm -f %s %s", socket, pidFile)
			started := make(chan ocftest.Result, 1)
			go func() {
				started <- h.run(context.Background(), ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 60 * time.Second})
			}()
			h.until("the server's process is there", func() bool { return len(h.servers()) > 0 })
			for done := false; !done; {
				select {
				case r := <-started:
					if r.Code != ocf.OK {
						h.t.Fatalf("start: %s", r)
					}
					done = true
				default:
					if r := h.run(context.Background(), ocftest.Call{Action: ocf.Monitor, Params: h.p}); r.Code != ocf.Generic && r.Code != ocf.OK {
						h.t.Errorf("a probe during recovery: %s", r)
					}
				}
			}
			if got := h.sql("SELECT COUNT(*) FROM app.t"); got != rows {
				h.t.Errorf("%s rows before the crash, %s after", rows, got)
			}
			h.sql("TRUNCATE app.t")
		}},
		{"ignores SIGTERM", func(h *host) {
			box.Sh(h.t, "cp /proc/%d/exe /run/mariadbd", os.Getpid())
			defer box.Sh(h.t, "rm /run/mariadbd")
			h.t.Setenv("STUBBORN", "1")
			h.background("/run/mariadbd")
			os.Unsetenv("STUBBORN")
			h.until("it is in the data directory", func() bool {
				cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", h.server()))
				return cwd == datadir
			})
			h.monitor(h.p, 0, ocf.Generic)
			r := h.run.Want(h.t, ocftest.Call{Action: ocf.Stop, Params: h.p, Timeout: 10 * time.Second}, ocf.OK)
			if len(h.servers()) != 0 {
				h.t.Errorf("stop said 0, and it runs: %s", r)
			}
		}},
		{"uninterruptible sleep", func(h *host) {
			h.start()
			box.Sh(h.t, "fsfreeze -f %s", datadir)
			thawed := false
			thaw := func() {
				if !thawed {
					thawed = true
					box.Sh(h.t, "fsfreeze -u %s", datadir)
				}
			}
			defer thaw()
			h.background("mariadb", "--no-defaults", "-S", socket, "-uroot", "-e", "INSERT INTO app.t(v) VALUES ('stuck')")
			pid := h.server()
			h.until("a thread is in state D", func() bool {
				out := box.Sh(h.t, "cat /proc/%d/task/*/stat | cut -d' ' -f3 | sort -u", pid)
				return strings.Contains(out, "D")
			})
			h.run.Want(h.t, ocftest.Call{Action: ocf.Stop, Params: h.p, Timeout: 8 * time.Second}, ocf.Generic, fmt.Sprint(pid), "state D")
			h.want(ocf.Monitor, h.p, ocf.Generic)
			thaw()
			h.until("it is gone", func() bool { return len(h.servers()) == 0 })
			h.want(ocf.Stop, h.p, ocf.OK)
		}},
		{"log directory missing", func(h *host) {
			h.want(ocf.Start, h.p.With("log", "/run/logs/deep/error.log"), ocf.OK)
			if fi, err := os.Stat("/run/logs/deep/error.log"); err != nil || fi.Size() == 0 {
				h.t.Errorf("no log: %v", err)
			}
		}},
		{"stop during start", func(h *host) {
			started := make(chan ocftest.Result, 1)
			go func() {
				started <- h.run(context.Background(), ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 60 * time.Second})
			}()
			h.until("the server's process is there", func() bool { return len(h.servers()) > 0 })
			h.want(ocf.Stop, h.p, ocf.OK)
			<-started
			h.want(ocf.Monitor, h.p, ocf.NotRunning)
		}},
		{"two starts at once", func(h *host) {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if r := h.run(context.Background(), ocftest.Call{Action: ocf.Start, Params: h.p, Timeout: 60 * time.Second}); r.Code != ocf.OK {
						h.t.Errorf("start: %s", r)
					}
				})
			}
			wg.Wait()
			h.server()
			h.monitor(h.p, 20, ocf.OK)
		}},
		{"socket deleted", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", socket)
			h.monitor(h.p, 0, ocf.Degraded, socket)
			h.want(ocf.Stop, h.p, ocf.OK)
		}},
		{"nothing but the process answers", func(h *host) {
			h.start()
			box.Sh(h.t, "rm %s", socket)
			h.monitor(h.p.With("additional_parameters", "--port=1"), 0, ocf.Generic, "does not listen")
		}},
		{"replication parameters", func(h *host) {
			p := h.p.With("replication_user", "root", "max_slave_lag", "3600")
			h.want(ocf.Monitor, p, ocf.NotRunning)
			h.want(ocf.Start, h.p.With("replication_passwd", "something"), ocf.Configured, "replication_passwd", "galera")
		}},
		{"an option the server does not know", func(h *host) {
			h.want(ocf.Start, h.p.With("additional_parameters", "--no-such-option"), ocf.Generic, "no-such-option")
		}},
		{"test table missing", func(h *host) {
			h.start()
			h.monitor(h.p.With("test_table", "app.nowhere"), 10, ocf.Degraded, "app.nowhere")
			h.monitor(h.p.With("test_table", "app.nowhere"), 0, ocf.OK)
		}},
	} {
		t.Run(row.name, func(t *testing.T) { row.do(newHost(t)) })
	}
}

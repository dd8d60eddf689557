package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

func TestByUnit(t *testing.T) {
	box.ByUnit(t, "killed once while it starts", "hangs as it starts", "frozen by SIGSTOP", "storage unmounted lazily under the server", "port taken", "ignores SIGTERM", "uninterruptible sleep",
		"stop during start", "two starts at once", "started by hand, with another pid file")
}

// TestFaults is the table of what can be wrong, with the exit codes and reasons
// that the cluster and the operator must get. Each row starts with no server
// running and its storage mounted.
func TestFaults(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"killed once while it starts", func(h *host) {
			start := h.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			box.Until(h.T, "it starts", func() bool { return len(serving()) > 0 })
			box.Signal(h.T, syscall.SIGKILL, serving()...)
			if r := <-start; r.Code != ocf.OK || !strings.Contains(r.Stderr, "started once more") {
				h.T.Errorf("start: %s", r)
			}
			h.Running()
		}},
		{"hangs as it starts", func(h *host) { // as MariaDB does where a SIGTERM comes at a certain moment
			const script = "/run/init.sql"
			defer os.Remove(script)
			box.Sh(h.T, "mkfifo -m 666 %s", script)
			p := h.With("additional_parameters", "--init-file="+script)
			start := p.Go(ocftest.Call{Action: ocf.Start, Timeout: 4 * time.Minute})
			box.Until(h.T, "it waits for somebody to write", func() bool {
				return slices.ContainsFunc(serving(), func(pid int) bool {
					at, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
					return string(at) == "wait_for_partner"
				})
			})
			box.Sh(h.T, "echo 'SELECT 1;' >%[1]s.new; chmod 644 %[1]s.new; mv %[1]s.new %[1]s", script)
			if r := <-start; r.Code != ocf.OK || !strings.Contains(r.Stderr, "it hung: it did nothing for 4") || !strings.Contains(r.Stderr, "started once more") {
				h.T.Errorf("start: %s", r)
			}
			p.Running()
		}},
		{"killed whenever it starts", func(h *host) {
			start := h.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			for {
				select {
				case r := <-start:
					r.Says(h.T, "start", "of SIGKILL", "lack of memory")
					if r.Code != ocf.Generic {
						h.T.Errorf("start: %s", r)
					}
					return
				default:
					for _, pid := range serving() {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
		}},
		{"held by a debugger", func(h *host) { h.HeldByDebugger() }},
		{"frozen with a control group above its own", func(h *host) { h.FrozenAbove() }},
		{"frozen by SIGSTOP", func(h *host) {
			h.Start()
			h.Signal(syscall.SIGSTOP)
			h.Monitor(0, ocf.Generic, "frozen")
			h.Within(10*time.Second).Want(ocf.Start, ocf.Generic, "frozen")
			h.Stop()
		}},
		{"all connections in use, the reserved one too", func(h *host) {
			h.Start()
			db, err := sql.Open("mysql", "root@unix("+socket+")/")
			if err != nil {
				h.T.Fatal(err)
			}
			defer db.Close()
			db.SetMaxIdleConns(20)
			for range 11 {
				c, err := db.Conn(context.Background())
				if err != nil {
					h.T.Fatal(err)
				}
				defer c.Close()
			}
			h.Monitor(0, ocf.Degraded, "1040")
			h.Monitor(20, ocf.Degraded, "1040")
			h.Start()
		}},
		{"many connections in use", func(h *host) {
			h.Start()
			h.With("degraded_connections_percent", "5").Monitor(10, ocf.Degraded, "max_connections")
			h.With("degraded_connections_percent", "5").Monitor(0, ocf.OK)
		}},
		{"wrong test credentials", func(h *host) {
			h.Start()
			bad := h.With("test_user", "check_me", "test_passwd", "wrong-horse")
			bad.Monitor(0, ocf.Degraded, "1045")
			bad.Monitor(10, ocf.Degraded, "1045")
			h.With("test_user", "check_me", "test_passwd", "correct-horse").Monitor(20, ocf.OK)
			bad.Start()
		}},
		{"test_defaults_file", func(h *host) {
			h.Start()
			const file = "/run/check.cnf"
			write := func(password string, mode os.FileMode) {
				if err := os.WriteFile(file, []byte("[client]\nuser=check_me\npassword="+password+"\n"), mode); err != nil {
					h.T.Fatal(err)
				}
				if err := os.Chmod(file, mode); err != nil {
					h.T.Fatal(err)
				}
			}
			p := h.With("test_defaults_file", file)
			write("correct-horse", 0o600)
			p.Monitor(10, ocf.OK)
			write("wrong-horse", 0o600)
			p.Monitor(0, ocf.Degraded, "1045")
			write("correct-horse", 0o644)
			p.Monitor(0, ocf.Degraded, file)
			h.With("test_defaults_file", "/nowhere").Monitor(0, ocf.Degraded, "/nowhere")
			p.With("test_passwd", "x").Want(ocf.Monitor, ocf.NotConfigured, "test_passwd")
		}},
		{"root has a password nobody told us", func(h *host) {
			h.Start()
			h.sql("ALTER USER root@localhost IDENTIFIED BY 'hidden'")
			defer box.Sh(h.T, "mariadb --no-defaults -S %s -uroot -phidden -e \"ALTER USER root@localhost IDENTIFIED VIA unix_socket\"", socket)
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.Degraded, "1045")
			h.With("test_user", "root").Monitor(0, ocf.Degraded, "1045")
		}},
		{"disk full", func(h *host) {
			h.Start()
			box.Sh(h.T, "fallocate -l 1G %s/filler || dd if=/dev/zero of=%s/filler bs=1M status=none || true", datadir, datadir)
			h.Monitor(0, ocf.Degraded, "% full")
			h.With("degraded_disk_percent", "0").Monitor(0, ocf.OK)
			h.Want(ocf.Stop, ocf.OK)
			h.Want(ocf.Start, ocf.Generic, "is full")
		}},
		{"file system gone read-only", func(h *host) {
			h.Start()
			// As an I/O error does it: the kernel's own switch for testing, and errors=remount-ro.
			loop := box.Sh(h.T, "basename $(findmnt -no SOURCE %s)", datadir)
			box.Sh(h.T, "echo 1 >/sys/fs/ext4/%s/trigger_fs_error", loop)
			h.Monitor(0, ocf.Generic, "read-only")
			h.Want(ocf.Stop, ocf.OK)
			h.Want(ocf.Start, ocf.Generic, "read-only")
			box.Sh(h.T, "umount %s || { fuser -vm /srv/mysql; ps axf; exit 9; }; e2fsck -fy /run/disk.img >/dev/null || test $? -le 1", datadir)
		}},
		{"pid file deleted", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", pidFile)
			h.Monitor(0, ocf.OK)
			h.Start()
			h.Stop()
		}},
		{"pid file garbage", func(h *host) {
			h.Start()
			box.Sh(h.T, "echo -n 'not a pid \\200' >%s", pidFile)
			h.Monitor(0, ocf.OK)
			h.Want(ocf.Stop, ocf.OK)
		}},
		{"pid reused by a stranger", func(h *host) {
			stranger := box.Background(h.T, "sleep", "600")
			h.Start()
			h.Signal(syscall.SIGKILL)
			box.Sh(h.T, "echo %d >%s", stranger.Process.Pid, pidFile)
			h.Monitor(0, ocf.NotRunning, datadir)
			h.Want(ocf.Stop, ocf.OK)
			box.Unharmed(h.T, stranger)
		}},
		{"a stranger's server on other data", func(h *host) {
			const other = "/run/other"
			box.Sh(h.T, "mkdir %s; chown mysql %s; mariadb-install-db --no-defaults --datadir=%s --user=mysql --skip-test-db >/dev/null 2>&1", other, other, other)
			srv := box.Background(h.T, "mariadbd", "--no-defaults", "--user=mysql", "--datadir="+other, "--socket="+other+"/s", "--pid-file="+other+"/pid", "--skip-networking", "--innodb-use-native-aio=0", "--innodb-buffer-pool-size=8M", "--log-error="+other+"/log")
			box.Until(h.T, "the other server serves", func() bool { _, err := os.Stat(other + "/s"); return err == nil })
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.Start()
			h.Want(ocf.Stop, ocf.OK)
			if err := srv.Process.Signal(syscall.Signal(0)); err != nil {
				h.T.Errorf("the other server was stopped: %v\n%s", err, box.Sh(h.T, "cat %s/log.err", other))
			}
			_ = srv.Process.Kill()
			box.Until(h.T, "the other server is gone", func() bool { return len(h.Pids()) == 0 })
		}},
		{"started by hand, with another pid file", func(h *host) {
			box.Sh(h.T, "mkdir -p /run/mysqld /run/log; chown mysql:mysql /run/mysqld /run/log")
			box.Background(h.T, "mariadbd", "--defaults-file="+config, "--user=mysql", "--pid-file=/run/mysqld/by-hand.pid")
			box.Until(h.T, "it serves", func() bool { _, err := os.Stat(socket); return err == nil })
			h.Want(ocf.Monitor, ocf.OK)
			h.Start()
			h.Running()
			h.Stop()
			if log, _ := os.ReadFile(errLog); !strings.Contains(string(log), "Shutdown complete") {
				h.T.Errorf("the shutdown was not clean:\n%s", log)
			}
		}},
		{"run by mysqld_safe, and frozen", func(h *host) {
			box.Sh(h.T, "mkdir -p /run/mysqld /run/log; chown mysql:mysql /run/mysqld /run/log")
			box.Background(h.T, "mysqld_safe", "--defaults-file="+config, "--user=mysql")
			box.Until(h.T, "it serves", func() bool { _, err := os.Stat(socket); return err == nil })
			h.Want(ocf.Monitor, ocf.OK)
			h.Signal(syscall.SIGSTOP)
			h.Stop()
			if left := box.Sh(h.T, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o 'mysqld_safe -[-]' || true"); left != "" {
				h.T.Error("mysqld_safe is left and will restart the server")
			}
		}},
		{"option file deleted while running", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", config)
			h.Want(ocf.Start, ocf.BadArgument, config)
			h.Stop()
		}},
		{"storage unmounted lazily under the server", func(h *host) {
			h.Start()
			box.Sh(h.T, "umount -l %s", datadir)
			h.Monitor(0, ocf.Generic, "no longer mounted")
			h.Stop()
			h.Want(ocf.Start, ocf.Generic, "not mounted")
		}},
		{"other storage mounted over the server's", func(h *host) {
			h.Start()
			box.Sh(h.T, "mount -t tmpfs other %s", datadir)
			h.Monitor(0, ocf.Degraded, "umount "+datadir+": tmpfs on other was mounted over the service's own ext4")
			box.Sh(h.T, "umount %s", datadir)
			h.Monitor(20, ocf.OK)
			box.Sh(h.T, "mount -t tmpfs other %s", datadir)
			h.Stop()
			box.Sh(h.T, "umount %s", datadir)
		}},
		{"storage not mounted", func(h *host) {
			box.Sh(h.T, "umount %s", datadir)
			h.Want(ocf.Monitor, ocf.NotRunning)
			h.With("enable_creation", "true").Want(ocf.Start, ocf.Generic, "not mounted")
			h.Want(ocf.Stop, ocf.OK)
			if e, _ := os.ReadDir(datadir); len(e) > 0 {
				h.T.Errorf("something was written below the mount point: %v", e)
			}
		}},
		{"data directory missing", func(h *host) {
			p := h.With("datadir", "/run/srv/nowhere")
			p.Want(ocf.Monitor, ocf.NotRunning)
			p.Want(ocf.Start, ocf.Generic, "/run/srv/nowhere")
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"the wrong storage is mounted", func(h *host) {
			h.With("fstype", "xfs").Want(ocf.Start, ocf.Generic, "not xfs")
			h.With("device", "/dev/null").Want(ocf.Start, ocf.Generic, "/dev/null")
			h.With("device", "/run/disk.img", "fstype", "ext4").Start()
		}},
		{"no databases on the storage", func(h *host) {
			box.NotByUnit(h.T, "enable_creation is refused beside it")
			empty := datadir + "/empty"
			box.Sh(h.T, "mkdir -p %s; chown mysql:mysql %s", empty, empty)
			defer box.Sh(h.T, "rm -rf %s", empty)
			p := h.With("datadir", empty, "socket", "/run/mysqld/empty.sock", "pid", "/run/mysqld/empty.pid")
			p.Want(ocf.Start, ocf.Generic, "enable_creation")
			p.With("enable_creation", "true").Start()
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"wrong owner of the data", func(h *host) {
			box.Sh(h.T, "chown root:root %s; chmod 755 %s", datadir, datadir)
			h.Want(ocf.Start, ocf.Permission, "chown")
			h.Validate(ocf.Permission, datadir)
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"no such user", func(h *host) {
			box.NotByUnit(h.T, "user is refused beside it")
			h.With("user", "nobody-by-that-name").Want(ocf.Start, ocf.BadArgument, "nobody-by-that-name")
		}},
		{"binary missing", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			p := h.With("binary", "/usr/sbin/no-such-mysqld")
			p.Want(ocf.Monitor, ocf.NotRunning) // it may be on the storage
			h.With("binary", "no-such-mysqld").Want(ocf.Monitor, ocf.NotInstalled, "no-such-mysqld")
			p.Want(ocf.Start, ocf.NotInstalled)
			p.Want(ocf.Stop, ocf.OK)
			h.Start()
			p.Want(ocf.Monitor, ocf.OK)
			p.Want(ocf.Stop, ocf.OK)
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"binary on the storage", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			box.Sh(h.T, "cp /usr/sbin/mariadbd %s/mariadbd", datadir)
			p := h.With("binary", datadir+"/mariadbd")
			p.Start()
			p.Monitor(0, ocf.OK)
			p.Stop()
			box.Sh(h.T, "rm %s/mariadbd; umount %s", datadir, datadir)
			p.Want(ocf.Monitor, ocf.NotRunning)
			p.Want(ocf.Start, ocf.NotInstalled, datadir+"/mariadbd")
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"binary replaced while running", func(h *host) {
			box.NotByUnit(h.T, "binary is refused beside it")
			box.Sh(h.T, "cp /usr/sbin/mariadbd /run/mariadbd")
			p := h.With("binary", "/run/mariadbd")
			p.Start()
			box.Sh(h.T, "rm /run/mariadbd")
			p.Monitor(0, ocf.OK)
			p.Want(ocf.Stop, ocf.OK)
			if left := h.Pids(); len(left) > 0 {
				h.T.Errorf("stop said 0, and %v run", left)
			}
		}},
		{"port taken", func(h *host) {
			box.Occupy(h.T, port)
			r := h.Want(ocf.Start, ocf.Generic, "Address already in use")
			if r.Elapsed > 20*time.Second {
				h.T.Errorf("start took %v to see that the server had died", r.Elapsed)
			}
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"crash recovery", func(h *host) {
			h.Start()
			h.sql("SET GLOBAL innodb_flush_log_at_trx_commit=2; INSERT INTO app.t(v) SELECT RPAD(seq,250,'x') FROM mysql.help_topic, (SELECT 1 seq UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) s")
			rows := h.sql("SELECT COUNT(*) FROM app.t")
			h.Signal(syscall.SIGKILL)
			box.Sh(h.T, "rm -f %s %s", socket, pidFile)
			started := h.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			box.Until(h.T, "the server's process is there", func() bool { return len(h.Pids()) > 0 })
			for done := false; !done; {
				select {
				case r := <-started:
					if r.Code != ocf.OK {
						h.T.Fatalf("start: %s", r)
					}
					done = true
				default:
					if r := h.Run(ocftest.Call{Action: ocf.Monitor}); r.Code != ocf.Generic && r.Code != ocf.OK {
						h.T.Errorf("a probe during recovery: %s", r)
					}
				}
			}
			if got := h.sql("SELECT COUNT(*) FROM app.t"); got != rows {
				h.T.Errorf("%s rows before the crash, %s after", rows, got)
			}
			h.sql("TRUNCATE app.t")
		}},
		{"ignores SIGTERM", func(h *host) {
			box.Stubborn(h.T, "/run/mariadbd", datadir)
			h.Running()
			h.Monitor(0, ocf.Generic)
			h.Within(10 * time.Second).Stop()
		}},
		{"starts, and loses a SIGTERM", func(h *host) {
			box.Stubborn(h.T, "/run/mariadbd", datadir)
			if r := h.Stop(); r.Elapsed > 15*time.Second { // of a minute
				h.T.Errorf("a server that has not served yet was waited for: %v", r.Elapsed)
			}
		}},
		{"uninterruptible sleep", func(h *host) {
			h.Start()
			box.Sh(h.T, "fsfreeze -f %s", datadir)
			thawed := false
			thaw := func() {
				if !thawed {
					thawed = true
					box.Sh(h.T, "fsfreeze -u %s", datadir)
				}
			}
			defer thaw()
			box.Background(h.T, "mariadb", "--no-defaults", "-S", socket, "-uroot", "-e", "INSERT INTO app.t(v) VALUES ('stuck')")
			pid := h.Running()[0]
			box.Until(h.T, "a thread is in state D", func() bool {
				out := box.Sh(h.T, "cat /proc/%d/task/*/stat | cut -d' ' -f3 | sort -u", pid)
				return strings.Contains(out, "D")
			})
			h.Within(8*time.Second).Want(ocf.Stop, ocf.Generic, fmt.Sprint(pid), "state D")
			h.Want(ocf.Monitor, ocf.Generic)
			thaw()
			box.Until(h.T, "it is gone", func() bool { return len(h.Pids()) == 0 })
			h.Want(ocf.Stop, ocf.OK)
		}},
		{"log directory missing", func(h *host) {
			box.NotByUnit(h.T, "log is refused beside it")
			h.With("log", "/run/logs/deep/error.log").Start()
			if fi, err := os.Stat("/run/logs/deep/error.log"); err != nil || fi.Size() == 0 {
				h.T.Errorf("no log: %v", err)
			}
		}},
		{"error log is a symlink", func(h *host) {
			box.NotByUnit(h.T, "the log is the server's own to open")
			box.Sh(h.T, "rm -rf /run/real; mkdir -p /run/log /run/real; chown mysql: /run/log /run/real; ln -s /run/real/error.log %s", errLog)
			h.Start()
			h.Stop()
			if log, err := os.ReadFile("/run/real/error.log"); !strings.Contains(string(log), "Shutdown complete") {
				h.T.Errorf("%v: the log has %q", err, log)
			}
			box.Sh(h.T, "rm -rf /run/real; mkdir -m 700 /run/real")
			h.Want(ocf.Start, ocf.Generic, "permission denied")
		}},
		{"memlock", func(h *host) {
			box.NotByUnit(h.T, "the limit is the unit's to raise (test/unit)")
			p := h.With("additional_parameters", "--memlock")
			p.Start()
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Running()[0]))
			if err != nil || strings.Contains(string(status), "VmLck:\t       0 kB") {
				h.T.Errorf("its memory is not locked: %v\n%s", err, status)
			}
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"all threads of the pool are taken", func(h *host) {
			p := h.With("additional_parameters", "--thread-handling=pool-of-threads --thread-pool-size=1 --thread-pool-max-threads=2 --extra-port=3398")
			p.Start()
			for range 6 {
				box.Background(h.T, "mariadb", "--no-defaults", "-S", socket, "-uroot", "-e", "SELECT SLEEP(600)")
			}
			box.Until(h.T, "nobody is served", func() bool {
				return exec.Command("timeout", "3", "mariadb", "--no-defaults", "-S", socket, "-uroot", "-e", "SELECT 1").Run() != nil
			})
			p.Monitor(0, ocf.Degraded, "extra_port", "3398")
			h.Signal(syscall.SIGSTOP)
			p.Monitor(0, ocf.Generic, "frozen")
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"an account that is REQUIRE SSL", func(h *host) {
			box.Sh(h.T, "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout /run/tls.key -out /run/tls.pem 2>/dev/null; cp /run/tls.pem /run/ca.pem; chown mysql: /run/tls.key")
			box.Sh(h.T, "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=other -keyout /dev/null -out /run/other.pem 2>/dev/null")
			p := h.With("additional_parameters", "--ssl-cert=/run/tls.pem --ssl-key=/run/tls.key", "test_defaults_file", "/run/tls.cnf")
			p.Start()
			h.sql("CREATE USER IF NOT EXISTS tls_me@localhost IDENTIFIED BY 'correct-horse' REQUIRE SSL")
			for more, code := range map[string]ocf.Code{
				"": ocf.Degraded, "ssl": ocf.OK, "ssl-ca=/run/ca.pem": ocf.OK, "ssl-ca=/run/ca.pem\nssl-verify-server-cert": ocf.OK,
				"ssl-ca=/run/other.pem\nssl-verify-server-cert": ocf.Degraded, "ssl-ca=/run/none.pem": ocf.Degraded,
			} {
				if err := os.WriteFile("/run/tls.cnf", []byte("[client]\nuser=tls_me\npassword=correct-horse\n"+more+"\n"), 0o600); err != nil {
					h.T.Fatal(err)
				}
				words := map[string]string{"": "REQUIRE SSL", "ssl-ca=/run/none.pem": "none.pem"}[more]
				p.Monitor(0, code, words)
			}
			if err := os.WriteFile("/run/tls.cnf", []byte("[mysqld]\nuser=tls_me\n"), 0o600); err != nil {
				h.T.Fatal(err)
			}
			p.Monitor(0, ocf.Degraded, "[client]")
		}},
		{"a data directory one level too high", func(h *host) {
			box.Sh(h.T, "mkdir -p %s/high/mysql; chown -R mysql: %s/high", datadir, datadir)
			defer box.Sh(h.T, "rm -rf %s/high", datadir)
			h.With("datadir", datadir+"/high").Want(ocf.Start, ocf.Generic, "no databases")
			if left := box.Sh(h.T, "ls -A %s/high", datadir); left != "mysql" {
				h.T.Errorf("the server left there: %s", left)
			}
		}},
		{"stop during start", func(h *host) {
			h.Want(ocf.Monitor, ocf.NotRunning) // asks the server for its options, so that the start need not
			started := h.Go(ocftest.Call{Action: ocf.Start, Timeout: h.Limit})
			box.Until(h.T, "the server's process is there", func() bool { return len(h.Pids()) > 0 })
			h.Want(ocf.Stop, ocf.OK)
			<-started
			h.Want(ocf.Monitor, ocf.NotRunning)
		}},
		{"two starts at once", func(h *host) {
			h.StartTwice()
			h.Monitor(20, ocf.OK)
		}},
		{"socket deleted", func(h *host) {
			h.Start()
			box.Sh(h.T, "rm %s", socket)
			h.Monitor(0, ocf.Degraded, socket)
			h.Want(ocf.Stop, ocf.OK)
		}},
		{"nothing but the process answers", func(h *host) {
			p := h.With("additional_parameters", "--skip-networking")
			p.Start()
			box.Sh(h.T, "rm %s", socket)
			p.Monitor(0, ocf.Generic, "does not listen")
			p.Want(ocf.Stop, ocf.OK)
		}},
		{"replication parameters", func(h *host) {
			p := h.With("replication_user", "root", "max_slave_lag", "3600")
			p.Want(ocf.Monitor, ocf.NotRunning)
			h.With("replication_passwd", "something").Want(ocf.Start, ocf.NotConfigured, "replication_passwd", "galera")
		}},
		{"an option the server does not know", func(h *host) {
			h.With("additional_parameters", "--no-such-option").Want(ocf.Start, ocf.Generic, "no-such-option")
		}},
		{"test table missing", func(h *host) {
			h.Start()
			h.With("test_table", "app.nowhere").Monitor(10, ocf.Degraded, "app.nowhere")
			h.With("test_table", "app.nowhere").Monitor(0, ocf.OK)
		}},
	})
}

// serving are servers that were not only asked for their options.
func serving() []int {
	return box.Pids(func(p box.Process) bool {
		return filepath.Base(p.Exe) == "mariadbd" && !slices.Contains(p.Args, "--help")
	})
}

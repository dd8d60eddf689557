package sqlping

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/needs"
)

// template is a freshly initialised data directory, made once and copied for every server.
var template = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sqlping")
	if err != nil {
		return "", err
	}
	templateDir = dir
	cmd := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--innodb-log-file-size=4M", "--user="+currentUser())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return dir, nil
})

var templateDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if templateDir != "" {
		os.RemoveAll(templateDir)
	}
	os.Exit(code)
}

func currentUser() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}

// server is a mariadbd of the test's own, on a socket and, if asked for, a TCP port.
type server struct {
	Target
	cmd     *exec.Cmd
	tcpAddr string
	exited  chan struct{}
}

// startServer runs a server and waits until it is healthy. It is killed when the test ends.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	bin := needs.Program(t, "mariadbd", "mariadb-server")
	src, err := template()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sp") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "d")
	if err := os.CopyFS(data, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	s := &server{Target: Target{Socket: filepath.Join(dir, "s"), User: "root"}, exited: make(chan struct{})}
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	port := freePort(t)
	s.tcpAddr = fmt.Sprintf("127.0.0.1:%d", port)
	s.cmd = exec.Command(bin, append([]string{
		"--no-defaults", "--datadir=" + data, "--socket=" + s.Socket, "--pid-file=" + filepath.Join(dir, "pid"),
		"--user=" + currentUser(), "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--innodb-log-file-size=4M",
		"--innodb-buffer-pool-size=16M", "--skip-name-resolve",
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal comes when the starting thread ends
		err := s.cmd.Start()
		if started <- err; err == nil {
			_ = s.cmd.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	eventually(t, 60*time.Second, func() error {
		select {
		case <-s.exited:
			text, _ := os.ReadFile(logFile.Name())
			t.Fatalf("mariadbd ended: %s", text)
		default:
		}
		if a := Ping(t.Context(), s.Target); a.State != Healthy {
			return errors.New(a.Reason())
		}
		return nil
	})
	return s
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

// open logs in, and leaves when the test ends.
func (s *server) open(t testing.TB, target Target) *Conn {
	t.Helper()
	c, err := Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exec1(t testing.TB, c *Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if err := c.Exec(t.Context(), "prepare", q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func query1(t testing.TB, c *Conn, query string, args ...any) string {
	t.Helper()
	rows, err := c.Query(t.Context(), "look", query, args...)
	if err != nil {
		t.Fatal(err)
	}
	var cells []string
	for _, row := range rows {
		for _, cell := range row {
			cells = append(cells, cell.String)
		}
	}
	return strings.Join(cells, " ")
}

func eventually(t testing.TB, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// check asserts state, and that the reason is one line that says what is in parts and not the password.
func check(t testing.TB, a Answer, state State, parts ...string) {
	t.Helper()
	reason := a.Reason()
	if a.State != state {
		t.Errorf("state %s, want %s: %s", a.State, state, reason)
	}
	for _, part := range append(parts, a.Target.String()) {
		if !strings.Contains(reason, part) {
			t.Errorf("reason %q does not say %q", reason, part)
		}
	}
	if strings.ContainsAny(reason, "\n\r\x00") || a.Target.Password != "" && strings.Contains(reason, a.Target.Password) {
		t.Errorf("bad reason %q", reason)
	}
	if (a.State == Healthy) != (a.Err == nil) {
		t.Errorf("state %s with error %v", a.State, a.Err)
	}
}

func answerOf(t Target, err error) Answer {
	a := Answer{State: StateOf(err), Target: t}
	errors.As(err, &a.Err)
	return a
}

func TestRealServer(t *testing.T) {
	s := startServer(t, "--log-bin=b", "--server-id=1", "--max-connections=10", "--innodb-log-file-size=64M") // a small log is flushed early
	root := s.open(t, s.Target)
	exec1(t, root,
		"CREATE DATABASE t", "CREATE TABLE t.`we``ird.x` (a INT)", "CREATE TABLE t.t (a INT PRIMARY KEY, b DATETIME)",
		"CREATE USER ha IDENTIFIED BY 'c0rrect-horse'", "GRANT ALL ON *.* TO ha",
		"CREATE USER small IDENTIFIED BY 'c0rrect-horse' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON openstack_ocf.* TO small",
		"CREATE USER ed IDENTIFIED VIA unix_socket", "CREATE USER locked IDENTIFIED BY 'c0rrect-horse' ACCOUNT LOCK",
		"CREATE USER old IDENTIFIED BY 'c0rrect-horse' PASSWORD EXPIRE")
	as := func(user, password string) Target { return Target{Socket: s.Socket, User: user, Password: password} }
	tcp := Target{Address: s.tcpAddr, User: "ha", Password: "c0rrect-horse"}

	t.Run("healthy", func(t *testing.T) {
		for _, target := range []Target{s.Target, tcp, as("ha", "c0rrect-horse")} {
			a := Ping(t.Context(), target)
			check(t, a, Healthy, "MariaDB")
			if strings.HasPrefix(a.Version, "5.5.5-") || a.Elapsed <= 0 {
				t.Errorf("version %q, elapsed %s", a.Version, a.Elapsed)
			}
		}
	})
	// Before the refusals: the server counts those a moment after it has sent them.
	t.Run("leaves no trace", func(t *testing.T) {
		const q = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME LIKE 'ABORTED%' ORDER BY 1"
		before := query1(t, root, q)
		for range 50 {
			check(t, Ping(t.Context(), tcp), Healthy)
			check(t, Ping(t.Context(), s.Target), Healthy)
		}
		eventually(t, 5*time.Second, func() error {
			if n := query1(t, root, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER IN ('root', 'ha')"); n != "1" {
				return fmt.Errorf("%s connections left", n)
			}
			return nil
		})
		if after := query1(t, root, q); after != before {
			t.Errorf("before: %s, after: %s", before, after)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, c := range []struct {
			target Target
			code   uint16
		}{
			{as("ha", "wr0ng-battery"), 1045},
			{as("nobody-there", "c0rrect-horse"), 1045},
			{as("ed", ""), 1698},
			{as("locked", "c0rrect-horse"), 4151},
			{Target{Socket: s.Socket, User: "root", Database: "no_such"}, 1049},
		} {
			a := Ping(t.Context(), c.target)
			check(t, a, Degraded, fmt.Sprintf("error %d", c.code))
			if a.Err != nil && a.Err.Code != c.code {
				t.Errorf("code %d, want %d", a.Err.Code, c.code)
			}
		}
	})
	t.Run("user's limit", func(t *testing.T) {
		s.open(t, as("small", "c0rrect-horse"))
		check(t, Ping(t.Context(), as("small", "c0rrect-horse")), Degraded, "error 1226", "max_user_connections")
	})
	t.Run("connections full", func(t *testing.T) {
		st, err := root.Status(t.Context())
		if err != nil || st.MaxConnections != 10 || st.ThreadsConnected < 1 || st.Load() < 10 || st.ReadOnly || st.InnoDBReadOnly {
			t.Errorf("status %+v, load %d, %v", st, st.Load(), err)
		}
		// Earlier subtests' connections may still be going; fill until one is refused.
		for range 20 {
			c, err := Open(t.Context(), as("ha", "c0rrect-horse"))
			if err != nil {
				if codeOf(err) != 1040 {
					t.Fatal(err)
				}
				break
			}
			t.Cleanup(func() { c.Close() })
		}
		// An administrator has one slot more. ha is one, by GRANT ALL, so the loop has taken that too.
		check(t, Ping(t.Context(), s.Target), Degraded, "error 1040", "extra_port")
		check(t, Ping(t.Context(), tcp), Degraded, "error 1040")
		if st, err := root.Status(t.Context()); err != nil || st.Load() < 100 {
			t.Errorf("load %d, %v", st.Load(), err)
		}
	})
	// The closed connections leave the server when it has seen them go.
	eventually(t, 5*time.Second, func() error {
		a := Ping(t.Context(), s.Target)
		if a.State != Healthy {
			return a.Err
		}
		return nil
	})
	t.Run("ReadTable", func(t *testing.T) {
		c := s.open(t, s.Target)
		for _, table := range []string{"t.t", "t.we`ird.x", "mysql.user"} {
			if err := c.ReadTable(t.Context(), table); err != nil {
				t.Errorf("%s: %v", table, err)
			}
		}
		check(t, answerOf(s.Target, c.ReadTable(t.Context(), "t.none")), Degraded, "error 1146", "read t.none")
		for _, table := range []string{"", "t", "t.", ".t", "t.\x00", "t." + strings.Repeat("x", 65)} {
			check(t, answerOf(s.Target, c.ReadTable(t.Context(), table)), Unknown, "not db.table")
		}
		exec1(t, root, "LOCK TABLES t.t WRITE")
		defer exec1(t, root, "UNLOCK TABLES")
		start := time.Now()
		check(t, answerOf(s.Target, c.ReadTable(within(t, 2500*time.Millisecond), "t.t")), Degraded, "error 1205", "SHOW PROCESSLIST")
		if d := time.Since(start); d < 500*time.Millisecond || d > 2400*time.Millisecond {
			t.Errorf("lock wait of %s", d)
		}
		// The wait that a client abandons must not outlive it for long.
		if err := s.open(t, s.Target).ReadTable(within(t, 300*time.Millisecond), "t.t"); StateOf(err) != Hung {
			t.Errorf("%v", err)
		}
		eventually(t, 3*time.Second, func() error {
			if n := query1(t, root, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting%lock'"); n != "0" {
				return fmt.Errorf("%s waiting", n)
			}
			return nil
		})
	})
	t.Run("WriteProof", func(t *testing.T) {
		before := query1(t, root, "SHOW MASTER STATUS")
		c := s.open(t, s.Target)
		for _, node := range []string{"node1", "node2", "nöde'3", "node1"} {
			if err := c.WriteProof(t.Context(), "openstack_ocf", node); err != nil {
				t.Fatal(err)
			}
		}
		if after := query1(t, root, "SHOW MASTER STATUS"); after != before {
			t.Errorf("binary log before: %s, after: %s", before, after)
		}
		if n := query1(t, root, "SELECT COUNT(*) FROM openstack_ocf.probe"); n != "3" {
			t.Errorf("%s rows, want 3", n)
		}
		check(t, answerOf(s.Target, c.WriteProof(t.Context(), "", "n")), Unknown, "identifier")
		check(t, answerOf(s.Target, c.WriteProof(t.Context(), "openstack_ocf", "")), Unknown, "node name")

		exec1(t, root, "FLUSH TABLES WITH READ LOCK") // what a backup does
		check(t, answerOf(s.Target, s.open(t, s.Target).WriteProof(within(t, 2500*time.Millisecond), "openstack_ocf", "node1")), Degraded, "error 1205", "backup")
		exec1(t, root, "UNLOCK TABLES", "SET GLOBAL read_only=1")
		defer exec1(t, root, "SET GLOBAL read_only=0")
		check(t, answerOf(s.Target, s.open(t, s.Target).WriteProof(t.Context(), "openstack_ocf", "node1")), Degraded, "read_only is set")
		if st, err := root.Status(t.Context()); err != nil || !st.ReadOnly {
			t.Errorf("status %+v, %v", st, err)
		}
		exec1(t, root, "GRANT BINLOG ADMIN ON *.* TO small")
		small := as("small", "c0rrect-horse")
		check(t, answerOf(small, s.open(t, small).WriteProof(t.Context(), "openstack_ocf", "node1")), Degraded, "error 1290")
	})
	t.Run("WriteProof unprivileged", func(t *testing.T) {
		exec1(t, root, "CREATE USER tiny IDENTIFIED BY 'c0rrect-horse'", "GRANT ALL ON openstack_ocf.* TO tiny")
		tiny := as("tiny", "c0rrect-horse")
		before := query1(t, root, "SHOW MASTER STATUS")
		check(t, answerOf(tiny, s.open(t, tiny).WriteProof(t.Context(), "openstack_ocf", "node1")), Degraded, "error 1227", "GRANT")
		if after := query1(t, root, "SHOW MASTER STATUS"); after != before {
			t.Errorf("an unprivileged user wrote to the binary log: before %s, after %s", before, after)
		}
	})
	t.Run("Query", func(t *testing.T) {
		c := s.open(t, tcp)
		when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		if err := c.Exec(t.Context(), "insert", "INSERT INTO t.t VALUES (?, ?), (?, NULL)", 1, when, int64(2)); err != nil {
			t.Fatal(err)
		}
		rows, err := c.Query(t.Context(), "read", "SELECT b, a, ? FROM t.t ORDER BY a", "it's \\ '?'")
		if err != nil || len(rows) != 2 || rows[0][0].String != "2026-01-02 03:04:05" || rows[0][1].String != "1" ||
			rows[1][0].Valid || rows[1][2].String != "it's \\ '?'" {
			t.Errorf("%v %v", rows, err)
		}
		_, err = c.Query(t.Context(), "read", "SELECT ?", 1, 2)
		check(t, answerOf(tcp, err), Unknown, "arguments")
		_, err = c.Query(t.Context(), "read heartbeats", "SELEC")
		check(t, answerOf(tcp, err), Degraded, "error 1064", "read heartbeats")
		_, err = c.Query(within(t, 200*time.Millisecond), "nap", "SELECT SLEEP(5)")
		check(t, answerOf(tcp, err), Hung, "nap", "within 2")
	})
	t.Run("Preflush", func(t *testing.T) {
		exec1(t, root, "SET GLOBAL innodb_max_dirty_pages_pct=90", "CREATE TABLE t.big (a INT AUTO_INCREMENT PRIMARY KEY, b CHAR(250))",
			"INSERT INTO t.big (b) SELECT REPEAT('x', 250) FROM mysql.seq_1_to_20000")
		dirty, err := root.DirtyPages(t.Context())
		if err != nil || dirty < 50 {
			t.Fatalf("%d dirty pages, %v: nothing to test", dirty, err)
		}
		left, err := root.Preflush(within(t, 20*time.Second), 20)
		if err != nil || left > 20 {
			t.Errorf("%d left of %d: %v", left, dirty, err)
		}
		if rate := query1(t, root, "SELECT @@GLOBAL.innodb_io_capacity"); rate != "20000" {
			t.Errorf("innodb_io_capacity %s", rate)
		}
		// Whoever goes on writing does not hold it up, nor does a server that has nothing more to write.
		exec1(t, root, "SET GLOBAL innodb_max_dirty_pages_pct=90", "INSERT INTO t.big (b) SELECT REPEAT('y', 250) FROM mysql.seq_1_to_20000")
		if _, err := root.Preflush(within(t, 20*time.Second), -1); err != nil {
			t.Errorf("with nothing left to write: %v", err)
		}
	})
}

func TestRealServerStopped(t *testing.T) {
	s := startServer(t)
	tcp := Target{Address: s.tcpAddr, User: "root"}
	c := s.open(t, s.Target)
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, target := range []Target{s.Target, tcp} {
		start := time.Now()
		check(t, Ping(within(t, 400*time.Millisecond), target), Hung, "greeting: no answer within", "the server hangs")
		if d := time.Since(start); d > 400*time.Millisecond {
			t.Errorf("took %s", d)
		}
	}
	check(t, answerOf(s.Target, c.Ping(within(t, 200*time.Millisecond))), Hung, "ping")
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, func() error {
		if a := Ping(t.Context(), s.Target); a.State != Healthy {
			return a.Err
		}
		return nil
	})
	s.kill()
	check(t, Ping(t.Context(), s.Target), Dead, "connection refused")
	check(t, Ping(t.Context(), tcp), Dead, "connection refused")
	if err := os.Remove(s.Socket); err != nil {
		t.Fatal(err)
	}
	check(t, Ping(t.Context(), s.Target), Dead, "no such file")
}

// TestRealServerShutdown watches a clean shutdown from outside and inside: what is said on the way varies, but it is never Foreign
// and dead in the end.
func TestRealServerShutdown(t *testing.T) {
	s := startServer(t)
	c := s.open(t, s.Target)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	eventually(t, 30*time.Second, func() error {
		a := Ping(t.Context(), s.Target)
		seen[a.Reason()] = true
		if a.State == Foreign {
			t.Fatal(a.Reason())
		}
		if a.State != Dead {
			return errors.New(a.Reason())
		}
		return nil
	})
	<-s.exited
	check(t, Ping(t.Context(), s.Target), Dead)
	err := c.Ping(t.Context())
	if st := StateOf(err); st != Unknown && st != Degraded {
		t.Errorf("a connection that the shutdown ended: %s %v", st, err)
	}
	for reason := range seen {
		t.Log(reason)
	}
	t.Log(err)
}

func BenchmarkPing(b *testing.B) {
	s := startServer(b)
	b.ReportAllocs()
	for b.Loop() {
		if a := Ping(b.Context(), s.Target); a.State != Healthy {
			b.Fatal(a.Reason())
		}
	}
}

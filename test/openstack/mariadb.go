package openstack

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/test/needs"
)

// MariaDB is a database server whose root may log in without a password.
type MariaDB struct {
	*Process
	Port   int
	Socket string

	t    testing.TB
	argv []string
	dir  string
}

// StartMariaDB makes an empty database and serves it, with further options if
// there are any.
func StartMariaDB(t testing.TB, options ...string) *MariaDB {
	t.Helper()
	server := needs.Program(t, "mariadbd", "mariadb-server")
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	// Temporary tables are named after the pid, which another server may have in a namespace of its own: each has its --tmpdir.
	run(t, dir, nil, needs.Program(t, "mariadb-install-db", "mariadb-server"), "--no-defaults", "--user=root", "--datadir="+data, "--tmpdir="+dir,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	m := &MariaDB{t: t, dir: dir, Port: Ports(t, 1)[0], Socket: filepath.Join(dir, "sock")}
	m.argv = []string{
		server, "--no-defaults", "--user=root", "--datadir=" + data, "--tmpdir=" + dir, "--socket=" + m.Socket,
		"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", m.Port), "--skip-name-resolve",
		"--pid-file=" + filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0", "--max-connections=500",
	}
	m.argv = append(m.argv, options...)
	m.Start()
	return m
}

// Start starts the server again after a Kill, on its old data.
func (m *MariaDB) Start() {
	m.t.Helper()
	m.Process = start(m.t, "mariadbd", m.dir, nil, m.argv...)
	db := m.Open("")
	m.Await(time.Minute, "SQL", db.PingContext)
}

// Open is a connection pool to the database name, closed with the test.
func (m *MariaDB) Open(name string) *sql.DB {
	m.t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s?timeout=5s&readTimeout=30s", m.Port, name))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { db.Close() })
	return db
}

// Exec runs statements.
func (m *MariaDB) Exec(statements ...string) {
	m.t.Helper()
	db := m.Open("")
	for _, s := range statements {
		if _, err := db.ExecContext(context.Background(), s); err != nil {
			m.t.Fatalf("%s: %v", s, err)
		}
	}
}

// URL is for SQLAlchemy.
func (m *MariaDB) URL(name string) string {
	return fmt.Sprintf("mysql+pymysql://root@127.0.0.1:%d/%s?charset=utf8", m.Port, name)
}

package scenario

import (
	"context"
	"database/sql"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/test/cluster"
)

const (
	SQLUser, SQLPassword, SQLSchema = "client", "correct-horse", "app"
	mysqlConf                       = "/etc/mysql/mariadb.conf.d/99-floating.cnf"
)

// MySQL is the document's database, managed by ocf:openstack:mysql-shared-storage with no parameter at all.
func MySQL() Service { return database("ocf:openstack:mysql-shared-storage") }

// HeartbeatMySQL is the same on the same data, managed by ocf:heartbeat:mysql, to compare with.
func HeartbeatMySQL() Service { return database("ocf:heartbeat:mysql") }

func database(agent string) Service {
	return Service{
		ID: "db", Agent: agent, Daemon: []string{"mariadbd", "mysqld"}, Speaks: "SQL", Unit: "rows",
		Files: []cluster.File{
			// The packages let the server listen on the node's loopback only.
			{Path: mysqlConf, Content: "[mysqld]\nbind-address = 0.0.0.0\nskip-name-resolve\n"},
			// What ocf:heartbeat:mysql wants to be there already; Debian has no such directory.
			{Path: "/var/log/mysql/error.log", Owner: "mysql:adm", Mode: 0o640},
		},
		Fill:   fillMySQL,
		Ledger: func(dial Dialer) (Ledger, error) { return SQL(dial, FloatingIP+":3306", 500*time.Millisecond) },
	}
}

// fillMySQL makes the databases on a disk that is mounted at dir on the node, with the client's account and table.
func fillMySQL(ctx context.Context, n *cluster.Node, dir string) error {
	_, err := n.Run(ctx, cluster.Cmd{Argv: []string{"/bin/sh", "-ec", `
		rmdir "$1/lost+found"
		chown mysql:mysql "$1"
		mariadb-install-db --user=mysql --datadir="$1" --skip-test-db >/dev/null
		mariadbd --user=mysql --datadir="$1" --log-error="$1/first.log" --bootstrap <<-END
			FLUSH PRIVILEGES;
			CREATE DATABASE ` + SQLSchema + `;
			CREATE TABLE ` + SQLSchema + `.ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB;
			CREATE USER ` + SQLUser + `@'%' IDENTIFIED BY '` + SQLPassword + `';
			GRANT ALL ON ` + SQLSchema + `.* TO ` + SQLUser + `@'%';
		END
		`, "sh", dir}})
	return err
}

// Dialer connects to an address in the cluster's network; [cluster.Cluster.Dial] is one.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// sqlLedger keeps numbers as rows, one transaction each.
type sqlLedger struct {
	db   *sql.DB
	conn *sql.Conn // nil: not connected
}

// OpenSQL is the server at addr as the client's account reaches it. connect is how long a connection may take, patience how long
// an answer.
func OpenSQL(dial Dialer, addr string, connect, patience time.Duration) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DialFunc = "tcp", addr, dial
	cfg.User, cfg.Passwd, cfg.DBName = SQLUser, SQLPassword, SQLSchema
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = connect, patience, patience
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(0) // a connection that failed is not kept
	return db, nil
}

// SQL is the table app.ledger of the server at addr, which may take that long to answer. n is no key there, so that a
// row written twice shows.
func SQL(dial Dialer, addr string, patience time.Duration) (Ledger, error) {
	// A connection takes less than a millisecond; one to an address that is just moving is better tried anew.
	db, err := OpenSQL(dial, addr, 50*time.Millisecond, patience)
	return &sqlLedger{db: db}, err
}

func (l *sqlLedger) Put(ctx context.Context, n int) (err error) {
	if l.conn == nil {
		if l.conn, err = l.db.Conn(ctx); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			_ = l.conn.Close()
			l.conn = nil
		}
	}()
	tx, err := l.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO ledger (n) VALUES (?)", n); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (l *sqlLedger) Numbers(ctx context.Context) (numbers []int, err error) {
	rows, err := l.db.QueryContext(ctx, "SELECT n FROM ledger")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

func (l *sqlLedger) Close() error { return l.db.Close() }

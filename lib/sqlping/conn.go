package sqlping

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Conn is one connection, logged in. It is for one goroutine. After an error of a context or of the connection
// it is good only for Close.
type Conn struct {
	target Target
	conn   mysqlConn
	wire   *greeted
}

// mysqlConn is what the driver's connections can do.
type mysqlConn interface {
	driver.Conn
	driver.Pinger
	driver.QueryerContext
	driver.ExecerContext
}

// certError is a handshake that failed because of the certificates, the server's or ours.
type certError struct{ error }

func (e *certError) Unwrap() error { return e.error }

// Open connects and logs in, in three quarters of the time that ctx leaves. The error is an *[Error].
func Open(ctx context.Context, t Target) (*Conn, error) {
	c, _, err := open(ctx, t)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func open(ctx context.Context, t Target) (*Conn, string, *Error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	start := time.Now()
	deadline, _ := ctx.Deadline()
	budget := deadline.Sub(start)

	dialCtx, cancelDial := context.WithDeadline(ctx, start.Add(budget/4))
	defer cancelDial()
	raw, err := dial(dialCtx, t)
	if err != nil {
		return nil, "", classify(dialCtx, t, doingConnect, start, err)
	}
	wire := &greeted{Conn: raw}

	loginCtx, cancelLogin := context.WithDeadline(ctx, start.Add(budget*3/4))
	defer cancelLogin()
	start = time.Now()
	if err := wire.step(loginCtx, wire.greet); err != nil {
		raw.Close()
		return nil, "", classify(loginCtx, t, doingGreeting, start, err)
	}
	start = time.Now()
	var conn mysqlConn
	err = wire.step(loginCtx, func(ctx context.Context) (err error) { conn, err = login(ctx, t, wire); return err })
	if err != nil {
		if conn != nil {
			conn.Close() // logged in, but too late
		}
		raw.Close()
		return nil, wire.version, classify(loginCtx, t, doingLogin, start, wire.explain(err))
	}
	return &Conn{target: t, conn: conn, wire: wire}, wire.version, nil
}

func login(ctx context.Context, t Target, wire *greeted) (conn mysqlConn, err error) {
	// The driver trusts the lengths in the packets of the login; a server, or what pretends to be one, must not end this process.
	// The price is one goroutine of the driver that waits for ever; no server that is one has been seen to cause it.
	defer func() {
		if p := recover(); p != nil {
			conn, err = nil, fmt.Errorf("%w: garbled login: %v", errForeign, p)
		}
	}()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName, cfg.TLS = t.User, t.Password, t.Database, t.TLS
	cfg.AllowFallbackToPlaintext = t.TLSOptional
	cfg.Net, cfg.Addr = "tcp", t.Address
	if t.Socket != "" {
		cfg.Net, cfg.Addr = "unix", t.Socket // the driver sends caching_sha2 passwords in clear over this one
	}
	cfg.Logger = &mysql.NopLogger{} // its default writes to stderr, which the cluster keeps
	cfg.InterpolateParams = true    // one round trip instead of three
	cfg.CheckConnLiveness = false   // it is for pools
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) { return wire, nil }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	c, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return c.(mysqlConn), nil
}

// explain replaces the driver's "invalid connection" by what happened to the socket.
func (g *greeted) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &alert):
		return &certError{err}
	case g.err != nil && (errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)):
		return g.err
	case errors.Is(err, driver.ErrSkip):
		return errors.New("wrong number of arguments, or one of a type that SQL has not")
	}
	return err
}

// Close says goodbye and closes the connection.
func (c *Conn) Close() error {
	_ = c.wire.SetWriteDeadline(time.Now().Add(time.Second)) // of COM_QUIT, which no context covers
	return c.conn.Close()
}

// Version is the server's, as in its greeting.
func (c *Conn) Version() string { return c.wire.version }

// Ping sends COM_PING.
func (c *Conn) Ping(ctx context.Context) error {
	if err := c.ping(ctx); err != nil {
		return err
	}
	return nil
}

func (c *Conn) ping(ctx context.Context) *Error {
	return c.do(ctx, doingPing, func(ctx context.Context) error { return c.conn.Ping(ctx) })
}

// do runs one step and classifies its error.
func (c *Conn) do(ctx context.Context, doing string, step func(context.Context) error) *Error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	start := time.Now()
	if err := c.wire.step(ctx, step); err != nil {
		return classify(ctx, c.target, doing, start, c.wire.explain(err))
	}
	return nil
}

// Query returns all rows, as text. Placeholders are '?'; an arg may be nil, a bool, an int, an int64, a uint64, a float64, a string,
// a []byte or a time.Time. doing names the query in an error: "read the heartbeats". When ctx ends, the connection is closed, but the
// server may work on: give a query that can wait for a lock a limit on the server too, as ReadTable does.
func (c *Conn) Query(ctx context.Context, doing, query string, args ...any) ([][]sql.NullString, error) {
	var all [][]sql.NullString
	err := c.do(ctx, doing, func(ctx context.Context) error {
		rows, err := c.conn.QueryContext(ctx, query, named(args))
		if err != nil {
			return err
		}
		defer rows.Close()
		cells := make([]driver.Value, len(rows.Columns()))
		for {
			if err := rows.Next(cells); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			row := make([]sql.NullString, len(cells))
			for i, cell := range cells {
				if err := row[i].Scan(cell); err != nil {
					return err
				}
			}
			all = append(all, row)
		}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Exec runs a statement that gives no rows; see Query.
func (c *Conn) Exec(ctx context.Context, doing, query string, args ...any) error {
	err := c.do(ctx, doing, func(ctx context.Context) error {
		_, err := c.conn.ExecContext(ctx, query, named(args))
		return err
	})
	if err != nil {
		return err
	}
	return nil
}

func named(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		if n, ok := arg.(int); ok {
			arg = int64(n)
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return values
}

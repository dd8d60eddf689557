package sqlping

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Status is how busy and how willing the server is.
type Status struct {
	ThreadsConnected int64 // this connection among them
	MaxConnections   int64
	ReadOnly         bool // read_only, which does not bind a user with READ_ONLY ADMIN or SUPER
	InnoDBReadOnly   bool
}

// Load is the share of max_connections in use, in percent, rounded down: 100 is full but for the slot reserved to an administrator.
func (s Status) Load() int { return int(s.ThreadsConnected * 100 / max(1, s.MaxConnections)) }

// Status reads the server's status.
func (c *Conn) Status(ctx context.Context) (Status, error) {
	const doing = "read status"
	rows, err := c.Query(ctx, doing, "SELECT @@GLOBAL.max_connections, @@GLOBAL.read_only, @@GLOBAL.innodb_read_only")
	if err != nil {
		return Status{}, err
	}
	if len(rows) != 1 || len(rows[0]) != 3 {
		return Status{}, c.unexpected(doing, rows)
	}
	threads, err := c.statusVariable(ctx, doing, "Threads_connected")
	if err != nil {
		return Status{}, err
	}
	most, convErr := strconv.ParseInt(rows[0][0].String, 10, 64)
	if convErr != nil {
		return Status{}, c.unexpected(doing, rows)
	}
	return Status{threads, most, isOn(rows[0][1].String), isOn(rows[0][2].String)}, nil
}

// isOn reads a variable that is 0 or 1 in most versions and a word in some (read_only of MariaDB 12).
func isOn(v string) bool { return v != "0" && v != "" && !strings.EqualFold(v, "OFF") }

func (c *Conn) statusVariable(ctx context.Context, doing, name string) (int64, error) {
	rows, err := c.Query(ctx, doing, "SHOW GLOBAL STATUS LIKE ?", name)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return 0, c.unexpected(doing, rows)
	}
	n, convErr := strconv.ParseInt(rows[0][1].String, 10, 64)
	if convErr != nil {
		return 0, c.unexpected(doing, rows)
	}
	return n, nil
}

func (c *Conn) unexpected(doing string, got any) *Error {
	return &Error{Where: c.target.String(), Doing: doing, Err: fmt.Errorf("unexpected answer %v", got)}
}

// ReadTable proves that a table can be read: it asks for one row of it, which does not leave the server. An empty table
// will do. table is db.table, unquoted.
func (c *Conn) ReadTable(ctx context.Context, table string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	doing := "read " + table
	db, name, _ := strings.Cut(table, ".")
	qdb, err1 := quote(db)
	qname, err2 := quote(name)
	if err := errors.Join(err1, err2); err != nil {
		return c.misuse(doing, fmt.Errorf("%q is not db.table: %w", table, err))
	}
	if err := c.limitLockWaits(ctx, doing); err != nil {
		return err
	}
	_, err := c.Query(ctx, doing, "SELECT 1 FROM "+qdb+"."+qname+" LIMIT 1")
	return err
}

func (c *Conn) misuse(doing string, err error) *Error {
	return &Error{Where: c.target.String(), Doing: doing, Err: err, note: err.Error()}
}

// quote quotes an identifier ("Schema Object Names", MySQL Reference Manual: 1 to 64 characters, no NUL).
func quote(name string) (string, error) {
	if n := utf8.RuneCountInString(name); n == 0 || n > 64 || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
		return "", fmt.Errorf("%.70q is not an identifier", name)
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`", nil
}

// limitLockWaits makes the server give up waiting for locks before ctx ends. When a client leaves, its statement goes on
// waiting in the server: with the default of a day, a monitor that meets a lock would fill max_connections all by itself.
func (c *Conn) limitLockWaits(ctx context.Context, doing string) error {
	deadline, _ := ctx.Deadline()
	wait := max(1, math.Floor(time.Until(deadline).Seconds()-1)) // seconds; 1 is the least
	return c.Exec(ctx, doing, fmt.Sprintf("SET SESSION lock_wait_timeout=%.0f, SESSION innodb_lock_wait_timeout=%.0f", wait, wait))
}

// WriteProof proves that a transaction can be committed and read back: in the table probe of a schema of its own,
// which it makes if it is not there, it replaces the one row of this node. Nothing of it is written to the binary log: where there
// is one, the user needs BINLOG ADMIN (MySQL: SYSTEM_VARIABLES_ADMIN or SUPER), else the error is 1227 or 1044. A server with read_only set is Degraded even if
// this user may write to it.
func (c *Conn) WriteProof(ctx context.Context, schema, node string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	doing := "write to " + schema + ".probe"
	qschema, err := quote(schema)
	if err != nil {
		return c.misuse(doing, err)
	}
	if node == "" || len(node) > 255 {
		return c.misuse(doing, fmt.Errorf("node name of %d bytes: 1 to 255 fit", len(node)))
	}
	table := qschema + ".probe"
	if err := c.limitLockWaits(ctx, doing); err != nil {
		return err
	}
	if err := c.keepOutOfBinlog(ctx, doing); err != nil {
		return err
	}
	token := rand.Text()
	err = c.replace(ctx, doing, table, node, token)
	if code := codeOf(err); code == erUnknownDatabase || code == erNoSuchTable {
		err = c.makeProbe(ctx, doing, qschema, table)
		if err == nil {
			err = c.replace(ctx, doing, table, node, token)
		}
	}
	if err != nil {
		return err
	}
	rows, err := c.Query(ctx, doing, "SELECT token, @@GLOBAL.read_only FROM "+table+" WHERE node=?", node)
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 2 || rows[0][0].String != token {
		return &Error{
			State: Degraded, Where: c.target.String(), Doing: doing, Err: errors.New("lost write"),
			note: "the row that was committed does not read back: the server is alive: see its error log, and whether another node writes under this node's name",
		}
	}
	if isOn(rows[0][1].String) {
		return &Error{State: Degraded, Where: c.target.String(), Doing: doing, Err: errors.New("read_only"), note: "read_only is set: " + readOnlyAdvice}
	}
	return nil
}

// keepOutOfBinlog is refused to a user without the privilege, and it must not be passed over: once a privileged user has made the
// table unlogged, a logged row would stop every replica with error 1146.
func (c *Conn) keepOutOfBinlog(ctx context.Context, doing string) error {
	rows, err := c.Query(ctx, doing, "SELECT @@GLOBAL.log_bin")
	if err != nil {
		return err
	}
	if len(rows) == 1 && !isOn(rows[0][0].String) {
		return nil
	}
	return c.Exec(ctx, doing, "SET SESSION sql_log_bin=0")
}

func (c *Conn) replace(ctx context.Context, doing, table, node, token string) error {
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"START TRANSACTION", nil}, // autocommit may be off
		{"REPLACE INTO " + table + " (node, token) VALUES (?, ?)", []any{node, token}},
		{"COMMIT", nil},
	} {
		if err := c.Exec(ctx, doing, s.query, s.args...); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) makeProbe(ctx context.Context, doing, schema, table string) error {
	for _, query := range []string{
		"CREATE DATABASE IF NOT EXISTS " + schema,
		"CREATE TABLE IF NOT EXISTS " + table + ` (
			node VARBINARY(255) NOT NULL PRIMARY KEY COMMENT 'cluster node',
			token VARBINARY(64) NOT NULL,
			at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
		) ENGINE=InnoDB COMMENT='write test of the cluster monitor: one row a node'`,
	} {
		if err := c.Exec(ctx, doing, query); err != nil {
			return err
		}
	}
	return nil
}

func codeOf(err error) uint16 {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// DirtyPages is the number of pages that a shutdown still has to write (Innodb_buffer_pool_pages_dirty).
func (c *Conn) DirtyPages(ctx context.Context) (int64, error) {
	return c.statusVariable(ctx, "count dirty pages", "Innodb_buffer_pool_pages_dirty")
}

// flushRate is how many pages a second (innodb_io_capacity) the server is allowed before a stop: about as fast as a disk does it. By
// default it writes 200, as if it had to spare one, and a shutdown writes as fast as it can.
const flushRate = 20_000

// stalled is how long a server that writes no page may take before it is not waited for any more: it looks once a second for some to write.
const stalled = 2 * time.Second

// Preflush shortens the shutdown that follows: it has the server write the pages that are dirty now (innodb_max_dirty_pages_pct=0),
// which it does the oldest first, and waits until no more than enough of them are left, or until it writes no more. It returns
// how many are left, with the error of ctx if that ended first. The settings stay. It needs SUPER (MySQL: SYSTEM_VARIABLES_ADMIN).
func (c *Conn) Preflush(ctx context.Context, enough int64) (left int64, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	dirty, err := c.DirtyPages(ctx)
	if err != nil || dirty <= enough {
		return dirty, err
	}
	// Counted also by what was written: the count of dirty pages follows only when the server looks at them again, a second later.
	const written = "Innodb_buffer_pool_pages_flushed"
	before, err := c.statusVariable(ctx, "count written pages", written)
	if err != nil {
		return dirty, err
	}
	for _, set := range []string{"innodb_io_capacity_max", "innodb_io_capacity"} {
		// An error is no matter: old servers do not have the first, and whoever may set neither may not set what follows.
		_ = c.Exec(ctx, "set "+set, "SET GLOBAL "+set+"=GREATEST(@@GLOBAL."+set+", ?)", flushRate)
	}
	if err := c.Exec(ctx, "set innodb_max_dirty_pages_pct", "SET GLOBAL innodb_max_dirty_pages_pct=0"); err != nil {
		return dirty, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	left, changed := dirty, time.Now()
	for left > enough && time.Since(changed) < stalled {
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-tick.C:
		}
		n, err := c.statusVariable(ctx, "count written pages", written)
		if err != nil {
			return left, err
		}
		dirtyNow, err := c.DirtyPages(ctx)
		if err != nil {
			return left, err
		}
		if now := max(min(dirtyNow, dirty-(n-before)), 0); now != left {
			left, changed = now, time.Now()
		}
	}
	return left, nil
}

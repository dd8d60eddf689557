package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/scenario"
)

// refused is an error of an operation that was surely not done: it failed before the one request that counts.
type refused struct{ error }

// client asks for 1, 2, 3, ... without end, and notes what it is told.
type client struct {
	name  string
	pause time.Duration
	do    func(ctx context.Context, n int) error // nil: acknowledged
	// check, if there is one, looks for what was just acknowledged: how often it is there.
	check func(ctx context.Context, n int) (int, error)
	close func()

	history *check.History
	last    atomic.Int64 // when the last request began that was acknowledged
	halt    atomic.Bool
}

// checkEvery is how many requests there are from one look at what was acknowledged to the next.
const checkEvery = 20

func (c *client) run(ctx context.Context) {
	tick := time.NewTicker(c.pause)
	defer tick.Stop()
	defer c.close()
	for n := 1; !c.halt.Load(); n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		c.history.Add(check.Event{Kind: check.Invoke, Who: c.name, N: n})
		err := c.do(ctx, n)
		var no refused
		switch {
		case err == nil:
			c.history.Add(check.Event{Kind: check.OK, Who: c.name, N: n})
			c.last.Store(began.UnixNano())
		case errors.As(err, &no):
			c.history.Add(check.Event{Kind: check.Refused, Who: c.name, N: n, Text: short(err)})
		default:
			c.history.Add(check.Event{Kind: check.Unknown, Who: c.name, N: n, Text: short(err)})
		}
		if err == nil && c.check != nil && n%checkEvery == 0 {
			if count, err := c.check(ctx, n); err == nil {
				c.history.Add(check.Event{Kind: check.Read, Who: c.name, N: n, Count: count})
			}
		}
	}
}

func short(err error) string { return fmt.Sprintf("%.100s", err) }

// served says whether a request was acknowledged that began after t.
func (c *client) served(t time.Time) bool { return c.last.Load() > t.UnixNano() }

const (
	sqlAddress = scenario.FloatingIP + ":3306"
	apiAddress = scenario.FloatingIP + ":8778"
	// patience is how long a client waits for an answer. It has the kernel give up a connection to an address that has moved.
	patience = time.Second
)

// tables are made by the clients, when there is a server.
var tables = []string{
	"CREATE TABLE IF NOT EXISTS chaos_rows (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL, KEY (n)) ENGINE=InnoDB",
	"CREATE TABLE IF NOT EXISTS chaos_first (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL, KEY (n)) ENGINE=InnoDB",
	"CREATE TABLE IF NOT EXISTS chaos_second (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL, KEY (n)) ENGINE=InnoDB",
}

// database is a client's connection to the server at the floating IP, made anew after each error.
type database struct {
	db   *sql.DB
	conn *sql.Conn
}

func openDatabase(dial scenario.Dialer, patience time.Duration) (*database, error) {
	db, err := scenario.OpenSQL(dial, sqlAddress, patience, patience)
	return &database{db: db}, err
}

func (d *database) drop() {
	if d.conn != nil {
		_ = d.conn.Close()
		d.conn = nil
	}
}

func (d *database) close() { d.drop(); _ = d.db.Close() }

// transaction puts n into each of the tables. What fails before the commit was sent is surely not done.
func (d *database) transaction(ctx context.Context, n int, tables ...string) (err error) {
	defer func() {
		if err != nil {
			d.drop()
		}
	}()
	if d.conn == nil {
		if d.conn, err = d.db.Conn(ctx); err != nil {
			return refused{err}
		}
	}
	tx, err := d.conn.BeginTx(ctx, nil)
	if err != nil {
		return refused{err}
	}
	for _, table := range tables {
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (n) VALUES (?)", n); err != nil {
			_ = tx.Rollback()
			return refused{err}
		}
	}
	return tx.Commit()
}

func (d *database) count(ctx context.Context, n int, table string) (count int, err error) {
	if d.conn == nil {
		return 0, errors.New("not connected")
	}
	err = d.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+" WHERE n = ?", n).Scan(&count)
	if err != nil {
		d.drop()
	}
	return count, err
}

func (d *database) numbers(ctx context.Context, table string) ([]int, error) {
	rows, err := d.db.QueryContext(ctx, "SELECT n FROM "+table+" ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []int{}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// queue is the broker as a producer and a consumer use it, each over a connection of its own.
type queue struct {
	dial    scenario.Dialer
	addr    string
	name    string
	history *check.History
	conn    *amqp.Conn
	send    *amqp.Sender

	mu       sync.Mutex
	received map[int]bool
	changed  time.Time // when something came last
}

func (q *queue) drop() {
	if q.conn != nil {
		go q.conn.Close() // politely it could take longer than a new one
	}
	q.conn, q.send = nil, nil
}

// sender connects, and makes the queue if there is none.
func (q *queue) sender(ctx context.Context) (err error) {
	var session *amqp.Session
	if q.conn, session, err = scenario.DialAMQP(ctx, q.dial, q.addr); err != nil {
		return err
	}
	q.send, err = scenario.DurableQueue(ctx, q.conn, session, q.name)
	return err
}

func (q *queue) put(ctx context.Context, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience) // the store takes half a second for a durable message
	defer cancel()
	defer func() {
		if err != nil {
			q.drop()
		}
	}()
	if q.send == nil {
		if err := q.sender(ctx); err != nil {
			return refused{err}
		}
	}
	return scenario.SendNumber(ctx, q.send, n)
}

// consume takes all that comes, until ctx ends.
func (q *queue) consume(ctx context.Context) {
	for ctx.Err() == nil {
		err := q.receive(ctx)
		if ctx.Err() == nil {
			q.history.Add(check.Event{Kind: check.Dropped, Who: "messages", Text: short(err)})
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (q *queue) receive(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	conn, session, err := scenario.DialAMQP(connecting, q.dial, q.addr)
	if conn != nil {
		defer func() { go conn.Close() }()
	}
	if err != nil {
		return err
	}
	r, err := session.NewReceiver(connecting, q.name, &amqp.ReceiverOptions{Credit: 50})
	if err != nil {
		return err
	}
	for {
		// A connection to an address that has moved says nothing for ever: the producer never pauses so long.
		wait, cancel := context.WithTimeout(ctx, 3*patience)
		m, err := r.Receive(wait, nil)
		if err == nil {
			err = r.AcceptMessage(wait, m)
		}
		cancel()
		if m != nil {
			n, nerr := scenario.NumberIn(m)
			if nerr != nil {
				n = -1 // a message that nobody sent
			}
			q.history.Add(check.Event{Kind: check.Received, Who: "messages", N: n})
			q.mu.Lock()
			q.received[n], q.changed = true, time.Now()
			q.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// drained returns when no message has come for a while: the queue is empty.
func (q *queue) drained(ctx context.Context) error {
	for {
		q.mu.Lock()
		quiet := time.Since(q.changed)
		q.mu.Unlock()
		if quiet > 10*time.Second {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// numbers takes all messages out, when nobody else does.
func (q *queue) numbers(ctx context.Context) (list []int, err error) {
	conn, session, err := scenario.DialAMQP(ctx, q.dial, q.addr)
	if conn != nil {
		defer func() { go conn.Close() }()
	}
	if err != nil {
		return nil, err
	}
	r, err := session.NewReceiver(ctx, q.name, &amqp.ReceiverOptions{Credit: 100})
	if err != nil {
		return nil, err
	}
	list = []int{}
	for {
		wait, cancel := context.WithTimeout(ctx, 5*patience)
		m, err := r.Receive(wait, nil)
		late := wait.Err() != nil
		cancel()
		if err != nil {
			if late && ctx.Err() == nil {
				return list, nil // that was the last
			}
			return nil, err
		}
		n, err := scenario.NumberIn(m)
		if err != nil {
			n = -1 // a message that nobody sent
		}
		list = append(list, n)
		if err := r.AcceptMessage(ctx, m); err != nil {
			return nil, err
		}
	}
}

package sqlping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/lib/words"
)

// Error is why a server did not do what it was asked, classified. Its text is one line that names the server, what was
// being done, the error's number and text, and what to do about it; it never contains a password.
type Error struct {
	State State
	Code  uint16        // the server's error number, 0 if it sent none
	Where string        // the socket or address
	Doing string        // connect, greeting, login, ping, or what the query was for
	After time.Duration // since that began
	Err   error         // the cause

	note string // instead of the text of Err
}

// StateOf classifies an error of this package; nil is Healthy, and a stranger's error is Unknown.
func StateOf(err error) State {
	var e *Error
	switch {
	case err == nil:
		return Healthy
	case errors.As(err, &e):
		return e.State
	}
	return Unknown
}

func (e *Error) state() State {
	if e == nil {
		return Healthy
	}
	return e.State
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	var what, todo string
	switch {
	case e.note != "":
		what = e.note
	case e.Code != 0:
		var me *mysql.MySQLError
		errors.As(e.Err, &me)
		// crm_mon shows 128 bytes: where it was asked comes last, and what says nothing new goes.
		said := strings.TrimSuffix(strings.TrimSuffix(me.Message, " (using password: YES)"), " (using password: NO)")
		todo = cmp.Or(advice()[e.Code], "see the server's error log")
		return words.Line(fmt.Sprintf("error %d: %s: %s", e.Code, said, todo)) + " " + words.Line(fmt.Sprintf("(%s, %s)", e.Doing, e.Where))
	case e.State == Hung:
		what = fmt.Sprintf("no answer within %s", e.After.Round(time.Millisecond))
		if errors.Is(e.Err, syscall.EAGAIN) {
			what = fmt.Sprintf("its queue of connections stayed full for %s", e.After.Round(time.Millisecond))
		}
		todo = hungAdvice
		if e.Doing == doingGreeting && !strings.HasPrefix(e.Where, "/") {
			todo += "; or it waits for DNS (skip_name_resolve)"
		}
	default:
		what = words.Error(e.Err)
		todo = stateAdvice()[e.State]
		if errors.Is(e.Err, fs.ErrPermission) {
			todo = "run the check as root, or look at the modes of the socket and its directories"
		}
	}
	s := words.Line(fmt.Sprintf("%s: %s: %s", e.Where, e.Doing, what))
	if todo != "" {
		s += ": " + todo
	}
	return s
}

const hungAdvice = "the server hangs: look for its process state (T stopped, D waiting for storage) and its error log"

func stateAdvice() map[State]string {
	return map[State]string{
		Dead:    "nothing listens there: the server is down, still in recovery, or configured to listen elsewhere",
		Foreign: "that is not a MySQL or MariaDB server: find who listens there",
	}
}

// The numbers are those of the MySQL "Server Error Message Reference" and of MariaDB's "MariaDB Error Codes".
const (
	erServerShutdown  = 1053
	erUnknownDatabase = 1049
	erNoSuchTable     = 1146
)

// advice is what an operator can do about an error that a health check meets. Every one of these servers is alive.
func advice() map[uint16]string {
	return map[uint16]string{
		3:    diskAdvice, // EE_WRITE, with errno 28
		28:   diskAdvice,
		1021: diskAdvice,
		1114: diskAdvice,
		1030: "the storage engine failed: see the server's error log, the disk and dmesg",
		1034: "the table is damaged: CHECK TABLE, REPAIR TABLE",
		1194: "the table is damaged: CHECK TABLE, REPAIR TABLE",
		1195: "the table is damaged: CHECK TABLE, REPAIR TABLE",
		1932: "InnoDB lost the table: see the server's error log",

		1036: readOnlyAdvice,
		1290: readOnlyAdvice,
		1792: readOnlyAdvice,
		1836: readOnlyAdvice,
		1874: readOnlyAdvice,

		1037: "the server is out of memory",
		1041: "the server is out of memory",
		1135: "the server cannot start a thread: look at its memory, TasksMax and ulimit -u",

		1040: "SHOW PROCESSLIST, then end the idle or raise max_connections; extra_port keeps one free for checks (MariaDB)",
		1203: "this user's connections are all taken (max_user_connections): give the check a user of its own",
		1226: "this user has used up its limits (SHOW GRANTS): give the check a user of its own",

		1044: "GRANT the user of this check what it needs",
		1045: credentialAdvice,
		1142: "GRANT the user of this check what it needs",
		1227: "GRANT the user of this check what it needs",
		1251: "give the user of this check a newer authentication plugin",
		1275: "give the user of this check a newer authentication plugin",
		1524: "load the plugin, or give the user of this check another",
		1698: "this user logs in by its operating system account (unix_socket): run the check as that account or use another user",
		1820: "set a new password for the user of this check",
		1862: "set a new password for the user of this check",
		3118: "ALTER USER ... ACCOUNT UNLOCK, or use another user",
		3159: "use the unix socket, or TLS",
		4151: "ALTER USER ... ACCOUNT UNLOCK, or use another user",

		1129: "the server has blocked this host: mariadb-admin flush-hosts (FLUSH HOSTS), then find who breaks off its logins; better use the unix socket",
		1130: "the server does not know this host: use the unix socket, or CREATE USER for it",

		1049: "that database does not exist",
		1146: "that table does not exist, correct the check's table",

		1053: "wait for it",
		1927: "somebody or the shutdown ended this connection",
		1205: "somebody holds a lock: look in SHOW PROCESSLIST for a backup (FLUSH TABLES WITH READ LOCK), LOCK TABLES or a long transaction",
		1213: "a deadlock, once is nothing",
		1969: "the server is slow: the query took longer than this check has",
		3024: "the server is slow: the query took longer than this check has",
	}
}

const (
	credentialAdvice = "correct user or password; if it is REQUIRE SSL, ssl-ca"
	diskAdvice       = "its disk is full: free space or enlarge the file system (df, df -i, quota)"
	readOnlyAdvice   = "the server takes no writes: read_only, super_read_only, innodb_read_only or innodb_force_recovery is set; see why before SET GLOBAL read_only=0"
)

// authErrors of the driver: the server lives, and wants a login that this client cannot or must not do.
func authErrors() []error {
	return []error{
		mysql.ErrUnknownPlugin, mysql.ErrCleartextPassword, mysql.ErrNativePassword, mysql.ErrOldPassword, mysql.ErrNoTLS,
	}
}

// dead are the answers of connect(2) when no socket listens; a plain file instead of a socket gives ECONNREFUSED too.
var dead = []error{syscall.ECONNREFUSED, syscall.ENOENT, syscall.ENOTDIR}

// classify turns what broke a step into an *Error; ctx is the step's own, whose deadline explains errors that merely
// follow from it.
func classify(ctx context.Context, t Target, doing string, start time.Time, err error) *Error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	e := &Error{Where: t.String(), Doing: doing, After: time.Since(start), Err: err}
	var me *mysql.MySQLError
	var dns *net.DNSError
	var cert *certError
	switch {
	case errors.As(err, &me):
		e.State, e.Code = Degraded, me.Number
	case isAny(err, authErrors()):
		e.State = Degraded
		e.note = err.Error() + ": the server is alive: give the user of this check another authentication plugin, or TLS"
	case errors.As(err, &cert):
		e.State = Degraded
		e.note = err.Error() + ": the server is alive: correct its certificate or the CA of this check"
	case errors.As(err, &dns): // even a timeout of the resolver says nothing of the server
		e.note = err.Error() + ": the name does not resolve: use an address"
	case errors.Is(err, errForeign):
		e.State = Foreign
	case doing == doingConnect && isAny(err, dead):
		e.State = Dead
	case errors.Is(ctx.Err(), context.Canceled):
		e.Err, e.note = context.Canceled, "given up by the caller"
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN) && doing == doingConnect:
		e.State = Hung
	case isAny(err, []error{syscall.ECONNRESET, syscall.EPIPE}) || isEOF(err):
		e.note = "connection closed without an answer: it starts, stops or crashes, or is a proxy without a server: ask again, see the error log"
	}
	return e
}

func isAny(err error, list []error) bool {
	for _, want := range list {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

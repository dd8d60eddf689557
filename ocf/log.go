package ocf

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// logSink sends log records where the cluster wants them, in the way of
// resource-agents' ocf_log: standard error, syslog (HA_logfacility), files
// (HA_logfile, HA_debuglog), and a trace (OCF_TRACE_RA). It is a slog.Handler.
type logSink struct {
	request *Request
	logger  *slog.Logger
	stderr  io.Writer
	debug   bool
	attrs   string

	mu     *sync.Mutex
	far    *far
	tracer *os.File
	redact func(string) string
}

// far are the cluster's log files and syslog, opened by the first record: most monitors have none.
type far struct {
	opened bool
	files  []*os.File
	syslog *syslog.Writer
}

func newLogger(r *Request, c Call) *logSink {
	l := &logSink{request: r, stderr: c.Stderr, mu: new(sync.Mutex), far: new(far), redact: redactor(r.secrets)}
	l.debug = isOn(first(r.Env("HA_debug"), r.Env("HA_DEBUG")))
	l.openTrace(c)
	l.logger = slog.New(l)
	return l
}

func (l *logSink) open() {
	l.far.opened = true
	r := l.request
	for _, name := range []string{first(r.Env("HA_logfile"), r.Env("HA_LOGFILE")), debugLog(r, l.debug)} {
		if name == "" || name == "/dev/null" {
			continue
		}
		if f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640); err == nil {
			l.far.files = append(l.far.files, f)
		}
	}
	facility := strings.ToLower(first(r.Env("HA_logfacility"), r.Env("HA_LOGFACILITY")))
	for _, f := range facilities {
		if f.name != facility {
			continue
		}
		if w, err := syslog.New(f.priority|syslog.LOG_INFO, l.tag()); err == nil {
			l.far.syslog = w // a node without syslog still has stderr
		}
	}
}

func debugLog(r *Request, debug bool) string {
	if debug {
		return first(r.Env("HA_debuglog"), r.Env("HA_DEBUGLOG"))
	}
	return ""
}

func (l *logSink) close() {
	for _, f := range l.far.files {
		_ = f.Close()
	}
	if l.far.syslog != nil {
		_ = l.far.syslog.Close()
	}
	if l.tracer != nil {
		_ = l.tracer.Close()
	}
}

func (l *logSink) tag() string {
	return fmt.Sprintf("%s(%s)[%d]", l.request.Agent, l.request.Instance, os.Getpid())
}

// Enabled tells whether a record of that level goes anywhere.
func (l *logSink) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || l.debug || l.tracer != nil
}

// WithGroup keeps groups flat: one line an operator reads needs none.
func (l *logSink) WithGroup(string) slog.Handler { return l }

// WithAttrs adds attributes to every record.
func (l *logSink) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	for _, a := range attrs {
		c.attrs += " " + a.String()
	}
	return &c
}

// Handle writes one record everywhere it belongs.
func (l *logSink) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message)
	b.WriteString(l.attrs)
	rec.Attrs(func(a slog.Attr) bool { b.WriteString(" " + a.String()); return true })
	msg := l.redact(b.String())
	l.trace(rec.Level.String() + ": " + msg)
	if rec.Level < slog.LevelInfo && !l.debug {
		return nil
	}
	l.mu.Lock()
	fmt.Fprintf(l.stderr, "%s: %s\n", rec.Level, msg)
	l.mu.Unlock()
	l.toFiles(rec.Level, msg)
	return nil
}

func (l *logSink) toFiles(level slog.Level, msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.far.opened {
		l.open()
	}
	for _, f := range l.far.files {
		fmt.Fprintf(f, "%s:\t%s %s: %s\n", l.tag(), time.Now().Format("2006/01/02_15:04:05"), level, msg)
	}
	if l.far.syslog == nil {
		return
	}
	msg = level.String() + ": " + msg
	switch {
	case level >= slog.LevelError:
		_ = l.far.syslog.Err(msg)
	case level >= slog.LevelWarn:
		_ = l.far.syslog.Warning(msg)
	case level >= slog.LevelInfo:
		_ = l.far.syslog.Info(msg)
	default:
		_ = l.far.syslog.Debug(msg)
	}
}

// levelOf is how loud an exit code is: a probe that finds nothing is no error.
func levelOf(code Code, r *Request) slog.Level {
	switch {
	case code == RunningPromoted, code == NotRunning && r.Interval == 0:
		return slog.LevelDebug
	case code == Degraded || code == DegradedPromoted:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// openTrace opens the trace where ocf-shellfuncs, and so the tracing of crmsh
// and pcs, puts it: OCF_TRACE_FILE, else trace_dir/TYPE/INSTANCE.ACTION.TIME.
func (l *logSink) openTrace(c Call) {
	r := l.request
	if !isOn(first(r.Env("OCF_TRACE_RA"), r.Env("OCF_RESKEY_trace_ra"))) {
		return
	}
	name := r.Env("OCF_TRACE_FILE")
	if !filepath.IsAbs(name) {
		if f, ok := c.Stdin.(*os.File); ok && isTerminal(f) {
			l.debug = true // an operator at a terminal reads it there
			return
		}
		dir := first(r.Env("OCF_RESKEY_trace_dir"), filepath.Join(first(r.Env("HA_VARLIB"), "/var/lib/heartbeat"), "trace_ra"))
		file := fmt.Sprintf("%s.%s.%s", r.Instance, r.Action, time.Now().Format("2006-01-02.15:04:05"))
		name = filepath.Join(dir, first(r.Env("OCF_RESOURCE_TYPE"), r.Agent), filepath.Base(file))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return // tracing must never fail an action
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	l.tracer = f
	vars := make([]string, 0, len(r.env))
	for k, v := range r.env {
		if strings.Contains(strings.ToLower(k), "passw") {
			v = "(secret)"
		}
		vars = append(vars, k+"="+v)
	}
	slices.Sort(vars)
	l.trace(l.tag() + " " + r.Action)
	for _, v := range vars {
		l.trace("env " + l.redact(v))
	}
}

func (l *logSink) trace(msg string) {
	if l.tracer != nil {
		fmt.Fprintf(l.tracer, "%s %s\n", time.Now().Format("15:04:05.000000"), msg)
	}
}

// redactor hides secrets long enough not to be found in ordinary words.
func redactor(secrets []string) func(string) string {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= 4 {
			pairs = append(pairs, s, "(secret)")
		}
	}
	if pairs == nil {
		return func(s string) string { return s }
	}
	return strings.NewReplacer(pairs...).Replace
}

func isOn(s string) bool { v, ok := ParseBool(s); return v || (!ok && s != "") }

func first(s ...string) string {
	for _, x := range s {
		if x != "" && x != "none" {
			return x
		}
	}
	return ""
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

var facilities = []struct {
	name     string
	priority syslog.Priority
}{
	{"kern", syslog.LOG_KERN},
	{"user", syslog.LOG_USER},
	{"mail", syslog.LOG_MAIL},
	{"daemon", syslog.LOG_DAEMON},
	{"auth", syslog.LOG_AUTH},
	{"syslog", syslog.LOG_SYSLOG},
	{"lpr", syslog.LOG_LPR},
	{"news", syslog.LOG_NEWS},
	{"uucp", syslog.LOG_UUCP},
	{"cron", syslog.LOG_CRON},
	{"authpriv", syslog.LOG_AUTHPRIV},
	{"ftp", syslog.LOG_FTP},
	{"local0", syslog.LOG_LOCAL0},
	{"local1", syslog.LOG_LOCAL1},
	{"local2", syslog.LOG_LOCAL2},
	{"local3", syslog.LOG_LOCAL3},
	{"local4", syslog.LOG_LOCAL4},
	{"local5", syslog.LOG_LOCAL5},
	{"local6", syslog.LOG_LOCAL6},
	{"local7", syslog.LOG_LOCAL7},
}

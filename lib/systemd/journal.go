package systemd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stdout is where journald takes the output of services.
const stdout = "/run/systemd/journal/stdout"

// Journals tells whether a journal takes streams here.
func Journals() bool {
	f, err := dial()
	if err == nil {
		f.Close()
	}
	return err == nil
}

// Stream opens a stream to the journal under a name, for a daemon's standard error: each line becomes an entry, and the
// journal bounds what is kept. It never makes the writer wait: what the journal does not take at once is lost. The error
// says that no journal is here.
func Stream(name string) (*os.File, error) {
	f, err := dial()
	if err != nil {
		return nil, err
	}
	// Unit, level, whether lines may begin with one, and whether to pass them on to syslog, kernel and console.
	if _, err := f.WriteString(strings.ReplaceAll(name, "\n", " ") + "\n\n6\n0\n0\n0\n0\n"); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// dial connects; the file stays non-blocking, also for who inherits it.
func dial() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	f := os.NewFile(uintptr(fd), stdout)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: stdout}); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", stdout, err)
	}
	return f, nil
}

// Said is what was written to streams of this name since then, the latest lines of it; "" if that cannot be told.
func Said(ctx context.Context, name string, since time.Time) string {
	_, _ = run(ctx, "journalctl", "--sync") // who wrote may have died faster than its words are written down
	out, err := run(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=100",
		"_TRANSPORT=stdout", "SYSLOG_IDENTIFIER="+name, fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000))
	if err != nil {
		return ""
	}
	return out
}

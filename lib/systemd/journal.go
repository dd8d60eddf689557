package systemd

import (
	"context"
	"fmt"
	"os"
	"strconv"
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
	return latest(ctx, 100, "_TRANSPORT=stdout", "SYSLOG_IDENTIFIER="+name, fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000))
}

// latest are the journal's last lines that match; "" if that cannot be told. What journalctl says of the journal itself on its
// other output, such as that a file was cut short by a full disk, is nobody's words.
func latest(ctx context.Context, lines int, match ...string) string {
	_, _ = run(ctx, "journalctl", "--sync") // who wrote may have died faster than its words are written down
	out, _ := command(ctx, "journalctl", append([]string{"--quiet", "--no-pager", "--output=cat", "--lines=" + strconv.Itoa(lines)}, match...)...).Output()
	return string(out)
}

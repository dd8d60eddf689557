package amqp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// silent sets kind, or a better one if the broker's process is known: over the
// network a stopped process and one out of file descriptors look alike.
func (a *Answer) silent(t Target, kind Kind) {
	err := errors.New("no answer in time")
	if t.PID > 0 {
		switch p, perr := look(cmp.Or(t.Proc, "/proc"), t.PID); {
		case perr != nil:
			err = fmt.Errorf("%w; pid %d: %w", err, t.PID, perr)
		case p.state == 'T' || p.state == 't':
			kind, err = Stopped, fmt.Errorf("pid %d is in state %c", t.PID, p.state)
		case p.maxFiles > 0 && p.files >= p.maxFiles:
			kind, err = OutOfFiles, fmt.Errorf("pid %d has %d of %d files open", t.PID, p.files, p.maxFiles)
		default:
			err = fmt.Errorf("%w; pid %d is in state %c with %d of %d files open", err, t.PID, p.state, p.files, p.maxFiles)
		}
	}
	*a = a.because(kind, err)
}

type process struct {
	state           byte // as in proc(5): R, S, D, T, Z...
	files, maxFiles int  // open below the soft limit, and that limit; 0 is unlimited
}

// look reads proc_pid_stat(5), proc_pid_limits(5) and counts proc_pid_fd(5).
func look(proc string, pid int) (p process, err error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return p, err
	}
	// The name before the state is in parentheses, and may contain some itself.
	rest := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	if len(rest) == 0 {
		return p, fmt.Errorf("%s/stat is not understood", dir)
	}
	p.state = rest[0]
	limits, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(limits)) {
		if soft, ok := strings.CutPrefix(line, "Max open files"); ok {
			p.maxFiles, _ = strconv.Atoi(strings.Fields(soft + " -")[0]) // "unlimited" is 0
		}
	}
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	for _, fd := range fds {
		// A limit that was lowered may have files above it, and room below.
		if n, err := strconv.Atoi(fd.Name()); err == nil && (p.maxFiles == 0 || n < p.maxFiles) {
			p.files++
		}
	}
	return p, err
}

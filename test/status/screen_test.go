package status

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/box"
)

// screen is a terminal on which a program runs, and what stands on it: of what xterm understands as much as is used.
type screen struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd

	mu            sync.Mutex
	written       strings.Builder // all, as it came
	rows, columns int
	lines, behind [][]rune // behind: the shell's, while the program has the screen
	row, column   int
	hidden        bool // the cursor
	held          string
}

// run starts a program on a terminal of its own, as a shell would in the foreground, with a line above it.
func run(t *testing.T, rows, columns int, env []string, argv ...string) *screen {
	t.Helper()
	s := &screen{t: t, rows: rows, columns: columns, lines: [][]rune{nil}}
	var err error
	if s.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	fd := int(s.master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if s.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	s.resize(rows, columns)
	fmt.Fprintln(s.slave, "the shell's line")
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.slave, s.slave, s.slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = s.slave.Close()
		_ = s.master.Close()
	})
	return s
}

func (s *screen) resize(rows, columns int) {
	s.mu.Lock()
	s.rows, s.columns = rows, columns
	s.mu.Unlock()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}); err != nil {
		s.t.Fatal(err)
	}
}

// key presses one.
func (s *screen) key(c string) {
	if _, err := io.WriteString(s.master, c); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.written.Write(buf[:n])
		s.draw(string(buf[:n]))
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) draw(text string) {
	text = s.held + text
	s.held = ""
	for text != "" {
		if text[0] == '\x1b' {
			end := strings.IndexAny(text[1:], "ABCDEFGHJKSTfhlmnrsu") + 2
			if end == 1 {
				s.held = text // the rest is to come
				return
			}
			s.control(text[:end])
			text = text[end:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		s.put(r)
	}
}

func (s *screen) control(sequence string) {
	switch sequence {
	case "\x1b[?1049h":
		s.behind, s.lines, s.row, s.column = s.lines, [][]rune{nil}, 0, 0
	case "\x1b[?1049l":
		s.lines, s.behind, s.row, s.column = s.behind, nil, len(s.behind)-1, 0
	case "\x1b[?25l", "\x1b[?25h":
		s.hidden = strings.HasSuffix(sequence, "l")
	case "\x1b[H":
		s.row, s.column = 0, 0
	case "\x1b[2J":
		s.lines = [][]rune{nil}
	default:
		if !strings.HasSuffix(sequence, "m") {
			s.t.Errorf("this terminal does not know %q", sequence)
		}
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.column = 0
		return
	case '\n':
		s.row++
	default:
		if s.column == s.columns {
			s.row, s.column = s.row+1, 0
		}
	}
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	if over := len(s.lines) - s.rows; over > 0 {
		s.lines, s.row = s.lines[over:], s.row-over // it scrolls
	}
	if r == '\n' {
		return
	}
	for len(s.lines[s.row]) <= s.column {
		s.lines[s.row] = append(s.lines[s.row], ' ')
	}
	s.lines[s.row][s.column] = r
	s.column++
}

// text is what stands there now.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, l := range s.lines {
		lines = append(lines, string(l))
	}
	return strings.Join(lines, "\n")
}

// all is what was written, as it came.
func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

// shows waits until all of it stands there.
func (s *screen) shows(words ...string) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the screen:\n%s", s.text())
		}
	}()
	box.Until(s.t, fmt.Sprintf("the screen shows %q", words), func() bool {
		for _, w := range words {
			if !strings.Contains(s.text(), w) {
				return false
			}
		}
		return true
	})
}

// state is that of the program, as of proc(5).
func (s *screen) state() string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return after[:min(1, len(after))]
}

// Package resp asks a Redis server, or one that speaks as it does (Valkey, KeyDB), how it is, in its protocol RESP
// (redis.io/docs/reference/protocol-spec).
package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Login is who asks. Without a password nobody logs in; without a name it is the default user.
type Login struct{ User, Password string }

// Server is a connection to one server. It is of no use after an error other than a *RefusedError.
type Server struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// RefusedError is an answer by which the server refuses a command: it is alive. The answer begins with a word that says
// why: LOADING, NOAUTH, WRONGPASS, NOPERM, MISCONF, MASTERDOWN, READONLY, OOM, BUSY, DENIED; ERR is anything else.
type RefusedError struct{ Address, Command, Answer string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refuses %s: %s", e.Address, e.Command, e.Answer)
}

// Word is what the answer begins with.
func (e *RefusedError) Word() string {
	word, _, _ := strings.Cut(e.Answer, " ")
	return word
}

// Refused tells whether an error is a refusal that begins with one of the words; without words any refusal.
func Refused(err error, words ...string) bool {
	var e *RefusedError
	if !errors.As(err, &e) {
		return false
	}
	for _, word := range words {
		if e.Word() == word {
			return true
		}
	}
	return len(words) == 0
}

// Ask connects to a TCP address (HOST:PORT), or a unix socket's path, logs in, asks, and ends the connection. All must be
// answered before ctx ends.
func Ask(ctx context.Context, address string, login Login, question func(*Server) error) error {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	s := &Server{address, conn, bufio.NewReader(conn)}
	if err := s.login(login); err != nil {
		return err
	}
	return question(s)
}

// login gives away nothing of the password: a server that does not know AUTH repeats what it was sent.
func (s *Server) login(l Login) error {
	if l.Password == "" {
		return nil
	}
	words := []string{"AUTH", l.User, l.Password}
	if l.User == "" {
		words = []string{"AUTH", l.Password}
	}
	_, err := s.ask(words...)
	var refused *RefusedError
	if errors.As(err, &refused) {
		refused.Answer, _, _ = strings.Cut(refused.Answer, ", with args")
		refused.Answer = strings.ReplaceAll(refused.Answer, l.Password, "***")
	}
	return err
}

// Ping is nil if the server serves; it refuses while it loads its data, and where it would refuse to write.
func (s *Server) Ping() error {
	answer, err := s.ask("PING")
	if err == nil && answer != "PONG" {
		return fmt.Errorf("%s is no Redis: it answers PING with %.40q", s.address, answer)
	}
	return err
}

// Remember has the server store a value for some seconds, and reads it again. Use a key that is nobody's.
func (s *Server) Remember(key, value string, life time.Duration) error {
	if _, err := s.ask("SET", key, value, "EX", strconv.Itoa(int(life.Seconds()))); err != nil {
		return err
	}
	got, err := s.ask("GET", key)
	if err == nil && got != value {
		return fmt.Errorf("%s has forgotten what it has just stored: it gives back %.40q", s.address, got)
	}
	return err
}

// Info is what the server says of itself, by the names that redis.io/commands/info has.
func (s *Server) Info() (map[string]string, error) {
	text, err := s.ask("INFO")
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// ask sends a command and reads its answer, which must be a string, simple or bulk; "" is also none.
func (s *Server) ask(words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	_, broken := io.WriteString(s.conn, b.String())
	line, err := s.line() // also if it hung up: with too many clients it says so, unasked, and closes
	switch {
	case err != nil && broken != nil:
		return "", fmt.Errorf("%s: %w", s.address, broken)
	case err != nil:
		return "", err
	case strings.HasPrefix(line, "-"):
		return "", &RefusedError{s.address, words[0], line[1:]}
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case !strings.HasPrefix(line, "$"):
		return "", fmt.Errorf("%s is no Redis: it answers %s with %.40q", s.address, words[0], line)
	}
	n, err := strconv.Atoi(line[1:])
	switch {
	case err != nil || n > longest:
		return "", fmt.Errorf("%s is no Redis: it announces a text of %.40q bytes", s.address, line[1:])
	case n < 0:
		return "", nil
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(s.in, text); err != nil {
		return "", fmt.Errorf("%s: %w", s.address, err)
	}
	return string(text[:n]), nil
}

// longest is what an answer may have at most; INFO has some 8 KiB.
const longest = 1 << 20

func (s *Server) line() (string, error) {
	part, err := s.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%s is no Redis: it sends a line without an end", s.address)
	case err != nil:
		return "", fmt.Errorf("%s: %w", s.address, err)
	}
	return strings.TrimRight(string(part), "\r\n"), nil
}

// Package memcache asks a memcached server how it is, in its text protocol (memcached's doc/protocol.txt).
package memcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Server is a connection to one server. It is of no use after an error.
type Server struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// RefusedError is an answer by which the server refuses a command: it is alive.
type RefusedError struct{ Address, Command, Answer string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refuses %s: %s", e.Address, e.Command, e.Answer)
}

// Dial connects to a TCP address (HOST:PORT), or a unix socket's path. All questions must be answered before ctx ends.
func Dial(ctx context.Context, address string) (*Server, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	return &Server{address, conn, bufio.NewReader(conn)}, nil
}

// Ask connects to a server, asks, and ends the connection.
func Ask(ctx context.Context, address string, question func(*Server) error) error {
	s, err := Dial(ctx, address)
	if err != nil {
		return err
	}
	defer s.Close()
	return question(s)
}

// Close ends the connection.
func (s *Server) Close() error { return s.conn.Close() }

// Version is what the server says that it is.
func (s *Server) Version() (string, error) {
	line, err := s.ask("version", "version\r\n")
	if err != nil {
		return "", err
	}
	version, ok := strings.CutPrefix(line, "VERSION ")
	if !ok {
		return "", fmt.Errorf("%s is no memcached: it answers %.40q", s.address, line)
	}
	return version, nil
}

// Remember has the server store a value for some seconds, and reads it again. A server of which somebody else takes
// the key away in between is forgetful without a fault of its own: use a key that is nobody's.
func (s *Server) Remember(key, value string, life time.Duration) error {
	line, err := s.ask("set", fmt.Sprintf("set %s 0 %d %d\r\n%s\r\n", key, int(life.Seconds()), len(value), value))
	if err != nil {
		return err
	}
	if line != "STORED" {
		return &RefusedError{s.address, "set", line}
	}
	if line, err = s.ask("get", "get "+key+"\r\n"); err != nil {
		return err
	}
	if line != fmt.Sprintf("VALUE %s 0 %d", key, len(value)) {
		return fmt.Errorf("%s has forgotten what it has just stored: it answers %.40q", s.address, line)
	}
	got, err := s.line()
	if err == nil && got != value {
		return fmt.Errorf("%s stored %q and gives back %.40q", s.address, value, got)
	}
	if err == nil {
		_, err = s.line() // END
	}
	return err
}

// Connections are how many there are, and how many there may be.
func (s *Server) Connections() (used, most int, err error) {
	line, err := s.ask("stats", "stats\r\n")
	for ; err == nil && line != "END"; line, err = s.line() {
		switch f := strings.Fields(line); {
		case len(f) != 3:
		case f[1] == "curr_connections":
			used, _ = strconv.Atoi(f[2])
		case f[1] == "max_connections":
			most, _ = strconv.Atoi(f[2])
		}
	}
	return used, most, err
}

func (s *Server) ask(command, text string) (string, error) {
	if _, err := fmt.Fprint(s.conn, text); err != nil {
		return "", fmt.Errorf("%s: %w", s.address, err)
	}
	line, err := s.line()
	for _, refusal := range []string{"ERROR", "CLIENT_ERROR", "SERVER_ERROR"} {
		if err == nil && strings.HasPrefix(line, refusal) {
			return "", &RefusedError{s.address, command, line}
		}
	}
	return line, err
}

// longest is what a line may have at most: a peer that sends more without an end is no memcached.
const longest = 4 << 10

func (s *Server) line() (string, error) {
	var line []byte
	for {
		part, err := s.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", fmt.Errorf("%s: %w", s.address, err)
		case len(line) > longest:
			return "", fmt.Errorf("%s is no memcached: it sends a line without an end", s.address)
		}
	}
}

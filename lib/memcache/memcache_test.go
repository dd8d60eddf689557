package memcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve answers each command that begins so with a text, on a unix socket.
func serve(t *testing.T, answers map[string]string) *Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for in := bufio.NewScanner(c); in.Scan(); {
			command, _, _ := strings.Cut(in.Text(), " ")
			_, _ = fmt.Fprint(c, answers[command])
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	s, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestVersion(t *testing.T) {
	for _, c := range []struct{ answer, version, words string }{
		{"VERSION 1.6.18\r\n", "1.6.18", ""},
		{"ERROR Too many open connections\r\n", "", "refuses version: ERROR Too many"},
		{"CLIENT_ERROR unauthenticated\r\n", "", "refuses version: CLIENT_ERROR"},
		{"-ERR unknown command\r\n", "", "is no memcached"},
		{strings.Repeat("x", longest+5000) + "\r\n", "", "line without an end"},
	} {
		s := serve(t, map[string]string{"version": c.answer})
		version, err := s.Version()
		if version != c.version || (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%.40q: %q, %v", c.answer, version, err)
		}
		var refused *RefusedError
		if errors.As(err, &refused) != strings.Contains(c.words, "refuses") {
			t.Errorf("%.40q: %v", c.answer, err)
		}
	}
}

func TestRemember(t *testing.T) {
	for _, c := range []struct{ set, get, words string }{
		{"STORED\r\n", "VALUE k 0 3\r\nabc\r\nEND\r\n", ""},
		{"STORED\r\n", "END\r\n", "has forgotten"},
		{"STORED\r\n", "VALUE k 0 3\r\nabd\r\nEND\r\n", "gives back"},
		{"SERVER_ERROR out of memory storing object\r\n", "", "refuses set: SERVER_ERROR out of memory"},
		{"NOT_STORED\r\n", "", "refuses set: NOT_STORED"},
	} {
		err := serve(t, map[string]string{"set": c.set, "get": c.get}).Remember("k", "abc", time.Minute)
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q %q: %v", c.set, c.get, err)
		}
	}
}

func TestConnections(t *testing.T) {
	s := serve(t, map[string]string{"stats": "STAT pid 1\r\nSTAT curr_connections 17\r\nSTAT max_connections 1024\r\nEND\r\n"})
	if used, most, err := s.Connections(); used != 17 || most != 1024 || err != nil {
		t.Error(used, most, err)
	}
}

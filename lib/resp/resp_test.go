package resp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve answers each command by its name, on a unix socket.
func serve(t *testing.T, answers map[string]string) string {
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
		in := bufio.NewReader(c)
		for {
			var words, length int
			if _, err := fmt.Fscanf(in, "*%d\r\n", &words); err != nil {
				return
			}
			command := ""
			for i := range words {
				if _, err := fmt.Fscanf(in, "$%d\r\n", &length); err != nil {
					return
				}
				word := make([]byte, length+2)
				if _, err := io.ReadFull(in, word); err != nil {
					return
				}
				if i == 0 {
					command = string(word[:length])
				}
			}
			_, _ = io.WriteString(c, answers[command])
		}
	}()
	return path
}

func TestAnswers(t *testing.T) {
	ping := (*Server).Ping
	remember := func(s *Server) error { return s.Remember("k", "abc", time.Minute) }
	info := func(s *Server) error {
		got, err := s.Info()
		if err == nil && fmt.Sprint(got) != "map[maxclients:10000 role:master]" {
			t.Errorf("INFO: %v", got)
		}
		return err
	}
	for _, c := range []struct {
		ask      func(*Server) error
		answers  map[string]string
		password string
		words    string // "" is well
		refused  string
	}{
		{ask: ping, answers: map[string]string{"PING": "+PONG\r\n"}},
		{ask: ping, answers: map[string]string{"PING": "-LOADING Redis is loading the dataset in memory\r\n"}, words: "refuses PING: LOADING", refused: "LOADING"},
		{ask: ping, answers: map[string]string{"PING": "HTTP/1.1 400 Bad Request\r\n"}, words: "is no Redis"},
		{ask: ping, answers: map[string]string{"PING": "+" + strings.Repeat("x", 5000) + "\r\n"}, words: "line without an end"},
		{ask: ping, answers: map[string]string{"PING": "$99999999\r\n"}, words: "is no Redis"},
		{ask: ping, answers: map[string]string{"AUTH": "+OK\r\n", "PING": "+PONG\r\n"}, password: "secret"},
		{ask: ping, answers: map[string]string{"AUTH": "-WRONGPASS invalid username-password pair or user is disabled.\r\n"}, password: "secret", words: "refuses AUTH: WRONGPASS", refused: "WRONGPASS"},
		{ask: ping, answers: map[string]string{"AUTH": "-ERR unknown command 'AUTH', with args beginning with: 'secret' \r\n"}, password: "secret", words: "refuses AUTH: ERR unknown command", refused: "ERR"},
		{ask: remember, answers: map[string]string{"SET": "+OK\r\n", "GET": "$3\r\nabc\r\n"}},
		{ask: remember, answers: map[string]string{"SET": "+OK\r\n", "GET": "$-1\r\n"}, words: "has forgotten"},
		{ask: remember, answers: map[string]string{"SET": "-MISCONF Redis is configured to save RDB snapshots\r\n"}, words: "refuses SET: MISCONF", refused: "MISCONF"},
		{ask: info, answers: map[string]string{"INFO": "$42\r\n# Clients\r\nmaxclients:10000\r\n\r\nrole:master\r\n\r\n"}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := Ask(ctx, serve(t, c.answers), Login{Password: c.password}, c.ask)
		cancel()
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%v: %v", c.answers, err)
		}
		if Refused(err) != (c.refused != "") || c.refused != "" && !Refused(err, c.refused) {
			t.Errorf("%v: refused? %v", c.answers, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

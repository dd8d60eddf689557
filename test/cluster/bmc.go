package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// The BMC speaks lines over TCP: "ACTION NODE" is answered by "ok" or by why not, "list" by one "NODE on|off" a line.
// It answers an action when that is done, and closes the connection.

const bmcTimeout = 15 * time.Second

func (s *supervisor) serveBMC(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			s.log.Error("BMC", "err", err)
			return
		}
		go func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(bmcTimeout))
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			io.WriteString(conn, s.bmcAnswer(from, strings.TrimSpace(line)))
		}()
	}
}

func (s *supervisor) bmcAnswer(from, line string) string {
	if line == "list" {
		rep, _ := s.status(request{})
		var b strings.Builder
		for _, n := range rep.Nodes {
			fmt.Fprintf(&b, "%s %s\n", n.Name, map[bool]string{true: "on", false: "off"}[n.On])
		}
		return b.String()
	}
	action, name, _ := strings.Cut(line, " ")
	if err := s.bmcDo(from, action, name); err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}

func (s *supervisor) bmcDo(from, action, name string) (err error) {
	actions := map[string]func(*machine) error{
		"on":  (*machine).powerOn,
		"off": (*machine).powerOff,
		"reboot": func(m *machine) error {
			if err := m.powerOff(); err != nil || !s.cfg.FenceReturns {
				return err
			}
			return m.powerOn()
		},
	}
	do, ok := actions[action]
	if !ok {
		return fmt.Errorf("unknown action %q", action)
	}
	m, err := s.locked(name)
	if err != nil {
		return err
	}
	err = do(m)
	e := Event{Time: time.Now(), From: from, Action: action, Node: name}
	if err != nil {
		e.Error = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	return err
}

// ask puts one line to the BMC at addr and returns its answer.
func ask(addr, line string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, bmcTimeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(bmcTimeout))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	out, err := io.ReadAll(conn)
	if err == nil && len(out) == 0 {
		err = errors.New("the BMC did not answer")
	}
	return string(out), err
}

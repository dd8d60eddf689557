package sqlping

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// packet frames a body as the protocol does.
func packet(seq byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}) + body
}

func errPacket(seq byte, code uint16, text string) string {
	return packet(seq, string([]byte{0xff, byte(code), byte(code >> 8)})+text)
}

const okBody = "\x00\x00\x00\x02\x00\x00\x00"

// fakeGreeting is a greeting as MariaDB 10.11 sends it (HandshakeV10).
var fakeGreeting = packet(0, "\x0a5.5.5-10.11.19-MariaDB\x00"+"\x01\x00\x00\x00"+"abcdefgh\x00"+"\xfe\xf7"+"\x2d"+"\x02\x00"+"\xff\x81"+"\x15"+
	strings.Repeat("\x00", 6)+"\x1d\x00\x00\x00"+"ijklmnopqrst\x00"+"mysql_native_password\x00")

// fake is a listener that hands every connection to serve.
func fake(t testing.TB, serve func(net.Conn)) Target {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	target := Target{Socket: filepath.Join(dir, "s"), User: "root", Password: "c0rrect-horse"}
	l, err := net.Listen("unix", target.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return target
}

// say sends the packets, each but the first after one read, and hangs up when the client does or, if hangup, at once.
func say(hangup bool, packets ...string) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for i, p := range packets {
			if i > 0 {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
			if _, err := io.WriteString(c, p); err != nil {
				return
			}
		}
		if !hangup {
			io.Copy(io.Discard, c)
		}
	}
}

func TestFakes(t *testing.T) {
	ok := packet(2, okBody)
	authSwitch := func(plugin string) string { return packet(2, "\xfe"+plugin+"\x00"+strings.Repeat("x", 20)+"\x00") }
	for name, c := range map[string]struct {
		serve func(net.Conn)
		state State
		parts []string
	}{
		"healthy":           {say(false, fakeGreeting, ok, packet(1, okBody)), Healthy, []string{"10.11.19-MariaDB"}},
		"silent":            {say(false), Hung, []string{"greeting: no answer within"}},
		"silent at login":   {say(false, fakeGreeting), Hung, []string{"login: no answer within"}},
		"silent at ping":    {say(false, fakeGreeting, ok), Hung, []string{"ping: no answer within"}},
		"half a header":     {say(false, fakeGreeting[:3]), Hung, []string{"greeting"}},
		"half a greeting":   {say(false, fakeGreeting[:30]), Hung, []string{"greeting"}},
		"hangs up":          {say(true), Unknown, []string{"greeting: connection closed without an answer"}},
		"hangs up early":    {say(true, fakeGreeting[:30]), Unknown, []string{"greeting: connection closed"}},
		"hangs up at login": {say(true, fakeGreeting, ""), Unknown, []string{"login: connection closed"}},
		"hangs up at ping":  {say(true, fakeGreeting, ok, ""), Unknown, []string{"ping: connection closed"}},
		"ssh":               {say(false, "SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), Foreign, []string{"not the MySQL protocol", "SSH-2.0", "find who listens"}},
		"http":              {say(true, "HTTP/1.1 400 Bad Request\r\n\r\n"), Foreign, []string{"HTTP/1.1"}},
		"smtp":              {say(false, "220 mail ESMTP\r\n"), Foreign, []string{"220 mail"}},
		"tls":               {say(false, "\x15\x03\x01\x00\x02\x02\x46"), Foreign, nil},
		"x protocol":        {say(false, "\x05\x00\x00\x00\x0b\x08\x05\x1a\x00"), Foreign, []string{"X protocol", "3306"}},
		"zeros":             {say(false, strings.Repeat("\x00", 100)), Foreign, nil},
		"protocol 9":        {say(false, packet(0, "\x093.20\x00\x01\x00\x00\x00abcdefgh\x00")), Foreign, nil},
		"short greeting":    {say(false, packet(0, "\x0a4.0\x00\x01\x00\x00\x00abcdefgh\x00\x0c\x00")), Foreign, nil},
		"endless version":   {say(false, packet(0, "\x0a"+strings.Repeat("9", 100))), Foreign, nil},
		"large greeting":    {say(false, packet(0, "\x0a"+strings.Repeat("9", 5000))), Foreign, nil},
		"short error":       {say(false, packet(0, "\xff\x10")), Foreign, nil},
		"garbled login":     {say(false, fakeGreeting, packet(2, "\xff")), Foreign, []string{"garbled login"}},
		"unknown plugin":    {say(false, fakeGreeting, authSwitch("auth_gssapi_client")), Degraded, []string{"plugin", "the server is alive"}},
		"clear password":    {say(false, fakeGreeting, authSwitch("mysql_clear_password")), Degraded, []string{"the server is alive"}},
		"old password":      {say(false, fakeGreeting, packet(2, "\xfe")), Degraded, []string{"the server is alive"}},
		"shutdown at ping":  {say(false, fakeGreeting, ok, errPacket(1, 1053, "#08S01Server shutdown in progress")), Degraded, []string{"error 1053", "wait for it"}},
		"hostile text":      {say(false, errPacket(0, 1040, "Too\nmany\x1b[31m\x00 \xff"+strings.Repeat("x", 500))), Degraded, []string{"error 1040: Too many"}},
		"slow": {func(c net.Conn) {
			for _, b := range []byte(fakeGreeting) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
			say(false, "", ok, packet(1, okBody))(c)
		}, Healthy, nil},
		"too slow": {func(c net.Conn) {
			for _, b := range []byte(fakeGreeting) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}, Hung, []string{"greeting"}},
	} {
		t.Run(name, func(t *testing.T) {
			target := fake(t, c.serve)
			budget := 20 * time.Second
			if c.state == Hung {
				budget = 400 * time.Millisecond
			}
			start := time.Now()
			a := Ping(within(t, budget), target)
			if d := time.Since(start); d > budget+10*time.Second {
				t.Errorf("took %s of %s", d, budget)
			}
			check(t, a, c.state, c.parts...)
			if len(a.Reason()) > 700 {
				t.Errorf("reason of %d bytes", len(a.Reason()))
			}
			if name == "shutdown at ping" != a.Stopping() {
				t.Errorf("Stopping() = %v", a.Stopping())
			}
		})
	}
}

// TestErrorPackets: whatever number a server sends, before, in or after the login, it is alive.
func TestErrorPackets(t *testing.T) {
	codes := []uint16{1, 1064, 9999, 65534}
	for code := range advice() {
		codes = append(codes, code)
	}
	for _, code := range codes {
		for name, serve := range map[string]func(net.Conn){
			"before the greeting":       say(true, errPacket(0, code, "text")),
			"before it, with state":     say(true, errPacket(0, code, "#08004text")),
			"before it, wrong sequence": say(true, errPacket(1, code, "text")),
			"in the login":              say(true, fakeGreeting, errPacket(2, code, "#28000text")),
			"after the login":           say(true, fakeGreeting, packet(2, okBody), errPacket(1, code, "#HY000text")),
		} {
			a := Ping(within(t, 2*time.Second), fake(t, serve))
			check(t, a, Degraded, fmt.Sprintf("error %d: text", code), cmp.Or(advice()[code], "see the server's error log"))
			if a.Err != nil && a.Err.Code != code {
				t.Errorf("%s: code %d, want %d", name, a.Err.Code, code)
			}
		}
	}
}

// TestTruncated cuts the conversation after every byte: never healthy, never a panic, never past the deadline.
func TestTruncated(t *testing.T) {
	ok := packet(2, okBody)
	for n := range len(fakeGreeting) {
		check(t, Ping(within(t, time.Second), fake(t, say(true, fakeGreeting[:n]))), Unknown)
	}
	for n := range len(ok) {
		check(t, Ping(within(t, time.Second), fake(t, say(true, fakeGreeting, ok[:n]))), Unknown)
	}
}

func TestNoListener(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for name, c := range map[string]struct {
		target Target
		state  State
		part   string
	}{
		"no socket":    {Target{Socket: filepath.Join(dir, "none")}, Dead, "no such file"},
		"no directory": {Target{Socket: file + "/s"}, Dead, "not a directory"},
		"stale socket": {Target{Socket: stale}, Dead, "refused"},
		"plain file":   {Target{Socket: file}, Dead, "refused"},
		"closed port":  {Target{Address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}, Dead, "refused"},
		"long path":    {Target{Socket: "/tmp/" + strings.Repeat("x", 120)}, Unknown, "invalid argument"},
		"no port":      {Target{Address: "127.0.0.1"}, Unknown, "missing port"},
		"nothing":      {Target{}, Unknown, "neither a socket nor an address"},
		"no such name": {Target{Address: "no-such-host.invalid:3306"}, Unknown, "does not resolve"},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, Ping(within(t, 2*time.Second), c.target), c.state, "connect", c.part)
		})
	}
	t.Run("forbidden", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("SKIP: needs a user other than root")
		}
		shut := filepath.Join(dir, "shut")
		if err := os.Mkdir(shut, 0); err != nil {
			t.Fatal(err)
		}
		check(t, Ping(t.Context(), Target{Socket: shut + "/s"}), Unknown, "permission denied", "as root")
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		check(t, Ping(ctx, fake(t, say(false))), Unknown, "given up by the caller")
		check(t, Ping(ctx, fake(t, say(false))), Unknown, "given up by the caller")
	})
}

// TestFullQueue: a socket whose queue is full takes no connection; when it has room again, the wait ends well.
func TestFullQueue(t *testing.T) {
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	target := Target{Socket: filepath.Join(dir, "s"), User: "root"}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: target.Socket}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for full := false; !full; { // until the queue, of one, is full
		c, err := net.DialTimeout("unix", target.Socket, time.Second)
		if full = errors.Is(err, syscall.EAGAIN); !full {
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	start := time.Now()
	check(t, Ping(within(t, 400*time.Millisecond), target), Hung, "connect: its queue of connections stayed full for 1", "the server hangs")
	if d := time.Since(start); d > 300*time.Millisecond {
		t.Errorf("took %s, the connection's share is 100ms", d)
	}

	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	time.AfterFunc(200*time.Millisecond, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go say(true, fakeGreeting, packet(2, okBody), packet(1, okBody))(c)
		}
	})
	check(t, Ping(within(t, 10*time.Second), target), Healthy)
}

func TestTargetKeepsItsPassword(t *testing.T) {
	target := Target{Socket: "/run/s", Password: "c0rrect-horse"}
	js, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(target), fmt.Sprintf("%+v %#v %v", target, target, &target), fmt.Sprintf("%+v", Answer{Target: target}), string(js)} {
		if strings.Contains(s, "c0rrect") || !strings.Contains(s, "/run/s") {
			t.Errorf("%s", s)
		}
	}
}

// TestNoLeak: an agent is a short process, but a library must not count on that.
func TestNoLeak(t *testing.T) {
	for _, serve := range []func(net.Conn){
		say(false, fakeGreeting, packet(2, okBody), packet(1, okBody)), say(true), say(true, fakeGreeting, ""), say(false, errPacket(0, 1040, "x")),
	} {
		target := fake(t, serve)
		before := runtime.NumGoroutine()
		for range 20 {
			Ping(within(t, time.Second), target)
		}
		eventually(t, 5*time.Second, func() error {
			if n := runtime.NumGoroutine(); n > before+2 {
				return fmt.Errorf("%d goroutines, %d before", n, before)
			}
			return nil
		})
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte(fakeGreeting))
	f.Add([]byte(errPacket(0, 1040, "#08004Too many connections")))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := greeting(b)
		for n := range b {
			if w, e := greeting(b[:n]); w && err != nil || e != nil && err == nil {
				t.Fatalf("the first %d bytes: %v, %v; all: %v, %v", n, w, e, whole, err)
			}
		}
		if whole && b[4] == 10 && strings.ContainsAny(version(b), "\n\x00") {
			t.Fatalf("version %q", version(b))
		}
	})
}

// FuzzServer: a conversation whose server side is these bytes never panics and never takes garbage for health without a
// greeting and two OKs.
func FuzzServer(f *testing.F) {
	f.Add([]byte(fakeGreeting + packet(2, okBody) + packet(1, okBody)))
	f.Add([]byte(fakeGreeting + errPacket(2, 1045, "#28000no")))
	f.Add([]byte(fakeGreeting + packet(2, "\xfecaching_sha2_password\x00"+strings.Repeat("x", 20)+"\x00") + packet(4, "\x01\x04") + packet(6, "\x01-----BEGIN")))
	f.Add([]byte(fakeGreeting + packet(2, "\xfesha256_password\x00"+strings.Repeat("x", 20)+"\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := within(t, 5*time.Second)
		wire := &greeted{Conn: &canned{Reader: bytes.NewReader(b)}}
		if wire.greet(ctx) != nil {
			return
		}
		conn, err := login(ctx, Target{Address: "127.0.0.1:1", User: "u", Password: "p"}, wire)
		if err != nil {
			return
		}
		defer conn.Close()
		if !bytes.HasPrefix(b[4:], []byte{10}) {
			t.Fatalf("logged in without a greeting: %q", b)
		}
	})
}

// canned is a connection whose other end says these bytes, whatever it is told.
type canned struct{ io.Reader }

func (*canned) Write(p []byte) (int, error)      { return len(p), nil }
func (*canned) Close() error                     { return nil }
func (*canned) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (*canned) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (*canned) SetDeadline(time.Time) error      { return nil }
func (*canned) SetReadDeadline(time.Time) error  { return nil }
func (*canned) SetWriteDeadline(time.Time) error { return nil }

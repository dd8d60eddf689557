package sockets

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:25E0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1388 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 20 4 30 10 -1
`

func TestParse(t *testing.T) {
	at := netip.MustParseAddrPort
	none := at("0.0.0.0:0")
	for state, want := range map[State][]Socket{
		Listen:      {{at("127.0.0.1:5000"), none, "4711"}, {at("0.0.0.0:9696"), none, "4712"}},
		Established: {{at("127.0.0.1:5000"), at("127.0.0.1:54000"), "4713"}},
	} {
		if got, err := parse(strings.NewReader(table), state); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	if got, err := parseHex("B80D0120000000000000000001000000:0050"); err != nil || got != at("[2001:db8::1]:80") {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(table, byte(Listen))
	f.Add(table, byte(Established))
	f.Fuzz(func(t *testing.T, text string, state byte) {
		list, err := parse(strings.NewReader(text), State(state))
		for _, s := range list {
			if err == nil && (!s.Local.IsValid() || !s.Remote.IsValid()) {
				t.Errorf("%v", s)
			}
		}
	})
}

// TestKernel: the kernel's own tables, in both of its ways, with sockets of this process in them.
func TestKernel(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if strings.HasPrefix(address, "[") {
				continue // no IPv6 here; the parser has its own test
			}
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ends := func(local, remote string) func(Socket) bool {
			return func(s Socket) bool { return s.Local.String() == local && (remote == "" || s.Remote.String() == remote) }
		}
		for state, mine := range map[State]func(Socket) bool{
			Listen:      ends(l.Addr().String(), ""),
			Established: ends(c.LocalAddr().String(), l.Addr().String()),
		} {
			fast, err := diagnose(state)
			if err != nil {
				t.Error(err) // works, but slower
			}
			slow, err := inProc("self", state)
			i, j := slices.IndexFunc(fast, mine), slices.IndexFunc(slow, mine)
			if err != nil || i < 0 || j < 0 || fast[i] != slow[j] {
				t.Fatalf("state %d of %s is not among both %v and %v: %v", state, l.Addr(), fast, slow, err)
			}
			if own, err := Of(os.Getpid(), state); err != nil || !slices.Contains(own, fast[i]) {
				t.Errorf("%v is not among this process's %v: %v", fast[i], own, err)
			}
			if s, found, err := First(os.Getpid(), append([]Socket{{Inode: "none"}}, slow...)); err != nil || !found || !slices.Contains(slow, s) {
				t.Errorf("the first of %v is %v, %v: %v", slow, s, found, err)
			}
			if _, found, err := First(os.Getpid(), []Socket{{Inode: "none"}}); err != nil || found {
				t.Errorf("found what nobody has: %v", err)
			}
			if theirs, err := Of(1, state); err == nil && slices.Contains(theirs, fast[i]) {
				t.Errorf("%v is this process's, and not that of process 1", fast[i])
			}
		}
	}
	if _, err := Of(1<<30, Listen); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no process: %v", err)
	}
}

// A unix socket is its process's under the name that it was given, whatever became of the file.
func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with a blank")
	for _, name := range []string{path, "@" + path} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	got, err := Unix(os.Getpid())
	if err != nil || !slices.Contains(got, path) || !slices.Contains(got, "@"+path) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := Unix(os.Getppid()); slices.Contains(got, path) {
		t.Errorf("another process has it: %q, %v", got, err)
	}
}

package daemon

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// me is the process of this test.
func me(t *testing.T) *Process {
	t.Helper()
	p, err := open("", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestListens(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	want := func(want bool) {
		t.Helper()
		if ours, err := Listens(port)(t.Context(), me(t)); ours != want || err != nil {
			t.Errorf("listens on %d: %t, %v", port, ours, err)
		}
	}
	want(true)
	_ = l.Close()
	want(false)
}

func TestHoldsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds := func(path string, want bool) {
		t.Helper()
		if ours, err := HoldsFile(path)(t.Context(), me(t)); ours != want || err != nil {
			t.Errorf("holds %s: %t, %v", path, ours, err)
		}
	}
	holds(path, true)
	holds(path+"x", false)
	other := filepath.Join(t.TempDir(), "link")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	holds(other, true)
	_ = os.Remove(path)
	holds(path, true)
	_ = f.Close()
	holds(other, false)
}

func TestHasOption(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"served", "-p", "11211"}, true},
		{[]string{"served", "-p11211"}, true},
		{[]string{"served", "-v", "--port", "11211"}, true},
		{[]string{"served", "--port=11211"}, true},
		{[]string{"served", "-p", "11212"}, false},
		{[]string{"served", "-P", "11211"}, false},
		{[]string{"served", "-p"}, false},
		{[]string{"-p11211"}, false},
		{nil, false},
	} {
		if got := hasOption(c.args, "11211", []string{"-p", "--port"}); got != c.want {
			t.Errorf("%q: %t", c.args, got)
		}
	}
	if ours, err := HasOption("11211", "-p")(t.Context(), me(t)); ours || err != nil {
		t.Errorf("this test has no such option: %t, %v", ours, err)
	}
}

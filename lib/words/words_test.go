package words_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/words"
)

func TestLine(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"as it is", "as it is"},
		{"two\nlines,\ta tab and  blanks ", "two lines, a tab and blanks"},
		{"\x1b[31mred\x07", "[31mred"},
		{"Größe \xff", "Größe ?"},
		{strings.Repeat("x", 301), strings.Repeat("x", 300) + "..."},
		{strings.Repeat("x", 299) + "é", strings.Repeat("x", 299) + "..."},
	} {
		if got := words.Line(row.in); got != row.want {
			t.Errorf("%q: got %q, want %q", row.in, got, row.want)
		}
	}
}

func TestError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, refused := net.Dial("tcp", l.Addr().String())
	_, missing := net.Dial("unix", t.TempDir()+"/socket")
	for _, row := range []struct {
		in   error
		want string
	}{
		{refused, "connection refused"},
		{missing, "no such file or directory"},
		{errors.Join(errors.New("one"), errors.New("two")), "one; two"},
		{fmt.Errorf("over TLS: %w", refused), "over TLS: " + refused.Error()},
	} {
		if got := words.Error(row.in); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}

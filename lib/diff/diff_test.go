package diff

import (
	"slices"
	"testing"
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		before, after string
		want          []string
	}{
		{"", "", nil},
		{"", "a\n", []string{"+ a"}},
		{"a\nb\nc\n", "a\nx\nc", []string{"  a", "- b", "+ x", "  c"}},
		{"a\nb", "b\na", []string{"- a", "  b", "+ a"}},
	} {
		if got := Lines(c.before, c.after); !slices.Equal(got, c.want) {
			t.Errorf("%q to %q: %q", c.before, c.after, got)
		}
	}
}

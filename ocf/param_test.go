package ocf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	var (
		s string
		b bool
		n int
		d time.Duration
		w []string
	)
	port := Int(&n, 1, 65535)
	for _, c := range []struct {
		v    Value
		in   string
		want func() bool // nil: an error
	}{
		{Bool(&b), "YES", func() bool { return b }},
		{Bool(&b), "on", func() bool { return b }},
		{Bool(&b), "0", func() bool { return !b }},
		{Bool(&b), "maybe", nil},
		{port, "3306", func() bool { return n == 3306 }},
		{port, "0", nil},
		{port, "65536", nil},
		{port, "33 06", nil},
		{Duration(&d), "10", func() bool { return d == 10*time.Second }},
		{Duration(&d), "500ms", func() bool { return d == 500*time.Millisecond }},
		{Duration(&d), "2min", func() bool { return d == 2*time.Minute }},
		{Duration(&d), "-1s", nil},
		{Duration(&d), "10 parsecs", nil},
		{Duration(&d), "9223372036854775807h", nil},
		{Path(&s), "/var//lib/", func() bool { return s == "/var/lib" }},
		{Path(&s), "var/lib", nil},
		{OneOf(&s, "a", "b"), "b", func() bool { return s == "b" }},
		{OneOf(&s, "a", "b"), "c", nil},
		{Words(&w), `--a="b c" d\ e 'f "g' ""`, func() bool { return slices.Equal(w, []string{"--a=b c", "d e", `f "g`, ""}) }},
		{Words(&w), `--a="b`, nil},
		{Words(&w), `a\`, nil},
	} {
		err := c.v.Set(c.in)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%q: %v", c.in, err)
		} else if c.want != nil && !c.want() {
			t.Errorf("%q was read wrongly: %q %v %d %v %q", c.in, s, b, n, d, w)
		}
	}
}

func TestBindNamesWhatIsWrongAndKeepsDefaults(t *testing.T) {
	var port int
	var passwd, need string
	errs := bind([]Parameter{
		{Name: "port", Value: Int(&port, 1, 9), Default: "7"},
		{Name: "passwd", Value: OneOf(&passwd, "x"), Secret: true},
		{Name: "need", Value: String(&need), Required: true, Short: "what it is"},
	}, map[string]string{"OCF_RESKEY_port": "abc", "OCF_RESKEY_passwd": "hunter22"})
	if len(errs) != 3 || port != 7 {
		t.Fatalf("port %d, errors %v", port, errs)
	}
	all := fmt.Sprint(errs)
	for _, want := range []string{`port="abc"`, "from 1 to 9", "passwd=(secret)", "need is required"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	if strings.Contains(all, "hunter22") {
		t.Error("the secret is in the error")
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "a b", `"a b"`, `'\'`, `\`, `a"b'c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'"
		}
		again, err := splitWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Errorf("%q: %q, quoted and read again %q, %v", s, words, again, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	f.Add("10")
	f.Add("500ms")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}

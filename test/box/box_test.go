package box

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m, "/var/lib/mysql") }

func TestInside(t *testing.T) {
	Need(t)
	if h, _ := os.Hostname(); h != "box" {
		t.Errorf("hostname %q", h)
	}
	if got := Sh(t, "ls -d /proc/[0-9]* | wc -l"); len(got) > 1 {
		t.Errorf("%s processes in a new box", got)
	}
	if b, err := os.ReadFile("/proc/net/dev"); err != nil || strings.Count(string(b), ":") != 1 {
		t.Errorf("interfaces: %s %v", b, err)
	}
	if e, err := os.ReadDir("/var/lib/mysql"); err != nil || len(e) != 0 {
		t.Errorf("hidden directory: %v %v", e, err)
	}
}

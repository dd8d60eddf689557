package filesystem

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is also the process that [Question.Ask] starts, for /proc/self/exe is this program.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != AskCommand {
		os.Exit(m.Run())
	}
	switch question := os.Args[3]; {
	case strings.Contains(question, "to crash"):
		panic("out of something")
	case strings.Contains(question, "to end"):
		os.Exit(3)
	}
	if err := Answer(context.Background(), os.Stdout, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestAsk: the storage's answer is told, and that the process that asks it has failed, with what it said of that.
func TestAsk(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct{ device, want string }{
		{"", ""},
		{filepath.Join(dir, "nowhere"), "its device cannot be read: open " + dir + "/nowhere: no such file or directory"},
		{"to crash", "the process that asks it failed: exit status 2: panic: out of something"},
		{"to end", "the process that asks it failed: exit status 3: it said nothing"},
	} {
		q := Question{Lock: filepath.Join(dir, "lock"), Device: row.device, File: filepath.Join(dir, "folder", "file"), Content: "mine"}
		said := ""
		if err := q.Ask(t.Context()); err != nil {
			said = err.Error()
		}
		if said != row.want {
			t.Errorf("%q: %q, want %q", row.device, said, row.want)
		}
	}
}

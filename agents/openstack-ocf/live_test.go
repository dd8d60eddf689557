package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What goes on stands below the lines, and nothing of it is left.
func TestLive(t *testing.T) {
	var text bytes.Buffer
	l := &live{out: &text}
	want := errors.New("why")
	fmt.Fprintln(l, "first")
	err := l.during(time.Millisecond, "4m0s", func() error {
		for {
			l.mu.Lock()
			shown := strings.Count(text.String(), "(4m0s at most)")
			l.mu.Unlock()
			if shown > 1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		fmt.Fprintln(l, "second")
		return want
	})
	fmt.Fprintln(l, "third")
	if !errors.Is(err, want) {
		t.Error(err)
	}
	var left []string
	for line := range strings.Lines(text.String()) {
		if cut := strings.LastIndex(line, "\r\x1b[K"); cut >= 0 {
			line = line[cut+len("\r\x1b[K"):]
		}
		left = append(left, line)
	}
	if got := strings.Join(left, ""); got != "first\nsecond\nthird\n" {
		t.Errorf("%q", got)
	}

	text.Reset()
	if err := during(&text, "1s", func() error { return want }); !errors.Is(err, want) || text.Len() > 0 {
		t.Errorf("%v, %q", err, &text)
	}
}

package lock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "lock")
	release, err := Take(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Take(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second taker: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		again, err := Take(t.Context(), path)
		if err == nil {
			again()
		}
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

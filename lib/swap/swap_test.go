package swap

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestUntilTellsTheLastAnswer(t *testing.T) {
	asked := 0
	err := until(t.Context(), 300*time.Millisecond, func(ctx context.Context) error {
		if asked++; asked == 1 {
			return errors.New("node2 is away")
		}
		<-ctx.Done()
		return fmt.Errorf("cut short: %w", ctx.Err())
	})
	if err == nil || err.Error() != "not within 0s: node2 is away" {
		t.Error(err)
	}
}

// As long as there is news, it goes on.
func TestUntilIsBoundedByProgress(t *testing.T) {
	left := 10
	err := until(t.Context(), time.Second, func(context.Context) error {
		if left--; left > 0 {
			return fmt.Errorf("no answer from %d nodes", left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

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

//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// However long it takes, nobody gives up while something moves: something is said, or seen.
func TestMoving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := 0
		st := newStory(io.Discard)
		ctx, done := moving(t.Context(), stalled, st, func(context.Context) string { return strconv.Itoa(tables) })
		for range 10 {
			time.Sleep(stalled * 9 / 10)
			tables++
		}
		for range 10 {
			time.Sleep(stalled * 9 / 10)
			st.say("a line")
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("gave up while something moved: %v", context.Cause(ctx))
		}
		if err := done(io.ErrClosedPipe); !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, context.Canceled) {
			t.Errorf("another error becomes %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, done := moving(t.Context(), stalled, newStory(io.Discard), func(context.Context) string { return "the same" })
		began := time.Now()
		<-ctx.Done()
		if waited := time.Since(began); waited < stalled || waited > stalled*11/10 {
			t.Errorf("gave up after %v", waited)
		}
		if err := done(ctx.Err()); err == nil || !strings.HasPrefix(err.Error(), "nothing has moved for 5m0s: ") {
			t.Errorf("and says %v", err)
		}
	})
}

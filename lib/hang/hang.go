// Package hang keeps what may hang in the kernel, such as a question to storage that is gone, from hanging who asks.
package hang

import (
	"context"
	"fmt"
)

// Bound runs f until ctx ends; then f is left behind in its goroutine, and the error wraps ctx's. what is for the
// error: "the storage of /srv".
func Bound[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, fmt.Errorf("%s does not answer: %w", what, ctx.Err())
	}
}

package amqp

import (
	"context"

	goamqp "github.com/Azure/go-amqp"
)

// sender is a [goamqp.Sender].
type sender interface {
	Send(ctx context.Context, msg *goamqp.Message, opts *goamqp.SendOptions) error
}

// Send sends a message, and returns when the broker has taken it, or when ctx ends. The sender alone does not: where the connection
// is lost at the moment at which ctx ends, as one is that [Connect] has made, go-amqp 1.7.0 gives a credit back to a link that nobody
// serves any more, and waits for ever.
func Send(ctx context.Context, to sender, msg *goamqp.Message) error {
	done := make(chan error, 1)
	go func() { done <- to.Send(ctx, msg, nil) }()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil { // it words it as an error of the peer's if there was no credit
			return ctx.Err()
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

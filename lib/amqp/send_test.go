package amqp

import (
	"context"
	"errors"
	"testing"

	goamqp "github.com/Azure/go-amqp"
)

// stuck is a sender that does not return, as go-amqp's may do when its connection is lost.
type stuck struct{ began chan struct{} }

func (s stuck) Send(context.Context, *goamqp.Message, *goamqp.SendOptions) error {
	close(s.began)
	select {}
}

type done struct{ err error }

func (d done) Send(context.Context, *goamqp.Message, *goamqp.SendOptions) error { return d.err }

func TestSendEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := stuck{make(chan struct{})}
	go func() {
		<-s.began
		cancel()
	}()
	if err := Send(ctx, s, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := Send(ctx, done{errors.New("no credit")}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, want := range []error{nil, errors.New("refused")} {
		if err := Send(t.Context(), done{want}, nil); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

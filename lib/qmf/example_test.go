package qmf_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/broker"
)

// List the queues of a broker and say whether it is an HA primary.
func Example() {
	if err := report(os.Stdout, "localhost:5672"); err != nil {
		fmt.Println(err)
	}
}

func report(w io.Writer, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := amqp.Dial(ctx, "amqp://"+address, &amqp.ConnOptions{
		SASLType:   amqp.SASLTypeAnonymous(),
		Properties: map[string]any{"qpid.ha-admin": int32(1)}, // let in by a backup too
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	queues, err := c.Queues(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		fmt.Fprintf(w, "%s: %d messages, %d bytes\n", q.Name, q.Messages, q.Bytes)
	}
	ha, err := c.HA(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "HA: %s\n", ha.Status)
	return nil
}

// The example does what it says.
func TestExample(t *testing.T) {
	b := broker.Start(t, broker.Options{Args: []string{"--ha-cluster", "yes"}})
	var out strings.Builder
	if err := report(&out, b.Addr()); err != nil || !strings.HasSuffix(out.String(), "0 messages, 0 bytes\nHA: joining\n") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

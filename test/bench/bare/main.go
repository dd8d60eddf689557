// bare is what no client of an AMQP 1.0 broker can do without: it connects, logs in, and begins a session.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	amqp "github.com/Azure/go-amqp"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := amqp.Dial(ctx, "amqp://"+os.Args[1], &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err == nil {
		_, err = conn.NewSession(ctx, nil)
	}
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

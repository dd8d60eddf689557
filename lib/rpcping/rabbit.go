package rpcping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

const (
	// replyQueueLife is for how long a reply queue that nobody uses is kept: a
	// service that was frozen for so long may still reply when it thaws.
	replyQueueLife = time.Hour
	// replyLife and replyQueueLength bound what may lie in it.
	replyLife        = time.Minute
	replyQueueLength = 64
	// goodbye is for closing the connection in order.
	goodbye = time.Second
)

// rabbit calls over AMQP 0-9-1 as oslo_messaging/_drivers/impl_rabbit.py does.
func rabbit(ctx context.Context, c *call, a *Answer) {
	step, cancel := context.WithTimeout(ctx, c.share)
	defer cancel()
	raw, err := c.dial(step)
	if err != nil {
		a.classify(step, err)
		return
	}
	// Closing the socket is the one thing that ends every wait of amqp091. The
	// broker has its share of time; once it has the request, the service has the rest.
	hangUp := context.AfterFunc(step, func() { raw.Close() })
	defer func() { hangUp(); raw.Close() }()
	properties := amqp091.Table{"product": "openstack-ocf", "connection_name": c.opt.ReplyTo}
	conn, err := amqp091.Open(raw, amqp091.Config{
		SASL: []amqp091.Authentication{login{
			&amqp091.PlainAuth{Username: c.broker.User, Password: c.broker.Password.Reveal()}, properties,
		}},
		Vhost:      c.bus.VHost,
		Locale:     "en_US",
		Properties: properties,
	})
	if err != nil {
		a.classify(step, err)
		return
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(goodbye)) }()
	blocked := conn.NotifyBlocked(make(chan amqp091.Blocking, 1))

	if !c.subscribed(step, conn, a) {
		return
	}
	ch, queue, replies, err := c.listen(conn)
	if err != nil {
		a.classify(step, err)
		return
	}
	returned := ch.NotifyReturn(make(chan amqp091.Return, 1))
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	confirmed := ch.NotifyPublish(make(chan amqp091.Confirmation, 1))
	body, err := c.body(queue)
	if err != nil {
		a.Err = err
		return
	}
	if err := c.publish(step, ctx, ch, a.Server, body); err != nil {
		a.classify(step, err)
		return
	}
	taken := false
	for {
		select {
		case d, open := <-replies:
			if !open {
				replies = nil // closed will say why
			} else if c.settle(d.Body, a) {
				return
			}
		case r := <-returned:
			a.is(NoRoute, fmt.Errorf("%s for exchange %s", r.ReplyText, c.bus.Exchange))
			return
		case confirm := <-confirmed:
			if !confirm.Ack {
				a.is(Refused, errors.New("the broker did not accept the request"))
				return
			}
			taken, confirmed = true, nil
			if hangUp() { // the broker has done its part
				hangUp = context.AfterFunc(ctx, func() { raw.Close() })
			}
		case b := <-blocked:
			if b.Active {
				a.is(BrokerHung, fmt.Errorf("it blocks all publishers: %s", b.Reason))
				a.advice = "free memory or disk on the broker's node (rabbitmqctl status lists its alarms)"
				return
			}
		case err := <-closed:
			if taken && ctx.Err() != nil {
				a.is(Silent, errMute)
				return
			}
			a.hungUp(step, err)
			return
		}
	}
}

// publish sends the request; what the service did not take before ctx ends, it shall never see.
func (c *call) publish(step, ctx context.Context, ch *amqp091.Channel, server string, body []byte) error {
	deadline, _ := ctx.Deadline()
	return ch.PublishWithContext(step, c.bus.Exchange, server, true, false, amqp091.Publishing{
		ContentType:     "application/json",
		ContentEncoding: "utf-8",
		DeliveryMode:    amqp091.Transient,
		Expiration:      strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10),
		Body:            body,
	})
}

// hungUp says why the broker closed the channel.
func (a *Answer) hungUp(step context.Context, err *amqp091.Error) {
	switch {
	case err == nil:
		a.classify(step, io.EOF)
	case err.Code == amqp091.NotFound:
		a.is(NoRoute, errors.New(err.Reason)) // the service has not even made its exchange
	default:
		a.classify(step, err)
	}
}

// dial opens the socket, with TLS if the bus wants it.
func (c *call) dial(ctx context.Context) (net.Conn, error) {
	raw, err := c.opt.Dial(ctx, "tcp", c.broker.Address())
	if err != nil {
		return nil, err
	}
	if c.bus.TLS == nil {
		return raw, nil
	}
	conn, err := handshake(ctx, raw, c.bus.TLS, c.broker.Host)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// subscribed looks whether anybody consumes from the server's queue, so that
// nothing is sent that would wait there. On a false the answer is set.
func (c *call) subscribed(ctx context.Context, conn *amqp091.Connection, a *Answer) bool {
	ch, err := conn.Channel()
	if err != nil {
		a.classify(ctx, err)
		return false
	}
	q, err := ch.QueueDeclarePassive(a.Server, false, false, false, false, nil)
	var code *amqp091.Error
	switch {
	case err == nil && q.Consumers > 0:
		_ = ch.Close()
		return true
	case errors.As(err, &code) && code.Code == amqp091.NotFound:
		a.is(NoRoute, errors.New(code.Reason))
	case err == nil:
		a.is(NoRoute, fmt.Errorf("its queue is there, with %d messages, and nobody reads it", q.Messages))
	default:
		a.classify(ctx, err)
	}
	return false
}

// listen declares and reads the first reply queue that nobody else reads.
func (c *call) listen(conn *amqp091.Connection) (*amqp091.Channel, string, <-chan amqp091.Delivery, error) {
	args := amqp091.Table{
		"x-expires":     replyQueueLife.Milliseconds(),
		"x-message-ttl": replyLife.Milliseconds(),
		"x-max-length":  int64(replyQueueLength),
	}
	var last error
	for i := range replyQueues {
		name := replyQueue(c.opt.ReplyTo, i)
		ch, err := conn.Channel()
		if err != nil {
			return nil, "", nil, err
		}
		// Neither durable nor exclusive: as the services' own reply queues.
		_, err = ch.QueueDeclare(name, false, false, false, false, args)
		if err == nil {
			// Services before oslo.messaging 2.0 or so reply to an exchange of the queue's name.
			err = ch.ExchangeDeclare(name, "direct", false, true, false, false, nil)
		}
		if err == nil {
			err = ch.QueueBind(name, name, name, false, nil)
		}
		var replies <-chan amqp091.Delivery
		if err == nil {
			replies, err = ch.Consume(name, "", true, true, false, false, nil)
		}
		if err == nil {
			return ch, name, replies, ch.Confirm(false)
		}
		last = fmt.Errorf("reply queue %s: %w", name, err)
		var code *amqp091.Error
		inUse := errors.As(err, &code) && code.Code == amqp091.AccessRefused
		otherArgs := errors.As(err, &code) && code.Code == amqp091.PreconditionFailed // of an older release of ours
		if !inUse && !otherArgs {
			break
		}
	}
	return nil, "", nil, last
}

// classify turns an error of dialling, TLS or AMQP 0-9-1 into a state; ctx is
// the one that bounded the step.
func (a *Answer) classify(ctx context.Context, err error) {
	var (
		code   *amqp091.Error
		lookup *net.DNSError
		wait   net.Error
	)
	isCode := errors.As(err, &code)
	switch {
	case isCode && code.Server && refusals()[code.Code]:
		a.is(Refused, say(err, code))
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &lookup):
		a.is(BrokerUnreachable, err)
	case errors.Is(ctx.Err(), context.Canceled):
		a.is(Doubt, err)
	case ctx.Err() != nil, errors.As(err, &wait) && wait.Timeout():
		a.is(BrokerHung, errors.New("no answer in time"))
	case isCode && refusals()[code.Code]: // what the library guesses when the broker hangs up on a login
		a.is(Refused, say(err, code))
	case errors.Is(err, errTLS):
		a.is(Refused, err)
		a.advice = "check the certificates of the broker and the service's ssl options"
	default:
		// A reset, an end of file, another protocol: whoever it is, no bus.
		a.is(BrokerUnreachable, say(err, code))
	}
}

// refusals are the reply codes by which a broker that works does not serve us.
func refusals() map[int]bool {
	return map[int]bool{
		amqp091.NotFound: true, amqp091.AccessRefused: true, amqp091.NotAllowed: true,
		amqp091.ResourceLocked: true, amqp091.PreconditionFailed: true, amqp091.ResourceError: true,
	}
}

// say is err without the client library's own words around the broker's.
func say(err error, code *amqp091.Error) error {
	if code == nil {
		return err
	}
	return errors.New(strings.Replace(err.Error(), code.Error(), code.Reason, 1))
}

// login makes the broker say that it refuses a password, instead of nothing
// for 3 seconds, by a capability that the client library leaves out. The
// library asks for the response after it has set the others.
type login struct {
	amqp091.Authentication
	properties amqp091.Table
}

func (l login) Response() string {
	if capabilities, ok := l.properties["capabilities"].(amqp091.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return l.Authentication.Response()
}

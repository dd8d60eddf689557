package swap

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// messages is a broker as its client sees it: over one connection, which breaks if the broker is restarted, it sends
// itself messages.
type messages struct {
	dial scenario.Dialer
	addr string
	conn *amqp.Conn
	send *amqp.Sender
	recv *amqp.Receiver
}

func talk(t *testing.T, c *cluster.Cluster, addr string) *scenario.Writer {
	return write(t, &messages{dial: c.Dial, addr: addr}, 50*time.Millisecond)
}

func (m *messages) Put(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := m.connect(ctx)
	if err == nil {
		err = m.send.Send(ctx, amqp.NewMessage([]byte(strconv.Itoa(n))), nil)
	}
	var back *amqp.Message
	if err == nil {
		back, err = m.recv.Receive(ctx, nil)
	}
	if err == nil {
		if err = m.recv.AcceptMessage(ctx, back); err == nil && string(back.GetData()) != strconv.Itoa(n) {
			err = errors.New("the broker returned another message")
		}
	}
	if err != nil {
		_ = m.Close()
	}
	return err
}

func (m *messages) connect(ctx context.Context) error {
	if m.conn != nil {
		return nil
	}
	c, err := m.dial(ctx, "tcp", m.addr)
	if err != nil {
		return err
	}
	conn, err := amqp.NewConn(ctx, c, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err != nil {
		_ = c.Close()
		return err
	}
	s, err := conn.NewSession(ctx, nil)
	if err == nil {
		m.recv, err = s.NewReceiver(ctx, "", &amqp.ReceiverOptions{DynamicAddress: true})
	}
	if err == nil {
		m.send, err = s.NewSender(ctx, m.recv.Address(), nil)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	m.conn = conn
	return nil
}

func (m *messages) Numbers(context.Context) ([]int, error) {
	return nil, errors.New("what was sent has been received")
}

func (m *messages) Close() error {
	if m.conn == nil {
		return nil
	}
	conn := m.conn
	m.conn = nil
	return conn.Close()
}

package scenario

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/Azure/go-amqp"

	ocfamqp "github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/cluster"
)

// brokerConf has the broker make the addresses that oslo.messaging's amqp driver subscribes to.
const brokerConf = "auth=no\nqueue-patterns=exclusive\nqueue-patterns=unicast\ntopic-patterns=broadcast\n"

// BrokerDir is where the broker's disk is mounted.
const BrokerDir = "/var/lib/qpidd"

// Broker is the document's message broker, in the group, with a message store on a disk of its own: a real qpidd
// where there is one on this machine, else the stand-in, which keeps nothing over a restart. The error says what
// both lack.
func Broker() (Service, broker.Kind, error) {
	const conf, bin = "/etc/qpid/qpidd.conf", "/usr/sbin/qpidd"
	path, err := broker.Find()
	if err != nil {
		return Service{}, "", err
	}
	s := Service{
		ID: "qpidd", Agent: "ocf:openstack:qpidd", Speaks: "AMQP", Unit: "messages", Dir: BrokerDir,
		Options: []string{"user=daemon", "shared_storage=true"},
		Daemon:  []string{"qpidd"},
		Files:   []cluster.File{{Path: conf, Content: brokerConf}},
		Fill: func(ctx context.Context, n *cluster.Node, dir string) error {
			_, err := n.Exec(ctx, "chown", "daemon", dir)
			return err
		},
		Ledger: func(dial Dialer) (Ledger, error) { return &amqpLedger{dial: dial, addr: FloatingIP + ":5672"}, nil },
	}
	if path != "" {
		s.Options = append(s.Options, "binary="+path, "store=linearstore")
		return s, broker.Real, nil
	}
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		return Service{}, "", err
	}
	s.Daemon = []string{filepath.Base(python)}
	s.Forgets = true
	s.Files = append(s.Files, cluster.File{Path: bin, Content: string(broker.Script()), Mode: 0o755})
	return s, broker.StandIn, nil
}

// ReplicatedIP is the address of the replicated broker that is promoted.
const ReplicatedIP = "10.76.0.101"

// ReplicatedBroker is a broker on every node beside the group, each with a store of its own: one is promoted and has an address, and
// the others have what it has. The error says what is missing.
func ReplicatedBroker() (Service, error) {
	path, err := broker.Find()
	if err != nil {
		return Service{}, err
	}
	if path == "" || !broker.Replicates(path) {
		return Service{}, errors.New("needs qpidd with its module ha")
	}
	return Service{
		ID: "qpidd", Agent: "ocf:openstack:qpidd", Speaks: "AMQP", Unit: "messages", Diskless: true, IP: ReplicatedIP,
		// It writes a page to its store 10 ms after the last message in it, and not 500: only then is a durable one acknowledged.
		Options: []string{"user=daemon", "binary=" + path, "store=linearstore", "additional_parameters=--journal-flush-timeout=10ms"},
		Daemon:  []string{"qpidd"},
		Files:   []cluster.File{{Path: "/etc/qpid/qpidd.conf", Content: brokerConf}},
		Ledger:  func(dial Dialer) (Ledger, error) { return &amqpLedger{dial: dial, addr: ReplicatedIP + ":5672"}, nil },
	}, nil
}

// DialAMQP connects to a broker.
func DialAMQP(ctx context.Context, dial Dialer, addr string) (*amqp.Conn, *amqp.Session, error) {
	c, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	conn, err := amqp.NewConn(ctx, c, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	session, err := conn.NewSession(ctx, nil)
	return conn, session, err
}

// DurableQueue is a sender to a durable queue, which it makes if there is none.
func DurableQueue(ctx context.Context, conn *amqp.Conn, session *amqp.Session, name string) (*amqp.Sender, error) {
	console, err := qmf.New(ctx, conn)
	if err != nil {
		return nil, err
	}
	_, err = console.Call(ctx, qmf.BrokerName, "create", map[string]any{
		"type": "queue", "name": name, "properties": map[string]any{"durable": true, "qpid.max_size": int64(1 << 30)}, "strict": true,
	})
	_ = console.Close(ctx)
	var exists *qmf.Error
	if err != nil && !errors.As(err, &exists) {
		return nil, err
	}
	return session.NewSender(ctx, name, nil)
}

// SendNumber sends n as a durable message, and returns when the broker has accepted it.
func SendNumber(ctx context.Context, to *amqp.Sender, n int) error {
	m := amqp.NewMessage([]byte(strconv.Itoa(n)))
	m.Header = &amqp.MessageHeader{Durable: true}
	return ocfamqp.Send(ctx, to, m)
}

// NumberIn is what SendNumber has put into a message.
func NumberIn(m *amqp.Message) (int, error) { return strconv.Atoi(string(m.GetData())) }

// queue is where the ledger's messages are.
const queue = "ledger"

// amqpLedger keeps numbers as durable messages in a durable queue.
type amqpLedger struct {
	dial Dialer
	addr string
	conn *amqp.Conn // nil: not connected
	send *amqp.Sender
}

// A durable message takes the broker's store about half a second.
const (
	amqpConnect = 500 * time.Millisecond
	amqpSend    = 2 * time.Second
)

func (l *amqpLedger) connect(ctx context.Context) (*amqp.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, amqpConnect)
	defer cancel()
	conn, session, err := DialAMQP(ctx, l.dial, l.addr)
	l.conn = conn
	return session, err
}

// drop forgets a connection that failed; closing it politely could take longer than making a new one.
func (l *amqpLedger) drop() {
	if l.conn != nil {
		go l.conn.Close()
	}
	l.conn, l.send = nil, nil
}

func (l *amqpLedger) sender(ctx context.Context) error {
	s, err := l.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, amqpSend)
	defer cancel()
	l.send, err = DurableQueue(ctx, l.conn, s, queue)
	return err
}

func (l *amqpLedger) Put(ctx context.Context, n int) (err error) {
	defer func() {
		if err != nil {
			l.drop()
		}
	}()
	if l.send == nil {
		if err := l.sender(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, amqpSend)
	defer cancel()
	return SendNumber(ctx, l.send, n)
}

func (l *amqpLedger) Numbers(ctx context.Context) (numbers []int, err error) {
	l.drop()
	s, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.NewReceiver(ctx, queue, &amqp.ReceiverOptions{Credit: 100})
	if err != nil {
		var gone *amqp.Error
		if errors.As(err, &gone) && gone.Condition == amqp.ErrCondNotFound {
			return nil, nil
		}
		return nil, err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := r.Receive(wait, nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return numbers, nil // that was the last
		}
		if err != nil {
			return nil, err
		}
		n, err := NumberIn(m)
		if err != nil {
			return nil, fmt.Errorf("a message that is no number: %w", err)
		}
		numbers = append(numbers, n)
		if err := r.AcceptMessage(ctx, m); err != nil {
			return nil, err
		}
	}
}

func (l *amqpLedger) Close() error {
	l.drop()
	return nil
}

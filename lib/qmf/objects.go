package qmf

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// Names of the objects that exist at most once in a broker.
const (
	BrokerName = "org.apache.qpid.broker:broker:amqp-broker"
	HAName     = "org.apache.qpid.ha:habroker:ha-broker"
)

// Broker is the broker itself. Counters and Uptime may be as old as the
// broker's mgmt-pub-interval (10 s by default).
type Broker struct {
	Version        string // "1.40.0"
	Port           int
	DataDir        string
	Uptime         time.Duration
	MaxConnections int
	Queues         int64 // including subscriptions, such as this console's own
	Messages       int64 // on all queues
	Bytes          int64 // on all queues
}

// Broker asks for the broker itself.
func (c *Client) Broker(ctx context.Context) (Broker, error) {
	o, err := c.Get(ctx, BrokerName)
	if err != nil {
		return Broker{}, err
	}
	v := o.Values
	return Broker{
		Version:        str(v["version"]),
		Port:           int(integer(v["port"])),
		DataDir:        str(v["dataDir"]),
		Uptime:         time.Duration(integer(v["uptime"])),
		MaxConnections: int(integer(v["maxConns"])),
		Queues:         integer(v["queueCount"]),
		Messages:       integer(v["msgDepth"]),
		Bytes:          integer(v["byteDepth"]),
	}, nil
}

// Queue is a queue or a subscription to an exchange.
type Queue struct {
	Name        string
	Durable     bool
	AutoDelete  bool // with Exclusive: a subscription
	Exclusive   bool
	Messages    int64
	Bytes       int64
	Consumers   int64
	FlowStopped bool // senders are held back: the queue is nearly full

	// Limits as declared. 0 bytes is the broker's default-queue-limit, 100 MiB
	// unless configured; 0 messages is no limit.
	MaxBytes    int64
	MaxMessages int64
	Policy      string // at the limit: "reject", "ring", "self-destruct"; "" is reject

	Arguments map[string]any // all of the declaration
}

// Queues asks for all queues.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	objs, err := c.Query(ctx, "org.apache.qpid.broker", "queue")
	if err != nil {
		return nil, err
	}
	queues := make([]Queue, len(objs))
	for i, o := range objs {
		v := o.Values
		args, _ := v["arguments"].(map[string]any)
		queues[i] = Queue{
			Name:        str(v["name"]),
			Durable:     boolean(v["durable"]),
			AutoDelete:  boolean(v["autoDelete"]),
			Exclusive:   boolean(v["exclusive"]),
			Messages:    integer(v["msgDepth"]),
			Bytes:       integer(v["byteDepth"]),
			Consumers:   integer(v["consumerCount"]),
			FlowStopped: boolean(v["flowStopped"]),
			MaxBytes:    integer(args["qpid.max_size"]),
			MaxMessages: integer(args["qpid.max_count"]),
			Policy:      str(args["qpid.policy_type"]),
			Arguments:   args,
		}
	}
	return queues, nil
}

// Store is a message store: without one a broker forgets everything when it stops.
type Store struct {
	Kind string // "linearstore" or "legacystore"
	Dir  string
}

// Stores asks for the message stores: one, or none if no store module is loaded.
func (c *Client) Stores(ctx context.Context) ([]Store, error) {
	var stores []Store
	for kind, dir := range map[string]string{"linearstore": "storeDir", "legacystore": "location"} {
		objs, err := c.Query(ctx, "org.apache.qpid."+kind, "store")
		if err != nil {
			return nil, err
		}
		for _, o := range objs {
			stores = append(stores, Store{Kind: kind, Dir: str(o.Values[dir])})
		}
	}
	return stores, nil
}

// HAStatus is a broker's place in an HA cluster.
type HAStatus string

const (
	Joining    HAStatus = "joining"    // looking for a primary
	CatchUp    HAStatus = "catchup"    // copying the primary's queues
	Ready      HAStatus = "ready"      // a backup that may be promoted
	Recovering HAStatus = "recovering" // promoted, waiting for its backups
	Active     HAStatus = "active"     // primary
	StandAlone HAStatus = "standalone" // not in a cluster
)

// members carry the status as a number.
var statuses = [...]HAStatus{Joining, CatchUp, Ready, Recovering, Active, StandAlone}

// Primary says whether clients are served: the promoted role.
func (s HAStatus) Primary() bool { return s == Active || s == Recovering }

// HA is a broker's view of its HA cluster.
type HA struct {
	Status           HAStatus
	BrokersURL       string // "amqp:tcp:host:port,tcp:host:port"
	PublicURL        string
	ReplicateDefault string // "none", "configuration", "all"
	SystemID         string
	Members          []Member // as this broker knows them; a backup knows itself and the primary
}

// Member is a broker of the cluster.
type Member struct {
	SystemID string
	Host     string
	Port     int
	Status   HAStatus
}

// HA asks for the HA state; [ErrNoObject] means that the module ha.so is not
// loaded or not enabled. On a broker that is not primary this needs a
// connection with the property qpid.ha-admin.
func (c *Client) HA(ctx context.Context) (HA, error) {
	o, err := c.Get(ctx, HAName)
	if err != nil {
		return HA{}, err
	}
	v := o.Values
	ha := HA{
		Status:           HAStatus(str(v["status"])),
		BrokersURL:       str(v["brokersUrl"]),
		PublicURL:        str(v["publicUrl"]),
		ReplicateDefault: str(v["replicateDefault"]),
		SystemID:         id(v["systemId"]),
	}
	members, _ := v["members"].([]any)
	for _, x := range members {
		m, _ := x.(map[string]any)
		status := HAStatus("")
		if n := integer(m["status"]); n >= 0 && n < int64(len(statuses)) {
			status = statuses[n]
		}
		ha.Members = append(ha.Members, Member{
			SystemID: id(m["system-id"]),
			Host:     str(m["host-name"]),
			Port:     int(integer(m["port"])),
			Status:   status,
		})
	}
	return ha, nil
}

// HALinkLost tells whether an HA backup has lost the link to its primary. Its
// status does not say so: a backup without a primary stays what it was.
func (c *Client) HALinkLost(ctx context.Context) (bool, error) {
	links, err := c.Query(ctx, "org.apache.qpid.broker", "link")
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if strings.HasPrefix(str(l.Values["name"]), "qpid.ha.link.") && str(l.Values["state"]) != "Operational" {
			return true, nil
		}
	}
	return false, nil
}

// Promote makes a ready backup the primary; a primary stays one. A broker that
// is catching up, or joining a cluster where another broker is further on,
// refuses with an [*Error]. A ready backup does not check for a live primary:
// make sure that the old one is gone, or two primaries diverge.
//
// A joining broker answers only once every other broker of its URL has been
// asked: one that hangs delays that by twice the broker's
// link-heartbeat-interval (120 s by default). If ctx ends before, the promotion
// goes on, and may still succeed.
func (c *Client) Promote(ctx context.Context) error {
	_, err := c.Call(ctx, HAName, "promote", nil)
	return err
}

// MayCall tells whether the broker's ACL lets this console's user call a method
// of a class, without calling it, and who that user is to the broker. A user who
// may not even ask that gets an [*Error] with the code [Forbidden].
//
// The user is that of a connection with this process's number in the property
// qpid.client_pid. Without one, or without an ACL, nothing is forbidden.
func (c *Client) MayCall(ctx context.Context, pkg, class, method string) (user string, may bool, err error) {
	acls, err := c.Query(ctx, "org.apache.qpid.acl", "acl")
	if err != nil || len(acls) == 0 || str(acls[0].Values["policyFile"]) == "" {
		return "", true, err
	}
	conns, err := c.Query(ctx, "org.apache.qpid.broker", "connection")
	if err != nil {
		return "", false, err
	}
	i := slices.IndexFunc(conns, func(o Object) bool { return integer(o.Values["remotePid"]) == int64(os.Getpid()) })
	if i < 0 {
		return "", true, nil
	}
	user = str(conns[i].Values["authIdentity"])
	out, err := c.Call(ctx, acls[0].Name, "Lookup", map[string]any{
		"userId": user, "action": "access", "object": "method", "objectName": method,
		"propertyMap": map[string]any{"schemapackage": pkg, "schemaclass": class},
	})
	return user, strings.HasPrefix(str(out["result"]), "allow"), err
}

// SetBrokersURL changes the list of all brokers of the cluster.
func (c *Client) SetBrokersURL(ctx context.Context, url string) error {
	_, err := c.Call(ctx, HAName, "setBrokersUrl", map[string]any{"url": url})
	return err
}

// SetPublicURL changes the address that clients are told.
func (c *Client) SetPublicURL(ctx context.Context, url string) error {
	_, err := c.Call(ctx, HAName, "setPublicUrl", map[string]any{"url": url})
	return err
}

// Replicate starts replicating one queue from another broker. The queue must
// exist here.
func (c *Client) Replicate(ctx context.Context, brokerURL, queue string) error {
	_, err := c.Call(ctx, HAName, "replicate", map[string]any{"broker": brokerURL, "queue": queue})
	return err
}

// id is a UUID as text.
func id(v any) string {
	if u, ok := v.(amqp.UUID); ok {
		return u.String()
	}
	return str(v)
}

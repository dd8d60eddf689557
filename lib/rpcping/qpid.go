package rpcping

import (
	"context"
	"fmt"
	"strings"

	goamqp "github.com/Azure/go-amqp"

	"github.com/openstack-ocf/agents/lib/amqp"
)

// qpid calls a service that speaks AMQP 0-10 by nova.openstack.common.rpc.impl_qpid
// (up to Liberty: oslo.messaging's impl_qpid). qpidd passes messages on between
// AMQP 1.0 and 0-10.
func qpid(ctx context.Context, c *call, a *Answer) {
	w := c.connect(ctx, a)
	if w == nil {
		return
	}
	defer w.close()
	// Topology 1 has an exchange per project and a queue named by the topic.
	// Topology 2 has one exchange for all, and queues whose names say nothing.
	exchange, key := c.bus.Exchange, a.Server
	var doubt func() bool
	if c.bus.Topology == 2 {
		exchange, key = "amq.topic", "topic/"+c.bus.Exchange+"/"+a.Server
		doubt = func() bool { return w.bound(ctx, exchange, key, a) }
	} else {
		console, ok := w.console(w.step, a)
		if !ok || console != nil && !w.subscribed(w.step, console, a.Server, a) {
			return
		}
	}
	// A subscription to an exchange: a late reply is routed nowhere and gone.
	reply := c.opt.ReplyTo + "." + c.id
	in, err := w.NewReceiver(w.step, "amq.direct", &goamqp.ReceiverOptions{
		Credit: 10, Filters: []goamqp.LinkFilter{amqp.DirectBinding(reply)},
	})
	if err != nil {
		a.link(w.step, err)
		return
	}
	replyQ := reply
	if c.bus.Topology == 1 {
		replyQ = "amq.direct/" + reply // what it would else create as an exchange of its own
	}
	body, err := c.body(replyQ)
	if err != nil {
		a.Err = err
		return
	}
	contentType := "application/json; charset=utf8"
	w.ask(ctx, a, exchange, &goamqp.Message{
		Properties: &goamqp.MessageProperties{Subject: &key, ContentType: &contentType},
		Data:       [][]byte{body},
	}, in, func(msg *goamqp.Message) bool { return c.qpidSettle(msg, a) }, doubt)
}

// bound looks for a queue that is bound to exchange with key and is read. It
// has to go through all bindings of the broker (a cloud has thousands), so it
// is asked only when no reply comes. On a false the answer is set.
func (w *wire) bound(ctx context.Context, exchange, key string, a *Answer) bool {
	console, ok := w.console(ctx, a)
	if console == nil {
		return ok
	}
	bindings, err := console.Query(ctx, "org.apache.qpid.broker", "binding")
	if err != nil {
		return a.goOn(ctx, err)
	}
	for _, b := range bindings {
		if ref(b.Values["exchangeRef"]) == exchange && b.Values["bindingKey"] == key {
			return w.subscribed(ctx, console, ref(b.Values["queueRef"]), a)
		}
	}
	a.is(NoRoute, fmt.Errorf("no queue is bound to %s with key %s", exchange, key))
	return false
}

// ref is the last part of a QMF reference, "org.apache.qpid.broker:queue:NAME".
func ref(v any) string {
	m, _ := v.(map[string]any)
	name, _ := m["_object_name"].(string)
	parts := strings.SplitN(name, ":", 3)
	return parts[len(parts)-1]
}

// qpidSettle reads a reply: a 0-10 message of type amqp/map arrives as a map,
// its strings binary or not, and one too long for that as JSON.
func (c *call) qpidSettle(msg *goamqp.Message, a *Answer) bool {
	envelope, isMap := msg.Value.(map[string]any)
	if !isMap {
		return c.settle(msg.GetData(), a)
	}
	switch inner := envelope["oslo.message"].(type) {
	case string:
		return c.settleMessage([]byte(inner), a)
	case []byte:
		return c.settleMessage(inner, a)
	}
	return false
}

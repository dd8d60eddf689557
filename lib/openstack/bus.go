package openstack

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

const (
	// oneTry is how long one request waits for its answer.
	oneTry = 5 * time.Second
	// again is the pause before the next: a service that lost its broker is
	// subscribed again up to half a minute after it came back.
	again = 500 * time.Millisecond
)

// unsubscribed marks that nobody listens for the service on its bus.
type unsubscribed struct{ error }

// answers asks the service over its bus for a sign of life: nil; ocf.Degraded if it is
// the bus that does not answer; errNoWitness if there is none to ask.
func (c *conversation) answers(ctx context.Context) error {
	if c.r.Level < 20 || c.decl.Probe.Method == "" {
		_, err := c.call(ctx, c.ping)
		return err
	}
	answer, err := c.call(ctx, c.probe)
	if err == nil && answer.State == rpcping.Failure {
		return ocf.Errorf(ocf.Degraded, "%s: %s: see its log %s", c.decl.Probe.Method, answer.Reason(), c.log)
	}
	return err
}

func (c *conversation) transport() (oslo.Transport, error) {
	return c.conf.cfg.Transport(cmp.Or(c.decl.Bus.Exchange, c.decl.Project))
}

// ping is the request that troubles this service least.
func (c *conversation) ping(ctx context.Context, bus oslo.Transport, o rpcping.Options) rpcping.Answer {
	if c.decl.Bus.BaseAPI {
		return rpcping.Ping(ctx, bus, c.decl.Bus.Topic, c.host, o)
	}
	if !c.pingEnabled() && c.decl.Bus.Quiet.Method != "" {
		return c.request(ctx, bus, c.decl.Bus.Quiet, o)
	}
	return rpcping.ServerPing(ctx, bus, c.decl.Bus.Topic, c.host, o)
}

func (c *conversation) pingEnabled() bool {
	enabled, err := c.conf.cfg.RPCPingEnabled()
	return err == nil && enabled
}

// loud tells whether a ping makes the service log a traceback.
func (c *conversation) loud() bool {
	return !c.decl.Bus.BaseAPI && c.decl.Bus.Quiet.Method == "" && !c.pingEnabled()
}

// probe asks what only this service can answer.
func (c *conversation) probe(ctx context.Context, bus oslo.Transport, o rpcping.Options) rpcping.Answer {
	return c.request(ctx, bus, c.decl.Probe, o)
}

func (c *conversation) request(ctx context.Context, bus oslo.Transport, req rpcping.Request, o rpcping.Options) rpcping.Answer {
	req.Topic, req.Host = c.decl.Bus.Topic, c.host
	return rpcping.Call(ctx, bus, req, o)
}

// call asks until there is an answer, or most of the time has passed.
func (c *conversation) call(ctx context.Context, ask func(context.Context, oslo.Transport, rpcping.Options) rpcping.Answer) (rpcping.Answer, error) {
	if c.decl.Bus.Topic == "" || c.params.zeromq {
		return rpcping.Answer{}, errNoWitness
	}
	bus, err := c.transport()
	switch {
	case errors.Is(err, oslo.ErrDriver) && slices.Contains(strings.Fields(c.decl.Older), "zeromq"):
		return rpcping.Answer{}, ocf.Errorf(ocf.Degraded, "its message bus cannot be asked: %w: correct transport_url, or set zeromq=true if it is meant to be one of these", err)
	case errors.Is(err, oslo.ErrDriver):
		return rpcping.Answer{}, ocf.Errorf(ocf.Degraded, "its message bus cannot be asked: %w", err)
	case err != nil:
		return rpcping.Answer{}, ocf.Errorf(ocf.Degraded, "its message bus cannot be told from its configuration: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, service.Remaining(ctx)*3/4) // so that time is left to tell what was found
	defer cancel()
	node, _ := os.Hostname()
	o := rpcping.Options{ReplyTo: "openstack-ocf." + cmp.Or(node, "node") + "." + c.r.Resource()}
	c.r.Step("waiting for %s.%s to answer over the message bus %s", c.decl.Bus.Topic, c.host, bus)
	for {
		try, done := context.WithTimeout(ctx, oneTry)
		answer := ask(try, bus, o)
		done()
		switch {
		case answer.Alive():
			return answer, nil
		case answer.BusAtFault():
			// No start waits for it: the cluster restarts a broker of its own only when the start is over.
			return answer, ocf.Errorf(ocf.Degraded, "%s", answer.Reason())
		case answer.State == rpcping.NoRoute:
			if file := c.conf.editedSince(c.age); file != "" && !c.cutOff() {
				return answer, ocf.Errorf(ocf.Degraded, "%s.%s is not subscribed; %s was edited after the start: restart it (%s)", c.decl.Bus.Topic, c.host, filepath.Base(file), file)
			}
		}
		reason := errors.New(answer.Reason())
		if answer.State == rpcping.NoRoute {
			reason = unsubscribed{reason}
		}
		failed := ocf.Errorf(ocf.Generic, "%w", reason)
		if c.r.Action == ocf.Start || c.waits {
			return answer, failed // start asks again by itself
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return answer, failed
		}
	}
}

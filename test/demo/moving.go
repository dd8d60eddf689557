//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// stalled is how long nothing may move before we give up. On a machine that has much else to do everything takes longer, but
// there is something new all the while.
const stalled = 5 * time.Minute

// moving is a context for a chapter. It ends, with the reason, when nothing has moved for the time given: nothing was said here,
// and what look sees is the same. done says the reason in place of "context canceled".
func moving(ctx context.Context, stalled time.Duration, st *story, look func(context.Context) string) (_ context.Context, done func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(stalled / 30)
		defer tick.Stop()
		last, since := "", time.Now()
		for {
			looking, enough := context.WithTimeout(ctx, stalled)
			now := fmt.Sprintln(st.said.Load(), look(looking))
			enough()
			switch {
			case now != last:
				last, since = now, time.Now()
			case time.Since(since) > stalled:
				cancel(fmt.Errorf("nothing has moved for %v", stalled))
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func(err error) error {
		cause := context.Cause(ctx)
		cancel(nil)
		if err != nil && cause != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return err
	}
}

// seen is what moves in a cluster while nothing is said: what crm_mon shows of it, and the tables that a service makes in the
// group's database.
func seen(c *cluster.Cluster) func(context.Context) string {
	return func(ctx context.Context) string {
		_, shown, _ := strings.Cut(c.CrmMon(ctx), "Node List:\n")
		for _, n := range c.Nodes() {
			res, err := n.Shell(ctx, "ls -R "+scenario.DataDir) // of a node that is off there is none
			if err == nil {
				shown += res.Stdout
			}
		}
		return shown
	}
}

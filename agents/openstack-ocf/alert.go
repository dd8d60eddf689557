package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/openstack-ocf/agents/lib/alert"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/status"
	"github.com/openstack-ocf/agents/packaging"
)

const alertHelp = `Tells of what Pacemaker alerts to, with the reason and what to do: failures, degraded services, recoveries, nodes that
come and go, fencing. For Pacemaker to call, on every node:

   pcs alert create path=/usr/sbin/openstack-ocf id=ocf
   pcs alert recipient add ocf value=journal
   pcs alert recipient add ocf value=https://hooks.example.org/T0/B0

The recipient is "journal", for the journal or syslog, or the URL of a webhook, which gets JSON, or a file with that URL: where
it is a password, for Pacemaker logs recipients. The user hacluster has to be able to read the file. It runs apart from the
cluster's actions, for 20 seconds at most, and holds none of them up.`

func alertCommand() *cli.Command {
	return &cli.Command{
		Name: "alert", Usage: "tell of an event, as Pacemaker's alert agent", Description: alertHelp,
		Action: func(c *cli.Context) error { return tellAlert(c.Context) },
	}
}

func tellAlert(ctx context.Context) error {
	if os.Getenv("CRM_alert_version") == "" {
		return errors.New("this is for Pacemaker to call: pcs alert create path=/usr/sbin/openstack-ocf")
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	history := func(ctx context.Context, id string) []pacemaker.Op {
		cib, err := pacemaker.CIB(ctx)
		if err != nil {
			return nil
		}
		return pacemaker.History(cib, id)
	}
	a := alert.Of(ctx, os.Getenv, history, status.Advice(packaging.Guide))
	if a == nil {
		return nil
	}
	to := cmp.Or(os.Getenv("CRM_alert_recipient"), "journal")
	if strings.HasPrefix(to, "/") {
		text, err := os.ReadFile(to)
		if err != nil {
			return errors.Join(err, a.Log())
		}
		to = strings.TrimSpace(string(text))
	}
	switch {
	case to == "journal" || to == "syslog":
		return a.Log()
	case strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://"):
		if err := a.Post(ctx, to); err != nil {
			a.Text += fmt.Sprintf(" (not told: %v)", err)
			return errors.Join(err, a.Log())
		}
		return nil
	default:
		return errors.New("the recipient is neither journal, nor the URL of a webhook, nor a file with one")
	}
}

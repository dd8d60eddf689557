// Package alert tells of what Pacemaker alerts to, in one line with the reason, which Pacemaker's own alerts lack
// (Pacemaker Administration, "Alert Agents"). A degraded service is told of as well, and when it is well again.
package alert

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/words"
	"github.com/openstack-ocf/agents/ocf"
)

// Alert is one event, as it is told.
type Alert struct {
	Kind     string    `json:"kind"`  // resource, node or fencing
	State    string    `json:"state"` // failed, degraded, recovered, or what Pacemaker calls a node's
	Resource string    `json:"resource,omitempty"`
	Node     string    `json:"node"`
	Action   string    `json:"action,omitempty"`
	Code     int       `json:"code"`
	Reason   string    `json:"reason,omitempty"`
	Advice   string    `json:"advice,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Text     string    `json:"text"` // all of it in one line, for people
}

// Urgent tells whether somebody should look now.
func (a *Alert) Urgent() bool { return a.State == "failed" || a.State == "lost" || a.Kind == "fencing" }

// event is what Pacemaker gives an alert agent in its environment.
type event struct {
	kind, node, resource, task, desc string
	interval                         string // ms
	code, target, status             int
	at                               time.Time
}

// cancelled is Pacemaker's status of an action that it called off.
const cancelled = 1

func parse(env func(string) string) event {
	number := func(name string) int { n, _ := strconv.Atoi(env("CRM_alert_" + name)); return n }
	e := event{
		kind: env("CRM_alert_kind"), node: env("CRM_alert_node"), resource: env("CRM_alert_rsc"), task: env("CRM_alert_task"),
		desc: env("CRM_alert_desc"), interval: cmp.Or(env("CRM_alert_interval"), "0"),
		code: number("rc"), target: number("target_rc"), status: number("status"),
	}
	if n, err := strconv.ParseInt(env("CRM_alert_timestamp_epoch"), 10, 64); err == nil {
		e.at = time.Unix(n, 0).UTC()
	}
	return e
}

// Of is what to tell of the event in the environment, nil if it is of no interest: what went as it was meant to. history
// reads the operations of a resource, which have the reasons; advice is what to do about one.
func Of(ctx context.Context, env func(string) string, history func(context.Context, string) []pacemaker.Op, advice func(string) string) *Alert {
	e := parse(env)
	a := &Alert{Kind: e.kind, Node: e.node, At: e.at, Code: e.code}
	switch e.kind {
	case "node":
		a.State = e.desc
		a.Text = fmt.Sprintf("node %s is %s", e.node, e.desc)
		return a
	case "fencing":
		a.State, a.Action = "fencing", e.task
		a.Text = fmt.Sprintf("fencing (%s) of %s: %s", e.task, e.node, e.desc)
		return a
	case "resource":
		a.Resource, a.Action = e.resource, e.task
	default:
		return nil
	}
	if a.State = e.state(); a.State == "" {
		return nil
	}
	id, _, _ := strings.Cut(e.resource, ":") // of an instance of a globally-unique clone
	op := find(ctx, e, a.State, func() []pacemaker.Op { return history(ctx, id) })
	if a.State == "recovered" && op == nil {
		return nil
	}
	if op != nil {
		a.Reason = words.Masked(op.Reason)
	}
	what := fmt.Sprintf("%s on %s: %s", e.resource, e.node, e.task)
	switch {
	case a.State == "recovered":
		a.Text = fmt.Sprintf("%s on %s is well again; it was: %s", e.resource, e.node, cmp.Or(a.Reason, "no reason was given"))
		return a
	case e.status != 0:
		a.Reason = cmp.Or(a.Reason, e.desc)
	}
	a.Advice = advice(a.Reason)
	a.Text = fmt.Sprintf("%s %s (%d): %s", what, a.State, e.code, cmp.Or(a.Reason, "no reason was given"))
	if a.Advice != "" {
		a.Text += " -> " + a.Advice
	}
	return a
}

// state is what a resource's event means; "recovered" is a guess, which the history has to confirm.
func (e event) state() string {
	probe := e.task == "monitor" && e.interval == "0"
	code := ocf.Code(e.code)
	switch {
	case e.status == cancelled:
		return ""
	case e.status != 0: // it timed out, or could not be run
		return "failed"
	case probe && (code == ocf.OK || code == ocf.NotRunning || code == ocf.RunningPromoted):
		return ""
	case code == ocf.Degraded || code == ocf.DegradedPromoted:
		return "degraded"
	case e.code != e.target:
		return "failed"
	case e.task == "monitor" || e.task == "start" || e.task == "promote":
		return "recovered"
	}
	return ""
}

// patience is how long the CIB may take to have what was alerted to.
const patience = 5 * time.Second

// repaired is how long after a failure a start counts as its repair.
const repaired = 2 * time.Minute

// find is the entry of the history that the event is about; for a recovery, what it recovered from.
func find(ctx context.Context, e event, state string, history func() []pacemaker.Op) *pacemaker.Op {
	until := time.Now().Add(patience)
	for {
		ops := history()
		if i := slices.IndexFunc(ops, func(op pacemaker.Op) bool { return op.Failure && e.isAbout(op, state) }); i >= 0 {
			return &ops[i]
		}
		if state == "recovered" || time.Now().After(until) || ctx.Err() != nil {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// isAbout tells whether the failure is what the event tells of, or recovered from: a handicap that is over, or a failure
// that this start repairs, here or in its place. A monitor's first result, after a start, repairs nothing.
func (e event) isAbout(op pacemaker.Op, state string) bool {
	same := op.Node == e.node && op.Operation == e.task && op.Interval == e.interval
	handicap := op.Code >= int(ocf.Degraded)
	switch {
	case state != "recovered":
		return same && op.Code == e.code && op.At >= e.at.Unix()-1
	case e.task == "monitor":
		return same && handicap
	}
	return !handicap && e.at.Unix()-op.At <= int64(repaired.Seconds())
}

// Post sends the alert to a webhook, as JSON. The context bounds it.
func (a *Alert) Post(ctx context.Context, to string) error {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" {
		return fmt.Errorf("the recipient is no URL: %q", words.Masked(to))
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "openstack-ocf")
	res, err := http.DefaultClient.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err // without the URL, whose path is a chat's password
	}
	if err != nil {
		return fmt.Errorf("the webhook at %s: %w", u.Host, err)
	}
	_ = res.Body.Close()
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the webhook at %s answers %s", u.Host, res.Status)
	}
	return nil
}

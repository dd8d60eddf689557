package ocf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code is the exit code of an action: the product of an agent. Pacemaker turns
// anything above 9 other than 190 and 191 into 1.
type Code int

// The exit codes of the standard (OCF resource agent API 1.1, "Exit Status"),
// and the two that Pacemaker adds for degraded service.
const (
	OK               Code = 0   // the action succeeded
	Generic          Code = 1   // it failed; Pacemaker recovers
	BadArgument      Code = 2   // a parameter's value is wrong on this host; the resource's group is banned from this node
	Unimplemented    Code = 3   // the agent has no such action
	Permission       Code = 4   // the agent lacks a privilege here
	NotInstalled     Code = 5   // software is missing here
	NotConfigured    Code = 6   // a parameter is wrong by itself; the resource is banned from every node
	NotRunning       Code = 7   // surely not running here
	RunningPromoted  Code = 8   // running, and promoted
	FailedPromoted   Code = 9   // promoted, and failed
	Degraded         Code = 190 // running, but serving with a handicap
	DegradedPromoted Code = 191 // promoted, but serving with a handicap
)

var codeText = []struct {
	code Code
	text string
}{
	{OK, "ok"},
	{Generic, "error"},
	{BadArgument, "invalid parameter on this host"},
	{Unimplemented, "unimplemented action"},
	{Permission, "insufficient privileges"},
	{NotInstalled, "not installed"},
	{NotConfigured, "not configured"},
	{NotRunning, "not running"},
	{RunningPromoted, "promoted"},
	{FailedPromoted, "promoted (failed)"},
	{Degraded, "degraded"},
	{DegradedPromoted, "promoted (degraded)"},
}

func (c Code) String() string {
	for _, t := range codeText {
		if t.code == c {
			return t.text
		}
	}
	return fmt.Sprintf("exit code %d", int(c))
}

// crmFeatureSet is what Pacemaker says of itself to an agent.
const crmFeatureSet = "OCF_RESKEY_crm_feature_set"

// knowsDegraded says whether who runs the agent takes 190 and 191 for a service that runs. Pacemaker's executor does from
// its commit c9877a055a on, between 2.0.4 (feature set 3.3.0) and 2.0.5 (3.6.1): 3.6.0 is what both sides of it call
// themselves. An older one makes 1 of them and has the service restarted. Who gives no feature set is no Pacemaker: ocf-tester, drbd-reactor and a script
// take 0 alone for healthy.
func knowsDegraded(featureSet string) bool { return runBy(featureSet, 3, 6, 1) }

// runBy tells whether who runs the agent is a Pacemaker of at least this feature set.
func runBy(featureSet string, least ...int) bool {
	var major, minor, patch int
	n, _ := fmt.Sscanf(featureSet, "%d.%d.%d", &major, &minor, &patch)
	return n >= 2 && slices.Compare([]int{major, minor, patch}, least) >= 0
}

// undegraded is what a degraded service's code is but for the handicap.
func undegraded(c Code) (Code, bool) {
	switch c {
	case Degraded:
		return OK, true
	case DegradedPromoted:
		return RunningPromoted, true
	}
	return c, false
}

// Error is an action's result other than success: an exit code, and the reason
// that crm_mon shows. A monitor's NotRunning and RunningPromoted are Errors too.
type Error struct {
	Code Code
	Err  error // its text is the reason
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error; format and args are those of [fmt.Errorf], %w included.
// Write what was found, where, and what to do about it, in one line, and the
// gist first: Pacemaker keeps the first 128 bytes for crm_mon, and logs the rest.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf is the exit code that err stands for: OK for nil, the code of the
// outermost [Error] in its chain, else Generic.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Generic
}

const maxReason = 600 // bytes; crm_mon shows the reason on one line

// reason is err's text as one line of bounded length.
func reason(err error) string {
	s := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	if errors.Is(err, context.DeadlineExceeded) && CodeOf(err) == Generic && s == context.DeadlineExceeded.Error() {
		return "the action's time ran out"
	}
	return s
}

package rpcping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// envelope is oslo.messaging's version 2.0 (oslo_messaging/_drivers/common.py):
// the message as JSON within JSON.
type envelope struct {
	Version string `json:"oslo.version"`
	Message string `json:"oslo.message"`
}

// request is what amqpdriver.py puts into an envelope. The context has no user,
// for no call made here needs one.
type request struct {
	Method    string         `json:"method"`
	Args      map[string]any `json:"args"`
	Version   string         `json:"version"`
	Namespace string         `json:"namespace,omitempty"`
	MsgID     string         `json:"_msg_id"`
	ReplyQ    string         `json:"_reply_q"`
	UniqueID  string         `json:"_unique_id"`
	Deleted   string         `json:"_context_read_deleted"`
}

// readDeleted is the one field of a context that cinder cannot do without: it logs a traceback.
const readDeleted = "no"

// reply: an early oslo sends the result first and "ending" by itself.
type reply struct {
	MsgID   string          `json:"_msg_id"`
	Result  json.RawMessage `json:"result"`
	Failure failure         `json:"failure"`
	Ending  *bool           `json:"ending"`
}

// failure is a remote exception: an object, or that object as JSON in a string.
type failure struct {
	set            bool
	Class, Message string
}

func (f *failure) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		data = []byte(text)
	}
	var object struct{ Class, Message string }
	if string(data) == "null" || len(data) == 0 {
		return nil
	}
	if json.Unmarshal(data, &object) != nil {
		object.Message = string(data)
	}
	f.set, f.Class, f.Message = true, object.Class, object.Message
	return nil
}

func (f failure) Error() string {
	text, _, _ := strings.Cut(f.Message, "\nTraceback")
	return strings.Trim(f.Class+": "+text, ": ")
}

// args is never nil: services iterate over it.
func (c *call) args() map[string]any {
	if c.req.Args == nil {
		return map[string]any{}
	}
	return c.req.Args
}

// body is the request as the drivers rabbit and qpid send it.
func (c *call) body(replyQ string) ([]byte, error) {
	message, err := json.Marshal(request{
		Method: c.req.Method, Args: c.args(), Version: c.req.Version, Namespace: c.req.Namespace,
		MsgID: c.id, ReplyQ: replyQ, UniqueID: c.id, Deleted: readDeleted,
	})
	if err != nil {
		return nil, fmt.Errorf("the request's arguments: %w", err)
	}
	return json.Marshal(envelope{Version: "2.0", Message: string(message)})
}

// settle reads a message of the reply queue into the answer; false: it is not
// the (whole) reply to this call.
func (c *call) settle(data []byte, a *Answer) bool {
	var e envelope
	return json.Unmarshal(data, &e) == nil && c.settleMessage([]byte(e.Message), a)
}

// settleMessage reads what was in the envelope.
func (c *call) settleMessage(data []byte, a *Answer) bool {
	var r reply
	if json.Unmarshal(data, &r) != nil || r.MsgID != c.id {
		return false
	}
	switch {
	case r.Failure.set:
		a.is(Failure, r.Failure)
	case r.Ending != nil && !*r.Ending && string(r.Result) == "null":
		return false // a call monitor's heartbeat
	default:
		a.Result = r.Result
		a.is(Answered, nil)
	}
	return true
}

// What is known of a service that does not reply.
var (
	errMute    = errors.New("it is subscribed and was sent the request")
	errUnknown = errors.New("whether it is subscribed is not known: the broker's management is off for us")
)

package ocf

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Tried is what an action said that was only tried.
type Tried struct {
	Code     Code
	Reason   string   // for a code that is not OK
	Warnings []string // what the log was told at the level WARN
}

// Try runs an action in this process, as the cluster would run it for the resource with these parameters. It ends within
// that time. env is more of what the cluster would say, such as "OCF_CHECK_LEVEL=10".
func Try(ctx context.Context, a Agent, action, resource string, parameters map[string]string, within time.Duration, env ...string) Tried {
	env = append(env, "OCF_RESOURCE_INSTANCE="+resource, fmt.Sprintf("OCF_RESKEY_CRM_meta_timeout=%d", within.Milliseconds()))
	for name, value := range parameters {
		env = append(env, "OCF_RESKEY_"+name+"="+value)
	}
	var said bytes.Buffer
	t := Tried{Code: Run(ctx, a, Call{Args: []string{action}, Env: env, Stdout: io.Discard, Stderr: &said})}
	for line := range strings.Lines(said.String()) {
		line = strings.TrimSpace(line)
		if why, ok := strings.CutPrefix(line, "ocf-exit-reason:"); ok {
			t.Reason = strings.TrimSpace(why)
		} else if why, ok := strings.CutPrefix(line, "WARN: "); ok {
			t.Warnings = append(t.Warnings, why)
		}
	}
	return t
}

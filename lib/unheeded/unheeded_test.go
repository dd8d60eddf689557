package unheeded

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// standIn is an attrd_updater that knows one value, if any, and notes what it is told.
const standIn = `#!/bin/sh
cd "${0%/*}"
case "$*" in
*--query*) [ -e value ] || { echo "attrd_updater: No such device or address" >&2; exit 105; }
	echo "name=\"$2\" host=\"node1\" value=\"$(cat value)\"" ;;
*) echo "$2 $4 $6" >>told ;;
esac
`

type bench struct {
	t      *testing.T
	dir    string
	answer error
}

// run runs an action of an agent whose monitor answers what the bench says, and returns what attrd_updater was told.
func (b *bench) run(action string, env ...string) string {
	b.t.Helper()
	_ = os.Remove(filepath.Join(b.dir, "told"))
	declare := Counted(func() ocf.Agent {
		answer := func(context.Context, *ocf.Request) error { return b.answer }
		return ocf.Agent{Name: "agent", Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: time.Minute, Run: answer}, {Name: ocf.Monitor, Timeout: time.Minute, Run: answer}, {Name: ocf.MetaData},
		}}
	})
	call := ocf.Call{Args: []string{action}, Stdout: io.Discard, Env: append([]string{
		"HA_RSCTMP=" + b.dir, "OCF_RESOURCE_INSTANCE=db", "OCF_RESKEY_crm_feature_set=3.16.1", "OCF_RESKEY_CRM_meta_on_node=node1",
		"OCF_RESKEY_CRM_meta_interval=2000", "OCF_RESKEY_CRM_meta_timeout=20000",
	}, env...)}
	var said strings.Builder
	call.Stderr = &said
	if code := ocf.Run(b.t.Context(), declare(), call); code != ocf.CodeOf(b.answer) || b.answer != nil && !strings.Contains(said.String(), "ocf-exit-reason:"+b.answer.Error()+"\n") {
		b.t.Errorf("%s: exit %d: %s", action, code, said.String())
	}
	told, _ := os.ReadFile(filepath.Join(b.dir, "told"))
	return string(told)
}

func (b *bench) quiet(action string, env ...string) {
	b.t.Helper()
	if told := b.run(action, env...); told != "" {
		b.t.Errorf("%s %v: it told %s", action, env, told)
	}
}

// age has what has failed do so for so long, and the last time so long ago.
func (b *bench) age(began, last time.Duration) {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "openstack-db.failed-*"))
	if len(files) == 0 {
		b.t.Error("nothing is remembered as failed")
	}
	for _, f := range files {
		if err := os.WriteFile(f, fmt.Appendf(nil, "%d %d\n", time.Now().Add(-began).Unix(), time.Now().Add(-last).Unix()), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) remembered() int {
	files, _ := filepath.Glob(filepath.Join(b.dir, "openstack-db.failed-*"))
	return len(files)
}

func TestCounted(t *testing.T) {
	b := &bench{t: t, dir: t.TempDir(), answer: ocf.Errorf(ocf.NotRunning, "gone")}
	if err := os.WriteFile(filepath.Join(b.dir, "attrd_updater"), []byte(standIn), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", b.dir+":"+os.Getenv("PATH"))
	lastFailure := func(ago time.Duration) {
		if err := os.WriteFile(filepath.Join(b.dir, "value"), fmt.Append(nil, time.Now().Add(-ago).Unix()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	counts := func(operation string, env ...string) {
		t.Helper()
		b.quiet(ocf.Monitor, env...)
		b.quiet(ocf.Monitor, env...) // Pacemaker may be about to
		b.age(10*time.Second, 2*time.Second)
		want := regexp.MustCompile(`^fail-count-` + operation + ` value\+\+ node1\nlast-failure-` + operation + ` \d+ node1\n$`)
		if told := b.run(ocf.Monitor, env...); !want.MatchString(told) {
			t.Errorf("it told %q, want %s", told, want)
		}
	}
	counts("db#monitor_2000") // nothing of it was ever counted
	lastFailure(time.Minute)  // another failure was
	b.quiet(ocf.Start)
	counts("db#monitor_2000")
	lastFailure(10 * time.Second) // this one was
	b.quiet(ocf.Monitor)
	lastFailure(time.Minute)
	counts("db#monitor_30000", "OCF_RESKEY_CRM_meta_interval=30000", "OCF_CHECK_LEVEL=10")
	if n := b.remembered(); n != 2 {
		t.Errorf("%d monitors failed, not 2", n)
	}

	for _, well := range []error{nil, ocf.Errorf(ocf.RunningPromoted, "promoted"), ocf.Errorf(ocf.Degraded, "handicap"), ocf.Errorf(ocf.DegradedPromoted, "both")} {
		b.quiet(ocf.Start)
		b.answer = ocf.Errorf(ocf.Generic, "hangs")
		b.quiet(ocf.Monitor)
		b.answer = well
		b.quiet(ocf.Monitor)
		if n := b.remembered(); n != 0 {
			t.Errorf("%v: %d monitors have failed", well, n)
		}
	}
	b.answer = ocf.Errorf(ocf.Generic, "hangs")
	for _, action := range []string{ocf.Start, ocf.Monitor} { // the second is a probe
		b.quiet(ocf.Monitor)
		b.quiet(action, "OCF_RESKEY_CRM_meta_interval=0")
		if n := b.remembered(); n != 0 {
			t.Errorf("%s: %d monitors have failed", action, n)
		}
	}
	for _, env := range []string{
		"OCF_RESKEY_CRM_meta_on_fail=ignore", "OCF_RESKEY_CRM_meta_role=Stopped", "OCF_RESKEY_CRM_meta_on_node=", "OCF_RESKEY_crm_feature_set=3.0.13",
	} {
		b.quiet(ocf.Start)
		b.quiet(ocf.Monitor)
		b.age(10*time.Second, 2*time.Second)
		b.quiet(ocf.Monitor, env)
	}
	b.age(time.Hour, time.Minute) // there was no monitor for some time
	b.quiet(ocf.Monitor)
	b.age(10*time.Second, 2*time.Second)
	if err := os.WriteFile(filepath.Join(b.dir, "attrd_updater"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.quiet(ocf.Monitor, "OCF_RESKEY_CRM_meta_timeout=2000") // attrd hangs, and the answer is told
}

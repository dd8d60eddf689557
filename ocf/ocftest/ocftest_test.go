package ocftest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
)

func marker() ocf.Agent {
	var file string
	var size int
	return ocf.Agent{
		Name: "marker", Version: "1.0", Short: "Keeps a file on one node", Long: "Creates a file on start and removes it on stop.",
		Parameters: []ocf.Parameter{{Name: "file", Value: ocf.Path(&file), Default: "/run/marker", Identifies: true, Short: "The file", Long: "Its path."}, {Name: "size", Value: ocf.Int(&size, 0, 9), Default: "0", Short: "Size", Long: "Not used."}},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error { return os.WriteFile(file, nil, 0o600) }},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error { return os.RemoveAll(file) }},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: func(context.Context, *ocf.Request) error {
				b, err := os.ReadFile(file)
				switch {
				case err != nil:
					return ocf.Errorf(ocf.NotRunning, "no file: %w", err)
				case string(b) == "frozen":
					return ocf.Errorf(ocf.Generic, "frozen")
				}
				return nil
			}},
		},
	}
}

func TestContract(t *testing.T) {
	file := filepath.Join(t.TempDir(), "on")
	ocftest.Run(t, ocftest.Subject{
		New:    marker,
		Params: ocftest.Params{"file": file},
		Broken: ocftest.Params{"size": "big"}, Unidentified: ocftest.Params{"file": "relative/path"},
		Kill:   func(t testing.TB) { _ = os.Remove(file) },
		Freeze: func(t testing.TB) { _ = os.WriteFile(file, []byte("frozen"), 0o600) },
	})
}

// An agent is called as the cluster would call it, and what it answered is looked at.
func Example() {
	run := ocftest.InProcess(marker)
	file := filepath.Join(os.TempDir(), fmt.Sprint("marker", os.Getpid()))
	call := ocftest.Call{Action: ocf.Monitor, Params: ocftest.Params{"file": file}}
	fmt.Println(run(context.Background(), call).Code)
	call.Params["file"] = "relative/path"
	answer := run(context.Background(), call)
	fmt.Println(answer.Code, "|", answer.Shown())
	// Output:
	// not running
	// not configured | parameter file="relative/path": want an absolute path, such as /var/lib/x
}

package ocf_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// Marker is the smallest agent there is: its service is a file.
func Marker() ocf.Agent {
	var file string
	return ocf.Agent{
		Name: "marker", Version: "1.0",
		Short: "Keeps a file on one node",
		Long:  "Creates a file on start and removes it on stop.",
		Parameters: []ocf.Parameter{{
			Name: "file", Value: ocf.Path(&file), Required: true, UniqueGroup: "file",
			Short: "The file", Long: "Absolute path of the file.",
		}},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error {
				return os.WriteFile(file, nil, 0o644)
			}},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error {
				return os.RemoveAll(file)
			}},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: func(context.Context, *ocf.Request) error {
				if _, err := os.Stat(file); err != nil {
					return ocf.Errorf(ocf.NotRunning, "no file: %w", err)
				}
				return nil
			}},
		},
	}
}

func Example() {
	dir, _ := os.MkdirTemp("", "marker")
	defer os.RemoveAll(dir)
	env := []string{"OCF_RESKEY_file=" + filepath.Join(dir, "on")}
	for _, action := range []string{"monitor", "start", "monitor", "stop", "monitor"} {
		// A program calls ocf.Main(Marker()) instead.
		code := ocf.Run(context.Background(), Marker(), ocf.Call{Args: []string{action}, Env: env, Stdout: os.Stdout, Stderr: &discard{}})
		fmt.Println(action, int(code), code)
	}
	// Output:
	// monitor 7 not running
	// start 0 ok
	// monitor 0 ok
	// stop 0 ok
	// monitor 7 not running
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

package sharedstorage

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// TestServer is a file system that a server answers for, as NFS', and the server freezes.
func TestServer(t *testing.T) {
	box.Need(t)
	needs.Program(t, "bindfs", "bindfs")
	const dir = "/run/srv/served here"
	box.Sh(t, "mkdir -p '%s' /run/export", dir)
	server := box.Programs("bindfs")
	h := box.NewAgent(t, box.Agent{
		Name: "shared-storage", Params: ocftest.Params{"device": "/run/export", "directory": dir, "fstype": "fuse.bindfs", "fast_stop": "true"},
		Pids: func() (left []int) { // of the kernel, for which this process stands
			table, _ := os.ReadFile("/proc/self/mounts")
			if strings.Contains(string(table), "bindfs") {
				left = []int{os.Getpid()}
			}
			return left
		}, Processes: 1, Limit: 30 * time.Second, Watch: 3 * time.Second,
	})
	h.Start()
	h.Start()
	h.Monitor(20, ocf.OK)
	user := box.Background(t, "sh", "-c", fmt.Sprintf("trap '' TERM; cd '%s'; while :; do cat nothing; done", dir))
	box.Until(t, "it is there", func() bool {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", user.Process.Pid))
		return cwd == dir
	})
	box.Signal(t, syscall.SIGSTOP, server()...)
	h.Monitor(0, ocf.Generic, "did not end within", "storage "+dir)
	h.Monitor(20, ocf.Generic, "did not end within", "storage "+dir)
	h.Stop()
	box.Until(t, "its user is gone", func() bool {
		return syscall.Kill(user.Process.Pid, 0) != nil || user.ProcessState != nil || zombie(user.Process.Pid)
	})
	box.Signal(t, syscall.SIGKILL, server()...)
	h.Start()
	h.Monitor(0, ocf.OK)
	box.Signal(t, syscall.SIGKILL, server()...)
	h.Monitor(0, ocf.Generic, "storage "+dir)
	h.Stop()
}

func zombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(b), ") Z ")
}

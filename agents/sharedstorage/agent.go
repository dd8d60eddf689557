// Package sharedstorage is the agent ocf:openstack:shared-storage: a file system that one node at a time mounts, by the parameters of
// ocf:heartbeat:Filesystem. There is no daemon to it: what runs is the kernel's superblock.
package sharedstorage

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/ocf"
)

const long = `Mounts a file system that one node at a time may use, such as that of a database whose storage all nodes
reach. It takes the parameters of ocf:heartbeat:Filesystem, and takes over what that one mounted.

ext4 and xfs are mounted without a process of their own; NFS, bind mounts and all else by mount(8).

A monitor makes no process and tells what is wrong: other storage on the directory, a file system that the kernel has
made read-only, an error that ext4 has recorded (degraded), a server that does not answer. Storage that was unmounted
lazily, or is mounted somewhere else on the node, is in use here as long as the kernel has it open: that is a failure,
and never "not running", for another node would be the second one that writes to it.

A stop ends who uses the file system, unmounts it wherever it is mounted on the node, other mount namespaces among
that, asks the kernel whether it is closed, and says 0 only then. It never unmounts lazily.`

// agent holds the parameters.
type agent struct {
	device, dir, fstype, options, fsck, force, prefix string
	fast, clones                                      bool
	signals, kill                                     string
	delay                                             time.Duration
}

// New declares the agent.
func New() ocf.Agent { return new(agent).declare() }

func (a *agent) declare() ocf.Agent {
	return ocf.Agent{
		Name: "shared-storage", Version: "1.0", Short: "A file system that one node at a time mounts", Long: long,
		Parameters: []ocf.Parameter{
			{Name: "device", Value: ocf.Parsed(&a.device, filesystem.ParseDevice), Required: true, Identifies: true, Short: "Device", Long: "A path, LABEL=, UUID=, -L or -U as mount(8) has them, server:/path of NFS, or the directory to bind mount."},
			{Name: "directory", Value: ocf.Path(&a.dir), Required: true, UniqueGroup: "directory", Short: "Where to mount it", Long: "It has to exist on every node."},
			{Name: "fstype", Value: ocf.String(&a.fstype), Required: true, Short: "File system type", Long: "Such as ext4, xfs or nfs; none for a bind mount."},
			{Name: "options", Value: ocf.String(&a.options), Short: "Mount options", Long: "Separated by commas, as mount(8) takes them after -o."},
			{Name: "run_fsck", Value: ocf.OneOf(&a.fsck, "auto", "force", "no"), Default: "auto", Short: "Check the file system before it is mounted", Long: "auto: only types that do not see to it themselves; ext4, xfs and network file systems do. force: always.\nno: never."},
			{Name: "force_unmount", Value: ocf.Parsed(&a.force, parseForce), Default: "true", Short: "End processes that use it when it is unmounted", Long: "true or safe: they are sent term_signals, and SIGKILL when half of the time is over. false: the stop fails,\nand says who they are."},
			{Name: "fast_stop", Value: ocf.Bool(&a.fast), Default: "false", Short: "Do not wait long for those processes", Long: "If true, they have three seconds to end before SIGKILL."},
			{Name: "term_signals", Value: ocf.Parsed(&a.signals, parseSignals), Default: "TERM", Short: "Signals that ask them to end", Long: "Names or numbers, separated by spaces. Each is sent after signal_delay if the one before did not do."},
			{Name: "kill_signals", Value: ocf.Parsed(&a.kill, parseSignals), Default: "KILL", Short: "Signals that are sent after these", Long: "Likewise. SIGKILL is the last, named or not."},
			{Name: "signal_delay", Value: ocf.Duration(&a.delay), Default: "1", Short: "Time between two of term_signals", Long: "Nothing is waited for that is there already."},
			{Name: "statusfile_prefix", Value: ocf.String(&a.prefix), Default: ".Filesystem_status/", Short: "Where the monitor's level 20 writes", Long: "Below the directory; the resource's and the node's name are appended."},
			{Name: "force_clones", Value: ocf.Bool(&a.clones), Default: "false", Short: "Allow a clone of ext4, xfs and the like", Long: "Only if the nodes have storage of their own under the same name: one file system that two nodes have\nmounted is destroyed."},
		},
		Validate: a.check,
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: time.Minute, Run: a.start},
			{Name: ocf.Stop, Timeout: time.Minute, Run: a.stop},
			{Name: ocf.Monitor, Timeout: 100 * time.Second, Interval: 5 * time.Second, Run: a.monitor},
			// Level 10, which only reads, can be asked for too. It is not advertised: level 20 reads as well, and the first run of each monitor
			// comes before the start of what stands next in the group.
			{Name: ocf.Monitor, Timeout: 40 * time.Second, Interval: time.Minute, Depth: 20, Run: a.monitor},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: a.validate},
		},
	}
}

// parseForce takes what ocf:heartbeat:Filesystem takes: safe is how it looks for processes, and ours looks no other way.
func parseForce(s string) (string, error) {
	if s == "safe" {
		return "true", nil
	}
	var force bool
	err := ocf.Bool(&force).Set(s)
	return strconv.FormatBool(force), err
}

// parseSignals takes "TERM", "SIGTERM INT", "15".
func parseSignals(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", fmt.Errorf("no signal is named")
	}
	for _, name := range strings.Fields(s) {
		if signal(name) == 0 {
			return "", fmt.Errorf("%q is no signal", name)
		}
	}
	return s, nil
}

func signal(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n)
	}
	return unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
}

// check looks at the parameters alone.
func (a *agent) check(r *ocf.Request) error {
	switch {
	case a.dir == "/":
		return ocf.Errorf(ocf.NotConfigured, "directory is /, the node's own root: name the directory that the storage is mounted on")
	case strings.ContainsAny(a.options, " \t\n"):
		return ocf.Errorf(ocf.NotConfigured, "options %q has blanks: separate mount options by commas", a.options)
	case r.Meta("clone") != "" && !a.clones && a.local() && !filesystem.ReadOnly(a.options):
		return ocf.Errorf(ocf.NotConfigured, "a clone of %s would be mounted by several nodes at once, which destroys it: remove the clone (force_clones=true if every node has its own)", a.fstype)
	}
	return nil
}

// local says that only one node at a time can use such a file system.
func (a *agent) local() bool {
	switch a.fstype {
	case "nfs", "nfs4", "efs", "smbfs", "cifs", "none", "gfs2", "glusterfs", "ceph", "ocfs2", "overlay", "overlayfs", "tmpfs", "cvfs", "lustre",
		"sshfs", "smb3", "9p", "virtiofs", "beegfs", "beegfs_nodev", "davfs", "fuse":
		return false
	}
	return !strings.HasPrefix(a.fstype, "fuse.")
}

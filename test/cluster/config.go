package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Subnet is the rack's network, RackAddr the address of gateway, BMC and clients in it.
const (
	Subnet   = "10.76.0.0/24"
	RackAddr = "10.76.0.254"
	BMCPort  = "6230" // TCP
	bmcAddr  = RackAddr + ":" + BMCPort
)

// HaclusterPassword is the password of the user hacluster on every node, for `pcs host auth`.
const HaclusterPassword = "hacluster"

// Config says what cluster to build. The zero value is a cluster of three nodes with fencing.
type Config struct {
	Name  string // unique on the machine; empty: one is made up
	Nodes int    // number of nodes, named node1, node2, ...; 0: 3
	Root  string // root file system of the nodes, one file system; empty: the machine's own "/"

	// Bare leaves the nodes without any cluster configuration, with pcsd running: for `pcs cluster setup`.
	Bare bool
	// Keep lets the cluster outlive the program that started it, until Close. Attach to it with Open.
	Keep bool
	// FenceReturns powers a node on again when it is fenced with the action reboot; otherwise it stays off.
	FenceReturns bool
	// Token is corosync's token timeout; 0: 1 s.
	Token time.Duration
	// Properties are cluster properties of the seeded CIB, over the defaults (stonith-enabled=true, dc-deadtime=2s).
	Properties map[string]string
	// Units are systemd units to enable beside corosync and pacemaker, for example "pcsd.service". No other unit
	// starts at boot, whatever the root has enabled; any of them can be started.
	Units []string

	Overlay []string          // directories copied over the root of every node before its first boot
	Files   []File            // files put into every node after that
	PerNode map[string][]File // further files for one node, by its name
}

// File is a file put into a node before its first boot, with the directories above it. Exactly one of From, Content and
// Link says what it is; all empty is an empty file.
type File struct {
	Path    string      // absolute, in the node
	From    string      // path of a file of the machine to copy
	Content string      // the content itself
	Link    string      // target of a symbolic link
	Mode    fs.FileMode // 0: the mode of From, or 0644
	Owner   string      // "user" or "user:group", by name in the node; empty: root
}

// complete fills in the defaults and makes the paths absolute.
func (cfg Config) complete() (Config, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	if cfg.Nodes < 1 || cfg.Nodes > 32 {
		return cfg, fmt.Errorf("%d nodes: want 1 to 32", cfg.Nodes)
	}
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	if cfg.Token == 0 {
		cfg.Token = time.Second
	}
	var err error
	abs := func(p *string) {
		if *p == "" || err != nil {
			return
		}
		if *p, err = filepath.Abs(*p); err == nil {
			_, err = os.Stat(*p)
		}
	}
	files := func(list []File) []File {
		list = append([]File(nil), list...)
		for i := range list {
			abs(&list[i].From)
			if !filepath.IsAbs(list[i].Path) && err == nil {
				err = fmt.Errorf("file %q: the path in the node is not absolute", list[i].Path)
			}
		}
		return list
	}
	abs(&cfg.Root)
	cfg.Overlay = append([]string(nil), cfg.Overlay...)
	for i := range cfg.Overlay {
		abs(&cfg.Overlay[i])
	}
	cfg.Files = files(cfg.Files)
	perNode := make(map[string][]File, len(cfg.PerNode))
	for name, list := range cfg.PerNode {
		perNode[name] = files(list)
		if err == nil && !cfg.hasNode(name) {
			err = fmt.Errorf("files for %s, which is not a node", name)
		}
	}
	cfg.PerNode = perNode
	return cfg, err
}

func (cfg Config) hasNode(name string) bool {
	for i := 1; i <= cfg.Nodes; i++ {
		if nodeName(i) == name {
			return true
		}
	}
	return false
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

func nodeAddr(i int) string { return fmt.Sprintf("10.76.0.%d", 10+i) }

// Missing says in one line what this machine lacks to run a cluster with root as the nodes' root ("" is "/"), nil if nothing.
func Missing(root string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	if _, err := cgroup2(); err != nil {
		return err
	}
	for _, tool := range []string{"ip", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("needs %s", tool)
		}
	}
	for _, f := range []string{"usr/lib/systemd/systemd", "usr/sbin/corosync", "usr/sbin/pacemakerd", "usr/sbin/crm_mon"} {
		if _, err := os.Stat(filepath.Join("/", root, f)); err != nil {
			return fmt.Errorf("needs %s", filepath.Base(f))
		}
	}
	return nil
}

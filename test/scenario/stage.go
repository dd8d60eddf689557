package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
)

// The document's group, with the cluster's network in place of 192.168.122.0/24.
const (
	FloatingIP  = "10.76.0.100"
	AddressID   = "ip-" + FloatingIP
	StorageID   = "fs-mysql"
	GroupID     = "test-group"
	DataDir     = "/var/lib/mysql"
	diskSize    = 768 << 20
	fillDir     = "/mnt"
	binaryPath  = "/usr/sbin/openstack-ocf"
	providerDir = "/usr/lib/ocf/resource.d/openstack"
)

// Service is a service in the group: how it is deployed, what its daemon looks like, and how a client uses it.
type Service struct {
	ID      string         // of the resource
	Agent   string         // class:provider:type
	Options []string       // what follows it in `pcs resource create`
	Daemon  []string       // base names of the daemon's executable
	Script  string         // base name of what that interprets, of a service that has nothing on a disk
	Speaks  string         // what its client is served: "SQL"
	Unit    string         // what its ledger keeps: "rows"
	Files   []cluster.File // that every node needs
	Dir     string         // where a disk of its own is mounted; "": it works on the group's
	Forgets bool           // it keeps nothing over a restart, so that what is lost is not held against it
	// Diskless says that it works on no disk, and so keeps nothing at all: what counts is how many tries fail.
	Diskless bool
	// Clone says that it runs on every node, beside the group. Nobody watches it, and no act happens to it.
	Clone bool
	// IP says that it is a promotable clone beside the group, and the address of whichever instance is promoted.
	IP    string
	APIs  []string      // that it balances, by their names in a control plane's description
	Pause time.Duration // between two tries of its client; 0: 20 ms
	// Fill puts data on the new disk, mounted at dir on the node; nil: none is needed.
	Fill func(ctx context.Context, n *cluster.Node, dir string) error
	// Setup is done once, before the cluster has it and when all that stands before it runs. Heal starts what the cluster
	// does not.
	Setup func(ctx context.Context, s *Stage) error
	Heal  func(ctx context.Context, s *Stage) error
	// Ledger is the service as its client sees it, who reaches it by dial.
	Ledger func(dial Dialer) (Ledger, error)
}

// Config is a cluster of three nodes on which the services can be deployed. binary is openstack-ocf.
func Config(binary string, services ...Service) (cluster.Config, error) {
	cfg := cluster.Config{Nodes: 3}
	dir, err := os.MkdirTemp("", "links")
	if err != nil {
		return cfg, err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command(binary, "link", dir, binaryPath).CombinedOutput(); err != nil {
		return cfg, fmt.Errorf("%s link: %w: %s", binary, err, out)
	}
	links, err := os.ReadDir(dir)
	if err != nil {
		return cfg, err
	}
	cfg.Files = append(cfg.Files, cluster.File{Path: binaryPath, From: binary, Mode: 0o755})
	for _, l := range links {
		cfg.Files = append(cfg.Files, cluster.File{Path: filepath.Join(providerDir, l.Name()), Link: binaryPath})
	}
	for _, s := range services {
		cfg.Files = append(cfg.Files, s.Files...)
	}
	return cfg, nil
}

// Commentary is told what is being done, a line at a time: a command as an operator would type it, or a remark.
type Commentary func(line string)

// Stage is a cluster with the document's group on it, its clients and its watches.
type Stage struct {
	Cluster    *cluster.Cluster
	Disk       string // the shared disk's device
	Actors     []*Actor
	say        Commentary
	disks      map[string]string // of services with a disk of their own, by ID
	foundation Foundation        // of an apply
}

// Actor is a service on the stage, with who uses it and who watches it.
type Actor struct {
	Service
	*Writer
	*Watch // nil of a clone
	ledger Ledger
}

// NewStage gives the cluster a shared disk, filled by the service if it wants to. Nothing is deployed yet.
// A nil say says nothing.
func NewStage(ctx context.Context, c *cluster.Cluster, say Commentary, first Service) (*Stage, error) {
	if say == nil {
		say = func(string) {}
	}
	s := &Stage{Cluster: c, say: say, disks: map[string]string{}}
	var err error
	s.Disk, err = s.newDisk(ctx, first)
	return s, err
}

// newDisk is a disk with what the service wants to be on it.
func (s *Stage) newDisk(ctx context.Context, service Service) (device string, err error) {
	if device, err = s.Cluster.Disk(ctx, diskSize); err != nil {
		return "", err
	}
	// As an installer does: after an error no more is written, instead of writing on.
	n := s.Cluster.Nodes()[0]
	if _, err := n.Exec(ctx, "tune2fs", "-e", "remount-ro", device); err != nil {
		return "", err
	}
	if service.Fill == nil {
		return device, nil
	}
	if _, err := n.Exec(ctx, "mount", device, fillDir); err != nil {
		return "", err
	}
	if err := service.Fill(ctx, n, fillDir); err != nil {
		return "", err
	}
	_, err = n.Exec(ctx, "umount", fillDir)
	return device, err
}

// DiskOf is the device that the service works on.
func (s *Stage) DiskOf(id string) string { return cmp.Or(s.disks[id], s.Disk) }

// Deploy does all there is to do: a disk, the group as in the document, and a client and a watch for every service.
func Deploy(ctx context.Context, c *cluster.Cluster, say Commentary, services ...Service) (*Stage, error) {
	s, err := NewStage(ctx, c, say, services[0])
	if err != nil {
		return nil, err
	}
	if err := s.CreateGroup(ctx); err != nil {
		return nil, err
	}
	for _, service := range services {
		err := service.setup(ctx, s)
		if err == nil {
			err = s.Create(ctx, service)
		}
		if err == nil {
			_, err = s.Enter(ctx, service)
		}
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Foundation is who holds the group's address and who mounts its storage: class:provider:type.
type Foundation struct{ Address, Storage string }

// Scripts is the document's foundation.
func Scripts() Foundation { return Foundation{"ocf:heartbeat:IPaddr2", "ocf:heartbeat:Filesystem"} }

// Native is the foundation by this suite's agents.
func Native() Foundation {
	return Foundation{"ocf:openstack:floating-ip", "ocf:openstack:shared-storage"}
}

// CreateGroup creates the group with its address and its storage.
func (s *Stage) CreateGroup(ctx context.Context) error {
	// What `pcs cluster setup` does since 0.11.
	if err := s.PCS(ctx, "resource", "defaults", "update", "resource-stickiness=1"); err != nil {
		return err
	}
	return s.Found(ctx, Scripts())
}

// Found creates the group's address and storage, first of all that is in it.
func (s *Stage) Found(ctx context.Context, by Foundation) error {
	for _, args := range []string{
		"resource create " + AddressID + " " + by.Address + " ip=" + FloatingIP + " --group " + GroupID,
		"resource create " + StorageID + " " + by.Storage + " device=" + s.Disk + " directory=" + DataDir + " fstype=ext4 --group " + GroupID,
	} {
		if err := s.PCS(ctx, strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// Create creates the service's resource at the end of the group.
func (s *Stage) Create(ctx context.Context, service Service) error {
	if service.Dir != "" {
		device, err := s.newDisk(ctx, service)
		if err != nil {
			return err
		}
		s.disks[service.ID] = device
		if err := s.PCS(ctx, "resource", "create", "fs-"+service.ID, "ocf:heartbeat:Filesystem", "device="+device, "directory="+service.Dir, "fstype=ext4", "--group", GroupID); err != nil {
			return err
		}
	}
	args := append([]string{"resource", "create", service.ID, service.Agent}, service.Options...)
	return s.PCS(ctx, append(args, "--group", GroupID)...)
}

// Enter waits for the service to run, and has a client use it and a watch look at it from then on.
func (s *Stage) Enter(ctx context.Context, service Service) (*Actor, error) {
	if err := s.Settled(ctx); err != nil {
		return nil, err
	}
	if status, err := s.Cluster.Status(ctx); err != nil || len(status.Running(service.ID)) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s does not run\n%s", service.ID, s.Cluster.CrmMon(ctx)))
	}
	if err := service.heal(ctx, s); err != nil {
		return nil, err
	}
	ledger, err := service.Ledger(s.Cluster.Dial)
	if err != nil {
		return nil, err
	}
	device := s.DiskOf(service.ID)
	if service.Diskless {
		device = ""
	}
	var watch *Watch
	switch {
	case service.Clone: // more than one is right
	case service.IP != "":
		watch = NewCloneWatch(s.Cluster, service.Daemon...)
	case service.Script != "":
		watch = NewScriptWatch(s.Cluster, service.Script, service.Daemon...)
	default:
		if watch, err = NewWatch(s.Cluster, device, service.Daemon...); err != nil {
			return nil, errors.Join(err, ledger.Close())
		}
	}
	a := &Actor{Service: service, Writer: Write(ledger, service.Pause), Watch: watch, ledger: ledger}
	s.Actors = append(s.Actors, a)
	if watch != nil {
		for _, node := range service.stands(s.Cluster) {
			if _, err := watch.WaitOther(ctx, Daemon{Node: node}); err != nil {
				return nil, err
			}
		}
	}
	return a, a.WaitServed(ctx, time.Now())
}

// stands are the nodes that each have a daemon of their own; "" is one on whatever node.
func (service Service) stands(c *cluster.Cluster) (nodes []string) {
	if service.IP == "" {
		return []string{""}
	}
	for _, n := range c.Nodes() {
		nodes = append(nodes, n.Name)
	}
	return nodes
}

func (service Service) setup(ctx context.Context, s *Stage) error {
	if service.Setup == nil {
		return nil
	}
	return service.Setup(ctx, s)
}

// MakeDatabase makes a service's database on the group's server, as its operator does.
func (s *Stage) MakeDatabase(ctx context.Context, name, sync string) error {
	at, err := s.Cluster.Running(ctx, s.Actors[0].ID)
	if err != nil {
		return err
	}
	s.say("on " + at + ": # " + sync + ", into a database of its own")
	_, err = s.Cluster.Node(at).Shell(ctx, fmt.Sprintf(`set -e
		mariadb -e "CREATE DATABASE %[1]s CHARACTER SET utf8; GRANT ALL ON %[1]s.* TO %[1]s@'%%' IDENTIFIED BY '%[2]s'"
		%[3]s`, name, SQLPassword, sync))
	return err
}

func (service Service) heal(ctx context.Context, s *Stage) error {
	if service.Heal == nil {
		return nil
	}
	return service.Heal(ctx, s)
}

// Settled returns when nothing is left to do and all of the group runs.
func (s *Stage) Settled(ctx context.Context) error {
	if err := s.Cluster.WaitIdle(ctx); err != nil {
		return err
	}
	for _, a := range s.Actors {
		if a.Clone || a.IP != "" {
			continue
		}
		if _, err := s.Cluster.WaitRunning(ctx, a.ID); err != nil {
			return err
		}
	}
	return nil
}

// Close ends clients and watches; the cluster goes on.
func (s *Stage) Close() {
	for _, a := range s.Actors {
		a.Writer.Stop()
		a.Watch.Stop()
		_ = a.ledger.Close()
	}
	s.Actors = nil
}

// PCS runs pcs on a node that can.
func (s *Stage) PCS(ctx context.Context, args ...string) error {
	argv := append([]string{"pcs"}, args...)
	s.say("# " + strings.Join(argv, " "))
	_, err := s.Cluster.OnAny(ctx, argv...)
	return err
}

// Act is one thing that happens to the service or its node.
type Act struct {
	Name  string // of a test: "kill"
	Title string // for people: "kill -9 of the server"
	// To is the ID of the actor that it happens to; "": the first.
	To string
	// Moves says that the service must come back on another node; otherwise on the same.
	Moves bool
	// Spares says that the actor itself goes on: what breaks is beside it.
	Spares bool
	// Do makes it happen to the actor's daemon, which is where it runs.
	Do func(ctx context.Context, s *Stage, a *Actor, d Daemon) error
}

// Result is what came of an act.
type Result struct {
	Act         Act
	From, To    Daemon
	Began, Over time.Time // over: when all clients were served again
	Outages     []Outage  // of each of the stage's actors
	Failed      []int     // tries of each actor's client that were not acknowledged
}

// Play has the act happen to an actor, and returns when its daemon was replaced and all clients are served again. In the
// group what stands before the actor must not be restarted, unless all of it moves.
func (s *Stage) Play(ctx context.Context, act Act) (r Result, err error) {
	number := s.index(act.To)
	if number < 0 {
		return r, fmt.Errorf("%s: there is no %s on the stage", act.Name, act.To)
	}
	a := s.Actors[number]
	r.Act = act
	var ok bool
	if r.From, ok = a.Watch.Now(); !ok {
		return r, fmt.Errorf("%s: there is no %s to begin with", act.Name, a.ID)
	}
	want := s.started()
	for i := range want {
		if act.Moves || i == number && !act.Spares {
			want[i]++
		}
	}
	r.Began = time.Now()
	if err := act.Do(ctx, s, a, r.From); err != nil {
		return r, fmt.Errorf("%s: %w", act.Name, err)
	}
	r.To = r.From
	if !act.Spares {
		if r.To, err = a.WaitOther(ctx, r.From); err != nil {
			return r, fmt.Errorf("%s: %w", act.Name, err)
		}
	}
	again := time.Now()
	for _, a := range s.Actors {
		if err := a.WaitServed(ctx, again); err != nil {
			return r, fmt.Errorf("%s: %s: %w", act.Name, a.ID, err)
		}
	}
	r.Over = time.Now()
	for _, a := range s.Actors {
		r.Outages = append(r.Outages, a.Outage(r.Began))
		r.Failed = append(r.Failed, a.Failed(r.Began))
	}
	if moved := r.To.Node != r.From.Node; moved != act.Moves {
		return r, fmt.Errorf("%s: %s was on %s and is on %s now", act.Name, a.ID, r.From.Node, r.To.Node)
	}
	for i, n := range s.started()[:number+1] {
		if n != want[i] {
			return r, fmt.Errorf("%s: %s was started %d times, want %d", act.Name, s.Actors[i].ID, n, want[i])
		}
	}
	return r, nil
}

// index is which actor has the ID, -1 for none; "" is the first.
func (s *Stage) index(id string) int {
	if id == "" {
		return 0
	}
	return slices.IndexFunc(s.Actors, func(a *Actor) bool { return a.ID == id })
}

// Can tells whether whom the act happens to is on the stage.
func (s *Stage) Can(act Act) bool { return s.index(act.To) >= 0 }

// started is how often each actor's daemon was started so far.
func (s *Stage) started() (counts []int) {
	for _, a := range s.Actors {
		counts = append(counts, a.Started())
	}
	return counts
}

// Restore brings all nodes back, out of standby and with their cables in, forgets failures, and waits until nothing is left
// to do. No daemon may be restarted by that.
func (s *Stage) Restore(ctx context.Context) error {
	states, err := s.Cluster.States(ctx)
	if err != nil {
		return err
	}
	before := s.started()
	for _, st := range states {
		n := s.Cluster.Node(st.Name)
		if st.Cut {
			s.say("plugging in the network cable of " + n.Name)
			err = errors.Join(err, n.Heal(ctx))
		}
		if !st.On {
			s.say("switching on " + n.Name)
			err = errors.Join(err, n.PowerOn(ctx))
		}
	}
	if err != nil {
		return err
	}
	if err := s.Cluster.WaitStable(ctx); err != nil {
		return err
	}
	status, err := s.Cluster.Status(ctx)
	if err != nil {
		return err
	}
	for _, n := range status.Nodes {
		if n.Standby {
			if err := s.PCS(ctx, "node", "unstandby", n.Name); err != nil {
				return err
			}
		}
	}
	if len(status.Failures) > 0 {
		if err := s.PCS(ctx, "resource", "cleanup"); err != nil {
			return err
		}
	}
	for _, a := range s.Actors {
		if err := a.heal(ctx, s); err != nil {
			return err
		}
	}
	if err := s.Settled(ctx); err != nil {
		return err
	}
	for i, n := range s.started() {
		if n != before[i] {
			return fmt.Errorf("%s was restarted although nothing was broken", s.Actors[i].ID)
		}
	}
	return nil
}

// Audit stops the clients and holds what their ledgers keep against what they were promised, and says what the watches saw.
func (s *Stage) Audit(ctx context.Context) (audits []Audit, err error) {
	for _, a := range s.Actors {
		a.Writer.Stop()
		audit, aerr := a.Audit(ctx)
		if aerr == nil {
			aerr = audit.Err()
		}
		if a.Forgets || a.Diskless {
			aerr = nil
		}
		if err = errors.Join(err, a.Watch.Err()); aerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", a.ID, aerr))
		}
		audits = append(audits, audit)
	}
	return audits, err
}

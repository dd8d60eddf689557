package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/scenario"
)

const saysFull = `full|[Nn]o space|space left`

// What befalls the file systems that services work on.
var storageFaults = []fault{
	{"freeze the storage", 2, func(s *scene, rng *rand.Rand, at where) act {
		id, long := s.onDisk(rng), between(rng, time.Second, 25*time.Second)
		// Who writes waits in the kernel and cannot be killed: a stop that meets that has the node fenced.
		// A broker whose journal does so while it starts has crashed.
		a := s.all(at, "freeze the storage", long+90*time.Second, `qpidd died .* of SIGSEGV`)
		a.Target, a.Handicapped, a.Fence, a.Mute = id, s.services, []string{at.active}, true
		a.do = func(ctx context.Context) error {
			if err := s.shell(ctx, at.active, "fsfreeze -f "+s.mountOf(id)); err != nil {
				return err
			}
			sleep(ctx, long)
			return s.undo(context.WithoutCancel(ctx), at.active, "fsfreeze -u "+s.mountOf(id)+" 2>/dev/null; :") // a stop ends it too
		}
		return a
	}},
	{"error on the disk", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "error on the disk", 90*time.Second, `read-only|takes no writes|error|closed without an answer`, saysKilled)
		a.Target = s.onDisk(rng)
		long := between(rng, 3*time.Second, 9*time.Second)
		a.do = func(ctx context.Context) error {
			dir, err := s.kernelOf(ctx, at.active, a.Target)
			if err != nil {
				return err
			}
			// As the kernel finds one, which has the file system take no more writes (errors=remount-ro).
			err = os.WriteFile(filepath.Join(dir, "trigger_fs_error"), []byte("1"), 0)
			sleep(ctx, long)
			return errors.Join(err, s.repair(ctx, a.Target))
		}
		return a
	}},
	{"lose the disk", 3, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "lose the disk", 90*time.Second, `[Ii]nput/output|I/O|shut ?down|read-only|takes no writes`, saysKilled)
		a.Target = s.onDisk(rng)
		// What is neither written nor in the journal by now never will be (EXT4_GOING_FLAGS_NOLOGFLUSH).
		const goDown = `import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))`
		a.do = func(ctx context.Context) error {
			return s.shell(ctx, at.active, "python3 -c '"+goDown+"' "+s.mountOf(a.Target))
		}
		return a
	}},
	{"slow the disk", 2, func(s *scene, rng *rand.Rand, at where) act {
		id, a, b, long := s.onDisk(rng), 1+rng.IntN(20), 1+rng.IntN(20), between(rng, 3*time.Second, 40*time.Second)
		each := min(a, b) // more often few than many
		// To start it anew, here or elsewhere, would help nobody: each takes as long as the disk does.
		slow := act{Fault: check.Fault{Kind: "slow the disk", Target: id, Node: at.active, Handicapped: s.services, Bound: long + 30*time.Second}}
		slow.do = func(ctx context.Context) error {
			dir, err := s.kernelOf(ctx, at.active, id)
			if err != nil {
				return err
			}
			number, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dir), "dev"))
			if err != nil {
				return err
			}
			err = throttle(strings.TrimSpace(string(number)), each)
			sleep(ctx, long)
			return errors.Join(err, throttle(strings.TrimSpace(string(number)), 0))
		}
		return slow
	}},
	{"kill with a full /var/log", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "kill with a full /var/log", 30*time.Second, saysKilled, saysFull)
		long := between(rng, 3*time.Second, 12*time.Second)
		a.do = func(ctx context.Context) error {
			// The same directories and files, empty, on a device that has no room: what runs has its own open already.
			err := s.shell(ctx, at.active, `set -e; mount -t tmpfs -o mode=755 tmpfs /mnt; cp -a --attributes-only /var/log/. /mnt/
				mount -o remount,nr_blocks=$(($(df --output=used -B4096 /mnt | tail -n1) + 1)) /mnt; dd if=/dev/zero of=/mnt/chaos.fill bs=4096 count=2 2>/dev/null || :
				mount --move /mnt /var/log`)
			err = errors.Join(err, s.signal(a.Fault, syscall.SIGKILL))
			sleep(ctx, long)
			return errors.Join(err, s.undo(context.WithoutCancel(ctx), at.active, "umount -l /var/log"))
		}
		return a
	}},
	{"take the rights", 2, func(s *scene, rng *rand.Rand, at where) act {
		id := s.onDisk(rng)
		// No node can start it until it has them again, and none again until its failure has timed out.
		a := act{Fault: check.Fault{
			Kind: "take the rights", Target: id, Node: at.active, Restart: s.services, Move: true, Bound: 240 * time.Second,
			Words: []string{saysKilled, `cannot write: chown|[Pp]ermission denied`}, Lacks: []string{saysLacks},
		}}
		long := between(rng, 3*time.Second, 15*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.there(ctx, id, `[ -e chaos.rights ] || stat -c 'chown %u:%g . && chmod %a .' . >chaos.rights; chown 0:0 . && chmod 700 .`)
			err = errors.Join(err, s.signal(a.Fault, syscall.SIGKILL))
			sleep(ctx, long)
			return errors.Join(err, s.there(ctx, id, `[ ! -e chaos.rights ] || { sh chaos.rights && rm chaos.rights; }`))
		}
		return a
	}},
	{"fill /run", 2, fillUp("fill /run", "/run")},
	{"fill /dev/shm", 1, fillUp("fill /dev/shm", "/dev/shm")},
	{"fill /tmp", 1, fillUp("fill /tmp", "/tmp")},
}

// blockGroups is where the kernel's controller of block devices is, version 1 of it: there, the topmost group can have a limit too.
const blockGroups = "/sys/fs/cgroup/blkio"

// throttle has a block device do so many things a second; 0 is as many as it can.
func throttle(number string, each int) (err error) {
	for _, what := range []string{"read", "write"} {
		limit := fmt.Sprintf("%s %d", number, each)
		err = errors.Join(err, os.WriteFile(filepath.Join(blockGroups, "blkio.throttle."+what+"_iops_device"), []byte(limit), 0))
	}
	return err
}

// canThrottle says whether this machine can.
func canThrottle() bool {
	_, err := os.Stat(filepath.Join(blockGroups, "blkio.throttle.write_iops_device"))
	return err == nil
}

// there runs a script in the file system that a service works on, on the node that has it mounted, as soon as one has.
func (s *scene) there(ctx context.Context, id, script string) error {
	script = fmt.Sprintf("cd %s && mountpoint -q . || exit 1; %s", s.mountOf(id), script) // and not in the directory that is below
	for {
		at, err := s.cluster.MountedOn(ctx, s.stage.DiskOf(id))
		if err == nil && len(at) == 1 {
			err = s.shell(ctx, at[0], script)
		}
		if err == nil && len(at) == 1 || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// repair has a service's file system checked while nobody has it mounted: until then it is told that there was an error.
func (s *scene) repair(ctx context.Context, id string) error {
	s.repairing.Lock() // nobody enables it again while another one checks it
	defer s.repairing.Unlock()
	storage := map[string]string{"db": scenario.StorageID, "qpidd": "fs-qpidd"}[id]
	var told time.Time
	for at := []string{""}; len(at) > 0 && ctx.Err() == nil; sleep(ctx, 200*time.Millisecond) {
		if time.Since(told) > 5*time.Second { // what a node alone has heard is lost with it
			if err := s.persist(ctx, "pcs", "resource", "disable", storage); err != nil {
				return err
			}
			told = time.Now()
		}
		var err error
		if at, err = s.cluster.MountedOn(ctx, s.stage.DiskOf(id)); err != nil {
			at = []string{""} // a node dies just now
		}
		for _, n := range s.nodes() { // what was unmounted lazily is in no node's table, and in use all the same
			if dir, err := s.kernelOf(ctx, n, id); err != nil {
				at = append(at, n)
			} else if _, err := os.Stat(dir); err == nil {
				at = append(at, n)
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := s.cluster.OnAny(ctx, "sh", "-c", "e2fsck -fp "+s.stage.DiskOf(id)+" || test $? = 1") // 1: what was wrong is mended
	return errors.Join(err, s.takeBack(ctx, "pcs", "resource", "enable", storage))
}

// fillUp has a node's file system in memory be full for a while. Whoever serves goes on.
func fillUp(kind, dir string) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 2*time.Second, 15*time.Second)
		a := act{Fault: check.Fault{Kind: kind, Node: node, Target: node, Handicapped: s.everything(), Bound: check.Spared, Words: []string{saysFull}}}
		a.do = func(ctx context.Context) error {
			// A limit of what is there already, for without one they take half of the machine's memory each.
			fill := fmt.Sprintf(`set -e; used=$(df --output=used -B4096 %[1]s | tail -n1); mount -o remount,nr_blocks=$((used + 1)) %[1]s; dd if=/dev/zero of=%[1]s/chaos.fill bs=4096 count=2 2>/dev/null || :`, dir)
			return s.meanwhile(ctx, node, long, fill, fmt.Sprintf("rm -f %[1]s/chaos.fill; mount -o remount,size=50%% %[1]s", dir))
		}
		return a
	}
}

// onDisk is a service that works on a disk of its own.
func (s *scene) onDisk(rng *rand.Rand) string {
	if rng.IntN(2) == 0 && s.has("qpidd") {
		return "qpidd"
	}
	return "db"
}

func (s *scene) mountOf(id string) string {
	return map[string]string{"db": scenario.DataDir, "qpidd": scenario.BrokerDir}[id]
}

// kernelOf is where the node's kernel shows the file system that a service works on.
func (s *scene) kernelOf(ctx context.Context, node, id string) (string, error) {
	states, err := s.cluster.States(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range states {
		if n.Name == node {
			rdev := n.Disks[s.stage.DiskOf(id)]
			device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(rdev), unix.Minor(rdev)))
			return filepath.Join("/sys/fs/ext4", filepath.Base(device)), err
		}
	}
	return "", fmt.Errorf("no node %s", node)
}

package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/scenario"
)

// tooManyConnections is the server's ER_CON_COUNT_ERROR.
const tooManyConnections = 1040

// What there is too little of.
var scarceFaults = []fault{
	{"fill the disk", 2, func(s *scene, rng *rand.Rand, at where) act {
		id := s.onDisk(rng)
		dir, long := s.mountOf(id), between(rng, 3*time.Second, 12*time.Second)
		// Who serves with a full disk is left alone, and does not come up on one if it dies of it. Its clients may hang all the while.
		a := act{Fault: check.Fault{
			Kind: "fill the disk", Target: id, Node: at.active, Restart: s.behind(id), Move: true, Handicapped: s.services,
			Bound: long + 60*time.Second, Words: []string{`full|[Nn]o space|space left|disk`, saysKilled}, Lacks: []string{saysLacks},
		}}
		there := fmt.Sprintf("cd %s && mountpoint -q . || exit 1; ", dir) // and not in the directory that is below when it is unmounted
		a.do = func(ctx context.Context) error {
			// What is left after that is for root alone, or less than a block.
			err := s.shell(ctx, at.active, there+`fallocate -l "$(df --output=avail -B1 . | tail -n1)" chaos.fill || dd if=/dev/zero of=chaos.fill bs=1M oflag=append conv=notrunc; :`)
			sleep(ctx, long)
			// It may be mounted elsewhere by now, or by nobody.
			for {
				at, lerr := s.cluster.MountedOn(ctx, s.stage.DiskOf(id))
				if lerr == nil && len(at) == 1 && s.shell(ctx, at[0], there+"rm -f chaos.fill") == nil {
					return err
				}
				if ctx.Err() != nil {
					return errors.Join(err, ctx.Err())
				}
				sleep(ctx, 200*time.Millisecond)
			}
		}
		return a
	}},
	{"run out of memory", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "run out of memory", 20*time.Second, saysStarved)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			return starve(ctx, d)
		}
		return a
	}},
	{"run out of memory during a start", 1, duringStart("run out of memory during a start", starve, saysStarved)},
	{"run out of memory during a stop", 1, duringStop("run out of memory during a stop", starve, saysStarved)},
	{"a child runs out of memory", 1, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "a child runs out of memory", 20*time.Second)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.HostPID()))
			for _, list := range lists {
				text, _ := os.ReadFile(list)
				for _, child := range strings.Fields(string(text)) {
					pid, err := strconv.Atoi(child)
					return errors.Join(err, starveProcess(ctx, pid))
				}
			}
			return nil // it has none
		}
		return a
	}},
	{"use up the connections", 3, func(s *scene, rng *rand.Rand, at where) act {
		long := between(rng, 3*time.Second, 15*time.Second)
		a := act{Fault: check.Fault{
			Kind: "use up the connections", Target: "db", Node: at.active, Handicapped: s.services, Bound: long + check.Spared, Words: []string{`connections`},
		}}
		a.do = func(ctx context.Context) error {
			db, err := scenario.OpenSQL(s.cluster.Dial, sqlAddress, patience, patience)
			if err != nil {
				return err
			}
			defer db.Close()
			var held []*sql.Conn
			defer func() { // db's Close leaves them to who has them
				for _, conn := range held {
					conn.Close()
				}
			}()
			const most = 1000
			for range most {
				conn, err := db.Conn(ctx)
				if err == nil {
					held = append(held, conn)
				}
				var told *mysql.MySQLError
				if errors.As(err, &told) && told.Number == tooManyConnections {
					sleep(ctx, long)
					return nil
				}
				if err != nil {
					return err
				}
			}
			return fmt.Errorf("%d connections are not too many", most)
		}
		return a
	}},
}

// memoryGroups is where the kernel's memory controller is, version 1 of it: a daemon can be put into a group there without being
// taken out of its unit.
const memoryGroups = "/sys/fs/cgroup/memory"

// saysStarved is what is said of who was killed for want of memory: the kernel's log tells who it was, once it is gone.
const saysStarved = `for lack of memory|has just died`

func starve(ctx context.Context, d scenario.Daemon) error { return starveProcess(ctx, d.HostPID()) }

// starveProcess has the kernel kill a process for want of memory. It is an error if it was not the kernel.
func starveProcess(ctx context.Context, pid int) (err error) {
	dir, err := os.MkdirTemp(memoryGroups, "openstack-ocf-chaos-")
	if err != nil {
		return err
	}
	defer func() { // when the last process has left it
		for os.Remove(dir) != nil && ctx.Err() == nil {
			sleep(ctx, 50*time.Millisecond)
		}
	}()
	put := func(file, text string) error { return os.WriteFile(filepath.Join(dir, file), []byte(text), 0) }
	if err := put("memory.limit_in_bytes", "4096"); err != nil {
		return err
	}
	if err := put("cgroup.procs", strconv.Itoa(pid)); err != nil {
		return err
	}
	defer func() { // who was not killed, and those that it has made, go back
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, pid := range strings.Fields(string(procs)) {
			_ = os.WriteFile(filepath.Join(memoryGroups, "cgroup.procs"), []byte(pid), 0)
		}
	}()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "memory.oom_control"))
		if err != nil {
			return err
		}
		if _, n, ok := strings.Cut(string(text), "oom_kill "); ok && strings.TrimSpace(n) != "0" {
			return nil
		}
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return errors.New("it died, and not of the kernel")
		}
	}
	return errors.New("the kernel killed nobody for want of memory")
}

// canStarve says whether this machine can.
func canStarve() bool {
	_, err := os.Stat(filepath.Join(memoryGroups, "memory.oom_control"))
	return err == nil
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// What an operator does by mistake, and takes back when he sees what comes of it.
var mistakes = []fault{
	{"a wrong parameter", 3, func(s *scene, rng *rand.Rand, at where) act {
		long := between(rng, time.Second, 12*time.Second)
		// It is wrong wherever the service is started.
		a := s.striking(rng, at, "a wrong parameter", long+90*time.Second, `nonesuch|soon|most|says how the service is run`)
		s.whole(&a)
		s.moves(&a)
		all := map[string][]string{
			"db":          {"user=nonesuch", "preflush=soon"},
			"qpidd":       {"store=nonesuch", "degraded_queue_percent=most"},
			"consoleauth": {"additional_parameters='nonesuch", "log=nonesuch"},
			"haproxy":     {"binary=nonesuch", "soft_stop=soon"},
		}[a.Target]
		wrong := all[rng.IntN(len(all))]
		name, _, _ := strings.Cut(wrong, "=")
		a.do = func(ctx context.Context) error {
			was, err := s.cluster.OnAny(ctx, "crm_resource", "--resource", a.Target, "--get-parameter", name)
			if err != nil { // one that is not set is empty
				return err
			}
			err = s.tool(ctx, "pcs", "resource", "update", a.Target, wrong)
			sleep(ctx, long)
			err = errors.Join(err, s.takeBack(ctx, "pcs", "resource", "update", a.Target, name+"="+strings.TrimSpace(was.Stdout)))
			return errors.Join(err, s.persist(ctx, "pcs", "resource", "cleanup", a.Target))
		}
		return a
	}},
	{"delete and apply", 2, func(s *scene, rng *rand.Rand, at where) act {
		id := s.services[rng.IntN(len(s.services))]
		long := between(rng, 0, 8*time.Second)
		a := act{Fault: check.Fault{
			Kind: "delete and apply", Target: id, Node: at.active, Restart: s.behind(id), Bound: long + 90*time.Second, Lacks: []string{saysLacks},
		}}
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "resource", "delete", id)
			sleep(ctx, long)
			err = errors.Join(err, s.persist(ctx, "openstack-ocf", "apply", "--yes", scenario.PlanFile))
			// pcs disables it first, and may not have come any further.
			return errors.Join(err, s.takeBack(ctx, "pcs", "resource", "enable", id))
		}
		return a
	}},
	{"mount over it", 3, func(s *scene, rng *rand.Rand, at where) act {
		dir, long := s.mountOf(s.onDisk(rng)), between(rng, time.Second, 15*time.Second)
		a := s.all(at, "mount over it", 90*time.Second, `mount|chaos`)
		a.Target = dir
		a.do = func(ctx context.Context) error {
			if err := s.shell(ctx, at.active, "mountpoint -q "+dir+" && mount -t tmpfs -o size=1m chaos "+dir); err != nil {
				return err
			}
			sleep(ctx, long)
			return s.insist(ctx, at.active, fmt.Sprintf("while [ \"$(findmnt -n -o SOURCE %[1]s | tail -n 1)\" = chaos ]; do umount -l %[1]s || exit; done", dir))
		}
		return a
	}},
	{"disable the frontends", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.telling(rng, at, "disable the frontends", `$2 == "FRONTEND" {print "%s frontend " $1}`, "disable", "enable")
		a.Restart, a.Words = s.behind("haproxy"), []string{`listen|frontend`}
		return a
	}},
	{"drain the servers", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.telling(rng, at, "drain the servers", `$1 !~ /^#/ && $2 && $2 !~ /END$/ {print "set server " $1 "/" $2 " state %s"}`, "maint", "ready")
		a.Words = []string{`server`}
		return a
	}},
}

// telling is what somebody has HAProxy do for a while at its runtime API: commands that awk makes of "show stat", with the one word in them
// and then with the other.
func (s *scene) telling(rng *rand.Rand, at where, kind, commands, begin, end string) act {
	long := between(rng, time.Second, 15*time.Second)
	a := act{Fault: check.Fault{
		Kind: kind, Target: "haproxy", Node: at.active, Handicapped: []string{"haproxy"}, Bound: long + 30*time.Second,
	}}
	tell := func(word string) string {
		const ask = "socat -t 5 - UNIX-CONNECT:$s"
		return "s=/run/haproxy-master.sock; [ -S $s ] || s=$s.ocf; echo '@1 show stat' | " + ask + " | awk -F, '" + fmt.Sprintf(commands, word) +
			"' | { n=0; while read -r c; do echo \"@1 $c\" | " + ask + "; n=1; done; test $n = 1; }"
	}
	a.do = func(ctx context.Context) error {
		err := s.shell(ctx, at.active, tell(begin))
		sleep(ctx, long)
		err2 := s.shell(ctx, at.active, tell(end))
		if errors.Is(err2, cluster.ErrOff) { // it is anew
			err2 = nil
		}
		return errors.Join(err, err2)
	}
	return a
}

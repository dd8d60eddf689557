package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// What an operator runs meanwhile, and none of it may touch a service.
var commandFaults = []fault{
	{"apply the same again", 2, command("apply the same again", "openstack-ocf apply --yes "+scenario.PlanFile, 0)},
	{"see what swap would do", 1, command("see what swap would do", "openstack-ocf swap --dry-run", 0)},
	// What is degraded, or was, is in their exit codes.
	{"ask for the status", 1, command("ask for the status", "openstack-ocf status", 3, 4)},
	{"ask the doctor", 1, command("ask the doctor", "openstack-ocf doctor", 3, 4)},
	{"systemd anew", 2, command("systemd anew", "systemctl daemon-reexec", 0)},
	// A unit's script for its logs may fail where the service does not run.
	{"rotate the logs", 1, command("rotate the logs", "logrotate --force /etc/logrotate.conf", 1)},
	// The others hear of the whole of it, and join anew.
	{"put the configuration back", 1, command("put the configuration back", "f=$(mktemp) && cibadmin --query --scope nodes >$f && cibadmin --replace --scope nodes --xml-file $f; s=$?; rm -f $f; exit $s")},
	{"change what nobody needs", 1, command("change what nobody needs", "for i in $(seq 40); do crm_attribute --type status --node $(crm_node -n) --name chaos --update $i; sleep 0.1; done", 0)},
	{"change an operation", 2, func(s *scene, rng *rand.Rand, at where) act {
		id, seconds := s.services[rng.IntN(len(s.services))], 13+rng.IntN(7)
		a := act{Fault: check.Fault{Kind: "change an operation", Target: id, Node: at.active, Bound: check.Spared}}
		// Pacemaker kills the monitor that is under way, and begins with the other interval.
		a.do = func(ctx context.Context) error {
			return s.shell(ctx, at.active, fmt.Sprintf(`op=$(cibadmin --query --xpath "//primitive[@id='%s']//op[@name='monitor']" | sed -n 's/.*<op [^>]*\bid="\([^"]*\)".*/\1/p' | head -n 1); `+
				`[ "$op" ] && cibadmin --modify --scope resources --xml-text "<op id=\"$op\" interval=\"%ds\"/>"`, id, seconds))
		}
		return a
	}},
	{"start elsewhere by hand", 3, func(s *scene, rng *rand.Rand, at where) act {
		ids := slices.Clone(s.services)
		if s.Group.Native { // ocf:heartbeat:IPaddr2 and Filesystem do not look whether another node has what they hold
			ids = append(ids, scenario.AddressID, scenario.StorageID)
		}
		id, node := ids[rng.IntN(len(ids))], at.passive[rng.IntN(len(at.passive))]
		a := act{Fault: check.Fault{Kind: "start elsewhere by hand", Target: id, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			// It is to fail, unless the group has come there meanwhile.
			return s.shell(ctx, node, "crm_resource --force-start --resource "+id)
		}
		return a
	}},
	{"upgrade a service", 2, func(s *scene, rng *rand.Rand, at where) act {
		all := s.everything()
		a := act{Fault: check.Fault{Kind: "upgrade a service", Target: all[rng.IntN(len(all))], Node: at.active, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", d.HostPID()))
			if err != nil {
				return err
			}
			// What runs goes on with a file that has no name any more; the next one has the new file.
			return s.shell(ctx, d.Node, fmt.Sprintf("set -e; f=%s; cp -p $f $f.new; mv -f $f.new $f", strings.TrimSuffix(program, " (deleted)")))
		}
		return a
	}},
	{"another build of the agents", 2, func(s *scene, rng *rand.Rand, _ where) act {
		gap := between(rng, 0, 3*time.Second)
		a := act{Fault: check.Fault{Kind: "another build of the agents", Bound: check.Spared}}
		a.do = func(ctx context.Context) (err error) {
			for _, n := range s.nodes() {
				// As a package does: another file, by rename. What is behind an ELF's last section changes nothing but the file.
				err = errors.Join(err, s.shell(ctx, n, `set -e; f=/usr/sbin/openstack-ocf; cp -p $f $f.new; date +%N >>$f.new; mv -f $f.new $f; openstack-ocf --version`))
				sleep(ctx, gap)
			}
			return err
		}
		return a
	}},
	{"break and mend the configuration", 2, func(s *scene, rng *rand.Rand, at where) act {
		all := s.everything()
		id := all[rng.IntN(len(all))]
		long := between(rng, time.Second, 12*time.Second)
		a := act{Fault: check.Fault{
			Kind: "break and mend the configuration", Target: id, Node: at.active, Handicapped: []string{id}, Bound: check.Spared, Words: []string{saysBroken},
		}}
		a.do = func(ctx context.Context) error {
			err := s.shell(ctx, at.active, files[id].spoil())
			sleep(ctx, long)
			return errors.Join(err, s.insist(ctx, at.active, files[id].mend()))
		}
		return a
	}},
}

// command is a command that an operator runs on some node. It may end with 0 or one of the codes.
func command(kind, line string, codes ...int) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		a := act{Fault: check.Fault{Kind: kind, Node: someone(rng, at), Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, toolTimeout)
			defer cancel()
			res, err := s.cluster.Node(a.Node).Shell(ctx, line)
			var exit *cluster.ExitError
			if errors.As(err, &exit) {
				for _, code := range codes {
					if res.Code == code {
						return nil
					}
				}
			}
			if err != nil {
				s.history.Add(check.Event{Kind: check.Balked, Who: kind, Node: a.Node, Code: res.Code, Text: fmt.Sprintf("%s: %.300s %.300s", line, res.Stdout, err)})
			}
			return nil
		}
		return a
	}
}

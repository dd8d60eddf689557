package swap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/needs"
)

// lines calls do, once, for the first line that contains the words.
type lines struct {
	words string
	do    func()

	mu   sync.Mutex
	all  bytes.Buffer
	once sync.Once
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.all.Write(p)
	found := l.words != "" && bytes.Contains(l.all.Bytes(), []byte(l.words))
	l.mu.Unlock()
	if found {
		l.once.Do(l.do)
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// stand is the cluster on which swaps fail: one service, ocf:heartbeat:mysql, in the middle of the group.
type stand struct {
	t  *testing.T
	c  *cluster.Cluster
	n  *cluster.Node // where the service runs
	db *used

	took time.Duration // a swap, when nothing is in its way
}

const oldDB = "ocf:heartbeat:mysql"

// front runs the swap with its pid in a file, and returns its exit code and all that it said. At the first line with
// the words it is halted, do is called, and it goes on. do must not end the test.
func (s *stand) front(words string, do func(), args ...string) (int, string) {
	s.t.Helper()
	said := &lines{words: words, do: func() {
		s.signal("STOP")
		do()
		_, _ = s.n.Shell(step(s.t), "kill -CONT $(cat /run/front.pid)") // do may have killed it
	}}
	argv := append([]string{"/bin/sh", "-c", `echo $$ >/run/front.pid; exec openstack-ocf swap "$@"`, "sh"}, args...)
	res, err := s.n.Run(step(s.t), cluster.Cmd{Argv: argv, Stdout: said, Stderr: said})
	var exit *cluster.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("swap: %v\n%s", err, said)
	}
	return res.Code, said.String()
}

// signal signals the front.
func (s *stand) signal(name string) {
	if _, err := s.n.Shell(step(s.t), "kill -"+name+" $(cat /run/front.pid)"); err != nil {
		s.t.Error(err)
	}
}

// try runs a command on a node; that it fails is an error, but does not end the test.
func (s *stand) try(n *cluster.Node, argv ...string) {
	if _, err := n.Exec(step(s.t), argv...); err != nil {
		s.t.Error(err)
	}
}

// as wants the service untouched, under that agent, and nothing of a swap left.
func (s *stand) as(agent string) {
	s.t.Helper()
	s.db.untouched()
	agents(s.t, s.c, map[string]string{"db": agent})
}

// fails wants a swap to end with that code and words, and all to be as before.
func (s *stand) fails(code int, words ...string) {
	s.t.Helper()
	got, said := s.front("", nil, "--yes")
	s.ended(got, said, code, words...)
}

func (s *stand) ended(got int, said string, code int, words ...string) {
	s.t.Helper()
	if got != code {
		s.t.Fatalf("exit code %d, want %d:\n%s", got, code, said)
	}
	says(s.t, said, words...)
	s.as(oldDB)
	s.t.Logf("%s", said[strings.Index(said, "no service is restarted")+1:])
}

func TestFailures(t *testing.T) {
	t.Parallel()
	st := deploy(t, nil, database(oldDB, often...))
	c := st.Cluster
	must(t, st.PCS(step(t), "resource", "create", "last", "ocf:pacemaker:Dummy", "--group", "test-group"))
	must(t, c.WaitIdle(step(t)))
	at, err := c.Running(step(t), "db")
	must(t, err)
	db := use(t, c, "db", st.Actors[0].Writer, "-x", "mariadbd")
	s := &stand{t: t, c: c, n: c.Node(at), db: db}
	away := c.Node(other(c, at))

	if !t.Run("swapped and back", func(t *testing.T) {
		s.t, s.db.t = t, t
		swappedAndBack(s, away)
	}) {
		return
	}
	for i, part := range []struct {
		name string
		do   func(*stand, *cluster.Node)
	}{
		{"interrupted at every step", interrupted},
		{"terminal lost", func(s *stand, _ *cluster.Node) {
			code, said := s.front("becomes", func() { s.signal("HUP") }, "--yes")
			s.ended(code, said, 4, "interrupted (hangup)", "as before")
		}},
		{"agent missing on one node", func(s *stand, away *cluster.Node) {
			const link = "/usr/lib/ocf/resource.d/openstack/mysql-shared-storage"
			away.MustExec(step(s.t), s.t, "mv", link, "/root")
			s.fails(4, away.Name, link, "install the same package")
			away.MustExec(step(s.t), s.t, "mv", "/root/mysql-shared-storage", link)
		}},
		{"another version on one node", otherVersion},
		{"a probe that disagrees", disagrees},
		{"cluster busy", busy},
		{"configuration changed meanwhile", changed},
		{"disk full", func(s *stand, _ *cluster.Node) {
			s.n.MustExec(step(s.t), s.t, "mount", "-t", "tmpfs", "-o", "size=4k", "none", "/var/lib/openstack-ocf/swap")
			_, _ = s.n.Shell(step(s.t), "cat /dev/zero >/var/lib/openstack-ocf/swap/full")
			s.fails(1, "no space left on device")
			s.n.MustExec(step(s.t), s.t, "umount", "/var/lib/openstack-ocf/swap")
		}},
		{"disk full after a while", func(s *stand, _ *cluster.Node) {
			s.n.MustExec(step(s.t), s.t, "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/var/lib/openstack-ocf/swap")
			code, said := s.front("db: asking", func() { _, _ = s.n.Shell(step(s.t), "cat /dev/zero >/var/lib/openstack-ocf/swap/full") }, "--yes")
			s.ended(code, said, 4, "no space left on device")
			// What the disk says of it is out of date, and must not be taken for a swap that was cut off.
			s.n.MustExec(step(s.t), s.t, "rm", "/var/lib/openstack-ocf/swap/full")
			says(s.t, swap(s.t, s.n, 0, "--undo", "--yes"), "nothing is left to do")
			s.as(oldDB)
			s.ends() // its guard has tried as well to take down that it is undone
			s.n.MustExec(step(s.t), s.t, "umount", "/var/lib/openstack-ocf/swap")
		}},
		{"a second swap", func(s *stand, away *cluster.Node) {
			var second, elsewhere cluster.Result
			code, said := s.front("becomes", func() {
				second, _ = s.n.Exec(step(s.t), "openstack-ocf", "swap", "--yes")
				elsewhere, _ = away.Exec(step(s.t), "openstack-ocf", "swap", "--yes")
				s.signal("INT")
			}, "--yes")
			for want, got := range map[int]cluster.Result{6: second, 3: elsewhere} {
				if got.Code != want {
					s.t.Errorf("a second swap: exit code %d, want %d: %s", got.Code, want, got.Stderr)
				}
				says(s.t, got.Stderr, "another swap is under way")
			}
			s.ended(code, said, 4)
		}},
		{"refused", refused},
		{"killed at random", killed},
		{"killed, and the guard cannot undo it at first", patient},
		{"killed while it is undoing", killedUndoing},
		{"killed with its guard before the answers", killedBefore},
		{"killed, and nobody comes", nobody},
		{"recovered by the new agent", recovered},
		{"taken back where it went", takenBack},
		{"node dies", dies},
		{"node joins", joins},
		{"node of the swap dies", func(s *stand, away *cluster.Node) { diesHere(s, away, true) }},
		{"node of the swap dies, and the second node's guard", func(s *stand, _ *cluster.Node) { diesHere(s, s.c.Node(other(s.c, s.n.Name)), false) }},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			needs.Turn(t, i, 2)
			s.t, s.db.t = t, t
			part.do(s, away)
		}) {
			return // the next would meet a cluster in disorder
		}
	}
	_, err = st.Audit(step(t))
	must(t, err)
}

// swappedAndBack is what all the others must not end as, in the middle of a group: it works, and how long it takes is
// when to kill it. A monitor also looks where the service does not run; and what others change after the swap stays.
func swappedAndBack(s *stand, _ *cluster.Node) {
	s.n.MustExec(step(s.t), s.t, "pcs", "resource", "op", "add", "db", "monitor", "interval=11s", "timeout=30s", "role=Stopped")
	must(s.t, s.c.WaitIdle(step(s.t)))
	began := time.Now()
	swap(s.t, s.n, 0, "--yes", "db")
	s.took = time.Since(began)
	s.as(ourDB)
	s.n.MustExec(step(s.t), s.t, "crm_resource", "--resource", "db", "--meta", "--set-parameter", "priority", "--parameter-value", "5")
	must(s.t, s.c.WaitIdle(step(s.t)))
	says(s.t, swap(s.t, s.n, 0, "--yes", "--undo"), "what was changed stays")
	s.as(oldDB)
	if got := s.n.MustExec(step(s.t), s.t, "crm_resource", "--resource", "db", "--meta", "--get-parameter", "priority"); strings.TrimSpace(got) != "5" {
		s.t.Errorf("their change is lost: %q", got)
	}
	s.n.MustExec(step(s.t), s.t, "crm_resource", "--resource", "db", "--meta", "--delete-parameter", "priority")
	s.n.MustExec(step(s.t), s.t, "pcs", "resource", "op", "remove", "db", "monitor", "interval=11s", "timeout=30s", "role=Stopped")
	must(s.t, s.c.WaitIdle(step(s.t)))
}

// recovered kills the server and mysqld_safe, which would restart it behind the cluster's back.
func recovered(s *stand, _ *cluster.Node) {
	says(s.t, swap(s.t, s.n, 0, "--yes", "--defaults"), "mysqld_safe")
	s.as(ourDB)
	s.n.MustExec(step(s.t), s.t, "pkill", "-9", "-f", "mysqld_safe|mariadbd-safe")
	s.db.recovers(s.n.Name)
	if _, err := s.n.Exec(step(s.t), "pgrep", "-f", "mysqld_safe|mariadbd-safe"); err == nil {
		s.t.Error("mysqld_safe is back")
	}
	s.restarted()
	// What somebody changed where the swap had changed it would be given up.
	start := func(timeout string) {
		s.n.MustExec(step(s.t), s.t, "cibadmin", "--modify", "--xml-text", `<op id="db-start-interval-0s-1" timeout="`+timeout+`"/>`)
		must(s.t, s.c.WaitIdle(step(s.t)))
	}
	start("333s")
	says(s.t, swap(s.t, s.n, 3, "--yes", "--undo"), "op db-start-interval-0s-1 came with what is taken back, was changed since, and goes", "a person has to agree")
	s.as(ourDB)
	start("300s") // as the swap left it
	swap(s.t, s.n, 0, "--yes", "--undo")
	s.as(oldDB)
}

// restarted takes the service as it is now for what must stay untouched.
func (s *stand) restarted() {
	*s.db = *use(s.t, s.c, "db", s.db.writer, s.db.find...)
}

// takenBack moves the service, under its new agent, to a node that knows nothing of the swap.
func takenBack(s *stand, away *cluster.Node) {
	move := func(to *cluster.Node) {
		s.n.MustExec(step(s.t), s.t, "pcs", "resource", "move", "test-group", to.Name)
		must(s.t, s.c.WaitIdle(step(s.t)))
		s.restarted()
	}
	swap(s.t, s.n, 0, "--yes")
	move(away)
	says(s.t, swap(s.t, away, 0, "--yes", "--undo"), "nothing is left to do: no swap that was made on this node is in effect")
	said := swap(s.t, s.n, 3, "--yes", "--undo")
	says(s.t, said, "it runs on "+away.Name+" now: copy /var/lib/openstack-ocf/swap/2", "run this command there")
	_, dir, _ := strings.Cut(said, "copy ")
	dir, _, _ = strings.Cut(dir, " ")
	for _, name := range []string{"cib.xml", "journal.json"} {
		text, err := s.n.ReadFile(step(s.t), filepath.Join(dir, name))
		must(s.t, err)
		must(s.t, away.WriteFile(step(s.t), filepath.Join(dir, name), text, 0o600))
	}
	swap(s.t, away, 0, "--yes", "--undo")
	s.as(oldDB)
	move(s.n)
	s.as(oldDB)
}

// interrupted presses Ctrl-C at every step that is shown.
func interrupted(s *stand, _ *cluster.Node) {
	// Before the CIB is touched there is nothing to roll back (1, while the guard starts); a step may be over before
	// the signal is there.
	for _, at := range []struct {
		words string
		codes []int
	}{
		{"saved the", []int{1, 3, 4}},
		{"asking node", []int{3, 4}},
		{"maintenance for db", []int{4}},
		{"becomes", []int{4}},
		{"db: asking", []int{4}},
		{"db: runs on", []int{4}},
		{"all is right", []int{4}},
	} {
		code, said := s.front(at.words, func() { s.signal("INT") }, "--yes")
		if !slices.Contains(at.codes, code) {
			s.t.Fatalf("interrupted at %q: exit code %d, want one of %v:\n%s", at.words, code, at.codes, said)
		}
		s.ended(code, said, code, "interrupted (interrupt)")
	}
}

// otherVersion builds the same program under another name of its version.
func otherVersion(s *stand, away *cluster.Node) {
	path := filepath.Join(s.t.TempDir(), "openstack-ocf")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=other", "-o", path, "github.com/openstack-ocf/agents/agents/openstack-ocf")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	install := func(from string) {
		text, err := os.ReadFile(from)
		must(s.t, err)
		away.MustExec(step(s.t), s.t, "rm", "/usr/sbin/openstack-ocf")
		must(s.t, away.WriteFile(step(s.t), "/usr/sbin/openstack-ocf", text, 0o755))
	}
	install(path)
	s.fails(4, away.Name, "version other", "install the same package")
	install(built.Binary(s.t))
}

// disagrees has a process on another node that holds the data directory there: ocf:heartbeat:mysql, which goes by its
// pid file, does not see it, and the new agent does.
func disagrees(s *stand, away *cluster.Node) {
	_, err := away.Shell(step(s.t), `cp /bin/sleep /root/mariadbd; cd /var/lib/mysql
		setsid /root/mariadbd 1000 </dev/null >/dev/null 2>&1 & echo $! >/run/stray
		until [ "$(readlink /proc/$!/exe)" = /root/mariadbd ]; do sleep 0.05; done`)
	must(s.t, err)
	was := s.db.was
	s.db.was = s.db.processes()
	if len(s.db.was) != 2 {
		s.t.Fatalf("the stray process is not there: %v", s.db.was)
	}
	s.fails(4, "on "+away.Name, "7 (not running) was expected")
	_, err = away.Shell(step(s.t), "kill -9 $(cat /run/stray); while [ -e /proc/$(cat /run/stray)/exe ]; do sleep 0.1; done")
	must(s.t, err)
	s.db.was = was
}

// changed has somebody else change the configuration at every step.
func changed(s *stand, away *cluster.Node) {
	for i, words := range []string{"saved the", "maintenance for db", "becomes", "db: asking", "db: runs on", "all is right"} {
		limit := strconv.Itoa(20 + i)
		code, said := s.front(words, func() { s.try(away, "crm_attribute", "--name", "batch-limit", "--update", limit) }, "--yes")
		// Before the CIB is touched there is nothing to roll back; a step may be over before it is halted.
		if code != 4 && (code != 3 || i > 0) {
			s.t.Fatalf("changed at %q: exit code %d:\n%s", words, code, said)
		}
		s.ended(code, said, code, "somebody else has changed the cluster's configuration")
		if got := away.MustExec(step(s.t), s.t, "crm_attribute", "--name", "batch-limit", "--query", "--quiet"); strings.TrimSpace(got) != limit {
			s.t.Errorf("changed at %q: their change is lost: %q", words, got)
		}
	}
	away.MustExec(step(s.t), s.t, "crm_attribute", "--name", "batch-limit", "--delete")
	must(s.t, s.c.WaitIdle(step(s.t)))
}

// busy has a transition under way.
func busy(s *stand, away *cluster.Node) {
	away.MustExec(step(s.t), s.t, "pcs", "resource", "create", "slow", "ocf:heartbeat:Delay", "startdelay=8", "stopdelay=0", "mondelay=0")
	s.fails(3, "a transition is in progress")
	away.MustExec(step(s.t), s.t, "pcs", "resource", "delete", "slow", "--force")
	must(s.t, s.c.WaitIdle(step(s.t)))
}

// refused is what the plan does not take on.
func refused(s *stand, away *cluster.Node) {
	says(s.t, swap(s.t, away, 3, "--yes"), "run this command on "+s.n.Name)
	says(s.t, swap(s.t, s.n, 3, "--yes", "nothing-of-that-name"), "there is no primitive resource of that name")
	says(s.t, swap(s.t, s.n, 3, "--yes", "last"), "name one with --to")
	says(s.t, swap(s.t, s.n, 2, "db", "--yes"), "options come before resources")
	swap(s.t, s.n, 2, "--frobnicate")
	res, _ := s.n.Run(step(s.t), cluster.Cmd{Argv: []string{"openstack-ocf", "swap"}, Stdin: strings.NewReader("n\n")})
	if res.Code != 3 {
		s.t.Errorf("not confirmed, and exit code %d", res.Code)
	}
	s.n.MustExec(step(s.t), s.t, "pcs", "resource", "create", "roles", "ocf:pacemaker:Stateful", "promotable")
	must(s.t, s.c.WaitIdle(step(s.t)))
	says(s.t, swap(s.t, s.n, 3, "--yes", "--to", "qpidd", "roles"), "it is promotable", "`openstack-ocf describe qpidd`")
	s.n.MustExec(step(s.t), s.t, "pcs", "resource", "delete", "roles", "--force")
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.n.MustExec(step(s.t), s.t, "crm_resource", "--resource", "db", "--meta", "--set-parameter", "is-managed", "--parameter-value", "false")
	must(s.t, s.c.WaitIdle(step(s.t)))
	says(s.t, swap(s.t, s.n, 3, "--yes"), "does not manage it")
	s.n.MustExec(step(s.t), s.t, "crm_resource", "--resource", "db", "--meta", "--delete-parameter", "is-managed")
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.as(oldDB)
}

// killed kills the swap at random, or its guard, or both: the cluster ends swapped, or as before, and never restarts the
// service. SWAP_KILLS is how many times; once each without it.
func killed(s *stand, _ *cluster.Node) {
	scripts := []string{
		"kill -9 $(cat /run/front.pid)",
		"kill -9 $(pgrep -f 'swap [-]-guard')",
		"kill -9 $(cat /run/front.pid) $(pgrep -f 'swap [-]-guard')", // a second node ends it
		"kill -9 $(cat /run/front.pid) $(pgrep -f 'swap [-]-guard')", // the next call does
	}
	rounds, both := len(scripts), 0
	if n, err := strconv.Atoi(os.Getenv("SWAP_KILLS")); err == nil {
		rounds = n
	}
	is := oldDB
	ends := map[string]int{}
	for i := range rounds {
		args := []string{"--yes", "--within", "30s"}
		if is == ourDB {
			args = append(args, "--undo")
		}
		ctx, cancel := context.WithCancel(step(s.t))
		after := time.Duration(rand.Int64N(int64(s.took)))
		kind := i % len(scripts)
		time.AfterFunc(after, func() { _, _ = s.n.Shell(ctx, scripts[kind]) }) // it may have ended
		code, said := s.front("", nil, args...)
		cancel()
		if code == -1 && kind > 1 {
			both++
			s.t.Logf("round %d: front and guard killed after %s", i, after)
		}
		if code == -1 && (kind == 3 || kind == 2 && !strings.Contains(said, "watches over it")) { // no second node does yet
			// The next call mends what is left, be it to undo a swap that was finished.
			c, said := s.front("", nil, "--undo", "--dry-run")
			s.t.Logf("%d %s", c, said)
			c, said = s.front("", nil, "--undo", "--yes")
			s.t.Logf("%d %s", c, said)
		}
		is = s.settle()
		ends[is]++
		s.t.Logf("round %d, %v, killed after %s: exit code %d, then %s\n%s", i, args, after, code, is, said[strings.LastIndex(said, "no service is restarted")+1:])
	}
	s.t.Logf("of %d rounds, %d with the guard killed too: %v", rounds, both, ends)
	if is == ourDB {
		swap(s.t, s.n, 0, "--yes", "--undo")
	}
	s.as(oldDB)
}

// patient keeps the guard from the CIB for its first tries.
func patient(s *stand, _ *cluster.Node) {
	const tool, log = "/usr/sbin/cibadmin", "/var/lib/openstack-ocf/swap/guard.log"
	_, _ = s.n.Shell(step(s.t), "rm -f "+log)
	code, said := s.front("db: runs on", func() { s.try(s.n, "mv", tool, "/root"); s.signal("KILL") }, "--yes")
	if code != -1 {
		s.t.Fatalf("exit code %d:\n%s", code, said)
	}
	s.n.MustExec(step(s.t), s.t, "/bin/sh", "-c", "until grep -q 'trying again in' "+log+"; do sleep 0.2; done; mv /root/cibadmin "+tool)
	s.ends()
	s.as(oldDB)
	says(s.t, s.n.MustExec(step(s.t), s.t, "cat", log), "could not undo the swap that was cut off", "undid the swap that was cut off")
}

// killedUndoing kills the swap and its guard between the return of the old agent and its first answer.
func killedUndoing(s *stand, _ *cluster.Node) {
	const tool = "/usr/sbin/crm_resource"
	code, said := s.front("db: runs on", func() {
		if _, err := s.n.Shell(step(s.t), `mv `+tool+` /root && cat >`+tool+` <<'END' && chmod 755 `+tool+`
#!/bin/sh
kill -9 $(cat /run/front.pid) $(pgrep -f 'swap [-]-guard')
END`); err != nil {
			s.t.Error(err)
		}
		s.signal("INT")
	}, "--yes")
	s.n.MustExec(step(s.t), s.t, "mv", "/root/crm_resource", tool)
	if code != -1 {
		s.t.Fatalf("exit code %d:\n%s", code, said)
	}
	says(s.t, swap(s.t, s.n, 0, "--undo", "--yes"), "was cut off: undoing it", "as before")
	s.as(oldDB)
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.as(oldDB)
}

// killedBefore kills the swap and its guard between the replacement and the first answer of the new agent: once the
// maintenance ended, the cluster would stop and start what it knows by the old agent's word alone. A second node sees to it.
func killedBefore(s *stand, _ *cluster.Node) {
	const tool = "/usr/sbin/crm_resource"
	code, said := s.front("maintenance for db", func() {
		if _, err := s.n.Shell(step(s.t), `mv `+tool+` /root && cat >`+tool+` <<'END' && chmod 755 `+tool+`
#!/bin/sh
kill -9 $(cat /run/front.pid) $(pgrep -f 'swap [-]-guard')
END`); err != nil {
			s.t.Error(err)
		}
	}, "--yes", "--within", "30s")
	s.n.MustExec(step(s.t), s.t, "mv", "/root/crm_resource", tool)
	if code != -1 {
		s.t.Fatalf("exit code %d:\n%s", code, said)
	}
	says(s.t, said, "watches over it")
	s.ends()
	s.as(oldDB)
	// What its own node has of it is out of date.
	says(s.t, swap(s.t, s.n, 0, "--undo", "--yes"), "nothing is left to do")
	s.as(oldDB)
}

// settle waits until nothing of a swap is left, and returns the agent that the service has.
func (s *stand) settle() string {
	s.t.Helper()
	s.ends()
	status, err := s.c.Status(step(s.t))
	must(s.t, err)
	is := status.Resource("db")[0].Agent
	s.as(is)
	return is
}

// ends waits until no swap, no guard and nothing of theirs is left.
func (s *stand) ends() {
	s.t.Helper()
	must(s.t, s.c.WaitFor(step(s.t), func(*cluster.Status) error {
		for _, n := range s.c.Nodes() {
			if res, err := n.Exec(step(s.t), "pgrep", "-f", "openstack-ocf swap"); res.Code == 0 && err == nil {
				return fmt.Errorf("there still is a swap, or its guard, on %s", n.Name)
			}
		}
		marks, err := s.c.CIB(step(s.t), "//resources")
		if err == nil && strings.Contains(marks, "openstack-ocf-swap") {
			err = fmt.Errorf("something of the swap is left: %s", marks)
		}
		return err
	}))
	must(s.t, s.c.WaitIdle(step(s.t)))
}

// dies cuts the power of another node between commit and verify, and brings it back at the end.
func dies(s *stand, away *cluster.Node) {
	var cut time.Time
	code, said := s.front("becomes", func() {
		cut = time.Now()
		if err := away.PowerOff(step(s.t)); err != nil {
			s.t.Error(err)
		}
	}, "--yes")
	if code != 4 && code != 5 {
		s.t.Fatalf("exit code %d:\n%s", code, said)
	}
	// crm_resource would wait for the dead node for a minute.
	if took := time.Since(cut); took > 50*time.Second {
		s.t.Errorf("rolled back after %s", took)
	} else {
		s.t.Logf("rolled back %.1f s after the power cut", took.Seconds())
	}
	says(s.t, said, "rolled back", away.Name)
	must(s.t, s.c.WaitStable(step(s.t)))
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.as(oldDB)
	s.t.Log(said[strings.Index(said, "no service is restarted")+1:])
	says(s.t, swap(s.t, s.n, 3, "--yes"), away.Name+" is offline")
	must(s.t, away.PowerOn(step(s.t)))
	must(s.t, s.c.WaitStable(step(s.t)))
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.as(oldDB)
}

// joins has a node that the cluster has forgotten come up between commit and verify: nobody has asked it for the agents.
func joins(s *stand, away *cluster.Node) {
	known := func(name string) func(*cluster.Status) error {
		return func(*cluster.Status) error {
			if nodes, err := s.c.CIB(step(s.t), "//nodes"); err != nil || !strings.Contains(nodes, `uname="`+name+`"`) {
				return fmt.Errorf("%s is not in the configuration: %v", name, err)
			}
			return nil
		}
	}
	must(s.t, away.PowerOff(step(s.t)))
	must(s.t, s.c.WaitStable(step(s.t)))
	s.n.MustExec(step(s.t), s.t, "crm_node", "--force", "--remove", away.Name)
	must(s.t, s.c.WaitIdle(step(s.t)))
	if known(away.Name)(nil) == nil {
		s.t.Fatalf("the cluster still knows %s", away.Name)
	}
	code, said := s.front("becomes", func() {
		if err := errors.Join(away.PowerOn(step(s.t)), s.c.WaitFor(step(s.t), known(away.Name))); err != nil {
			s.t.Error(err)
		}
	}, "--yes")
	must(s.t, s.c.WaitStable(step(s.t)))
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.ended(code, said, 4, "changed the cluster's configuration meanwhile", "rolled back")
	says(s.t, swap(s.t, s.n, 0, "--dry-run"), "db")
	s.as(oldDB)
}

// unwatched kills the guards on other nodes.
func (s *stand) unwatched() {
	for _, n := range s.c.Nodes() {
		if n != s.n {
			_, _ = n.Shell(step(s.t), "kill -9 $(pgrep -f 'swap [-]-guard')")
		}
	}
}

func at(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	node, err := c.Running(step(t), "db")
	must(t, err)
	return node
}

// diesHere cuts the power of the node of the swap, its guard and the service, while the cluster leaves the service alone.
// The second node ends that at once. If its guard is gone too, nobody recovers the service before the maintenance ends by
// itself, or a person ends it from another node.
func diesHere(s *stand, away *cluster.Node, second bool) {
	said := &lines{words: "db: runs on", do: func() {
		if !second {
			s.unwatched()
		}
		if err := s.n.PowerOff(step(s.t)); err != nil {
			s.t.Error(err)
		}
	}}
	_, err := s.n.Run(step(s.t), cluster.Cmd{Argv: []string{"openstack-ocf", "swap", "--yes"}, Stdout: said, Stderr: said})
	if err == nil {
		s.t.Fatalf("the swap outlived its node:\n%s", said)
	}
	cut := time.Now()
	if second {
		must(s.t, s.c.WaitFor(step(s.t), func(*cluster.Status) error {
			if at, err := s.c.Running(step(s.t), "db"); err != nil || at == "" || at == s.n.Name {
				return fmt.Errorf("db runs on %q: %v", at, err)
			}
			return nil
		}))
		s.t.Logf("the database runs again %.1f s after the power cut", time.Since(cut).Seconds())
		s.restarted()
		s.ends()
		s.as(oldDB)
	} else {
		must(s.t, s.c.WaitStable(step(s.t)))
		if at, err := s.c.Running(step(s.t), "db"); err != nil || at != "" && at != s.n.Name {
			s.t.Errorf("db runs on %q in spite of its maintenance: %v", at, err)
		}
		says(s.t, swap(s.t, away, 3, "--yes"), "another swap is under way on "+s.n.Name, "its maintenance ends by itself at")
		says(s.t, swap(s.t, away, 3, "--undo", "--dry-run"), "another swap is under way on "+s.n.Name)
		says(s.t, swap(s.t, away, 0, "--undo", "--yes"), "ended the maintenance", "db ("+ourDB+")")
		_, err = s.c.WaitRunning(step(s.t), "db")
		must(s.t, err)
		s.restarted()
		s.as(ourDB)
	}
	// What the node that died wrote down of it is out of date.
	must(s.t, s.n.PowerOn(step(s.t)))
	must(s.t, s.c.WaitStable(step(s.t)))
	must(s.t, s.c.WaitIdle(step(s.t)))
	if second {
		_, said := s.front("", nil, "--undo", "--yes")
		s.t.Log(said)
		s.as(oldDB)
		s.n = s.c.Node(at(s.t, s.c))
		return
	}
	says(s.t, swap(s.t, s.n, 3, "--undo", "--yes"), "it runs on ", " now: copy /var/lib/openstack-ocf/swap/2")
	s.as(ourDB)
}

// nobody kills the swap and its guard, and nobody comes: the cluster itself ends the maintenance, when its time is over.
func nobody(s *stand, _ *cluster.Node) {
	code, said := s.front("db: runs on", func() {
		s.unwatched()
		if _, err := s.n.Shell(step(s.t), "kill -9 $(cat /run/front.pid) $(pgrep -f 'swap [-]-guard')"); err != nil {
			s.t.Error(err)
		}
	}, "--yes")
	if code != -1 {
		s.t.Fatalf("exit code %d:\n%s", code, said)
	}
	managed := func() bool {
		status, err := s.c.Status(step(s.t))
		must(s.t, err)
		return status.Resource("db")[0].Managed
	}
	if managed() {
		s.t.Fatal("there is no maintenance")
	}
	soon := time.Now().Add(3 * time.Second).UTC().Format("2006-01-02 15:04:05Z")
	s.n.MustExec(step(s.t), s.t, "cibadmin", "--modify", "--xml-text", `<date_expression id="openstack-ocf-swap-of-db-until" end="`+soon+`"/>`)
	must(s.t, s.c.WaitFor(step(s.t), func(*cluster.Status) error {
		if !managed() {
			return errors.New("db is still in maintenance")
		}
		return nil
	}))
	must(s.t, s.c.WaitIdle(step(s.t)))
	s.db.untouched()
	says(s.t, swap(s.t, s.n, 3, "--yes", "--dry-run"), "another swap is under way on "+s.n.Name)
	says(s.t, swap(s.t, s.n, 0, "--undo", "--yes"), "was cut off: undoing it", "as before")
	s.as(oldDB)
}

//go:build linux

// Command chaos plays campaigns of random faults, and exits with 1 if anything was wrong. A campaign is 30 steps of one seed on one
// cluster, and a step is one fault or several that overlap.
//
// The environment: FAULTS is how many faults are played in all (40); CLUSTERS how many clusters run side by side (1), each of which plays
// one campaign after the other; SEED the first campaign's seed, of which the next has the next (without: a fresh one). MOST is how many
// faults overlap at most (2: every third step has two; 1: none has; with more, each step has two to MOST). FROM and TO play these steps
// of SEED again, alone. KINDS are names of faults, separated by commas; LASTING=1 cleans no failures up between steps, so that bans add
// up as where nobody looks; GROUP is what the group is made of: native (floating-ip and shared-storage hold address and disks),
// consoleauth, units (systemd's run the services), replicated (every node has a broker beside the group, one is promoted, and clients
// reach that at an address of its own: needs qpidd with its module ha, in PATH or named by QPIDD), separated by commas, or plain
// (without: the seed says); OUT is a directory for histories and reports, and for the nodes' logs where
// something was wrong. Arguments are histories to be judged anew.
//
// SIGTERM, and an interrupt, end it when each cluster's step is over, and what was played is judged; a second one does not wait.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/test/chaos"
	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
)

func main() {
	ok, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// numbers reads the environment's numbers.
type numbers struct{ err error }

func (n *numbers) get(name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		n.err = errors.Join(n.err, fmt.Errorf("%s: %w", name, err))
	}
	return value
}

func run() (ok bool, err error) {
	if len(os.Args) > 1 {
		return judge(os.Args[1:])
	}
	if err := cluster.Missing(""); err != nil {
		return false, err
	}
	p, clusters, err := asked()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return false, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var enough context.CancelFunc
	p.cfg.Enough, enough = context.WithCancel(ctx)
	defer enough()
	go func() {
		for end := range signals {
			if p.cfg.Enough.Err() != nil {
				cancel()
				continue
			}
			fmt.Printf("%v: each cluster ends when its step is over; once more, and none waits for it\n", end)
			enough()
		}
	}()
	var hands sync.WaitGroup
	for range clusters {
		hands.Go(func() { p.player(ctx) })
	}
	hands.Wait()
	sum := check.Sum(p.all)
	fmt.Printf("all %d histories\n%s", len(p.all), chaos.Text(sum))
	return p.failed == 0 && len(p.all) > 0 && len(sum.Problems) == 0, ctx.Err()
}

// steps is how many a campaign has: what has gone wrong unseen does not stay for longer.
const steps = 30

// asked reads the environment.
func asked() (p *pool, clusters int, err error) {
	var n numbers
	p = &pool{seed: n.get("SEED", 1+rand.IntN(1_000_000)), left: n.get("FAULTS", 40), out: cmp.Or(os.Getenv("OUT"), "bin/chaos.out"), group: chaos.GroupOf}
	p.cfg = chaos.Config{Binary: "bin/openstack-ocf", Most: n.get("MOST", 2), Lasting: os.Getenv("LASTING") != "", From: 1, To: steps}
	clusters = n.get("CLUSTERS", 1)
	if from, to := n.get("FROM", 0), n.get("TO", 0); from+to > 0 {
		p.cfg.From, p.cfg.To = max(from, 1), to
		if to == 0 {
			p.cfg.To = max(from, 1) + steps - 1
		}
		p.once, clusters = true, 1
	}
	if n.err != nil {
		return nil, 0, n.err
	}
	if list := os.Getenv("KINDS"); list != "" {
		p.cfg.Kinds = strings.Split(list, ",")
	}
	for _, k := range p.cfg.Kinds {
		if !slices.Contains(chaos.Kinds(), k) {
			return nil, 0, fmt.Errorf("KINDS: there is no %q; there are: %s", k, strings.Join(chaos.Kinds(), ", "))
		}
	}
	if words := os.Getenv("GROUP"); words != "" {
		given, err := chaos.ParseGroup(words)
		if err != nil {
			return nil, 0, fmt.Errorf("GROUP: %w", err)
		}
		p.group = func(int) chaos.Group { return given }
	}
	return p, clusters, nil
}

// pool is what all clusters play together.
type pool struct {
	cfg   chaos.Config // of each campaign, but for its seed and its group
	out   string
	group func(seed int) chaos.Group
	once  bool // one campaign, whatever is left

	mu     sync.Mutex
	seed   int // the next campaign's
	left   int // faults to be played
	failed int // campaigns that could not be played to their end
	all    []*check.Verdict
}

// claim takes the faults of a step from those that are left.
func (p *pool) claim(faults int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.once {
		return true
	}
	if p.left <= 0 {
		return false
	}
	p.left -= faults
	return true
}

// next is the next campaign; false: there is none.
func (p *pool) next() (cfg chaos.Config, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.Enough.Err() != nil || p.left <= 0 {
		return cfg, false
	}
	cfg = p.cfg
	cfg.Seed, cfg.Group, cfg.Claim = p.seed, p.group(p.seed), p.claim
	if p.seed++; p.once {
		p.left = 0
	}
	return cfg, true
}

// player plays campaigns until there is none left, or several in a row cannot begin.
func (p *pool) player(ctx context.Context) {
	for failures := 0; failures < 3; {
		cfg, ok := p.next()
		if !ok {
			return
		}
		say := func(line string) {
			for line := range strings.Lines(line) {
				fmt.Printf("%d  %s\n", cfg.Seed, strings.TrimRight(line, "\n"))
			}
		}
		if err := p.campaign(ctx, cfg, say); err != nil {
			say(err.Error())
			p.mu.Lock()
			p.failed++
			p.mu.Unlock()
			failures++
			continue
		}
		failures = 0
	}
}

// campaign plays all steps of a seed: after one that left its cluster in disorder, on another one.
func (p *pool) campaign(ctx context.Context, cfg chaos.Config, say func(string)) (err error) {
	for cfg.From <= cfg.To && cfg.Enough.Err() == nil && ctx.Err() == nil {
		cfg.Logs = filepath.Join(p.out, fmt.Sprintf("%d-%d", cfg.Seed, cfg.From))
		name := cfg.Logs + ".jsonl"
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		say(fmt.Sprintf("%v, steps from %d: %s", cfg.Group, cfg.From, name))
		w := bufio.NewWriter(f)
		began := time.Now()
		cfg.History = w
		cfg.Say = func(line string) { say(fmt.Sprintf("%6.1f s  %s", time.Since(began).Seconds(), line)) }
		events, last, err := chaos.Run(ctx, cfg)
		err = errors.Join(err, w.Flush(), f.Close())
		if last < cfg.From { // not a step was played
			if cfg.Enough.Err() != nil || err == nil {
				return errors.Join(os.Remove(name), os.RemoveAll(cfg.Logs))
			}
			return err
		}
		v := check.Judge(events)
		v.Name = fmt.Sprintf("seed %d,", cfg.Seed)
		rerr := chaos.WriteReport(cfg.Logs+".html", fmt.Sprintf("seed %d (%v)", cfg.Seed, cfg.Group), events, v)
		if err = errors.Join(err, rerr); err == nil && len(v.Problems) == 0 {
			err = os.RemoveAll(cfg.Logs)
		}
		p.mu.Lock()
		p.all = append(p.all, v)
		if err != nil {
			p.failed++
		}
		p.mu.Unlock()
		if err != nil {
			say(err.Error())
		}
		say(chaos.Brief(v))
		if cfg.From = last + 1; !cfg.Claim(0) {
			return nil
		}
	}
	return nil
}

// judge judges histories anew, and says what all of them come to.
func judge(names []string) (ok bool, err error) {
	ok = true
	var all []*check.Verdict
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return false, err
		}
		events, err := check.ReadHistory(bufio.NewReader(f))
		f.Close()
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		v := check.Judge(events)
		v.Name = filepath.Base(name) + ","
		all = append(all, v)
		fmt.Printf("%s\n%s", name, chaos.Text(v))
		ok = ok && len(v.Problems) == 0
		if err := chaos.WriteReport(strings.TrimSuffix(name, ".jsonl")+".html", filepath.Base(name), events, v); err != nil {
			return false, err
		}
	}
	if len(all) > 1 {
		fmt.Printf("all %d histories\n%s", len(all), chaos.Text(check.Sum(all)))
	}
	return ok, nil
}

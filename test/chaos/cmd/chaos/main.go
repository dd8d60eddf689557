//go:build linux

// Command chaos plays campaigns of random faults on clusters, one after the other. It exits with 1 if anything was wrong.
//
// The environment: SEED is the first cluster's seed (without: a fresh one), CLUSTERS how many there are (1), each with the next
// seed; FAULTS how many steps on each (30); FROM and TO play some steps of a seed again; KINDS are names of faults, separated by
// commas; ALONE=1 plays one fault at a time; LASTING=1 cleans no failures up between steps, so that bans add up as where nobody
// looks; GROUP is what the group is made of: native (floating-ip and shared-storage hold address and disks), consoleauth, units (systemd's
// run the services), separated by commas, or plain (without: the seed says); OUT is a directory for histories and reports. Arguments are histories to be judged anew.
package main

import (
	"bufio"
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
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/test/chaos"
	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx)
	stop()
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

func run(ctx context.Context) (ok bool, err error) {
	if len(os.Args) > 1 {
		return judge(os.Args[1:])
	}
	if err := cluster.Missing(""); err != nil {
		return false, err
	}
	var n numbers
	seed, clusters, faults := n.get("SEED", 1+rand.IntN(1_000_000)), n.get("CLUSTERS", 1), n.get("FAULTS", 30)
	from := n.get("FROM", 1)
	to := n.get("TO", from+faults-1)
	if n.err != nil {
		return false, n.err
	}
	out := os.Getenv("OUT")
	if out == "" {
		out = "bin/chaos.out"
	}
	var kinds []string
	if list := os.Getenv("KINDS"); list != "" {
		kinds = strings.Split(list, ",")
	}
	for _, k := range kinds {
		if !slices.Contains(chaos.Kinds(), k) {
			return false, fmt.Errorf("KINDS: there is no %q; there are: %s", k, strings.Join(chaos.Kinds(), ", "))
		}
	}
	group := chaos.GroupOf
	if words := os.Getenv("GROUP"); words != "" {
		given, err := chaos.ParseGroup(words)
		if err != nil {
			return false, fmt.Errorf("GROUP: %w", err)
		}
		group = func(int) chaos.Group { return given }
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return false, err
	}
	ok = true
	for i := range clusters {
		good, err := campaign(ctx, chaos.Config{
			Binary: "bin/openstack-ocf", Seed: seed + i, From: from, To: to, Kinds: kinds, Group: group(seed + i),
			Alone: os.Getenv("ALONE") != "", Lasting: os.Getenv("LASTING") != "",
		}, out)
		if err != nil {
			return false, err
		}
		ok = ok && good
	}
	return ok, nil
}

// campaign plays all steps of a seed: after one that left its cluster in disorder, on another one.
func campaign(ctx context.Context, cfg chaos.Config, out string) (ok bool, err error) {
	ok = true
	for cfg.From <= cfg.To {
		name := filepath.Join(out, fmt.Sprintf("%d-%d.jsonl", cfg.Seed, cfg.From))
		fmt.Printf("seed %d, %v, steps %d to %d: %s\n", cfg.Seed, cfg.Group, cfg.From, cfg.To, name)
		f, err := os.Create(name)
		if err != nil {
			return false, err
		}
		w := bufio.NewWriter(f)
		began := time.Now()
		cfg.History = w
		cfg.Say = func(line string) { fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), line) }
		events, last, err := chaos.Run(ctx, cfg)
		err = errors.Join(err, w.Flush(), f.Close())
		v := check.Judge(events)
		fmt.Print(chaos.Text(v))
		if rerr := chaos.WriteReport(strings.TrimSuffix(name, ".jsonl")+".html", fmt.Sprintf("seed %d (%v)", cfg.Seed, cfg.Group), events, v); rerr != nil {
			err = errors.Join(err, rerr)
		}
		ok = ok && len(v.Problems) == 0
		if last < cfg.From || ctx.Err() != nil {
			return false, err
		}
		if err != nil {
			fmt.Println(err)
			ok = false
		}
		cfg.From = last + 1
	}
	return ok, nil
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

// Command summary runs `go test` over the packages it is given, shows what failed and why, a line for every package,
// and ends with one line of counts. It exits with the status of go test, or with 1 when a test was skipped without
// saying what it lacks: a skip's message starts with "SKIP: needs".
//
// Environment: GO is the go command (default "go"), RUN a regular expression that chooses tests, SHORT leaves out
// the long ones when it is not empty, RETRY runs the little that failed once more. Of the parts that take turns (see package needs) it
// has TURN's run, which it makes up, unless LONG is not empty or RUN chooses.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("TURN") == "" && os.Getenv("LONG") == "" && os.Getenv("RUN") == "" {
		_ = os.Setenv("TURN", strconv.Itoa(rand.IntN(12)))
	}
	code, err := run(ctx, os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "run-tests:", err)
		code = 1
	}
	os.Exit(code)
}

// run tests the packages that the patterns match, reports to w and returns the exit status.
func run(ctx context.Context, w io.Writer, patterns []string) (int, error) {
	// -e: go test itself is to say what is wrong with a broken package.
	out, err := goCommand(ctx, append([]string{"list", "-e"}, patterns...)...).Output()
	if err != nil {
		return 1, fmt.Errorf("go list: %w", err)
	}
	packages := strings.Fields(string(out))
	if len(packages) == 0 {
		return 1, fmt.Errorf("no package matches %s", strings.Join(patterns, " "))
	}
	batches := batch(packages)
	t := newTally(w)
	status := 0
	for _, batch := range batches {
		if len(batch.packages) == 0 || ctx.Err() != nil {
			continue
		}
		code, err := goTest(ctx, t, batch.flags, batch.packages)
		if err != nil {
			return 1, err
		}
		status = cmp.Or(status, code)
	}
	if os.Getenv("RETRY") != "" && ctx.Err() == nil {
		if err := retry(ctx, t); err != nil {
			return 1, err
		}
		if len(t.failures) == 0 {
			status = 0
		}
	}
	t.summary()
	if status == 0 && (len(t.failures) > 0 || ctx.Err() != nil) {
		status = 1
	}
	return status, nil
}

// batch says which packages are tested side by side, the longest first. A cluster has three nodes at work all the while: more than two
// or three of them at once, on a small machine, have nothing left for what the tests wait for. A service alone mostly waits. Where
// OpenStack's services start, or packages are built, a small machine has no more to give.
func batch(packages []string) []struct{ flags, packages []string } {
	clusters := []string{"swap", "unit", "chaos", "clusterqpidd", "clustermysql", "cluster", "plan", "scenario", "status"}
	services := []string{"sharedstorage", "haproxy", "mysql", "floatingip", "qpidd"} // of them
	alone := []string{"clusternova", "openstack", "osagents", "packaging"}
	batches := []struct{ flags, packages []string }{{nil, nil}, {[]string{"-p=2"}, nil}, {[]string{"-p=4"}, nil}, {[]string{"-p=1"}, nil}}
	for _, pkg := range packages {
		_, name, ok := strings.Cut(pkg, "/test/")
		i := 2
		switch {
		case !ok:
			i = 0
		case slices.Contains(clusters, name):
			i = 1
		case slices.Contains(alone, name):
			i = 3
		}
		batches[i].packages = append(batches[i].packages, pkg)
	}
	order := append(clusters, services...)
	place := func(pkg string) uint { return uint(slices.Index(order, path.Base(pkg))) } // -1, the others, becomes the last
	for _, b := range batches[1:3] {
		slices.SortStableFunc(b.packages, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	}
	return batches
}

// retry runs what failed once more, where that is little: on a noisy machine a cluster may miss a deadline. What
// passes then is told apart from what passed at once.
func retry(ctx context.Context, t *tally) error {
	const little = 12
	if len(t.failures) > little {
		return nil
	}
	failed, again := t.failures, t.again
	t.failures, t.again = nil, map[string][]string{}
	for pkg, tests := range again {
		fmt.Fprintf(t.w, "once more: %s %s\n", pkg, strings.Join(tests, " "))
		flags := []string{"-p=1"}
		if !slices.Contains(tests, "") {
			flags = append(flags, "-run=^("+strings.Join(tests, "|")+")$")
		}
		before := t.passed
		if _, err := goTest(ctx, t, flags, []string{pkg}); err != nil {
			return err
		}
		t.passed = before // they were counted, but for those that failed
	}
	t.second = slices.DeleteFunc(failed, func(f string) bool { return slices.Contains(t.failures, f) })
	t.passed += len(t.second)
	return nil
}

// goTest runs go test over the packages, counts in the tally what it says, and returns its exit status.
func goTest(ctx context.Context, t *tally, flags, packages []string) (int, error) {
	args := []string{"test", "-json", "-count=1", "-timeout=80m"}
	if tests := os.Getenv("RUN"); tests != "" {
		args = append(args, "-run="+tests)
	}
	args = append(args, flags...)
	if os.Getenv("SHORT") != "" {
		args = append(args, "-short")
	}
	cmd := goCommand(ctx, append(args, packages...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	err = t.read(out)
	waitErr := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](waitErr); ok && err == nil {
		return max(exit.ExitCode(), 1), nil // -1 is a signal
	}
	return 0, cmp.Or(err, waitErr)
}

func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("GO"), "go"), args...)
	cmd.Stderr = os.Stderr
	// An interrupted go test interrupts the tests, and they clean up.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An event is one line of `go test -json` (`go doc test2json`, `go help buildjson`).
type event struct {
	Action  string // start, run, output, pass, fail, skip, build-output, ...
	Package string
	Test    string  // "" speaks of the package itself
	Elapsed float64 // seconds
	Output  string
}

// A test is a test, or a package seen as one: then its name is "".
type test struct {
	name    string
	action  string // how it ended: pass, fail, skip; "" while it runs
	elapsed time.Duration
	output  []string
}

// A pkg is a package whose tests are running: its own output and result, then the tests in the order they began.
type pkg struct {
	test
	tests []*test
}

func (p *pkg) find(name string) *test {
	if name == "" {
		return &p.test
	}
	for _, t := range slices.Backward(p.tests) {
		if t.name == name {
			return t
		}
	}
	t := &test{name: name}
	p.tests = append(p.tests, t)
	return t
}

// A duration is how long a test took, under the name that runs it again.
type duration struct {
	name    string
	elapsed time.Duration
}

// A tally counts results. Leaf tests count; a test with subtests counts only when it failed and none of them did.
type tally struct {
	w        io.Writer
	running  map[string]*pkg
	passed   int
	skips    map[string]int      // reasons, and how many tests were skipped for each
	failures []string            // what failed, as "package test"
	again    map[string][]string // the top-level tests to run again, by package; "" is all of it
	second   []string            // what passed at the second try only
	times    []duration
	brokers  map[string]int // brokers that tests said they ran against, and how many said so
}

func newTally(w io.Writer) *tally {
	return &tally{w: w, running: map[string]*pkg{}, skips: map[string]int{}, again: map[string][]string{}, brokers: map[string]int{}}
}

// read counts what a go test -json says until it ends; what has not finished by then has failed.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			t.line(line)
		}
		if errors.Is(err, io.EOF) {
			for _, path := range slices.Sorted(maps.Keys(t.running)) {
				t.finish(path)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		fmt.Fprint(t.w, line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(t.w, e.Output)
	}
	if e.Package == "" {
		return
	}
	p := t.running[e.Package]
	if p == nil {
		p = &pkg{}
		t.running[e.Package] = p
	}
	x := p.find(e.Test)
	switch e.Action {
	case "output":
		x.output = append(x.output, e.Output)
	case "pass", "fail", "skip":
		x.action = e.Action
		x.elapsed = time.Duration(e.Elapsed * float64(time.Second))
		if e.Test == "" {
			t.finish(e.Package)
		}
	}
}

var (
	// What t.Log and t.Skip print, or a test's plain output.
	skipMessage = regexp.MustCompile(`^(?:\s*\S+\.go:\d+: )?SKIP: (needs .*\S)`)
	brokerLine  = regexp.MustCompile(`^(?:\s*\S+\.go:\d+: )?broker: (.*\S)`)
)

// firstMatch returns what the expression's group matched in the first line of output that has a match.
func firstMatch(re *regexp.Regexp, output []string) string {
	for _, line := range output {
		if m := re.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

// finish counts the package's tests, and says in one line how it went, after all that its failed tests printed.
func (t *tally) finish(path string) {
	p := t.running[path]
	delete(t.running, path)
	passed, skipped, failed := 0, 0, 0
	fail := func(x *test, why string) {
		failed++
		t.failures = append(t.failures, strings.TrimSpace(path+" "+x.name)+why)
		top, _, _ := strings.Cut(x.name, "/")
		t.again[path] = append(t.again[path], top)
		fmt.Fprint(t.w, strings.Join(x.output, ""))
	}
	for _, x := range p.tests {
		if broker := firstMatch(brokerLine, x.output); broker != "" {
			t.brokers[broker]++
		}
		leaf, failedBelow := true, false
		for _, sub := range p.tests {
			if strings.HasPrefix(sub.name, x.name+"/") {
				leaf = false
				failedBelow = failedBelow || sub.action != "pass" && sub.action != "skip"
			}
		}
		reason := firstMatch(skipMessage, x.output)
		switch {
		case failedBelow:
			fmt.Fprint(t.w, strings.Join(x.output, ""))
		case x.action == "fail":
			fail(x, "")
		case x.action == "":
			fail(x, ": did not finish")
		case x.action == "skip" && reason == "":
			fail(x, `: skipped without a message that starts with "SKIP: needs"`)
		case x.action == "skip":
			skipped++
			t.skips[reason]++
		case leaf:
			passed++
		}
		if leaf {
			t.times = append(t.times, duration{path + " " + x.name, x.elapsed})
		}
	}
	switch {
	case p.action != "pass" && p.action != "skip" && failed == 0:
		fail(&p.test, "") // it does not build, it panicked outside of a test, or TestMain said so
	case failed > 0:
		fmt.Fprint(t.w, strings.Join(p.output, ""))
	}
	t.passed += passed
	verdict := "ok  "
	if failed > 0 {
		verdict = "FAIL"
	} else if len(p.tests) == 0 {
		verdict = "--  "
	}
	fmt.Fprintf(t.w, "%s  %-60s %7.1fs  %d passed, %d failed, %d skipped\n", verdict, path, p.elapsed.Seconds(), passed, failed, skipped)
}

// summary prints why tests were skipped, which took longest, the brokers, the failures, and last the counts.
func (t *tally) summary() {
	skipped := 0
	for _, reason := range slices.Sorted(maps.Keys(t.skips)) {
		skipped += t.skips[reason]
		fmt.Fprintf(t.w, "%4d x SKIP: %s\n", t.skips[reason], reason)
	}
	slices.SortStableFunc(t.times, func(a, b duration) int { return cmp.Compare(b.elapsed, a.elapsed) })
	for _, d := range t.times[:min(10, len(t.times))] {
		fmt.Fprintf(t.w, "%8.2fs  %s\n", d.elapsed.Seconds(), d.name)
	}
	for _, broker := range slices.Sorted(maps.Keys(t.brokers)) {
		fmt.Fprintf(t.w, "broker: %s (%d tests)\n", broker, t.brokers[broker])
	}
	for _, name := range t.second {
		fmt.Fprintln(t.w, "PASSED AT THE SECOND TRY ONLY:", name)
	}
	for _, name := range t.failures {
		fmt.Fprintln(t.w, "FAILED:", name)
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", t.passed, len(t.failures), skipped)
}

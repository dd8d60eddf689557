package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module lays out a module of the test files given, by package, and makes it the working directory.
func module(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m\n\ngo 1.26\n")
	for pkg, body := range files {
		write(pkg+"/x_test.go", "package x\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\n"+body)
	}
	t.Chdir(dir)
	t.Setenv("RUN", "")
	t.Setenv("SHORT", "")
	t.Setenv("RETRY", "")
}

// What fails once and passes then is no failure with RETRY, and is told apart.
func TestRetry(t *testing.T) {
	module(t, map[string]string{"test/a": `
func TestOnce(t *testing.T) { t.Run("sub", func(t *testing.T) {
	if _, err := os.Stat("tried"); err != nil { os.WriteFile("tried", nil, 0o600); t.Error("not yet") }
}) }
func TestGood(*testing.T) {}
`, "test/b": `func TestNever(t *testing.T) { t.Error("never") }`})
	for _, c := range []struct {
		retry, pattern, want string
		code                 int
	}{
		{"", "./test/a", "1 passed, 1 failed, 0 skipped\n", 1},
		{"1", "./test/a", "PASSED AT THE SECOND TRY ONLY: m/test/a TestOnce/sub\n2 passed, 0 failed, 0 skipped\n", 0},
		{"1", "./test/b", "FAILED: m/test/b TestNever\n0 passed, 1 failed, 0 skipped\n", 1},
	} {
		_ = os.Remove("test/a/tried")
		t.Setenv("RETRY", c.retry)
		var out bytes.Buffer
		code, err := run(t.Context(), &out, []string{c.pattern})
		if err != nil || code != c.code || !strings.HasSuffix(out.String(), c.want) {
			t.Errorf("%+v: exit %d, %v\n%s", c, code, err, out.String())
		}
	}
}

// What a real go test says about packages that pass, fail and break in each way is counted and shown.
func TestGoTest(t *testing.T) {
	module(t, map[string]string{
		"good": `
func TestOne(t *testing.T) { t.Log("broker: qpidd"); println("not of interest") }
func TestTwo(t *testing.T) { t.Run("a", func(*testing.T) {}); t.Run("b", func(*testing.T) {}) }
func TestDisk(t *testing.T) { t.Skip("SKIP: needs a disk") }
func FuzzIt(f *testing.F) { f.Add("x"); f.Fuzz(func(*testing.T, string) {}) }
`,
		"bad": `
func TestSub(t *testing.T) { t.Log("said above"); t.Run("a", func(t *testing.T) { t.Error("a is wrong") }); t.Run("b", func(*testing.T) {}) }
func TestParent(t *testing.T) { t.Run("a", func(*testing.T) {}); t.Error("only the parent is wrong") }
func TestQuietSkip(t *testing.T) { t.SkipNow() }
func TestOddSkip(t *testing.T) { t.Skip("no disk, SKIP: needs one") }
`,
		"broken": `func TestX(t *testing.T) { undefined() }`,
		"main":   `func TestMain(m *testing.M) { m.Run(); println("cleanup failed"); os.Exit(3) }` + "\nfunc TestX(*testing.T) {}",
		"panics": `func TestX(t *testing.T) { t.Run("y", func(*testing.T) { panic("no more") }) }`,
		"exits":  `func TestX(t *testing.T) { os.Exit(0) }`,
	})
	var out bytes.Buffer
	tally := newTally(&out)
	code, err := goTest(t.Context(), tally, nil, []string{"./..."})
	if err != nil || code != 1 {
		t.Errorf("goTest: exit status %d, %v; want 1, nil", code, err)
	}
	tally.summary()
	got := out.String()
	for _, want := range []string{
		"a is wrong", "said above", "only the parent is wrong", "undefined: undefined", "cleanup failed", "panic: no more",
		"   1 x SKIP: needs a disk\n",
		"broker: qpidd (1 tests)\n",
		"FAILED: m/bad TestSub/a\n",
		"FAILED: m/bad TestParent\n",
		"FAILED: m/bad TestQuietSkip: skipped without a message that starts with \"SKIP: needs\"\n",
		"FAILED: m/bad TestOddSkip: skipped without a message that starts with \"SKIP: needs\"\n",
		"FAILED: m/broken\n", "FAILED: m/main\n", "FAILED: m/panics TestX/y\n", "FAILED: m/exits TestX\n",
		"4 passed, 0 failed, 1 skipped\n",   // good
		"2 passed, 4 failed, 0 skipped\n",   // bad
		"\n7 passed, 8 failed, 1 skipped\n", // all: 4 + 2 + main's 1
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if strings.Contains(got, "not of interest") {
		t.Error("shows what a passed test printed")
	}
	if !strings.HasSuffix(got, "\n7 passed, 8 failed, 1 skipped\n") {
		t.Error("the counts are not the last line")
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestRun(t *testing.T) {
	passes, skips := "func TestX(*testing.T) {}", `func TestX(t *testing.T) { t.Skip("needs nothing") }`
	for _, c := range []struct {
		name  string
		files map[string]string
		run   string
		code  int
		fails bool
	}{
		{name: "all pass", files: map[string]string{"a": passes, "test/b": passes}},
		{name: "one under test/ fails", files: map[string]string{"a": passes, "test/b": "func TestX(t *testing.T) { t.Fail() }"}, code: 1},
		{name: "RUN leaves it out", files: map[string]string{"a": passes + "\nfunc TestY(t *testing.T) { t.Fail() }"}, run: "X"},
		{name: "a bad skip", files: map[string]string{"a": skips}, code: 1},
		{name: "no package", fails: true, code: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			module(t, c.files)
			t.Setenv("RUN", c.run)
			code, err := run(t.Context(), io.Discard, []string{"./..."})
			if code != c.code || (err != nil) != c.fails {
				t.Errorf("exit status %d, error %v; want %d, error: %t", code, err, c.code, c.fails)
			}
		})
	}
}

// A test process that was killed says nothing more: its test did not finish, and its package did not pass.
func TestUnfinished(t *testing.T) {
	var out bytes.Buffer
	tally := newTally(&out)
	err := tally.read(strings.NewReader(`{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestX"}
{"Action":"output","Package":"m/a","Test":"TestX","Output":"last words\n"}
this is not JSON
{"Action":"start","Package":"m/b"}
`))
	if err != nil {
		t.Fatal(err)
	}
	tally.summary()
	for _, want := range []string{"this is not JSON\n", "last words\n", "FAILED: m/a TestX: did not finish\n", "FAILED: m/b\n", "\n0 passed, 2 failed, 0 skipped\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q in\n%s", want, out.String())
		}
	}
}

package needs

import (
	"fmt"
	"testing"
)

// told keeps what a skip would say.
type told struct {
	testing.TB
	skips int
}

func (*told) Helper()                {}
func (s *told) Skipf(string, ...any) { s.skips++ }
func (s *told) Skip(...any)          { s.skips++ }

// In a dozen turns each of the parts has its own, and all have each where nobody says whose it is.
func TestTurn(t *testing.T) {
	for _, of := range []int{2, 4} {
		for part := range of {
			run := 0
			for turn := range 12 {
				t.Setenv("TURN", fmt.Sprint(turn))
				s := &told{TB: t}
				Turn(s, part, of)
				run += 1 - s.skips
			}
			if run != 12/of {
				t.Errorf("part %d of %d is run in %d turns of 12", part, of, run)
			}
			t.Setenv("TURN", "")
			s := &told{TB: t}
			if Turn(s, part, of); s.skips > 0 {
				t.Errorf("part %d of %d is left out where it is nobody's turn", part, of)
			}
		}
	}
}

// What is there is returned, and what is not skips, also under `make unit`.
func TestProgramAndFile(t *testing.T) {
	s := &told{TB: t}
	if path := Program(s, "sh", "dash"); path == "" || s.skips > 0 {
		t.Errorf("sh: %q, skipped %d times", path, s.skips)
	}
	if File(s, t.TempDir(), "this test"); s.skips > 0 {
		t.Error("a file that is there skips")
	}
	for skips, skip := range []func(){
		func() { Program(s, "no-such-program", "nothing") },
		func() { File(s, "/no/such/file", "nobody") },
		func() { t.Setenv("UNIT", "1"); Program(s, "sh", "dash") },
	} {
		if skip(); s.skips != skips+1 {
			t.Errorf("skip %d: %d", skips+1, s.skips)
		}
	}
}

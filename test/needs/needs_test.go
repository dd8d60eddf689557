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

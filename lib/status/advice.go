package status

import (
	"strings"
)

// A row of the guide: what a reason says, and what to do.
type row struct {
	pieces []string // of the reason, in this order; anything may stand between them
	length int      // of all of them
	do     string
}

// Advice reads the guide's tables of reasons, and returns what to do about one; "" if they do not have it. A reason may
// have been cut off.
func Advice(guide string) func(reason string) string {
	var rows []row
	_, reasons, _ := strings.Cut(guide, "\n## Reasons\n")
	reasons, _, _ = strings.Cut(reasons, "\n## ")
	for line := range strings.Lines(reasons) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.Contains(line, "---") || strings.TrimSpace(cells[0]) == "reason" {
			continue
		}
		for reason := range strings.SplitSeq(cells[0], ";") { // one of several
			r := row{do: strings.TrimSpace(cells[3])}
			for piece := range strings.SplitSeq(reason, "…") {
				if piece = strings.TrimSpace(piece); piece != "" {
					r.pieces, r.length = append(r.pieces, piece), r.length+len(piece)
				}
			}
			if r.length >= short {
				rows = append(rows, r)
			}
		}
	}
	return func(reason string) string {
		best := row{}
		for _, r := range rows {
			if n := r.matches(reason); n > best.length {
				best = row{length: n, do: r.do}
			}
		}
		return best.do
	}
}

// short is what a part of a reason must have, to be no accident.
const short = 8

// matches returns how much of the row the reason says, 0 if it says something else. A reason that was cut off may lack
// the end of a row.
func (r row) matches(reason string) int {
	matched, cut := 0, len(reason) >= cutOff
	for _, piece := range r.pieces {
		_, after, ok := strings.Cut(reason, piece)
		if !ok {
			if n := overlap(reason, piece); cut && matched+n >= short {
				return matched + n
			}
			return 0
		}
		matched, reason = matched+len(piece), after
	}
	return matched
}

// cutOff is the length from which Pacemaker may have cut a reason off, in bytes.
const cutOff = 100

// overlap is how much of the piece's beginning the reason ends with.
func overlap(reason, piece string) int {
	for n := min(len(reason), len(piece)); n > 0; n-- {
		if strings.HasSuffix(reason, piece[:n]) {
			return n
		}
	}
	return 0
}

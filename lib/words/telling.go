package words

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxWords is how many lines are picked.
const maxWords = 5

const (
	telling = `(?i)error|fatal|critical|emerg|cannot|can't|could ?n[o']t|unable|fail|denied|refused|abort|panic|exception|invalid|unknown|bad |no space|no such|not found|already|corrupt|signal|^>>> `
	// What a log line begins with: date and time as in RFC 3339, more or less, the number of a thread or process, the
	// level, and of oslo.log's lines the logger and the request. crm_mon has no room for it.
	// Redis has the number and the role of the process first, and puts a sign for the level; HAProxy has the level first.
	head = `^(?:\[(?:ALERT|EMERG)\]\s+(?:\d+/\d+ )?\(\d+\) : (?:config : )?|\d+:[A-Z] \d\d? \w{3} \d{4} \d\d:\d\d:\d\d\.\d+ [-.*#] (?:Warning: )?|\*\*\* FATAL CONFIG FILE ERROR .*|\s*\[?\d{4}-?\d\d-?\d\d[T ]\s*\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?\s+(?:\d+\s+)?(?:\[\w+\]\s+)*(?:[A-Z]+ [\w.]+ \[[^\]]*\] |(?:critical|error|fatal|CRITICAL|ERROR|FATAL)\s+)?(?:Unexpected error: )?)`
	// How logs mark the level of a line.
	marked = `(?i)\[error\]|\[critical\]|^\[alert\]|^\[emerg\]|\[system\]| error | critical | fatal | # warning: `
	// The levels, among what stands before a message, that no daemon dies of.
	harmless = `(?i)(?:^|[\s\[])(?:note|notice|warning|info|debug|trace)(?:[\]\s:]|$)`
	// SQLAlchemy's name for an error of the database driver, and the driver's: the server's number and words come after them.
	wrapped = `\b(?:Unhandled error: )?\w+(?:\.\w+)+: \((?:\w+\.)+\w+\) `
	// Lines of Python's that say nothing themselves.
	python = `\bTraceback \(most recent call last\):$|\(Background on this error at: \S+\)$`
	// What somebody says who has found nothing to do; EL's mariadb-prepare-db-dir says it before each start, and goes on about
	// emptying the data directory.
	idle = `(?i)\bnothing is done\.?$|^if this is not the case, make sure\b`
	// What tells the reader to change or delete files of the daemon's.
	advice = `(?i)\bmake sure\b.*\bis empty\b|\bplease, clean\b|\b(?:please|either|you (?:can|may|should|must|need|have)|try to|safe to)\b.*\b(?:delete|remove|drop|truncate|repair|aria_chk|myisamchk|force[-_]recovery|tc-heuristic-recover|rm)\b`
	// InnoDB tells some errors of the system by their number alone.
	number = `\bfailed with error (\d+)\b`
	// What differs between repetitions of a message: time stamps, pids, counters.
	varying = `[0-9]+`
)

// without leaves out sentences that advise to change or delete files: obeyed without a look at the storage, they
// destroy sound data.
func without(advice *regexp.Regexp, text string) string {
	sentences := strings.SplitAfter(text, ". ")
	kept := slices.DeleteFunc(slices.Clone(sentences), advice.MatchString)
	if len(kept) == len(sentences) {
		return text
	}
	return strings.Join(append(kept, "(Its advice to repair or delete is in the log: copy the data first)"), "")
}

// named adds what the number of an error means, such as 28.
func named(text string) string {
	digits := text[strings.LastIndexByte(text, ' ')+1:]
	n, err := strconv.Atoi(digits)
	if err != nil || unix.ErrnoName(syscall.Errno(n)) == "" {
		return text
	}
	return fmt.Sprintf("failed: %v (error %d)", syscall.Errno(n), n)
}

// Telling picks at most maxWords lines, without their heads: those that speak of trouble, or else the last ones.
// The first complaints name the cause and the last ones the consequence, so of many the middle goes. Repetitions
// count once.
func Telling(lines []string) []string {
	var all, bad, errs []string
	seen := map[string]bool{}
	telling, head := regexp.MustCompile(telling), regexp.MustCompile(head)
	marked, varying := regexp.MustCompile(marked), regexp.MustCompile(varying)
	numbers := regexp.MustCompile(number)
	harmless, advice, idle := regexp.MustCompile(harmless), regexp.MustCompile(advice), regexp.MustCompile(idle+"|"+python)
	wrapped := regexp.MustCompile(wrapped)
	for _, line := range lines {
		before := head.FindString(line)
		text := line[len(before):]
		level, _, _ := strings.Cut(text, " ")
		if harmless.MatchString(before+level) && !marked.MatchString(before) || idle.MatchString(text) {
			continue
		}
		said := Line(numbers.ReplaceAllStringFunc(without(advice, wrapped.ReplaceAllLiteralString(text, "")), named))
		if key := varying.ReplaceAllString(said, "0"); said == "" || seen[key] {
			continue
		} else {
			seen[key] = true
		}
		all = append(all, said)
		if telling.MatchString(line) {
			bad = append(bad, said)
			if marked.MatchString(line) {
				errs = append(errs, said)
			}
		}
	}
	if len(errs) > 0 {
		bad = errs // a log that marks its errors needs no guessing
	}
	switch {
	case len(bad) > maxWords:
		return slices.Concat(bad[:maxWords-2], bad[len(bad)-2:])
	case len(bad) > 0:
		return bad
	}
	return all[max(0, len(all)-maxWords):]
}

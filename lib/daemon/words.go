package daemon

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/words"
)

const (
	maxTail  = 64 << 10 // bytes of a log that are searched
	maxWords = 5        // lines
)

// logs remembers where log files ended, to read later what was added since.
type logs []logEnd

type logEnd struct {
	path string
	info os.FileInfo // nil: there was none
}

func rememberLogs(paths []string) logs {
	var l logs
	for _, path := range paths {
		if path == "" || path == os.DevNull || slices.ContainsFunc(l, func(e logEnd) bool { return e.path == path }) {
			continue
		}
		info, err := bounded(context.Background(), path, func() (os.FileInfo, error) { return os.Stat(path) })
		if err != nil {
			info = nil
		}
		l = append(l, logEnd{path, info})
	}
	return l
}

func (l logs) names() []string {
	var names []string
	for _, e := range l {
		names = append(names, e.path)
	}
	return names
}

// last returns the informative lines that were added.
func (l logs) last(ctx context.Context) []string {
	var lines []string
	for _, e := range l {
		// A daemon that died may have died of the storage its log is on.
		tail, err := bounded(context.WithoutCancel(ctx), e.path, e.tail)
		if err == nil {
			lines = append(lines, strings.Split(tail, "\n")...)
		}
	}
	return informative(lines)
}

// tail is what was added to the file, or the whole of it if it is not the same any more (rotated, truncated).
func (e logEnd) tail() (string, error) {
	f, err := os.Open(e.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil || !now.Mode().IsRegular() {
		return "", err
	}
	var from int64
	if e.info != nil && os.SameFile(e.info, now) && now.Size() >= e.info.Size() {
		from = e.info.Size()
	}
	from = max(from, now.Size()-maxTail)
	b, err := io.ReadAll(io.NewSectionReader(f, from, maxTail))
	return string(b), err
}

const (
	telling = `(?i)error|fatal|critical|emerg|cannot|can't|could ?n[o']t|unable|fail|denied|refused|abort|panic|exception|invalid|unknown|bad |no space|no such|not found|already|corrupt|signal|^>>> `
	// What a log line begins with: date and time as in RFC 3339, more or less, the number of a thread or process, the
	// level, and of oslo.log's lines the logger and the request. crm_mon has no room for it.
	// Redis has the number and the role of the process first, and puts a sign for the level.
	head = `^(?:\d+:[A-Z] \d\d? \w{3} \d{4} \d\d:\d\d:\d\d\.\d+ [-.*#] (?:Warning: )?|\*\*\* FATAL CONFIG FILE ERROR .*|\s*\[?\d{4}-?\d\d-?\d\d[T ]\s*\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?\s+(?:\d+\s+)?(?:\[\w+\]\s+)*(?:[A-Z]+ [\w.]+ \[[^\]]*\] |(?:critical|error|fatal|CRITICAL|ERROR|FATAL)\s+)?(?:Unexpected error: )?)`
	// How logs mark the level of a line.
	marked = `(?i)\[error\]|\[critical\]|\[system\]| error | critical | fatal | # warning: `
	// The levels, among what stands before a message, that no daemon dies of.
	harmless = `(?i)(?:^|[\s\[])(?:note|notice|warning|info|debug|trace)(?:[\]\s:]|$)`
	// What tells the reader to change or delete files of the daemon's.
	advice = `(?i)\b(?:please|either|you (?:can|may|should|must|need|have)|try to|safe to)\b.*\b(?:delete|remove|drop|truncate|repair|aria_chk|myisamchk|force[-_]recovery|tc-heuristic-recover|rm)\b`
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

// informative picks at most maxWords lines, without their heads: those that speak of trouble, or else the last ones.
// The first complaints name the cause and the last ones the consequence, so of many the middle goes. Repetitions
// count once.
func informative(lines []string) []string {
	var all, bad, errs []string
	seen := map[string]bool{}
	telling, head := regexp.MustCompile(telling), regexp.MustCompile(head)
	marked, varying := regexp.MustCompile(marked), regexp.MustCompile(varying)
	harmless, advice := regexp.MustCompile(harmless), regexp.MustCompile(advice)
	for _, line := range lines {
		before := head.FindString(line)
		text := line[len(before):]
		level, _, _ := strings.Cut(text, " ")
		if harmless.MatchString(before+level) && !marked.MatchString(before) {
			continue
		}
		said := words.Line(without(advice, text))
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

package daemon

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/words"
)

const maxTail = 64 << 10 // bytes of a log that are searched

// logs remembers where log files ended, to read later what was added since.
type logs []logEnd

type logEnd struct {
	path string
	info os.FileInfo // nil: there was none
}

// Words remembers where the log files end; what it returns tells what of the lines that were added since speaks of trouble.
func Words(paths ...string) func(context.Context) []string { return rememberLogs(paths).last }

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
	return words.Telling(lines)
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

package mysql

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// answer is what the server says it would do with its option file and the
// resource's parameters. It is asked once and kept, with all that it depends on.
type answer struct {
	Question string            // the parameters that it depends on
	Seen     []seen            // and the binary, option files and directories
	User     string            // whom the option files say to run as
	Values   map[string]string // of the options in kept
	Warnings []string
}

// kept are the options that an agent wants to know of.
var kept = []string{"datadir", "socket", "pid-file", "log-error", "extra-port", "memlock", "large-pages"}

// seen is a file as it was when the server was asked; a missing one has a path alone.
type seen struct {
	Path                string
	Dev, Ino            uint64
	Size, Mtime, Change int64
}

func look(path string) seen {
	s := seen{Path: path}
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil {
		s.Dev, s.Ino, s.Size, s.Mtime, s.Change = st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()
	}
	return s
}

func (a *answer) fresh() bool {
	return !slices.ContainsFunc(a.Seen, func(s seen) bool { return look(s.Path) != s })
}

// askWithin is how long the server may take to say what it would do; it needs a tenth of a second.
const askWithin = 5 * time.Second

// answer is what the server says, nil if that cannot be known; the error is why
// there is no answer that holds as of now. A recurring monitor takes what the
// server was started by, and so does a stop: they ask only where nothing is kept.
func (p *params) answer(ctx context.Context, r *ocf.Request, config string, u systemd.Unit) (*answer, error) {
	c := p.asked(config, u)
	question := strings.Join(slices.Concat([]string{c.Path, c.User, c.Group}, c.Env, c.Args), "\x00")
	h := fnv.New64a()
	_, _ = io.WriteString(h, question)
	path := filepath.Join(r.TempDir(), "openstack-"+r.Agent+"-"+strconv.FormatUint(h.Sum64(), 16)+".options")
	verify := r.Action != ocf.Stop && r.Interval == 0
	old := recall(path, verify)
	if old != nil && old.Question != question {
		old = nil
	}
	if old != nil && !verify {
		return old, nil
	}
	binary, _ := server(r, c.Path) // that it is missing is told elsewhere
	ctx, cancel := context.WithTimeout(ctx, min(askWithin, service.Remaining(ctx)/3))
	defer cancel()
	if old != nil && old.Seen[0].Path == binary {
		if fresh, err := hang.Bound(ctx, "the storage of the option files", func() (bool, error) { return old.fresh(), nil }); err != nil || fresh {
			return old, err
		}
	}
	if binary == "" {
		return old, nil
	}
	r.Step("asking %s for its options", binary)
	c.Path = binary
	a, err := hang.Bound(ctx, "the storage of the option files", func() (*answer, error) { return ask(ctx, config, c) })
	if err != nil {
		return old, err
	}
	a.Question = question
	if err := a.keep(path); err != nil {
		r.Log.Warn("what the server says of its options cannot be kept", "error", err)
	}
	return a, nil
}

// asked is how the server is asked: with the command line that the parameters make, or that of its unit, over which
// they have the last word.
func (p *params) asked(config string, u systemd.Unit) daemon.Command {
	c := daemon.Command{Path: p.binary, User: p.user, Group: p.group, Dir: "/"}
	var own []string
	if p.unit != "" {
		c.Env, c.User, c.Group = u.Env, u.User, u.Group
		if len(u.Exec) > 0 {
			c.Path, own = u.Exec[0], u.Exec[1:]
		}
		if config = p.config; slices.ContainsFunc(own, func(arg string) bool { return strings.HasPrefix(arg, "--defaults-file") }) {
			config = ""
		}
	}
	var args []string
	for _, o := range []struct{ option, value string }{
		{"defaults-file", config}, // must be the first
		{"datadir", p.datadir}, {"socket", p.socket}, {"pid-file", p.pid}, {"log-error", p.log},
	} {
		if o.value != "" {
			args = append(args, "--"+o.option+"="+o.value)
		}
	}
	if config != "" {
		c.Args, args = args[:1:1], args[1:]
	}
	c.Args = slices.Concat(c.Args, own, args, p.additional)
	return c
}

// ask asks the server as the account that it will run as, for that one may be
// kept from files that root can read. Who that is the files say, as root reads
// them and in the groups that the server reads.
func ask(ctx context.Context, config string, c daemon.Command) (*answer, error) {
	named := c.User
	groups := mycnf.ServerGroups
	var a *answer
	for range 3 {
		o := mycnf.Options{Files: slices.Clone(configs)}
		if config != "" {
			o, _ = mycnf.Read(config, groups...) // what is wrong with it the server says
		}
		user, _ := o.First("user")
		if a != nil && a.User == user && slices.Equal(a.Seen, looks(c.Path, o.Files)) {
			return a, nil
		}
		a = &answer{User: user, Seen: looks(c.Path, o.Files), Values: map[string]string{}}
		c.User = cmp.Or(named, user, "mysql")
		said, err := mycnf.Ask(ctx, c)
		if err != nil {
			return nil, err
		}
		groups, a.Warnings = said.Groups, said.Warnings
		for _, name := range kept {
			a.Values[name] = said.Values[name]
		}
	}
	return a, nil // they change all the time: so does the answer
}

func looks(binary string, files []string) []seen {
	list := []seen{look(binary)}
	for _, f := range files {
		list = append(list, look(f))
	}
	return list
}

// String is the answer as it is kept: a line for each thing, its name and quoted words. JSON would cost a monitor a
// twentieth of its time.
func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "question %q\nuser %q\n", a.Question, a.User)
	for _, name := range kept {
		fmt.Fprintf(&b, "%s %q\n", name, a.Values[name])
	}
	b.WriteByte('\n') // a recurring monitor reads no further
	for _, s := range a.Seen {
		fmt.Fprintf(&b, "seen %q %d %d %d %d %d\n", s.Path, s.Dev, s.Ino, s.Size, s.Mtime, s.Change)
	}
	for _, w := range a.Warnings {
		fmt.Fprintf(&b, "warning %q\n", w)
	}
	return b.String()
}

// parseAnswer reads what String wrote, whole or what a recurring monitor wants; nil for anything else.
func parseAnswer(text string, whole bool) *answer {
	a := &answer{Values: map[string]string{}}
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		name, quoted, _ := strings.Cut(line, " ")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil
		}
		switch name {
		case "question":
			a.Question = value
		case "user":
			a.User = value
		default:
			a.Values[name] = value
		}
	}
	if !whole {
		return a
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\n"), "\n") {
		if w, ok := strings.CutPrefix(line, "warning "); ok {
			w, _ = strconv.Unquote(w)
			a.Warnings = append(a.Warnings, w)
			continue
		}
		var s seen
		if _, err := fmt.Sscanf(line, "seen %q %d %d %d %d %d", &s.Path, &s.Dev, &s.Ino, &s.Size, &s.Mtime, &s.Change); err != nil {
			return nil
		}
		a.Seen = append(a.Seen, s)
	}
	return a
}

// keep writes the answer so that no reader sees half of it.
func (a *answer) keep(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return files.Replace(path, []byte(a.String()), 0o600)
}

// recall reads what was kept, nil if there is nothing of ours.
func recall(path string, whole bool) *answer {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return nil
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	return parseAnswer(string(b), whole)
}

package status

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/built"
)

// tools are stand-ins for Pacemaker's, which say what a file has, and count how often they are asked.
type tools struct {
	t   *testing.T
	dir string
}

func newTools(t *testing.T, resources int, roles ...string) *tools {
	t.Helper()
	p := &tools{t, t.TempDir()}
	for tool, script := range map[string]string{
		"crm_mon":  "echo >>" + p.dir + "/asked; [ -e " + p.dir + "/mon.xml ] || exit 102; cat " + p.dir + "/mon.xml",
		"cibadmin": "echo '<cib><configuration/><status/></cib>'",
		"crmadmin": "echo S_IDLE",
	} {
		p.write(tool, "#!/bin/sh\n"+script+"\n")
	}
	p.is(resources, roles...)
	return p
}

func (p *tools) write(name, text string) {
	p.t.Helper()
	file := filepath.Join(p.dir, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		p.t.Fatal(err)
	}
}

// is makes a cluster of so many resources, the first of which have these roles; the others are started.
func (p *tools) is(resources int, roles ...string) {
	var b strings.Builder
	b.WriteString(`<pacemaker-result><summary><current_dc name="node1" with_quorum="true"/></summary><nodes><node name="node1" online="true"/><node name="node2" online="true"/></nodes><resources>`)
	for i := range resources {
		role := "Started"
		if i < len(roles) {
			role = roles[i]
		}
		b.WriteString(`<resource id="db` + strconv.Itoa(i) + `" resource_agent="ocf:openstack:mysql-shared-storage" role="` + role + `" active="true" managed="true"><node name="node1"/></resource>`)
	}
	p.write("mon.xml", b.String()+`</resources></pacemaker-result>`)
}

// askedAgain waits until the cluster was asked three times more: the second of them began after this.
func (p *tools) askedAgain() {
	p.t.Helper()
	asked := func() int64 {
		info, err := os.Stat(filepath.Join(p.dir, "asked"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := asked()
	box.Until(p.t, "it asks again", func() bool { return asked() >= before+3 })
}

func (p *tools) watch(rows, columns int, env ...string) *screen {
	p.t.Helper()
	return run(p.t, rows, columns, append(env, "PATH="+p.dir+":"+os.Getenv("PATH")), built.Binary(p.t), "status", "--watch")
}

// On a terminal: drawn when something changes, within the window, and gone without a trace.
func TestWatch(t *testing.T) {
	p := newTools(t, 3)
	s := p.watch(24, 80, "TERM=xterm", "NO_COLOR=")
	before, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s.shows("cluster: DC node1, quorum", "db0 ", "db2 ", "serving", "Ctrl-C")
	if !strings.Contains(s.all(), "\x1b[32mserving") {
		t.Error("it has no colours")
	}
	shown := s.all()
	p.askedAgain()
	if now := s.all(); now != shown {
		t.Errorf("nothing has changed, and it has written %q", now[len(shown):])
	}
	p.is(3, "Starting")
	s.shows("changing starting")
	if strings.Contains(s.text(), "the shell's line") {
		t.Error("it does not have the screen for itself")
	}

	p.is(200, "Starting")
	s.shows("2 nodes online, 199 more resources serving", "db0 ")
	s.resize(4, 40)
	s.shows("lines more", "cluster: DC node1", "Ctrl-C")
	if n := strings.Count(s.text(), "\n") + 1; n > 4 {
		t.Errorf("%d lines in a window of 4:\n%s", n, s.text())
	}
	s.resize(400, 200)
	s.shows("db0 ", "db199 ")

	if err := os.Remove(filepath.Join(p.dir, "mon.xml")); err != nil {
		t.Fatal(err)
	}
	s.shows("the cluster does not answer", "so it was at ", "db199 ")
	shown = s.all()
	p.askedAgain()
	if s.all() != shown {
		t.Error("it goes on to write that there is no answer")
	}
	p.is(1)
	box.Until(t, "it answers again", func() bool { return !strings.Contains(s.text(), "so it was") })
	s.shows("db0 ", "at rest")

	s.key("\x1a")
	box.Until(t, "it is stopped", func() bool { return s.state() == "T" })
	s.shows("the shell's line")
	if s.hidden || strings.Contains(s.text(), "db0") {
		t.Errorf("stopped, it leaves this: hidden %v\n%s", s.hidden, s.text())
	}
	if err := unix.Kill(s.cmd.Process.Pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.shows("db0 ", "at rest")

	s.key("\x03")
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	s.shows("the shell's line")
	after, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before || s.hidden || strings.Contains(s.text(), "db0") {
		t.Errorf("%v: the terminal is not as it was: %+v, was %+v; hidden %v\n%s", err, after, before, s.hidden, s.text())
	}
}

// Where a terminal can do no more than write, or nobody wants colours.
func TestWatchPlain(t *testing.T) {
	for name, c := range map[string]struct {
		env       []string
		unwelcome string
	}{
		"dumb":     {[]string{"TERM=dumb", "NO_COLOR="}, "\x1b"},
		"unknown":  {[]string{"TERM=", "NO_COLOR="}, "\x1b"},
		"NO_COLOR": {[]string{"TERM=xterm", "NO_COLOR=1"}, "\x1b[32m"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTools(t, 1)
			s := p.watch(24, 80, c.env...)
			s.shows("db0 ", "serving")
			p.is(1, "Starting")
			s.shows("changing starting")
			s.key("\x03")
			if err := s.cmd.Wait(); err != nil {
				t.Errorf("Ctrl-C: %v", err)
			}
			if strings.Contains(s.all(), c.unwelcome) {
				t.Errorf("%q is in %q", c.unwelcome, s.all())
			}
		})
	}
}

// A cluster that hangs does not hold Ctrl-C up.
func TestWatchHangs(t *testing.T) {
	p := newTools(t, 1)
	s := p.watch(24, 80, "TERM=xterm")
	s.shows("db0 ")
	p.write("crm_mon", "#!/bin/sh\necho >>"+p.dir+"/hangs; exec sleep 1000\n")
	box.Until(t, "it hangs", func() bool { _, err := os.Stat(filepath.Join(p.dir, "hangs")); return err == nil })
	s.key("\x03")
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	s.shows("the shell's line")
}

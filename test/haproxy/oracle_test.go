package haproxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/test/box"
)

// nasty is a generator of configurations that meet at what is hard to read about them.
type nasty struct {
	*rand.Rand
	port        int
	conditional map[int]bool // ports within .if, of which the reader says nothing
	defaults    []string
}

func (n *nasty) pick(list ...string) string { return list[n.IntN(len(list))] }

func (n *nasty) bind() string {
	n.port++
	address := n.pick("127.0.0.1", "127.0.0.2", "*", "", "ipv4@127.0.0.3", "ipv4@", "ipv4@*", "[::1]", "::1", "::", "[::]", "ipv6@::1", "ipv6@", `"127.0.0.4"`, `'127.0.0.5'`,
		`"$IP"`, `"${IP}"`, "${IP}", "$IP", `"${NONE-127.0.0.6}"`, `"${OWN}"`, `127.0.0."7"`, `stream+ipv4@127.0.0.8`, `\127.0.0.9`)
	text := fmt.Sprintf("%s:%d", address, n.port)
	switch n.IntN(8) {
	case 0:
		n.port += 2
		text = fmt.Sprintf("%s:%d-%d", address, n.port-1, n.port)
	case 1:
		n.port++
		text += fmt.Sprintf(",127.0.0.1:%d", n.port)
	case 2:
		text = fmt.Sprintf("%s:\"${PORT-%d}\"", address, n.port)
	}
	return n.pick("bind ", "  bind\t", "\tbind ") + text + n.pick("", "", " # comment", " name x", " transparent", ` name "a # b"`, " v6only", " defer-accept", " #")
}

func (n *nasty) section() string {
	var b strings.Builder
	from := ""
	if len(n.defaults) > 0 && n.IntN(3) == 0 {
		from = " from " + n.pick(n.defaults...)
	}
	fmt.Fprintf(&b, "%s s%d%s%s\n", n.pick("frontend", "listen", "frontend", " listen"), n.port, from, n.pick("", " # x"))
	for range 1 + n.IntN(4) {
		switch n.IntN(9) {
		case 0:
			b.WriteString(n.pick(" disabled\n", " enabled\n"))
		case 1:
			before := n.port
			bind := n.bind()
			fmt.Fprintf(&b, ".if %s\n%s\n.else\n.endif\n", n.pick("defined(IP)", "!defined(IP)", "streq(a,a)", "version_atleast(2.4)", "0"), bind)
			for p := before + 1; p <= n.port; p++ {
				n.conditional[p] = true
			}
		case 2:
			b.WriteString(n.pick(" mode tcp\n", " mode http\n", " description bind :1\n", "# bind :2\n", " acl x src 127.0.0.1\n", "\n", " http-request return status 200\n", " option httplog\n", " log-tag \"bind :3\"\n"))
		default:
			b.WriteString(n.bind() + "\n")
		}
	}
	return b.String()
}

func (n *nasty) file() string {
	var b strings.Builder
	if n.IntN(2) == 0 {
		b.WriteString("global\n" + n.pick("", " maxconn 100\n", " setenv OWN 127.0.1.1\n", " presetenv OWN 127.0.1.2\n", " presetenv IP 127.0.1.3\n", " setenv IP \"127.0.1.4\"\n", " setenv OWN 127.0.1.5\n unsetenv IP\n"))
	}
	for range 1 + n.IntN(4) {
		if n.IntN(2) == 0 {
			name, from := "", ""
			if n.IntN(2) == 0 {
				name = fmt.Sprintf(" d%d", n.IntN(1000000))
			}
			if name != "" && len(n.defaults) > 0 && n.IntN(3) == 0 {
				from = " from " + n.pick(n.defaults...)
			}
			b.WriteString("defaults" + name + from + "\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n" + n.pick("", "", " disabled\n", " enabled\n", " disabled\n enabled\n"))
			if name != "" {
				n.defaults = append(n.defaults, strings.TrimSpace(name))
			}
		}
		b.WriteString(n.section())
		b.WriteString(n.pick("", "", "backend b"+fmt.Sprint(n.port)+"\n server s 127.0.0.1:1\n", "peers p"+fmt.Sprint(n.port)+"\n peer x 127.0.0.1:1\n"))
	}
	return b.String()
}

// TestOracle compares where HAProxy listens with where its configuration is read to say so.
func TestOracle(t *testing.T) {
	h := newHost(t)
	n := &nasty{Rand: rand.New(rand.NewPCG(7, 8)), port: 20000}
	const enough = 210
	rounds, compared := 0, 0
	for ; compared < enough && rounds < 4*enough; rounds++ {
		n.conditional, n.defaults = map[int]bool{}, nil
		dir := filepath.Join(t.TempDir(), fmt.Sprint(rounds))
		box.Sh(t, "mkdir -p %s/conf.d/dir.cfg", dir)
		paths := []string{filepath.Join(dir, "haproxy.cfg")}
		text := n.file()
		h.write(paths[0], text)
		if rounds%3 == 0 {
			more := n.file()
			h.write(filepath.Join(dir, "conf.d", n.pick("a.cfg", "Z.cfg", "1.cfg")), more)
			h.write(filepath.Join(dir, "conf.d", n.pick(".hidden.cfg", "a.cfg.bak", "notes")), "listen hidden\n bind :1\n")
			paths, text = append(paths, filepath.Join(dir, "conf.d")), text+"=== conf.d\n"+more
		}
		if h.compare([]string{"PATH=/usr/sbin:/usr/bin:/bin", "IP=127.0.2.1"}, n.conditional, text, paths...) {
			compared++
		}
	}
	t.Logf("%d of %d configurations compared", compared, rounds)
	if compared < enough {
		t.Errorf("only %d of %d configurations could be compared", compared, rounds)
	}
}

// TestCorpus compares as TestOracle does the configurations of a directory, such as those of HAProxy's own examples
// and tests.
func TestCorpus(t *testing.T) {
	box.Need(t)
	files, _ := filepath.Glob(filepath.Join(os.Getenv("HAPROXY_CORPUS"), "*.cfg"))
	if os.Getenv("HAPROXY_CORPUS") == "" || len(files) == 0 {
		t.Skip("SKIP: needs HAPROXY_CORPUS, a directory of configurations")
	}
	h := newHost(t)
	compared := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if h.compare([]string{"PATH=/usr/sbin:/usr/bin:/bin"}, nil, file+"\n"+string(text), file) {
			compared++
		}
	}
	t.Logf("%d of %d configurations compared", compared, len(files))
	if compared == 0 {
		t.Error("none could be compared")
	}
}

// compare runs HAProxy with these files, and tells whether it could be.
func (h *host) compare(env []string, conditional map[int]bool, text string, paths ...string) bool {
	t := h.T
	t.Helper()
	got, err := haproxy.ReadConfig(env, paths...)
	if err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	args := []string{"-D", "-p", pidFile}
	for _, p := range paths {
		args = append(args, "-f", p)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("haproxy", args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if _, err := run(append([]string{"-c"}, args...)...); err != nil {
		return false // refused, for whatever reason: it is no configuration then
	}
	if _, err := run(args...); err != nil {
		return false // some addresses cannot be had
	}
	pids, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var listening []sockets.Socket
	for _, word := range strings.Fields(string(pids)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		l, err := sockets.Of(pid, sockets.Listen)
		if err != nil {
			t.Fatal(err)
		}
		listening = append(listening, l...)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		defer box.Until(t, "it is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	var want, is []string
	for _, l := range listening {
		if !conditional[int(l.Local.Port())] {
			want = append(want, l.Local.String())
		}
	}
	for _, b := range got.Binds {
		for port := b.Low; port <= b.High && !b.Elsewhere; port++ {
			is = append(is, netip.AddrPortFrom(b.Address, port).String())
		}
	}
	slices.Sort(want)
	slices.Sort(is)
	want, is = slices.Compact(want), slices.Compact(is)
	if len(got.Unset) == 0 {
		if !slices.Equal(is, want) {
			t.Errorf("HAProxy listens on %q, read was %q\n%s", want, is, text)
		}
		return true
	}
	// The agent refuses it. HAProxy listens on all addresses instead.
	if !slices.ContainsFunc(want, func(a string) bool { return strings.HasPrefix(a, "0.0.0.0:") && !slices.Contains(is, a) }) {
		t.Errorf("%q is said not to be set; HAProxy listens on %q, read was %q\n%s", got.Unset, want, is, text)
	}
	return false
}

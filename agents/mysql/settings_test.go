package mysql

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/needs"
)

// cnf makes option files, in all the forms that a server reads and an operator writes.
type cnf struct {
	*rand.Rand
	dir string
}

func (g cnf) pick(of ...string) string { return of[g.IntN(len(of))] }

// name spells an option: whole or as a prefix of it, with dashes or underscores, loose or not.
func (g cnf) name(whole string, shortest int) string {
	n := whole[:shortest+g.IntN(len(whole)-shortest+1)]
	if g.IntN(2) == 0 {
		n = whole
	}
	if g.IntN(3) == 0 {
		n = strings.ReplaceAll(n, "-", "_")
	}
	return g.pick("", "", "", "loose-", "loose_") + n
}

func (g cnf) value(v string) string {
	switch g.IntN(6) {
	case 0:
		return `"` + v + `"`
	case 1:
		return "'" + v + "' # why"
	case 2:
		return v + "   # why"
	case 3:
		return strings.ReplaceAll(v, " ", `\s`)
	}
	return v
}

func (g cnf) option() string {
	if g.IntN(60) == 0 {
		return g.pick("port=abc", "datadir", "da="+g.dir, "[mysqld", "!include")
	}
	set := func(name string, shortest int, values ...string) string {
		return g.name(name, shortest) + g.pick("=", " = ", "\t=") + g.value(g.pick(values...))
	}
	switch g.IntN(16) {
	case 0, 1, 2:
		return set("datadir", 5, g.dir+"/a", g.dir+"/b/", g.dir+"/c d", g.dir+"/x/../a", "rel", "./rel", g.dir)
	case 3:
		return set("basedir", 4, g.dir, "/usr", g.dir+"/b")
	case 4, 5:
		return set("socket", 3, g.dir+"/s", "s.sock", "@abstract", g.dir+"/c d/s")
	case 6:
		return set("pid-file", 3, g.dir+"/p.pid", "p", "p.x", g.dir+"/q")
	case 7, 8:
		return g.pick(set("log-error", 6, g.dir+"/log", "log", "log.x", g.dir+"/l.err", "./l"), "log-error", "skip-log-error")
	case 9:
		return set("user", 4, "mysql", "nobody", "mysql", "root")
	case 10:
		return set("extra-port", 6, "0", "3999", "4001")
	case 11:
		return g.pick("memlock", "skip-memlock", "memlock=0", "memlock=OFF", "disable-memlock", "enable-memlock", "loose-memlock=1", "memlock=ON", "loose-skip-memlock")
	case 12:
		return g.pick("skip-networking", "skip-networking=0", "port=0", "port = 3400", "bind-address=*", "skip-name-resolve")
	case 13:
		return g.pick("# datadir=/commented", "; socket=/commented", "", "loose-no-such-option=1", "no-such-option=1", "max_connections=20")
	}
	return g.pick("innodb_buffer_pool_size=8M", "key_buffer=16K", "tmpdir=/tmp", "lc-messages-dir=/usr/share/mysql", "character-set-server=utf8")
}

func (g cnf) section(lines int) string {
	s := "[" + g.pick("mysqld", "mysqld", "mysqld", "server", "mariadb", "mariadbd", "mysqld-10.11", "mariadb-10.11", "mariadbd-10.11", "client-server", "galera", "mysqld-8.4", "mysqld-5.7", "mariadb-10.6", "client", "mysqld_safe", "MYSQLD", "mysql", "mysqld1", "embedded") + "]\n"
	for range lines {
		s += g.option() + "\n"
	}
	return s
}

// write changes the tree of option files a little: what there was stays, but for what is written anew.
func (g cnf) write(t *testing.T) {
	t.Helper()
	text := ""
	for range 1 + g.IntN(4) {
		text += g.section(1 + g.IntN(4))
		switch g.IntN(6) {
		case 0:
			text += "!include " + g.dir + "/" + g.pick("inc.cnf", "no.cnf") + "\n"
		case 1:
			text += "!includedir " + g.dir + "/conf.d\n"
		case 2:
			text += "!includedir ." + g.dir + "/conf.d/\n" // relative
		}
	}
	put := func(name, text string, mode os.FileMode) {
		path := filepath.Join(g.dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	modes := []os.FileMode{0o644, 0o644, 0o644, 0o600, 0o666}
	if g.IntN(4) > 0 {
		put("my.cnf", text, 0o644)
	}
	switch g.IntN(5) {
	case 0:
		put("inc.cnf", g.section(2), modes[g.IntN(len(modes))])
	case 1:
		put("conf.d/"+g.pick("a.cnf", "b.cnf", "c.cnf.bak"), g.section(2), modes[g.IntN(len(modes))])
	case 2:
		_ = os.Remove(filepath.Join(g.dir, g.pick("inc.cnf", "conf.d/a.cnf", "conf.d/b.cnf")))
	case 3:
		_ = os.Chmod(filepath.Join(g.dir, g.pick("inc.cnf", "conf.d/a.cnf")), modes[g.IntN(len(modes))])
	}
}

// verdict is what the server itself makes of the file, read without this package.
type verdict struct {
	values map[string]string
	stderr string
}

func judge(t *testing.T, binary, config, user string) verdict {
	t.Helper()
	account, err := daemon.Lookup(user, "")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--defaults-file="+config, "--verbose", "--help")
	cmd.Dir, cmd.Env = "/", []string{"HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(account.UID), Gid: uint32(account.GID)}}
	var out, warned bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &warned
	_ = cmd.Run() // an unknown option is an error too
	v := verdict{map[string]string{}, warned.String()}
	_, table, _ := strings.Cut(out.String(), "\n------------------------")
	for _, name := range kept {
		if m := regexp.MustCompile(`(?m)^` + name + ` +(.*)$`).FindStringSubmatch(table); m != nil {
			v.values[name] = strings.TrimPrefix(m[1], "(No default value)")
		}
	}
	return v
}

// TestServerIsTheJudge: what the agent makes of hundreds of option files is what the server makes of them, while the
// files change under the answer that it keeps.
func TestServerIsTheJudge(t *testing.T) {
	needs.Installed(t, "mariadb-server")
	for name, mariaDB := range map[string]bool{"mariadbd": true, "mysqld of MySQL": false} {
		t.Run(name, func(t *testing.T) {
			binary := "/usr/sbin/" + strings.Fields(name)[0]
			version, err := exec.Command(binary, "--version").Output()
			if err != nil || strings.Contains(string(version), "MariaDB") != mariaDB || os.Geteuid() != 0 {
				t.Skip("SKIP: needs " + name + ", and root")
			}
			serverIsTheJudge(t, binary)
		})
	}
}

func serverIsTheJudge(t *testing.T, binary string) {
	if _, err := daemon.Lookup("mysql", ""); err != nil {
		t.Skip("SKIP: needs the user mysql")
	}
	files := 330
	if testing.Short() {
		files = 40
	}
	dir, err := os.MkdirTemp("/tmp", "mysql-judge-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, d := range []string{dir, dir + "/conf.d", dir + "/a", dir + "/run"} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	g := cnf{rand.New(rand.NewPCG(seed, 1)), dir}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	config := dir + "/my.cnf"
	if err := os.WriteFile(config, []byte("[mysqld]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	request := func(action string, interval int) *ocf.Request {
		return ocf.NewRequest("mysql-shared-storage", action, "HA_RSCTMP="+dir+"/run", fmt.Sprintf("OCF_RESKEY_CRM_meta_interval=%d", interval))
	}
	p := &params{config: config, binary: binary}
	refused, differing := 0, 0
	for n := range files {
		g.write(t)
		s, err := p.settings(t.Context(), request(ocf.Monitor, 0))
		v := judge(t, binary, config, s.user)
		if err != nil && len(v.values) > 0 { // as whom it was asked is only in a group of the version, and root reads what others may not
			v = judge(t, binary, config, "root")
		}
		text := func() string {
			b, _ := exec.Command("sh", "-c", "cd "+dir+"; head -n 40 my.cnf inc.cnf conf.d/*; ls -l . conf.d").CombinedOutput()
			return fmt.Sprintf("seed %d, file %d\n%s\nstderr: %s", seed, n, b, v.stderr)
		}
		if (err != nil) != (len(v.values) == 0) {
			t.Fatalf("we: %v; the server: %v\n%s", err, v.values, text())
		}
		if err != nil {
			refused++
			// Which of its lines tells is its own affair, but one of them it is.
			_, words, _ := strings.Cut(err.Error(), config+": ")
			if first, _, _ := strings.Cut(words, ";"); first == "" || !strings.Contains(v.stderr, first) {
				t.Fatalf("we: %v\n%s", err, text())
			}
			continue
		}
		want := settings{
			config: config, datadir: filepath.Clean(v.values["datadir"]), user: s.user, warnings: s.warnings,
			extraPort: strings.TrimPrefix(v.values["extra-port"], "0"), memlock: v.values["memlock"] == "TRUE",
		}
		in := func(name, stock string) string {
			path := cmp.Or(v.values[name], stock)
			if path[0] != '/' && path[0] != '@' {
				path = filepath.Join(want.datadir, path)
			}
			return path
		}
		want.socket, want.pid, want.log = in("socket", stockSocket(want.datadir)), in("pid-file", ""), in("log-error", stockLog())
		if v.values["log-error"] == "stderr" { // MySQL's default
			want.log = stockLog()
		}
		if filepath.Ext(want.log) == "" {
			want.log += ".err"
		}
		if want.pid == filepath.Join(want.datadir, host+".pid") {
			want.pid = want.besideSocket()
		}
		if strings.Contains(text(), "user") && g.IntN(2) == 0 {
			if m := regexp.MustCompile(`because the user was set to '(\w+)' earlier`).FindStringSubmatch(judge(t, binary, config, "root").stderr); m != nil && m[1] != s.user {
				t.Fatalf("user %s, the server says %s\n%s", s.user, m[1], text())
			}
		}
		if fmt.Sprint(s) != fmt.Sprint(want) {
			t.Fatalf("we:         %v\nthe server: %v\n%s", s, want, text())
		}
		if r := p.reckoned(config).Values; filepath.Clean(cmp.Or(r["datadir"], "/var/lib/mysql")) != want.datadir || r["socket"] != "" && !strings.HasSuffix(want.socket, r["socket"]) {
			differing++
		}
		// A recurring monitor, without a binary to ask, has it too.
		again, err := (&params{config: config, binary: binary}).settings(t.Context(), request(ocf.Monitor, 10000))
		if again.warnings = want.warnings; err != nil || fmt.Sprint(again) != fmt.Sprint(want) {
			t.Fatalf("kept: %v, %v\n%s", again, err, text())
		}
	}
	t.Logf("seed %d: of %d files the server refuses %d; our own reading would have had another datadir or socket for %d", seed, files, refused, differing)
	if refused > files/2 || differing < files/50 {
		t.Error("such files test little")
	}
}

func TestAnswerIsKeptWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "options")
	a := &answer{Question: "a\x00b \"c\"", User: "it's", Values: map[string]string{}, Seen: []seen{look(path), look("/etc"), look("/with a blank\nand more")}, Warnings: []string{"one", "t\two"}}
	for _, name := range kept {
		a.Values[name] = "of " + name + "\n"
	}
	if err := a.keep(path); err != nil {
		t.Fatal(err)
	}
	if got := recall(path, true); got == nil || fmt.Sprintf("%q", got.String()) != fmt.Sprintf("%q", a.String()) {
		t.Errorf("got  %v\nwant %v", got, a)
	}
	if got := recall(path, false); got == nil || got.Question != a.Question || got.User != a.User || got.Values["socket"] != a.Values["socket"] {
		t.Errorf("got %v", got)
	}
	for _, text := range []string{"", "x", "{}", "question \"a\"\nuser"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := recall(path, true); got != nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

package mycnf

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

// tree is a directory of option files; DIR in a text is the directory's path.
var trees = map[string]map[string]string{
	"comments":   {"my.cnf": "# c\n ; c\n[mysqld] rest\na=1 # end\nb = \"x # y\" # z\nc=a#b\nd = a ; b\nx#y=z\nq=\\#x\n\xa0#c\n"},
	"groups":     {"my.cnf": "[ mysqld ]\nno=1\n[mysqld ]\na=1\n[]\nno=2\n[other]\nno=3\n[mariadb]\nb=2\n[mysqld]x\nc=3\n[MYSQLD]\nd=4\n[mysql]\nno=1\n[maria]\nno=1\n"},
	"quotes":     {"my.cnf": "[mysqld]\na=''\nb=\"\"\nc=\"a\"b\"\nd='\"'\ne='\nf=\"unterminated\ng=\"abc\" def\nh='a\\'b # c' # d\ni=\"x'#y\"\nj=it''s\n"},
	"escapes":    {"my.cnf": "[mysqld]\na=\\t\\r\\b\\s\\\"\\'\\\\\\x\nb=\\\nc=\"a\\\\\"\nd=\"\\\"\ne=x\\\"#y\"\nf=\\\\n\n"},
	"forms":      {"my.cnf": "[mysqld]\nflag\nempty =\n=novalue\ns=a=b\nloose_l=1\nm-n_o=3\nskip-x\nenable_y\n--dash=2\na\\=b=c\n\"q=r\"=1\n-=1\nà=à\n"},
	"crlf":       {"my.cnf": "[mysqld]\r\na=1\r\nb=\"x\"\r\n\r\n"},
	"no newline": {"my.cnf": "[mysqld]\na=1"},
	"nul":        {"my.cnf": "[mysqld]\na=\x00b\nc=1\n"},
	"empty":      {"my.cnf": ""},
	"long line":  {"my.cnf": "[mysqld]\na=" + strings.Repeat("x", 5000) + "\n#" + strings.Repeat("c", 4093) + "b=1\nc=" + strings.Repeat("y", 4092) + "\nd=1\n"},
	"include": {
		"my.cnf":  "[mysqld]\na=1\n  ! include\tDIR/inc.cnf \nafter=1\n!include DIR/inc.cnf # no comment\n!include DIR/none.cnf\n!bogus x\n!includex y\n!INCLUDE DIR/inc.cnf\nz=1\n",
		"inc.cnf": "[mysqld]\ninc=1\n[mariadb]\n",
	},
	"include error":  {"my.cnf": "[mysqld]\na=1\n!include DIR/bad.cnf\nb=2\n", "bad.cnf": "[mysqld]\nok=1\n[bad\nno=1\n"},
	"include itself": {"my.cnf": "[mysqld]\na=1\n!include DIR/my.cnf\nb=1\n"},
	"writable":       {"my.cnf": "[mysqld]\na=1\n!include DIR/777.cnf\n", "777.cnf": "[mysqld]\nno=1\n"},
	"include a dir":  {"my.cnf": "[mysqld]\na=1\n!include DIR/d\nb=2\n", "d/a.cnf": "[mysqld]\nno=1\n"},
	"includedir": {
		"my.cnf": "!includedir DIR/d\n[mysqld]\nlast=1\n", "d/b.cnf": "[mysqld]\nfrom=b\n", "d/a.cnf": "[mysqld]\nfrom=a\n",
		"d/a.b.cnf": "[mysqld]\nfrom=ab\n", "d/.h.cnf": "[mysqld]\nfrom=h\n", "d/Z.cnf": "[mysqld]\nfrom=Z\n", "d/x.CNF": "no\n",
		"d/x.cnf.bak": "no\n", "d/x.ini": "no\n", "d/sub.cnf/x.cnf": "no\n", "d/é.cnf": "[mysqld]\nfrom=é\n", "d/cnf": "no\n",
	},
	"includedir itself":     {"d/my.cnf": "[mysqld]\na=1\n!includedir DIR/d\n", "my.cnf": "!includedir DIR/d\n"},
	"includedir in include": {"my.cnf": "!include DIR/a.cnf\n[mysqld]\nz=1\n", "a.cnf": "[mysqld]\na=1\n!includedir DIR/none\nno=1\n"},
	"no group":              {"my.cnf": "a=1\n[mysqld]\nb=2\n"},
	"byte order mark":       {"my.cnf": "\xef\xbb\xbf[mysqld]\na=1\n"},
	"open group":            {"my.cnf": "[mysqld]\nb=1\n[mysqld\n"},
	"include nothing":       {"my.cnf": "[mysqld]\n!include  \n"},
	"no directory":          {"my.cnf": "[mysqld]\n!includedir DIR/none\n"},
}

func write(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "777") {
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

var testGroups = []string{"mysqld", "mariadb"}

// TestOracle holds this package against MariaDB's own reader, on every tree.
func TestOracle(t *testing.T) {
	oracle := needs.Program(t, "my_print_defaults", "mariadb-client")
	for name, files := range trees {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, files), "my.cnf")
			cmd := exec.Command(oracle, append([]string{"--defaults-file=" + path}, testGroups...)...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, oracleErr := cmd.Output()
			got, err := Read(path, testGroups...)
			if (err != nil) != (oracleErr != nil) {
				t.Fatalf("Read: %v; my_print_defaults: %v %s", err, oracleErr, stderr.String())
			}
			if err != nil {
				return // what was read before an error is nobody's
			}
			var sb strings.Builder
			for _, o := range got.List {
				sb.WriteString("--" + o.Name)
				if o.HasValue {
					sb.WriteString("=" + o.Value)
				}
				sb.WriteByte('\n')
			}
			if sb.String() != string(out) {
				t.Errorf("Read:\n%q\nmy_print_defaults:\n%q", sb.String(), out)
			}
			if stderr.Len() > 0 && len(got.Warnings) == 0 {
				t.Errorf("no warning, but my_print_defaults said: %s", stderr.String())
			}
		})
	}
}

func TestGet(t *testing.T) {
	dir := write(t, map[string]string{
		"my.cnf":  "[mysqld]\ndatadir=/a\nloose-key_buffer-size=1\nskip-networking\n!include DIR/b.cnf\n[mariadb-10.11]\nport=3\n",
		"b.cnf":   "[mysqld]\ndatadir = \"/b c\"\n[mysqld-5.7]\ndatadir=/no\n",
		"bad.cnf": "[mysqld]\n\n!includedir\n",
	})
	o, err := Read(filepath.Join(dir, "my.cnf"), append(ServerGroups, "mariadb-10.11")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		ok         bool
	}{
		{"datadir", "/b c", true},
		{"key-buffer_size", "1", true},
		{"loose_key_buffer_size", "1", true},
		{"skip_networking", "", true},
		{"networking", "", false},
		{"port", "3", true},
		{"", "", false},
	} {
		if got, ok := o.Get(c.name); got != c.want || ok != c.ok {
			t.Errorf("Get(%q) = %q, %v; want %q, %v", c.name, got, ok, c.want, c.ok)
		}
	}
	opt, _ := o.Find("datadir")
	if want := (Option{"datadir", "/b c", true, "mysqld", filepath.Join(dir, "b.cnf"), 2}); opt != want {
		t.Errorf("Find = %+v, want %+v", opt, want)
	}
	_, err = Read(filepath.Join(dir, "bad.cnf"))
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "bad.cnf")+":3: ") {
		t.Errorf("error without file:line: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestIncludeStorm: two directories that include each other double the work at every level, to the server's own ruin.
func TestIncludeStorm(t *testing.T) {
	files := map[string]string{"my.cnf": "!includedir DIR/d\n"}
	for _, n := range []string{"a", "b", "c", "e", "f"} {
		files["d/"+n+".cnf"] = "!includedir DIR/d\n"
	}
	o, err := Read(filepath.Join(write(t, files), "my.cnf"))
	if err == nil && len(o.Warnings) == 0 {
		t.Error("neither error nor warning")
	}
	if n := len(o.Warnings); n > 2*maxFiles {
		t.Errorf("%d warnings", n)
	}
}

func TestLoadDefaults(t *testing.T) {
	const text = "[client]\nuser=ha\npassword = \"s#cret\"\nsocket=/run/x.sock\n[mysqld]\nuser=mysql\n"
	dir := write(t, map[string]string{"ok.cnf": text, "open.cnf": text, "via.cnf": "!include DIR/open.cnf\n", "viadir.cnf": "!includedir DIR/d\n", "d/open.cnf": text})
	for _, f := range []string{"open.cnf", "d/open.cnf"} {
		if err := os.Chmod(filepath.Join(dir, f), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := LoadDefaults(filepath.Join(dir, "ok.cnf")); err != nil || c != (Client{User: "ha", Password: "s#cret", Socket: "/run/x.sock"}) {
		t.Errorf("LoadDefaults = %+v, %v", c, err)
	}
	for _, f := range []string{"open.cnf", "via.cnf", "viadir.cnf"} {
		c, err := LoadDefaults(filepath.Join(dir, f))
		if err == nil || c.Password != "" || !strings.Contains(err.Error(), "open.cnf: mode 0640") || strings.Contains(err.Error(), "s#cret") {
			t.Errorf("%s: %q, %v", f, c.Password, err)
		}
	}
	if _, err := LoadDefaults(filepath.Join(dir, "none.cnf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for _, text := range []string{"", "[mysqld]\nuser=x\n", "[client]\n", "[mysql]\nuser=x\n"} {
		path := filepath.Join(write(t, map[string]string{"none.cnf": text}), "none.cnf")
		if _, err := LoadDefaults(path); err == nil || !strings.Contains(err.Error(), "[client]") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, c := range []struct {
		text         string
		want, verify bool
		words        string
	}{
		{"ssl", true, false, ""},
		{"ssl=0", false, false, ""},
		{"skip-ssl", false, false, ""},
		{"ssl-verify-server-cert", true, true, ""},
		{"ssl_ca=DIR/none.pem", false, false, "none.pem"},
		{"ssl-cert=DIR/none.pem\nssl-key=DIR/none.pem", false, false, "none.pem"},
	} {
		got, err := LoadDefaults(filepath.Join(write(t, map[string]string{"tls.cnf": "[client]\nuser=x\n" + c.text + "\n"}), "tls.cnf"))
		if c.words != "" {
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %v", c.text, err)
			}
			continue
		}
		if err != nil || (got.TLS != nil) != c.want || c.want && got.TLS.InsecureSkipVerify == c.verify {
			t.Errorf("%s: %+v, %v", c.text, got.TLS, err)
		}
	}
	if os.Geteuid() == 0 {
		t.Run("stranger's", func(t *testing.T) {
			if err := os.Chown(filepath.Join(dir, "ok.cnf"), 65534, 65534); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadDefaults(filepath.Join(dir, "ok.cnf")); err == nil || !strings.Contains(err.Error(), "uid 65534") {
				t.Errorf("a stranger's file: %v", err)
			}
		})
	}
}

// FuzzRead: whatever the bytes, what comes back obeys the rules that callers build on. Includes are left to the trees:
// a fuzzer must not choose paths on this machine.
func FuzzRead(f *testing.F) {
	for _, files := range trees {
		f.Add([]byte(files["my.cnf"]))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "include") {
			return
		}
		path := filepath.Join(dir, "my.cnf")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Read(path, testGroups...)
		if err != nil && !strings.HasPrefix(err.Error(), path+":") {
			t.Fatalf("error without file:line: %v", err)
		}
		for _, opt := range o.List {
			if !slices.Contains(testGroups, strings.ToLower(opt.Group)) || opt.Line < 1 || opt.Line > strings.Count(string(text), "\n")+1 {
				t.Fatalf("%+v", opt)
			}
			if strings.ContainsAny(opt.Name, "=\x00\n") || strings.ContainsRune(opt.Value, 0) || !opt.HasValue && opt.Value != "" {
				t.Fatalf("%+v", opt)
			}
			if _, ok := o.Get(opt.Name); !ok {
				t.Fatalf("Get(%q) does not find it", opt.Name)
			}
		}
	})
}

package oslo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// python runs a script of ours on Debian's python3, where the OpenStack
// libraries are, with input as JSON on stdin and its JSON answer decoded.
func python(t *testing.T, module, script string, input, answer any) {
	t.Helper()
	const interpreter = "/usr/bin/python3"
	if exec.Command(interpreter, "-c", "import "+module).Run() != nil {
		t.Skip("SKIP: needs python3-" + strings.ReplaceAll(module, "_", "."))
	}
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(interpreter, "-c", script)
	cmd.Stdin = strings.NewReader(string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v", err)
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("python: %v: %s", err, out)
	}
}

// readFiles answers for each list of files all values, or null where
// oslo.config refuses. Options count as registered when a file sets them.
const readFiles = `
import json, sys
from oslo_config import cfg
def read(files):
    names = {}
    try:
        for f in files:
            sections = {}
            p = cfg.ConfigParser(f, sections); p.parse()
            for s in sections:
                g = s if s == 'DEFAULT' else s.lower()
                names.setdefault(g, set()).update(sections[s])
        c = cfg.ConfigOpts()
        for g in names:
            for n in names[g]:
                c.register_opt(cfg.Opt(n, dest=n), group=None if g == 'DEFAULT' else g)
        c(sum((['--config-file', f] for f in files), []), default_config_files=[], default_config_dirs=[])
        return {g + '.' + n: c._get(n, group=None if g == 'DEFAULT' else c._get_group(g)) for g in names for n in names[g]}
    except (cfg.Error, cfg.ParseError, RecursionError, AttributeError):
        return None
json.dump([read(files) for files in json.load(sys.stdin)], sys.stdout)
`

func TestOracleFiles(t *testing.T) {
	texts := make([][]string, 0, 2000)
	for _, tc := range syntaxCases {
		texts = append(texts, tc.files)
	}
	// Random files out of pieces that meet at every rule of the syntax.
	pieces := []string{"[DEFAULT]", "[g]", "[G]", "[h", "]", "a", "b", "c", "=", "= ", " = ", ":", "\n", "\n", "\n", "\r\n", " ", "\t", "#", ";", "\"", "'", "$", "$$", "\\$", "${", "}", "$a", "${b}", "$g.c", "x", "1", "\n[DEFAULT]\na = ", "\n[g]\nb = ", "\nc = "}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		files := make([]string, 1+rnd.IntN(2))
		for i := range files {
			var b strings.Builder
			b.WriteString("[DEFAULT]\n")
			for range rnd.IntN(20) {
				b.WriteString(pieces[rnd.IntN(len(pieces))])
			}
			files[i] = b.String()
		}
		texts = append(texts, files)
	}
	dir := t.TempDir()
	paths := make([][]string, len(texts))
	for i, files := range texts {
		for j, text := range files {
			path := filepath.Join(dir, fmt.Sprintf("%d-%d.conf", i, j))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			paths[i] = append(paths[i], path)
		}
	}
	var want []map[string]string
	python(t, "oslo_config", readFiles, paths, &want)
	read := 0
	for i, files := range paths {
		var sources []Source
		for _, path := range files {
			sources = append(sources, File(path))
		}
		var got map[string]string
		cfg, err := Load(sources...)
		if err == nil {
			got, err = all(cfg)
		}
		if (err != nil) != (want[i] == nil) {
			t.Errorf("%q: got %v, %v; oslo.config %v", texts[i], got, err, want[i])
			continue
		}
		if err == nil {
			read++
			if fmt.Sprint(got) != fmt.Sprint(want[i]) {
				t.Errorf("%q: got %q; oslo.config %q", texts[i], got, want[i])
			}
		}
	}
	if read < 100 {
		t.Errorf("only %d of %d files were readable: the test compares too little", read, len(texts))
	}
}

func TestOracleTransportURL(t *testing.T) {
	urls := []string{
		"rabbit://u:p@h:1/v", "rabbit://", "rabbit:///", "rabbit:///v", "rabbit://h//", "rabbit://u:p@h1:1,v:q@h2:2,h3/v",
		"rabbit://u%40d:p%2Fq%25@h", "rabbit://u@d:p@h", "rabbit://u:p:q@h", "rabbit://[::1]:5/v", "rabbit://u:p@[::1]/",
		"kombu+rabbit://h", "AMQP://h/%2Fv", "rabbit://u:p%zz@h", "rabbit://h/v?ssl=1&x=2", "rabbit://u:@h", "rabbit://@h", "rabbit://,h,",
		"rabbit://u:p@h:/", "rabbit://u:p@h/v#frag", "rabbit://u:p?q@h/", "rabbit://[::1/",
	}
	const script = `
import json, sys
from oslo_config import cfg
from oslo_messaging import transport
def parse(url):
    try:
        u = transport.TransportURL.parse(cfg.ConfigOpts(), url)
    except ValueError:
        return None
    return {'scheme': u.transport, 'vhost': u.virtual_host or '', 'query': u.query,
            'hosts': [[h.hostname or '', h.port or 0, h.username or '', h.password or ''] for h in u.hosts]}
json.dump([parse(u) for u in json.load(sys.stdin)], sys.stdout)
`
	var want []*struct {
		Scheme, VHost string
		Query         map[string]string
		Hosts         [][4]any
	}
	python(t, "oslo_messaging", script, urls, &want)
	for i, u := range urls {
		var bus Transport
		scheme, query, err := bus.parseURL(u)
		if err != nil || want[i] == nil {
			if err == nil || want[i] != nil {
				t.Errorf("%s: got %v; oslo.messaging %+v", u, err, want[i])
			}
			continue
		}
		hosts := [][4]any{}
		for _, b := range bus.Brokers {
			hosts = append(hosts, [4]any{b.Host, float64(b.Port), b.User, b.Password.Reveal()})
		}
		if scheme != want[i].Scheme || bus.VHost != want[i].VHost || fmt.Sprint(hosts) != fmt.Sprint(want[i].Hosts) {
			t.Errorf("%s: got %s %q %v; oslo.messaging %+v", u, scheme, bus.VHost, hosts, want[i])
		}
		for name, value := range want[i].Query {
			if query.Get(name) != value {
				t.Errorf("%s: query %v, want %v", u, query, want[i].Query)
			}
		}
	}
}

func TestOracleDatabaseURL(t *testing.T) {
	urls := []string{
		"mysql+pymysql://nova:p@db:3307/nova?charset=utf8", "mysql://nova:p%40q@db/nova", "mysql://nova:a/b@db/nova",
		"mysql://nova:p@/nova?unix_socket=/run/m.sock", "mysql://db/nova", "mysql://u@[fd00::1]:5/nova", "sqlite:////var/lib/n.sqlite",
		"sqlite://", "mysql://db:3306/no@va", "mysql://u:p@db", "mysql://u:p%zz@db/n", "mysql://u+v:p+q@db/n", "mysql://db/no@va", "mysql://u:@db/n",
	}
	const script = `
import json, sys
from sqlalchemy.engine.url import make_url
def parse(url):
    u = make_url(url)
    return [u.get_backend_name(), u.username or '', u.password or '', u.host or 'localhost', u.port or 0, u.database or '', u.query.get('unix_socket', '')]
json.dump([parse(u) for u in json.load(sys.stdin)], sys.stdout)
`
	var want [][]any
	python(t, "sqlalchemy", script, urls, &want)
	for i, u := range urls {
		d, err := parseDatabase(u)
		if d.Port == 3306 && want[i][4] == 0.0 {
			d.Port = 0 // SQLAlchemy leaves the default to its driver
		}
		got := []any{d.Dialect, d.User, d.Password.Reveal(), d.Host, d.Port, d.Name, d.Socket}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("%s: got %q, %v; SQLAlchemy %q", u, got, err, want[i])
		}
	}
}

package oslo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

// python runs a script of ours on Debian's python3, where the OpenStack
// libraries are, with input as JSON on stdin and its JSON answer decoded.
func python(t *testing.T, module, script string, input, answer any) {
	t.Helper()
	needs.Installed(t, "python3 with OpenStack's libraries")
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

// What the environment sets outweighs the files, by an option's current name alone; as found at a deployment of Nectar.
func TestOracleEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.conf")
	const text = "[DEFAULT]\ntransport_url = rabbit://file/\nhost = h\nmy_ip = $host\nempty = x\nold_name = of the file\n[oslo_messaging_rabbit]\nssl = false\nSSL = x\n[Database]\nconnection = mysql://u@$host/d\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"OS_DEFAULT__TRANSPORT_URL=rabbit://u:p@e:5671/v", "OS_OSLO_MESSAGING_RABBIT__SSL=true", "OS_DEFAULT__HOST=e", "OS_DEFAULT__EMPTY=",
		"OS_DATABASE__CONNECTION=mysql://e@${host}/$$", "os_default__my_ip=x", "OS_DEFAULT_HOST=y", "OS_HOST=z", "OS_OTHER__HOST=w",
	}
	script := strings.Replace(readFiles, "json.dump([read(files) for files in json.load(sys.stdin)], sys.stdout)", `import os
files, env = json.load(sys.stdin)
os.environ.update(v.split('=', 1) for v in env)
json.dump(read(files), sys.stdout)`, 1)
	var want map[string]string
	python(t, "oslo_config", script, []any{[]string{path}, env}, &want)
	cfg, err := Load(File(path))
	if err != nil {
		t.Fatal(err)
	}
	cfg.SetEnvironment(env)
	got, err := all(cfg)
	if err != nil || len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, %v; oslo.config %q", got, err, want)
	}
	if v, err := cfg.Get("new_name", "old_name"); err != nil || v.Text != "of the file" {
		t.Errorf("%q, %v", v.Text, err)
	}
	if v, _ := cfg.Get("transport_url"); v.Where() != "the environment's OS_DEFAULT__TRANSPORT_URL" {
		t.Errorf("it was set in %s", v.Where())
	}
}

// transportURLs are those of deployments, and what is hard about each part of one.
func transportURLs() []string {
	urls := []string{
		"rabbit://u:p@h:1/v", "rabbit://", "rabbit:///", "rabbit:///v", "rabbit://h//", "rabbit://u:p@h1:1,v:q@h2:2,h3/v",
		"rabbit://u%40d:p%2Fq%25@h", "rabbit://u@d:p@h", "rabbit://u:p:q@h", "rabbit://[::1]:5/v", "rabbit://u:p@[::1]/",
		"kombu+rabbit://h", "AMQP://h/%2Fv", "rabbit://u:p%zz@h", "rabbit://h/v?ssl=1&x=2", "rabbit://u:@h", "rabbit://@h", "rabbit://,h,",
		"rabbit://u:p@h:/", "rabbit://u:p@h/v#frag", "rabbit://u:p?q@h/", "rabbit://[::1/",
		// kolla, TripleO, Charmed, OpenStack-Ansible
		"rabbit://openstack:pw@192.168.122.101:5672,openstack:pw@192.168.122.102:5672,openstack:pw@192.168.122.103:5672//",
		"rabbit://guest:pw@node-0.internalapi.localdomain:5672,guest:pw@node-1.internalapi.localdomain:5672/?ssl=0",
		"rabbit://guest:pw@overcloud.internalapi.local:5671/?ssl=1&ssl_ca_file=/etc/ipa/ca.crt", "rabbit://nova:pw@10.5.0.12:5672/openstack",
		"rabbit://freshdesk:test@rabbit.example.com:5671/freshdesk", "rabbit://openstack:bapG6ZF%40li3vDw7@master:5672/", "rabbit://openstack:pw@controller.yun.example", "rabbit://guest:pw@10.0.0.1:5672/?ssl=0", "rabbit://u:p@h:5672/?rabbit_quorum_queue=true&heartbeat_in_pthread=1",
		"rabbit://nova:pw@172.29.236.11:5671,nova:pw@172.29.236.12:5671//nova?ssl=1", "amqp://nova:pw@h:5672/", "qpid://nova:pw@h:5672/",
		"rabbit://u:p@h1:5672,\nu:p@h2:5672/", "\nrabbit://u:p@h1:5672/", "rabbit://u:p@h1:5672,\n\tu:p@h2/v\n?ssl=1", " rabbit://h/", "rabbit ://h/",
		"rabbit://h1:5672 ,u:p@h2", "rabbit://h1:5672, u:p@h2:5672/v", "rabbit://h1 , h2/", "rabbit://u:p@h1:5672,  ,u:p@h2:5672/",
		"rabbit://h/?ssl=1;x=2", "rabbit://h/?ssl=1&ssl=0", "rabbit://h/?ssl=&x=+a%20b", "rabbit://h/?ssl", "rabbit://h?ssl=1", "rabbit://h/v?a=b?c=d#e", "rabbit://h/v?a=%zz&&b=%C3%A9",
		"rabbit:", "rabbit:/v", "rabbit:v", "rabbit:h:5672", "rabbit//h", "//h/v", "h:5672", "", "://h", "1rabbit://h", "rab bit://h", "rabbit+x://h",
		"rabbit://h:0/", "rabbit://h:+5/", "rabbit://h:-5/", "rabbit://h:5_6/", "rabbit://h:_5/", "rabbit://h:x/", "rabbit://h:65536/", "rabbit://h:5:6/",
		"rabbit://[::1]x:5/", "rabbit://[fe80::1%25eth0]:5/", "rabbit://::1/", "rabbit://u:p@[::1]:5,u:p@[::2]/v", "rabbit://]::1[/", "rabbit://u:[p@h/", "rabbit://u:[p]@h/",
		"rabbit://H.Example.ORG/V", "rabbit://u:p%C3%A9@h", "rabbit://u:p\u00e9@h", "rabbit://u:p%ff@h", "rabbit://u%3Ax:p@h", "rabbit://u:p%40@h", "rabbit://u:p%23x@h", "rabbit://u:p%3Fx@h/v",
		"rabbit://u:p#q@h/v", "rabbit://u:p/q@h/v", "rabbit://u:$$p@h/", "rabbit://u:p+q@h/", "rabbit://:p@h/", "rabbit://u@h/", "rabbit://@/v", "rabbit://u:p@/v", "rabbit://u:p@:5/v",
		"rabbit://h/v/w", "rabbit://h/%2F", "rabbit://h/%252Fv", "rabbit://h/v%3Fx", "rabbit://h/v%23x", "rabbit://h/v x", "rabbit://h/ ", "rabbit://h/v;x",
	}
	// And made of pieces.
	rnd := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	for range 150 {
		url := pick("rabbit://", "rabbit://", "kombu://", "RABBIT://")
		for i := range 1 + rnd.IntN(3) {
			if i > 0 {
				url += pick(",", ",", ", ", ",\n", " ,")
			}
			url += pick("", "u:p@", "u%2Bx:p%25@", "u@", ":p@", "u:p:q@") + pick("h", "h1.example.org", "[fd00::1]", "10.0.0.1", "") + pick("", ":5672", ":", ":5671 ")
		}
		urls = append(urls, url+pick("", "/", "//", "/v", "/%2Fv", "/v\n")+pick("", "?ssl=1", "?ssl=1&ssl_ca_file=%2Fca", "?&a=b&", "#x", "?a=1;b=2"))
	}
	return urls
}

func TestOracleTransportURL(t *testing.T) {
	urls := transportURLs()
	const script = `
import json, logging, sys, urllib.parse
import kombu
logging.disable(logging.WARNING)
urllib.parse._check_bracketed_netloc = lambda netloc: None # of security updates only: a service that runs has read its URL without
from oslo_config import cfg
from oslo_messaging import transport
from oslo_messaging._drivers import impl_rabbit
driver = object.__new__(impl_rabbit.Connection)
def brokers(u):
    if u.transport not in ('rabbit', 'kombu', 'kombu+rabbit'):
        return []
    hosts, default = u.hosts, ()
    if not hosts:
        hosts, default = [transport.TransportHost('')], ('guest', 'guest', 'localhost')
    infos = [kombu.Connection(driver._transform_transport_url(u, h, *default).replace('kombu', 'amqp')).info() for h in hosts]
    return [[i['hostname'], i['port'], i['userid'], i['password'], i['virtual_host']] for i in infos]
def parse(url):
    try:
        u = transport.TransportURL.parse(cfg.ConfigOpts(), url)
        to = brokers(u)
    except (ValueError, TypeError, transport.InvalidTransportURL):
        return None
    return {'scheme': u.transport, 'vhost': u.virtual_host or '', 'query': u.query, 'brokers': to,
            'hosts': [[h.hostname or '', h.port or 0, h.username or '', h.password or ''] for h in u.hosts]}
json.dump([parse(u) if u else None for u in json.load(sys.stdin)], sys.stdout)
`
	var want []*struct {
		Scheme, VHost  string
		Query          map[string]string
		Hosts, Brokers [][]any
	}
	python(t, "oslo_messaging", script, urls, &want)
	read := 0
	for i, u := range urls {
		var bus Transport
		scheme, query, err := bus.parseURL(u)
		vhost, hosts := bus.VHost, [][]any{}
		for _, b := range bus.Brokers {
			hosts = append(hosts, []any{b.Host, float64(b.Port), b.User, b.Password.Reveal()})
		}
		// What kombu connects to, by whose rules the rest is filled in.
		brokers := [][]any{}
		if err == nil && (scheme == "rabbit" || scheme == "kombu" || scheme == "kombu+rabbit") {
			err = (&Config{}).rabbit(&bus, nil)
			for _, b := range bus.Brokers {
				brokers = append(brokers, []any{b.Host, float64(b.Port), b.User, b.Password.Reveal(), bus.VHost})
			}
		}
		if err != nil || want[i] == nil {
			if err == nil || want[i] != nil {
				t.Errorf("%q: got %v, %v; oslo.messaging %+v", u, bus, err, want[i])
			}
			continue
		}
		read++
		if scheme != want[i].Scheme || vhost != want[i].VHost || fmt.Sprint(hosts) != fmt.Sprint(want[i].Hosts) || fmt.Sprint(brokers) != fmt.Sprint(want[i].Brokers) {
			t.Errorf("%q: got %s %q %v, of it %v; oslo.messaging %+v", u, scheme, vhost, hosts, brokers, want[i])
		}
		for name, value := range want[i].Query {
			if query.Get(name) != value || len(query) != len(want[i].Query) {
				t.Errorf("%q: query %v, want %v", u, query, want[i].Query)
			}
		}
	}
	if read < 150 {
		t.Errorf("only %d of %d URLs were readable: the test compares too little", read, len(urls))
	}
}

// fileWriter writes files into one directory of the test, and gives their paths.
func fileWriter(t *testing.T) func(name, text string) string {
	dir := t.TempDir()
	return func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// TestOracleDatabase compares what the service connects with: what PyMySQL is given and makes of it, at the moment
// before it would open a socket.
func TestOracleDatabase(t *testing.T) {
	write := fileWriter(t)
	dir := t.TempDir()
	ca, cert, capath := testCA(t, write)
	tripleo := write("tripleo.cnf", "[tripleo]\nbind-address=172.16.2.5\nssl=1\nssl-ca="+ca+"\n")
	full := write("full.cnf", "# comment\n[client]\nuser = 'fu'\npassword: \"fp\"\nhost=fh\nport = 3310\nsocket=/run/f.sock\nssl-ca="+ca+"\n[x]\nuser=xu\n  more\n\n[DEFAULT]\ndatabase=dd\n[y]\nssl-cert="+cert+"\nssl\n")
	broken := write("broken.cnf", "!includedir /etc/mysql/conf.d\n[client]\nuser=u\n")
	tcp := write("tcp.cnf", "[client]\nUSER=tu\nport = 3311\nssl-capath="+capath+"\n")
	twice := write("twice.cnf", "[client]\nuser=u\nuser=v\n")
	type input struct{ URL, Parameters string }
	inputs := []input{}
	for _, u := range []string{
		"mysql+pymysql://nova:p@db:3307/nova?charset=utf8", "mysql://nova:p%40q@db/nova", "mysql://nova:a/b@db/nova", "mysql+pymysql://u:p%C3%A9@db/n",
		"mysql://nova:p@/nova?unix_socket=/run/m.sock", "mysql://db/nova", "mysql://u@[fd00::1]:5/nova", "mysql://u:@db/n", "mysql://u@d:p@db/n", "mysql://:p@db/n", "mysql://u:p@db/n?",
		"mysql://db:3306/no@va", "mysql://u:p@db", "mysql://u:p%zz@db/n", "mysql://u+v:p+q@db/n", "mysql://db/no@va", "mysql://u:p@/n", "mysql://", "mysql:///n", "mysql://u:p@db/n/m", "mysql://u:p@db:/n",
		"mysql://u:p@db:x/n", "mysql://u:p@db: 5 /n", "nothing", "mysql:/x", "mysql+pymysql://u:p@db/n?host=other&port=5&user=v&password=w&database=m", "mysql+pymysql://u:p@db/n?ssl=true",
		"mysql+pymysql://nova:pw@172.17.1.10/nova?read_default_file=" + tripleo + "&read_default_group=tripleo",
		"mysql+pymysql://nova:pw@localhost/nova?read_default_file=" + tripleo + "&read_default_group=tripleo&ssl_check_hostname=false",
		"mysql+pymysql://nova:pw@localhost/nova?read_default_file=" + tripleo, "mysql+pymysql:///?read_default_file=" + full, "mysql+pymysql://u:p@h:1/n?read_default_file=" + full,
		"mysql+pymysql:///?read_default_file=" + full + "&read_default_group=x", "mysql+pymysql://h/?read_default_file=" + full + "&read_default_group=y", "mysql+pymysql://h/?read_default_file=" + full + "&read_default_group=none",
		"mysql+pymysql://u:p@h/n?read_default_file=" + broken, "mysql+pymysql://u:p@h/n?read_default_file=" + twice, "mysql+pymysql://h/n?read_default_file=" + tcp, "mysql+pymysql://u:p@h/n?read_default_file=" + dir, "mysql+pymysql://u:p@h/n?read_default_file=/nowhere",
		"mysql+pymysql://u:p@h/n?ssl_ca=" + ca, "mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_check_hostname=false", "mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_check_hostname=perhaps", "mysql+pymysql://u:p@h/n?ssl_check_hostname=false", "mysql+pymysql://u:p@h/n?ssl_capath=" + capath,
		"mysql+pymysql://u:p@h/n?ssl_cert=" + cert + "&ssl_key=" + cert, "mysql+pymysql://u:p@h/n?ssl_cert=" + cert, "mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_cert=" + cert + "&ssl_key=" + cert, "mysql+pymysql://u:p@h/n?ssl_key=" + cert,
		"mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_disabled=1", "mysql+pymysql://u:p@h/n?ssl_verify_cert=true", "mysql+pymysql://u:p@h/n?ssl_verify_cert=false&ssl_ca=" + ca, "mysql+pymysql://u:p@h/n?ssl_verify_identity=true&ssl_verify_cert=required", "mysql+pymysql://u:p@h/n?ssl_verify_cert=maybe",
		// TiDB's, Azure's and Aiven's, and the security guide's
		"mysql+pymysql://u:p@127.0.0.1:4000/test?ssl_ca=" + ca + "&ssl_verify_cert=false&ssl_verify_identity=false", "mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_disabled=False", "mysql+pymysql://avnadmin:p@h:21699/defaultdb?ssl_ca=" + ca + "&ssl-mode=REQUIRED",
		"mysql://compute01:p@localhost/nova?charset=utf8&ssl_ca=" + ca, "mysql://u:p@h/n?ssl_ca=" + ca + ":pem", "mysql+pymysql://u:p@h/n?ssl=true&ssl_ca=" + ca, "mysql+pymysql://u:p@h/n?ssl_mode=VERIFY_IDENTITY&ssl_ca=" + ca, "mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_key=&ssl_cert=",
		"mysql+pymysql://u:p@h/n?ssl_ca=" + ca + "&ssl_ca=" + ca, "mysql+pymysql://u:p@h/n?bind_address=127.0.0.1", "mysql+pymysql://u:p@h/n?ssl_ca=&charset=", "mysql+pymysql://u:p@h/n?unix_socket=/a%20b", "mysql+pymysql://u:p@h/n?ssl_cipher=AES256-SHA",
	} {
		inputs = append(inputs, input{u, ""})
	}
	for _, more := range []string{
		"ssl_ca=" + ca, "ssl_ca=" + ca + "&ssl_check_hostname=false", "read_default_file=" + tripleo + "&read_default_group=tripleo", "read_default_file=" + full, "charset=utf8mb4", "unix_socket=/run/x.sock", "port=9", "host=h2", "ssl_check_hostname=0", "x", "&&",
	} {
		for _, u := range []string{"mysql+pymysql://nova:pw@localhost/nova", "mysql+pymysql://nova:pw@/nova?charset=utf8", "mysql://nova@10.0.0.1:3307/nova?unix_socket=/run/m.sock", "mysql+pymysql://nova:pw@h/nova?ssl_ca=" + ca} {
			inputs = append(inputs, input{u, more})
		}
	}
	const script = `
import json, ssl, sys
import pymysql
from oslo_db.sqlalchemy import engines
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine.url import make_url
def connect(i):
    try:
        url = make_url(i['URL'])
        if i['Parameters']:
            url = engines._extend_url_parameters(url, i['Parameters'])
        _, args = MySQLDialect_pymysql(dbapi=pymysql).create_connect_args(url)
        args = {k: v for k, v in args.items() if k != 'charset' or isinstance(v, str)} # the engine sets it where the URL does not, or fails
        args.pop('charset', None)
        c = pymysql.connections.Connection(defer_connect=True, **args)
    except Exception as e:
        return None
    if isinstance(c.unix_socket, (list, tuple)):
        return None # no socket's name
    ctx = c.ctx if c.ssl else None
    user = '' if c.user == pymysql.connections.DEFAULT_USER and not args.get('user') else c.user
    return [c.host, c.port, c.unix_socket or '', user, c.password.decode('latin1'), c.db or '', c.bind_address or '',
            ctx is not None, ctx is not None and ctx.verify_mode != ssl.CERT_NONE, ctx is not None and bool(ctx.check_hostname)]
json.dump([connect(i) for i in json.load(sys.stdin)], sys.stdout)
`
	var want [][]any
	python(t, "oslo_db.sqlalchemy.engines", script, inputs, &want)
	read := 0
	for i, in := range inputs {
		text := "[database]\nconnection = " + in.URL + "\nconnection_parameters = " + in.Parameters + "\n"
		d, err := load(t, text).Database()
		if err == nil && d.TLS != nil {
			_, err = d.TLS.Config(d.Host)
		}
		if err != nil || want[i] == nil {
			if err == nil || want[i] != nil {
				t.Errorf("%s: got %+v, %v; PyMySQL %v", text, d, err, want[i])
			}
			continue
		}
		read++
		got := []any{d.Host, d.Port, d.Socket, d.User, d.Password.Reveal(), d.Name, d.Source, d.TLS != nil, d.TLS != nil && d.TLS.Verify, d.TLS != nil && d.TLS.VerifyName}
		if fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("%s: got %v; PyMySQL %v", text, got, want[i])
		}
	}
	if read < 60 {
		t.Errorf("only %d of %d were readable: the test compares too little", read, len(inputs))
	}
}

func TestOracleOptionFiles(t *testing.T) {
	pieces := []string{"[client]\n", "[a]\n", "[DEFAULT]\n", "[a] x\n", "a", "b", "=", " = ", ":", "\n", "\n", "\n", "\r\n", " ", "\t", "#", ";", "\"", "'", "[", "]", "x", "\na = x\n", "\nb: 'y'\n", "\nc\n", "  d"}
	rnd := rand.New(rand.NewPCG(5, 6))
	dir := t.TempDir()
	var paths, texts []string
	for i := range 600 {
		var b strings.Builder
		if rnd.IntN(4) > 0 {
			b.WriteString("[client]\n")
		}
		for range rnd.IntN(16) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		paths, texts = append(paths, path), append(texts, b.String())
	}
	const script = `
import json, sys
from pymysql.optionfile import Parser
def get(cfg, section, name):
    try:
        return cfg.get(section, name) or ''
    except Exception:
        return ''
def read(path):
    cfg = Parser()
    try:
        cfg.read(path)
    except Exception:
        return None
    return [get(cfg, s, n) for s in ('client', 'a', 'DEFAULT') for n in ('a', 'b', 'c')]
json.dump([read(p) for p in json.load(sys.stdin)], sys.stdout)
`
	var want [][]string
	python(t, "pymysql", script, paths, &want)
	read := 0
	for i, path := range paths {
		f, err := readOptionFile(path)
		if err != nil || want[i] == nil {
			if err == nil || want[i] != nil {
				t.Errorf("%q: got %v, %v; PyMySQL %q", texts[i], f, err, want[i])
			}
			continue
		}
		read++
		var got []string
		for _, section := range []string{"client", "a", "DEFAULT"} {
			for _, name := range []string{"a", "b", "c"} {
				got = append(got, f.get(section, name))
			}
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("%q: got %q; PyMySQL %q", texts[i], got, want[i])
		}
	}
	if read < 200 {
		t.Errorf("only %d of %d files were readable: the test compares too little", read, len(paths))
	}
}

// TestOracleSources compares which files a command line has the service read, and in which order.
func TestOracleSources(t *testing.T) {
	type input struct {
		Root, Home string
		Args       []string
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	places := []string{
		"home/.nova/nova.conf", "home/nova.conf", "etc/nova/nova.conf", "etc/nova.conf", "home/.nova/nova-scheduler.conf", "home/nova-scheduler.conf",
		"etc/nova/nova-scheduler.conf", "etc/nova-scheduler.conf", "etc/nova/nova.conf.d/1.conf", "home/.nova/nova.conf.d/2.conf", "etc/nova/nova-scheduler.conf.d/3.conf",
		"etc/nova-scheduler.conf.d/4.conf", "home/nova-scheduler.conf.d/5.conf", "etc/nova/nova.conf.d/0.conf", "etc/nova/nova.conf.d/.6.conf", "etc/nova/nova.conf.d/7.bak",
	}
	var inputs []input
	for i := range 200 {
		root := filepath.Join(t.TempDir(), fmt.Sprint(i))
		make := func(place string) string {
			path := filepath.Join(root, place)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("[DEFAULT]\nlast = %s\no%d = %s\n", place, rnd.IntN(4), place)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		for _, place := range places {
			if rnd.IntN(3) == 0 {
				make(place)
			}
		}
		file, dir := make("a.conf"), filepath.Dir(make("d/b.conf"))
		args := []string{}
		for range rnd.IntN(4) {
			args = append(args, [][]string{{"--config-file", file}, {"--config-file=" + file}, {"--config-dir", dir}, {"--config-dir=" + dir}, {"--debug"}, {"--config-file=~/a.conf"}}[rnd.IntN(6)]...)
		}
		if err := os.MkdirAll(filepath.Join(root, "home"), 0o755); err != nil {
			t.Fatal(err)
		}
		make("home/a.conf")
		inputs = append(inputs, input{root, filepath.Join(root, "home"), args})
	}
	const script = `
import json, os, sys
from oslo_config import cfg
def read(i):
    os.environ['HOME'] = i['Home']
    cfg._get_config_dirs = lambda project=None: [os.path.expanduser('~/.nova'), os.path.expanduser('~'), i['Root'] + '/etc/nova', i['Root'] + '/etc']
    c = cfg.ConfigOpts()
    c.register_cli_opt(cfg.BoolOpt('debug'))
    names = ['last', 'o0', 'o1', 'o2', 'o3']
    for n in names:
        c.register_opt(cfg.StrOpt(n, default=''))
    c(i['Args'], project='nova', prog='nova-scheduler')
    return [c[n] for n in names]
json.dump([read(i) for i in json.load(sys.stdin)], sys.stdout)
`
	var want [][]string
	python(t, "oslo_config", script, inputs, &want)
	for i, in := range inputs {
		// A root of its own stands for /etc alone: home is a real one.
		line := CommandLine{Project: "nova", Prog: "nova-scheduler", Args: in.Args, Home: "/home", Root: in.Root}
		for i, arg := range line.Args {
			line.Args[i] = strings.ReplaceAll(arg, "~/", in.Home+"/")
		}
		cfg, err := Load(line.Sources()...)
		if err != nil {
			t.Errorf("%q: %v", in.Args, err)
			continue
		}
		var got []string
		for _, name := range []string{"last", "o0", "o1", "o2", "o3"} {
			v, _ := cfg.Str("", name)
			got = append(got, v)
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("%q: got %q; oslo.config %q", in.Args, got, want[i])
		}
	}
}

package oslo

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// load reads the texts as files that follow each other.
func load(t *testing.T, texts ...string) *Config {
	t.Helper()
	cfg, err := loadTexts(t, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func loadTexts(t *testing.T, texts ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	var sources []Source
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprintf("%d.conf", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, File(path))
	}
	return Load(sources...)
}

// syntaxCases are read by Load here and by oslo.config in TestOracle.
var syntaxCases = []struct {
	name  string
	files []string
	want  map[string]string // nil: the file is refused
}{
	{"plain", []string{"[DEFAULT]\nhost = a\n"}, map[string]string{"DEFAULT.host": "a"}},
	{"colon", []string{"[DEFAULT]\nhost: a=b\n"}, map[string]string{"DEFAULT.host": "a=b"}},
	{"equal before colon", []string{"[DEFAULT]\nurl = rabbit://a:b@c\n"}, map[string]string{"DEFAULT.url": "rabbit://a:b@c"}},
	{"empty value", []string{"[DEFAULT]\nhost =\n"}, map[string]string{"DEFAULT.host": ""}},
	{"last wins", []string{"[DEFAULT]\nhost = a\nhost = b\n"}, map[string]string{"DEFAULT.host": "b"}},
	{"later file wins", []string{"[DEFAULT]\nhost = a\nx = 1\n", "[DEFAULT]\nhost = b\n"}, map[string]string{"DEFAULT.host": "b", "DEFAULT.x": "1"}},
	{"group again", []string{"[a]\nx = 1\n[b]\nx = 2\n[a]\ny = 3\n"}, map[string]string{"a.x": "1", "b.x": "2", "a.y": "3"}},
	{"group in capitals", []string{"[DATABASE]\nx = 1\n[Database]\nx = 2\n"}, map[string]string{"database.x": "2"}},
	{"comments", []string{"# a\n[DEFAULT]\n; b\nhost = a # not a comment\n#host = c\n"}, map[string]string{"DEFAULT.host": "a # not a comment"}},
	{"quotes", []string{"[DEFAULT]\na = \"x y\"\nb = 'x'\nc = \"x'\nd = \"\ne = ''\nf = x\"y\"\n"}, map[string]string{"DEFAULT.a": "x y", "DEFAULT.b": "x", "DEFAULT.c": "\"x'", "DEFAULT.d": "", "DEFAULT.e": "", "DEFAULT.f": "x\"y\""}},
	{"continuation", []string{"[DEFAULT]\na = 1\n  2\n\t3\nb = 4\n"}, map[string]string{"DEFAULT.a": "1\n2\n3", "DEFAULT.b": "4"}},
	{"continuation after quotes", []string{"[DEFAULT]\na = '1'\n  '2'\n"}, map[string]string{"DEFAULT.a": "1\n'2'"}},
	{"blank line ends it", []string{"[DEFAULT]\na = 1\n\n  2\n"}, nil},
	{"white line ends it", []string{"[DEFAULT]\na = 1\n   \nb = 2\n"}, map[string]string{"DEFAULT.a": "1", "DEFAULT.b": "2"}},
	{"comment ends it", []string{"[DEFAULT]\na = 1\n# x\n  2\n"}, nil},
	{"indented comment is a value", []string{"[DEFAULT]\na = 1\n  # x\n"}, map[string]string{"DEFAULT.a": "1\n# x"}},
	{"continuation of a section", []string{"[DEFAULT]\n  a = 1\n"}, nil},
	{"carriage returns", []string{"[DEFAULT]\r\na = 1\r\nb = 2\r"}, map[string]string{"DEFAULT.a": "1", "DEFAULT.b": "2"}},
	{"unicode space", []string{"[DEFAULT]\na = x\u00a0\x1f\n"}, map[string]string{"DEFAULT.a": "x"}},
	{"no assignment", []string{"[DEFAULT]\nhost\n"}, nil},
	{"no name", []string{"[DEFAULT]\n= x\n"}, nil},
	{"no section", []string{"host = a\n"}, nil},
	{"section not ended", []string{"[DEFAULT\nhost = a\n"}, nil},
	{"section without a name", []string{"[]\nhost = a\n"}, nil},
	{"comment after a section", []string{"[DEFAULT] # x\nhost = a\n"}, nil},
	{"byte order mark", []string{"\ufeff[DEFAULT]\nhost = a\n"}, nil},

	{"reference", []string{"[DEFAULT]\nhost = n1\na = $host-x\nb = ${host}x\n"}, map[string]string{"DEFAULT.a": "n1-x", "DEFAULT.b": "n1x"}},
	{"reference to a later file", []string{"[DEFAULT]\nhost = n1\na = $host\n", "[DEFAULT]\nhost = n2\n"}, map[string]string{"DEFAULT.a": "n2"}},
	{"reference in a group", []string{"[DEFAULT]\ny = 1\nz = 2\n[g]\ny = 3\na = $y$z\n"}, map[string]string{"g.a": "32"}},
	{"reference to a group", []string{"[g]\nx = 5$y\ny = 6\n[DEFAULT]\na = $g.x ${g.x}\n"}, map[string]string{"DEFAULT.a": "56 56"}},
	{"no references", []string{"[DEFAULT]\nhost = n1\na = \\$host $$host $ $1 $- ${ ${host\n"}, map[string]string{"DEFAULT.a": "$host $host $ $1 $- ${ ${host"}},
	{"reference to nothing", []string{"[DEFAULT]\na = x$nothing\n"}, nil},
	{"the dot belongs to the name", []string{"[DEFAULT]\nhost = n1\na = $host.example.org\n"}, nil},
	{"circle", []string{"[DEFAULT]\na = $b\nb = $a\n"}, nil},
}

func TestSyntax(t *testing.T) {
	for _, tc := range syntaxCases {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := loadTexts(t, tc.files...)
			if err == nil {
				_, err = all(cfg)
			}
			if tc.want == nil {
				if err == nil {
					t.Fatal("read, want an error")
				}
				if !strings.Contains(err.Error(), ".conf:") {
					t.Errorf("error %q does not name file and line", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if v, err := cfg.Get(name); err != nil || v.Text != want {
					t.Errorf("%s = %q, %v; want %q", name, v.Text, err, want)
				}
			}
		})
	}
}

// all gets every option that is set, or the first error.
func all(cfg *Config) (map[string]string, error) {
	values := map[string]string{}
	for _, f := range cfg.files {
		for name := range f.options {
			v, err := cfg.Get(name)
			if err != nil {
				return nil, err
			}
			values[name] = v.Text
		}
	}
	return values, nil
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	for _, text := range []string{
		"[DEFAULT]\ntransport_url rabbit //u hunter2@h\n",
		"[DEFAULT]\ntransport_url = rabbit://u:hunter2@h:port/\n",
		"[DEFAULT]\ntransport_url = rabbit://u:hunter2$hunter2@h/\n",
		"[DEFAULT]\ntransport_url = hunter2\n",
		"[DEFAULT]\ntransport_url = rabbit://h/?ssl=hunter2\n",
		"[DEFAULT]\ntransport_url = rabbit://u:hunter2%2F@h/\n",
		"[database]\nconnection = mysql://u:hunter2@h/n?ssl_ca=hunter2&ssl_ca=hunter2\n",
		"[database]\nconnection = mysql://u:hunter2@h/n?ssl_check_hostname=hunter2\n",
		"[DEFAULT]\nqpid_hosts = h:hunter2\nrpc_backend = qpid\n",
		"[DEFAULT]\nreport_interval = hunter2\n",
		"[database]\nconnection = mysql://u:hunter2@h:x/nova\n",
		"[database]\nconnection = mysql//u:hunter2@h/nova\n",
		"hunter2 = 1\n",
		"[DEFAULT]\n  hunter2\n",
	} {
		cfg, err := loadTexts(t, text)
		if err == nil {
			_, err1 := cfg.Transport("nova")
			_, err2 := cfg.ReportInterval()
			_, err3 := cfg.Database()
			if errors.Is(err3, ErrNotSet) {
				err3 = nil
			}
			err = errors.Join(err1, err2, err3)
		}
		if err == nil {
			t.Errorf("%q: no error", text)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error tells the secret: %v", text, err)
		} else if !strings.Contains(err.Error(), "0.conf:") {
			t.Errorf("%q: the error does not name file and line: %v", text, err)
		}
	}
	cfg := load(t, "[DEFAULT]\ntransport_url = rabbit://u:hunter2@h/\n[database]\nconnection = mysql://u:hunter2@h/n\n")
	bus, err := cfg.Transport("nova")
	if err != nil || bus.Brokers[0].Password.Reveal() != "hunter2" {
		t.Fatalf("password %q, %v", bus.Brokers[0].Password.Reveal(), err)
	}
	db, err := cfg.Database()
	if err != nil || db.Password.Reveal() != "hunter2" {
		t.Fatalf("password %q, %v", db.Password.Reveal(), err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb+verb+verb, bus, db, bus.Brokers); strings.Contains(text, "hunter2") {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}

func TestNamesAndFiles(t *testing.T) {
	// In the later file the older name wins over the newer name in the earlier.
	cfg := load(t,
		"[database]\nconnection = new\n[DEFAULT]\nsql_connection = old\n",
		"[DEFAULT]\nsql_connection = old2\n")
	v, err := cfg.Get("database.connection", "DEFAULT.sql_connection")
	if err != nil || v.Text != "old2" || !strings.HasSuffix(v.Where(), "1.conf:2") {
		t.Errorf("got %q at %s, %v", v.Text, v.Where(), err)
	}
	cfg = load(t, "[DEFAULT]\nsql_connection = old\n[database]\nconnection = new\n")
	if v, _ := cfg.Get("database.connection", "DEFAULT.sql_connection"); v.Text != "new" {
		t.Errorf("got %q, want the current name's", v.Text)
	}
	if _, err := cfg.Get("x.y"); !errors.Is(err, ErrNotSet) {
		t.Errorf("got %v, want ErrNotSet", err)
	}
	cfg = load(t, "[DEFAULT]\na = 1\na = 2\n[old]\na = 0\n", "[DEFAULT]\na = 3\n")
	values, err := cfg.All("DEFAULT.a", "old.a")
	var texts []string
	for _, v := range values {
		texts = append(texts, v.Text)
	}
	if want := []string{"0", "1", "2", "3"}; err != nil || !reflect.DeepEqual(texts, want) {
		t.Errorf("All = %q, %v, want %q", texts, err, want)
	}
	if v := (Value{Text: " a, b ,,c,,"}); !reflect.DeepEqual(v.List(), []string{"a", "b", "", "c"}) {
		t.Errorf("List = %q", v.List())
	}
	cfg = load(t, "[DEFAULT]\nlock_path = $state_path/lock\n")
	cfg.SetDefault("state_path", "/var/lib/nova")
	if v, err := cfg.Get("lock_path"); err != nil || v.Text != "/var/lib/nova/lock" {
		t.Errorf("got %q, %v", v.Text, err)
	}
}

func TestSources(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"etc/nova/nova.conf":           "[DEFAULT]\nhost = etc\na = etc\nb = etc\nc = etc\n",
		"etc/nova/nova.conf.d/b.conf":  "[DEFAULT]\na = dir-b\nb = dir-b\n",
		"etc/nova/nova.conf.d/a.conf":  "[DEFAULT]\na = dir-a\n",
		"etc/nova/nova.conf.d/.c.conf": "[DEFAULT]\na = hidden\n",
		"etc/nova/nova.conf.d/d.bak":   "[DEFAULT]\na = backup\n",
		"etc/nova-scheduler.conf":      "[DEFAULT]\nc = prog\n",
		"home/.nova/nova.conf":         "[DEFAULT]\nhost = home\n",
		"other.conf":                   "[DEFAULT]\nb = other\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(root, "other.conf")
	dir := filepath.Join(root, "etc/nova/nova.conf.d")
	for _, tc := range []struct {
		name, home string
		args       []string
		want       string // host a b c
	}{
		{"defaults", "", nil, "etc dir-b dir-b prog"},
		{"home first", "/home", nil, "home dir-b dir-b prog"},
		{"file given", "", []string{"--config-file", other, "--log-file", "/x"}, " dir-b other "},
		{"file and folder", "", []string{"--config-file=" + other, "--config-dir=" + dir}, " dir-b dir-b "},
		{"folder and file", "", []string{"--config-dir", dir, "--config-file", other}, " dir-b other "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := Load(CommandLine{Project: "nova", Prog: "nova-scheduler", Args: tc.args, Home: tc.home, Root: root}.Sources()...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, name := range []string{"host", "a", "b", "c"} {
				v, err := cfg.Get(name)
				if err != nil && !errors.Is(err, ErrNotSet) {
					t.Fatal(err)
				}
				got = append(got, v.Text)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %q, want %q", s, tc.want)
			}
		})
	}
	for _, src := range []Source{File(filepath.Join(root, "none.conf")), Dir(filepath.Join(root, "none.d"))} {
		if _, err := Load(src); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: got %v, want not-exist", src, err)
		}
	}
	if got := Dir("/d").String() + " " + File("/f").String(); got != "--config-dir=/d --config-file=/f" {
		t.Error(got)
	}
}

// RDO's oslo.config reads the distribution's files of project and program first; since Xena it is as upstream's.
func TestDistributionsFiles(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	line := CommandLine{Project: "glance", Prog: "glance-api", Root: root}
	reads := func(want string) {
		t.Helper()
		got := ""
		for _, s := range line.Sources() {
			for _, file := range s.Files() {
				got += " " + filepath.Base(file)
			}
		}
		if got != want {
			t.Errorf("it reads%s, want%s", got, want)
		}
	}
	put("usr/share/glance/glance-dist.conf", "")
	put("usr/share/glance/glance-api-dist.conf", "")
	put("etc/glance/glance-api.conf", "")
	put("usr/lib/python3.9/site-packages/oslo_config/cfg.py", "    cfg_dirs = _get_config_dirs(project)\n")
	reads(" glance-api.conf")
	put("usr/lib/python2.7/site-packages/oslo/config/cfg.py", "_search_dirs(['/usr/share/%s/' % project], p,\n")
	reads(" glance-dist.conf glance-api-dist.conf glance-api.conf")
	line.Args = []string{"--config-file", filepath.Join(root, "etc/glance/glance-api.conf")}
	reads(" glance-api.conf")
}

func TestTransport(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       string // Transport.String
		vhost      string
		password   string // of the last broker
		exchange   string
		where      string
	}{
		{"url", "transport_url = rabbit://u:p@h:1234/v", "rabbit://u@h:1234/v", "v", "p", "nova", ":2"},
		{"nothing set", "", "rabbit://guest@localhost:5672/", "/", "guest", "nova", "default"},
		{"root vhost", "transport_url = rabbit://u:p@h/", "rabbit://u@h:5672/", "/", "p", "nova", ":2"},
		{"vhost in two slashes", "transport_url = rabbit://u:p@h//", "rabbit://u@h:5672/", "/", "p", "nova", ":2"},
		{"escaped vhost", "transport_url = rabbit://u:p@h/%2Fnova", "rabbit://u@h:5672/nova", "/nova", "p", "nova", ":2"},
		{"several", "transport_url = rabbit://u:p@h1:1,v:q@h2:2,[::1]:3/", "rabbit://u@h1:1,v@h2:2,guest@[::1]:3/", "/", "guest", "nova", ":2"},
		{"escapes", "transport_url = rabbit://u%40d:p%3Fq%25@h", "rabbit://u@d@h:5672/", "/", "p?q%", "nova", ":2"},
		{"over lines", "transport_url =\n  rabbit://u:p@h1:5672,\n  u:p@h2:5672/", "rabbit://u@h1:5672,u@h2:5672/", "/", "p", "nova", ":2"},
		{"a password and no user", "transport_url = rabbit://:p@h", "rabbit://guest@h:5672/", "/", "p", "nova", ":2"},
		{"bad escape stays", "transport_url = rabbit://u:p%zz%41@h", "rabbit://u@h:5672/", "/", "p%zzA", "nova", ":2"},
		{"two at signs", "transport_url = rabbit://u@dom:p@h", "rabbit://u@dom@h:5672/", "/", "p", "nova", ":2"},
		{"kombu", "transport_url = kombu+rabbit://u:p@h/", "rabbit://u@h:5672/", "/", "p", "nova", ":2"},
		{"exchange", "control_exchange = mine\ntransport_url = rabbit://h", "rabbit://guest@h:5672/", "/", "guest", "mine", ":3"},
		{"amqp", "transport_url = amqp://h:99/v", "amqp://h:99/v", "v", "", "nova", ":2"},
		{"amqp user", "transport_url = amqp://h\n[oslo_messaging_amqp]\nusername = u\npassword = p", "amqp://u@h:5672/", "", "p", "nova", ":2"},
		{"Havana rabbit", "rpc_backend = nova.openstack.common.rpc.impl_kombu\nrabbit_host = h\nrabbit_port = 7\nrabbit_userid = u\nrabbit_password = p\nrabbit_virtual_host = v", "rabbit://u@h:7/v", "v", "p", "nova", ":3"},
		{"Havana rabbit hosts", "rabbit_hosts = h1:1, h2\nrabbit_userid = u\nrabbit_password = p", "rabbit://u@h1:1,u@h2:5672/", "/", "p", "nova", ":2"},
		{"Juno rabbit", "rpc_backend = rabbit\n[oslo_messaging_rabbit]\nrabbit_host = h\nrabbit_password = p", "rabbit://guest@h:5672/", "/", "p", "nova", ":4"},
		{"Havana qpid", "rpc_backend=nova.openstack.common.rpc.impl_qpid\nqpid_hostname = h\nqpid_username = u\nqpid_password = p", "qpid://u@h:5672/", "", "p", "nova", ":3"},
		{"Havana qpid hosts", "rpc_backend = nova.rpc.impl_qpid\nqpid_hostname = x\nqpid_hosts = $qpid_hostname:$qpid_port, y:8\nqpid_port = 9", "qpid://x:9,y:8/", "", "", "nova", ":4"},
		{"qpid default", "rpc_backend = qpid", "qpid://localhost:5672/", "", "", "nova", ":2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := load(t, "[DEFAULT]\n"+tc.text+"\n").Transport("nova")
			if err != nil {
				t.Fatal(err)
			}
			password := got.Brokers[len(got.Brokers)-1].Password.Reveal()
			if got.String() != tc.want || got.VHost != tc.vhost || password != tc.password || got.Exchange != tc.exchange || !strings.HasSuffix(got.Where, tc.where) {
				t.Errorf("got %s vhost %q password %q exchange %q where %q", got, got.VHost, password, got.Exchange, got.Where)
			}
			if got.TLS != nil {
				t.Errorf("TLS %+v, want none", got.TLS)
			}
		})
	}
	for _, text := range []string{
		"transport_url = fake://", "transport_url = kombu+memory://", "rpc_backend = nova.openstack.common.rpc.impl_zmq",
	} {
		if _, err := load(t, "[DEFAULT]\n"+text+"\n").Transport("nova"); !errors.Is(err, ErrDriver) {
			t.Errorf("%s: got %v, want ErrDriver", text, err)
		}
	}
	for _, text := range []string{
		"transport_url = rabbit://h:99999/", "transport_url = h", "transport_url = rabbit://u:p%2Fq@h/", "transport_url = rabbit://h/?ssl=1;x=2", "transport_url = rabbit://[::1/",
		"rpc_backend = qpid\nqpid_topology_version = 3", "rpc_backend = qpid\nqpid_port = x",
		"transport_url = rabbit://h/?ssl=perhaps",
	} {
		if got, err := load(t, "[DEFAULT]\n"+text+"\n").Transport("nova"); err == nil || errors.Is(err, ErrDriver) {
			t.Errorf("%s: got %v, %v, want an error", text, got, err)
		}
	}
}

func TestTransportOptions(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		tls        *TLS
		topology   int
		addressing Addressing
	}{
		{"rabbit without a CA", "transport_url = rabbit://h\n[oslo_messaging_rabbit]\nssl = true", &TLS{}, 0, Addressing{}},
		{"rabbit with a CA", "transport_url = rabbit://h\n[oslo_messaging_rabbit]\nrabbit_use_ssl = 1\nkombu_ssl_ca_certs = /ca", &TLS{CAFile: "/ca", Verify: true}, 0, Addressing{}},
		{"rabbit with names", "transport_url = rabbit://h\n[oslo_messaging_rabbit]\nssl = 1\nssl_ca_file = /ca\nssl_enforce_hostname_verification = 1", &TLS{CAFile: "/ca", Verify: true, VerifyName: true}, 0, Addressing{}},
		{"rabbit, Havana", "rabbit_host = h\nrabbit_use_ssl = true", &TLS{}, 0, Addressing{}},
		{"rabbit, query", "transport_url = rabbit://h/?ssl=1&ssl_ca_file=%2Fca", &TLS{CAFile: "/ca", Verify: true}, 0, Addressing{}},
		{"qpid", "rpc_backend = qpid\nqpid_protocol = ssl\nqpid_topology_version = 2", &TLS{}, 2, Addressing{}},
		{"amqp", "transport_url = amqp://h\n[oslo_messaging_amqp]\nssl_ca_file = /ca\naddressing_mode = routable\nrpc_address_prefix = p\npseudo_vhost = no", &TLS{CAFile: "/ca", Verify: true, VerifyName: true}, 0, Addressing{"routable", "exclusive", "p/unicast", false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := load(t, "[DEFAULT]\n"+tc.text+"\n").Transport("nova")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.TLS, tc.tls) || got.Topology != tc.topology || got.Addressing != tc.addressing {
				t.Errorf("got %+v, TLS %+v", got, got.TLS)
			}
		})
	}
}

func TestDatabase(t *testing.T) {
	for _, tc := range []struct {
		text, want, password, socket, charset string
	}{
		{"[database]\nconnection = mysql+pymysql://nova:p@db:3307/nova?charset=utf8", "mysql://nova@db:3307/nova", "p", "", "utf8"},
		{"[DATABASE]\nsql_connection = mysql://nova:p%40q@db/nova", "mysql://nova@db:3306/nova", "p@q", "", ""},
		{"[DEFAULT]\nsql_connection = mysql://nova:p@q@db/nova", "mysql://nova@db:3306/nova", "p@q", "", ""},
		{"[database]\nconnection = mysql://nova:a/b@db/nova", "mysql://nova@db:3306/nova", "a/b", "", ""},
		{"[database]\nconnection = mysql://nova:p@/nova?unix_socket=/run/m.sock", "mysql://nova@unix:/run/m.sock/nova", "p", "/run/m.sock", ""},
		{"[database]\nconnection = mysql://db/nova", "mysql://@db:3306/nova", "", "", ""},
		{"[database]\nconnection = mysql://db/no@va", "mysql://@db:3306/no@va", "", "", ""},
		{"[database]\nconnection = mysql://u@[fd00::1]:5/nova", "mysql://u@[fd00::1]:5/nova", "", "", ""},
		{"[database]\nconnection = sqlite:////var/lib/nova.sqlite", "sqlite://@localhost:0//var/lib/nova.sqlite", "", "", ""},
	} {
		t.Run(tc.text, func(t *testing.T) {
			got, err := load(t, tc.text+"\n").Database()
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tc.want || got.Password.Reveal() != tc.password || got.Socket != tc.socket || got.Params.Get("charset") != tc.charset || !strings.HasSuffix(got.Where, ":2") {
				t.Errorf("got %s password %q socket %q params %v where %q", got, got.Password.Reveal(), got.Socket, got.Params, got.Where)
			}
		})
	}
	if _, err := load(t, "[DEFAULT]\n").Database(); !errors.Is(err, ErrNotSet) {
		t.Errorf("got %v, want ErrNotSet", err)
	}
}

func TestService(t *testing.T) {
	empty := load(t, "[DEFAULT]\n")
	set := load(t, "[DEFAULT]\nhost = n1\nreport_interval = 5\nservice_down_time = 30\nrpc_ping_enabled = Yes\nagent_down_time = 9\n"+
		"[agent]\nreport_interval = 2.5\n[api]\nport = 8774\n[cache]\nenabled = true\nbackend = dogpile.cache.memcached\nmemcache_servers = a:1, inet6:[::1]:2, inet:b, inet6[fd00::1]:4, inetc\n")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	type view struct {
		host                         string
		report, down, agent, agentUp time.Duration
		ping                         bool
		cache                        string
		port                         int
	}
	for _, tc := range []struct {
		cfg  *Config
		want view
	}{
		{empty, view{name, 10 * time.Second, 60 * time.Second, 30 * time.Second, 75 * time.Second, false, "[]", 80}},
		{set, view{"n1", 5 * time.Second, 30 * time.Second, 2500 * time.Millisecond, 9 * time.Second, true, "[a:1 [::1]:2 b:11211 [fd00::1]:4 inetc:11211]", 8774}},
	} {
		var got view
		var errs [8]error
		var cache Cache
		got.host, errs[0] = tc.cfg.Host()
		got.report, errs[1] = tc.cfg.ReportInterval()
		got.down, errs[2] = tc.cfg.ServiceDownTime()
		got.agent, errs[3] = tc.cfg.AgentReportInterval()
		got.agentUp, errs[4] = tc.cfg.AgentDownTime()
		got.ping, errs[5] = tc.cfg.RPCPingEnabled()
		cache, errs[6] = tc.cfg.Cache()
		got.port, errs[7] = tc.cfg.Port(80, "api.port")
		got.cache = fmt.Sprint(cache.Memcached)
		if err := errors.Join(errs[:]...); err != nil || got != tc.want {
			t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
		}
	}
	for text, want := range map[string]string{
		"[DEFAULT]\nmemcached_servers = h\n":                                     "[h:11211]",
		"[cache]\nenabled = 1\nbackend = oslo_cache.memcache_pool\n":             "[localhost:11211]",
		"[cache]\nenabled = 1\nbackend = oslo_cache.dict\nmemcache_servers = h":  "[]",
		"[cache]\nbackend = dogpile.cache.memcached\nmemcache_servers = ignored": "[]",
	} {
		if got, err := load(t, text).Cache(); err != nil || fmt.Sprint(got.Memcached) != want {
			t.Errorf("%q: got %v, %v, want %s", text, got.Memcached, err, want)
		}
	}
	bad := load(t, "[DEFAULT]\nreport_interval = soon\nrpc_ping_enabled = perhaps\nport = 70000\nn = 1e300\n")
	_, err1 := bad.ReportInterval()
	_, err2 := bad.RPCPingEnabled()
	_, err3 := bad.Port(1, "port")
	_, err4 := bad.Seconds(0, "n")
	for i, err := range []error{err1, err2, err3, err4} {
		if err == nil {
			t.Errorf("bad value %d: no error", i)
		}
	}
}

func TestParseBeat(t *testing.T) {
	row := func(columns ...string) [][]sql.NullString {
		values := make([]sql.NullString, len(columns))
		for i, c := range columns {
			values[i] = sql.NullString{String: c, Valid: c != "NULL"}
		}
		return [][]sql.NullString{values}
	}
	for _, tc := range []struct {
		rows [][]sql.NullString
		want Beat
		err  bool
	}{
		{row("7", "0", "0", "12"), Beat{Mark: 7, Age: 12 * time.Second}, false},
		{row("0", "1", "1", "-1"), Beat{Disabled: true, ForcedDown: true, Age: -time.Second}, false},
		{row("5", "NULL", "0", "3"), Beat{Mark: 5, Age: 3 * time.Second}, false},
		{row("x", "0", "0", "3"), Beat{}, true},
		{row("7", "0"), Beat{}, true},
		{nil, Beat{}, true},
	} {
		if got, err := ParseBeat(tc.rows); got != tc.want || (err != nil) != tc.err {
			t.Errorf("%v: got %+v, %v", tc.rows, got, err)
		}
	}
	if _, err := ParseBeat(nil); !errors.Is(err, ErrNoRow) {
		t.Errorf("no row: got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, tc := range syntaxCases {
		f.Add(tc.files[0])
	}
	f.Add("[DEFAULT]\na=$b$b\nb=$c$c\nc=$d$d\nd=$a$a\n")
	f.Add("[DEFAULT]\ntransport_url = rabbit://u:p@h:1,[::1]:2/v?ssl=1\n[database]\nconnection=mysql://u:p@h/n?x=1\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := &Config{defaults: map[string]string{}}
		if cfg.add("fuzz.conf", text) != nil {
			return
		}
		_, _ = all(cfg)
		if bus, err := cfg.Transport("nova"); err == nil && (len(bus.Brokers) == 0 || bus.Driver == "") {
			t.Errorf("a transport without brokers: %+v", bus)
		}
		_, _ = cfg.Database()
		_, _ = cfg.Cache()
		for _, file := range cfg.files {
			for name, entries := range file.options {
				for _, e := range entries {
					if strings.ContainsAny(e.name, "\r\n:=") || e.name == "" || e.line < 1 {
						t.Errorf("option %q at line %d", name, e.line)
					}
				}
			}
		}
	})
}

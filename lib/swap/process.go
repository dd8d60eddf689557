package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

// service is a kind of daemon that one of the agents manages: by what names resources have it today, how its process
// is found whatever started it, and what its command line says in the agent's parameters.
type service struct {
	agent string
	types []string // names of init scripts and units
	ocf   []string // provider:type of other agents
	// identity finds all processes of the kind.
	identity func(ocf.Agent) daemon.Identity
	// narrow tells the resource's own process from others of the kind; nil: it cannot be told.
	narrow func(given map[string]string) daemon.Test
	// derive returns the parameters that the process's command line stands for.
	derive func(context.Context, running) (map[string]string, error)
}

// running is a process, and what the resource says of it already.
type running struct {
	args  []string // without the program
	dir   string   // its working directory
	user  string   // who it runs as
	given map[string]string
	agent ocf.Agent
}

// services are the kinds that are known by name.
func services() []service {
	return []service{
		{
			agent: "mysql-shared-storage", types: []string{"mysql", "mysqld", "mariadb"}, ocf: []string{"heartbeat:mysql"},
			identity: func(ocf.Agent) daemon.Identity {
				return daemon.Identity{Name: "MySQL server", Executables: []string{"mariadbd", "mysqld"}}
			},
			narrow: mysqlOf, derive: deriveMySQL,
		},
		{agent: "qpidd", types: []string{"qpidd"}, identity: scripted("qpidd", "lt-qpidd"), derive: deriveQpidd},
		{
			agent: "haproxy", types: []string{"haproxy"}, ocf: []string{"heartbeat:haproxy"},
			identity: func(ocf.Agent) daemon.Identity {
				return daemon.Identity{Name: "HAProxy", Executables: []string{"haproxy"}}
			},
			derive: deriveHAProxy,
		},
	}
}

// serviceOf is the kind that an agent manages: one known by name, or an OpenStack service, of which the agent's
// parameter binary names the program. Packages call scripts and units by the program's name, EL's with openstack-
// before it.
func serviceOf(a ocf.Agent) (service, bool) {
	for _, s := range services() {
		if s.agent == a.Name {
			return s, true
		}
	}
	binary := defaultOf(a, "binary")
	if binary == "" || !has(a, "config") {
		return service{}, false
	}
	program := filepath.Base(binary)
	types := []string{program, "openstack-" + program, a.Name, "openstack-" + a.Name}
	return service{agent: a.Name, types: types, identity: scripted(binary), derive: deriveOslo}, true
}

func has(a ocf.Agent, param string) bool {
	return slices.ContainsFunc(a.Parameters, func(p ocf.Parameter) bool { return p.Name == param })
}

func defaultOf(a ocf.Agent, param string) string {
	for _, p := range a.Parameters {
		if p.Name == param {
			return p.Default
		}
	}
	return ""
}

// scripted is a program that may be a script; names are those of its executable, the first also that of the script.
func scripted(names ...string) func(ocf.Agent) daemon.Identity {
	return func(ocf.Agent) daemon.Identity {
		path := names[0]
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
			if p := filepath.Join(dir, names[0]); exists(p) {
				path = p
				break
			}
		}
		exes, test := daemon.Program(path)
		return daemon.Identity{Name: filepath.Base(names[0]), Executables: append(exes, names...), Test: test}
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// locate finds the process of a resource on this node. unit is the systemd unit it must be in, "" any.
func (s service) locate(ctx context.Context, a ocf.Agent, given map[string]string, unit string) (*daemon.Process, error) {
	id := s.identity(a)
	all, err := id.FindAll(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, p := range all {
		pids[p.PID] = true
	}
	keep := func(ok func(*daemon.Process) bool) {
		all = slices.DeleteFunc(all, func(p *daemon.Process) bool {
			drop := !ok(p)
			if drop {
				_ = p.Close()
			}
			return drop
		})
	}
	keep(func(p *daemon.Process) bool { // not in a container, and no worker of another
		st, err := p.Stat()
		return err == nil && !pids[st.PPID] && sameNamespace(p.PID)
	})
	if len(all) > 1 && slices.ContainsFunc(all, func(p *daemon.Process) bool { return unitOf(p.PID) == unit }) {
		keep(func(p *daemon.Process) bool { return unitOf(p.PID) == unit })
	}
	if len(all) > 1 && s.narrow != nil {
		test := s.narrow(given)
		keep(func(p *daemon.Process) bool { ours, err := test(ctx, p); return ours || err != nil })
	}
	switch len(all) {
	case 0:
		return nil, fmt.Errorf("no process of %s is to be found on this node", id.Name)
	case 1:
		return all[0], nil
	}
	var names []string
	for _, p := range all {
		names = append(names, p.String())
		_ = p.Close()
	}
	return nil, fmt.Errorf("several processes may be the service (%s), and nothing tells which: set the parameters that tell them apart by hand", strings.Join(names, ", "))
}

func sameNamespace(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && ours == theirs
}

// unitOf is the systemd unit that a process lives in, "" if it is none, or Pacemaker's own.
func unitOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	return unitIn(string(text))
}

// unitIn is the unit that a process's cgroups say.
func unitIn(cgroups string) string {
	unit := ""
	for line := range strings.Lines(cgroups) {
		// hierarchy:controllers:path; systemd's own is the one without a number, or named (cgroups(7)).
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[1] != "" && part[1] != "name=systemd" {
			continue
		}
		for name := range strings.SplitSeq(part[2], "/") {
			if strings.HasSuffix(name, ".service") {
				unit = name
			}
		}
	}
	if unit == "pacemaker.service" || unit == "pacemaker_remote.service" || strings.HasPrefix(unit, "user@") {
		return ""
	}
	return unit
}

// owns tells by its name whether a unit is this service's, and no other that its process only happens to live in.
func (s service) owns(unit string, prim *pacemaker.Element) bool {
	return unit == unitName(prim) || slices.Contains(s.types, strings.TrimSuffix(unit, ".service"))
}

// look reads how a process runs.
func look(ctx context.Context, p *daemon.Process, a ocf.Agent, given map[string]string) (running, error) {
	args, err := p.Cmdline(ctx)
	if err != nil {
		return running{}, err
	}
	dir, err := p.WorkDir()
	if err != nil {
		return running{}, err
	}
	if len(args) == 0 {
		return running{}, fmt.Errorf("%s shows no command line", p)
	}
	uid, err := p.UID()
	if err != nil {
		return running{}, err
	}
	who := strconv.Itoa(uid)
	if u, err := user.LookupId(who); err == nil {
		who = u.Username
	}
	return running{args: args[1:], dir: dir, user: who, given: given, agent: a}, nil
}

// abs is a path as the process means it.
func (r running) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

// option is one of a command line.
type option struct {
	name, value string
	words       []string // as given
}

// options parts a command line. A word that belongs to no option is one without a name. A value follows its option in
// a word of its own if valued says that the option wants one.
func options(args []string, valued func(name string) bool) []option {
	var list []option
	for i := 0; i < len(args); i++ {
		o := option{words: args[i : i+1]}
		if strings.HasPrefix(args[i], "-") {
			var ok bool
			o.name, o.value, ok = strings.Cut(args[i], "=")
			if !ok && valued(o.name) && i+1 < len(args) {
				o.value, o.words = args[i+1], args[i:i+2]
				i++
			}
		}
		list = append(list, o)
	}
	return list
}

// quoted joins words so that [ocf.Words] parts them again.
func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\") {
			q[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(q, " ")
}

// found collects parameters that differ from what the agent does without them.
type found map[string]string

func (f found) set(given map[string]string, name, value, usual string) {
	if value != "" && value != usual && given[name] == "" {
		f[name] = value
	}
}

var mysqlConfigs = []string{"/etc/mysql/my.cnf", "/etc/my.cnf"}

// mysqlFile is the option file that a server reads, and what it says.
func mysqlFile(named string) (string, mycnf.Options, error) {
	file := named
	if file == "" {
		if i := slices.IndexFunc(mysqlConfigs, exists); i >= 0 {
			file = mysqlConfigs[i]
		}
	}
	if file == "" {
		return "", mycnf.Options{}, nil
	}
	o, err := mycnf.Read(file, mycnf.ServerGroups("")...)
	return file, o, err
}

func mysqlOf(given map[string]string) daemon.Test {
	dir := given["datadir"]
	if dir == "" {
		if _, o, err := mysqlFile(given["config"]); err == nil {
			dir, _ = o.Get("datadir")
		}
	}
	return daemon.UsesDir(cmp.Or(dir, "/var/lib/mysql"), "datadir")
}

// mysqlParams are options of the server that have a parameter.
func mysqlParams() map[string]string {
	return map[string]string{
		"--datadir": "datadir", "--socket": "socket", "--pid-file": "pid", "--log-error": "log", "--user": "user",
	}
}

// mysqlOwn are options that mysqld_safe, a unit or the agent adds by itself.
var mysqlOwn = []string{"--basedir", "--plugin-dir", "--skip-log-error", "--skip-syslog", "--syslog", "--console", "--wsrep-start-position"}

func deriveMySQL(ctx context.Context, r running) (map[string]string, error) {
	f := found{}
	var more []string
	named := map[string]string{}
	opts := options(r.args, func(name string) bool { return mysqlParams()[strings.ReplaceAll(name, "_", "-")] != "" })
	for _, o := range opts {
		name := strings.ReplaceAll(o.name, "_", "-")
		switch {
		case name == "--defaults-file":
			named["config"] = r.abs(o.value)
		case strings.HasPrefix(name, "--defaults-") || name == "--no-defaults":
			return nil, fmt.Errorf("the server was started with %s, which the agent has no parameter for", o.words[0])
		case mysqlParams()[name] != "":
			named[mysqlParams()[name]] = o.value
		case !slices.Contains(mysqlOwn, name):
			more = append(more, o.words...)
		}
	}
	file, in, err := mysqlFile(cmp.Or(named["config"], r.given["config"]))
	if err != nil {
		return nil, fmt.Errorf("option file: %w", err)
	}
	opt := func(name string) string { v, _ := in.Get(name); return v }
	if on, _ := ocf.ParseBool(opt("wsrep-on")); on {
		return nil, fmt.Errorf("%s says wsrep_on: this server is a member of a Galera cluster, which ocf:heartbeat:galera manages", file)
	}
	if i := slices.IndexFunc(mysqlConfigs, exists); i < 0 || mysqlConfigs[i] != named["config"] {
		f.set(r.given, "config", named["config"], "")
	}
	dir := cmp.Or(r.abs(named["datadir"]), r.given["datadir"], opt("datadir"), "/var/lib/mysql")
	f.set(r.given, "datadir", r.abs(named["datadir"]), opt("datadir"))
	for param, option := range map[string]string{"socket": "socket", "pid": "pid-file", "log": "log-error"} {
		path := named[param]
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		f.set(r.given, param, path, opt(option))
	}
	f.set(r.given, "user", r.user, cmp.Or(r.given["user"], opt("user"), "mysql"))
	if len(more) > 0 {
		f.set(r.given, "additional_parameters", quoted(more), "")
	}
	m, err := mount.On(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if m.System {
		f.set(r.given, "shared_storage", "false", "")
	}
	return f, nil
}

// qpiddParams are options of the broker that have a parameter.
func qpiddParams() map[string]string {
	return map[string]string{
		"--config": "config", "--data-dir": "data_dir", "--port": "port", "-p": "port", "--interface": "interface",
		"--pid-dir": "pid_dir", "--module-dir": "module_dir",
	}
}

// member is what to do about a broker that replicates. The roles are a promotable clone's, and only its start gives them.
const member = "member of a cluster of brokers: with this agent they are a promotable clone, which chooses the primary, and that takes a restart of each broker. In a quiet hour delete the resource and create the clone as `openstack-ocf describe qpidd` shows; until then leave it as it is"

const haCluster = `(?mi)^ha-cluster=(yes|true|on|1)\b`

func deriveQpidd(_ context.Context, r running) (map[string]string, error) {
	f := found{}
	var more []string
	args := r.args
	if i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }); i == 0 {
		args = args[1:] // a script: its own name
	}
	flags := []string{"-d", "--daemon", "--no-data-dir", "--version"}
	for _, o := range options(args, func(name string) bool { return !slices.Contains(flags, name) }) {
		switch {
		case o.name == "--no-data-dir":
			return nil, errors.New("the broker was started with --no-data-dir: the agent tells it from others by the data directory that it holds")
		case strings.HasPrefix(o.name, "--ha-"):
			return nil, fmt.Errorf("the broker was started with %s, as a %s", o.words[0], member)
		case qpiddParams()[o.name] == "port":
			f.set(r.given, "port", o.value, "")
		case qpiddParams()[o.name] == "interface":
			f.set(r.given, "interface", o.value, "")
		case qpiddParams()[o.name] != "":
			f.set(r.given, qpiddParams()[o.name], r.abs(o.value), "")
		case slices.Contains([]string{"-d", "--daemon", "-w", "--wait", "--pidfile"}, o.name):
		default:
			more = append(more, o.words...)
		}
	}
	for _, file := range []string{cmp.Or(r.given["config"], f["config"], "/etc/qpid/qpidd.conf"), "/etc/qpidd.conf"} {
		text, err := os.ReadFile(file)
		if err == nil && regexp.MustCompile(haCluster).Match(text) {
			return nil, fmt.Errorf("%s says ha-cluster, so that the broker is a %s", file, member)
		}
		if err == nil {
			break
		}
	}
	if f["config"] == "/etc/qpid/qpidd.conf" || f["config"] == "/etc/qpidd.conf" && !exists("/etc/qpid/qpidd.conf") {
		delete(f, "config")
	}
	f.set(r.given, "user", r.user, cmp.Or(r.given["user"], defaultOf(r.agent, "user")))
	if len(more) > 0 {
		f.set(r.given, "additional_parameters", quoted(more), "")
	}
	return f, nil
}

func deriveHAProxy(_ context.Context, r running) (map[string]string, error) {
	f := found{}
	var more, files []string
	valued := []string{"-f", "-p", "-S", "-x", "-n", "-N", "-m", "-L", "-C"}
	for _, o := range options(r.args, func(name string) bool { return slices.Contains(valued, name) }) {
		switch o.name {
		case "-f":
			files = append(files, r.abs(o.value))
		case "-p":
			f.set(r.given, "pid", r.abs(o.value), defaultOf(r.agent, "pid"))
		case "-D", "-db", "-W", "-Ws", "-S", "-x", "-q", "-V", "-sf", "-st", "": // the agent's to give; "": pids that follow -sf
		default:
			more = append(more, o.words...)
		}
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("HAProxy was started with %d configurations (%s), and the agent takes one file or directory: put them into a directory first", len(files), strings.Join(files, ", "))
	}
	f.set(r.given, "config", files[0], defaultOf(r.agent, "config"))
	if len(more) > 0 {
		f.set(r.given, "additional_parameters", quoted(more), "")
	}
	return f, nil
}

// deriveOslo reads the command line of an OpenStack service: python, its script, and options.
func deriveOslo(_ context.Context, r running) (map[string]string, error) {
	f := found{}
	i := slices.IndexFunc(r.args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return nil, errors.New("its command line shows no script")
	}
	var more, files []string
	for _, o := range options(r.args[i+1:], func(name string) bool {
		return strings.HasPrefix(name, "--config-") || strings.HasPrefix(name, "--log")
	}) {
		switch {
		case o.name == "--config-file" && strings.HasSuffix(o.value, "-dist.conf"): // the agent's to give
		case o.name == "--config-file":
			files = append(files, r.abs(o.value))
		default:
			more = append(more, o.words...)
		}
	}
	if len(files) > 0 {
		f.set(r.given, "config", files[0], defaultOf(r.agent, "config"))
		for _, file := range files[1:] {
			more = append(more, "--config-file="+file)
		}
	}
	f.set(r.given, "user", r.user, cmp.Or(r.given["user"], defaultOf(r.agent, "user")))
	if len(more) > 0 {
		f.set(r.given, "additional_parameters", quoted(more), "")
	}
	return f, nil
}

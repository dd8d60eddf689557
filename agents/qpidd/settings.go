package qpidd

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/lib/storage"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

type agent struct{ *params }

// settings are what holds on this node: parameters first, then the broker's
// configuration file, then what the distribution does.
type settings struct {
	config           string // "" if there is none
	dataDir, address string
	port, tlsPort    string
	encrypted        bool     // it takes no others
	storeDir         string   // of the message store
	dirs             []string // all that the broker keeps messages in, the data directory first
	conf             map[string]string
}

var configs = []string{"/etc/qpid/qpidd.conf", "/etc/qpidd.conf"}

// settings reads the configuration file. Its error means that the broker would
// not start with it; the settings are then what can be known without it.
func (p *params) settings() (settings, error) {
	told := p.told()
	s := settings{config: cmp.Or(told("config"), p.config)}
	if s.config == "" {
		if i := slices.IndexFunc(configs, files.Exists); i >= 0 {
			s.config = configs[i]
		}
	}
	var err error
	if s.config != "" {
		s.conf, err = readConf(s.config)
	}
	if err == nil && p.dataDir == "" && isYes(s.conf["no-data-dir"]) {
		err = ocf.Errorf(ocf.NotConfigured, "%s says no-data-dir: the broker is told from others by the data directory that it holds: remove that line, or set data_dir", s.config)
	}
	s.dataDir = filepath.Clean(cmp.Or(told("data-dir"), p.dataDir, s.conf["data-dir"], p.home()))
	s.storeDir = s.dir(told, "store-dir")
	s.dirs = []string{s.dataDir}
	for _, dir := range []string{s.storeDir, s.dir(told, "paging-dir")} {
		if !slices.Contains(s.dirs, dir) {
			s.dirs = append(s.dirs, dir)
		}
	}
	s.port = cmp.Or(s.conf["port"], "5672")
	if p.port != 0 {
		s.port = strconv.Itoa(p.port)
	}
	s.port = cmp.Or(told("port"), s.port)
	if err == nil && s.port == "0" {
		err = ocf.Errorf(ocf.NotConfigured, "port=0 lets the kernel choose another port at each start, and no client would find the broker: set one (%s, or additional_parameters)", cmp.Or(s.config, "the parameter port"))
	}
	s.address = net.JoinHostPort(listenAddress(cmp.Or(told("interface"), p.iface, s.conf["interface"])), s.port)
	s.tlsPort = cmp.Or(told("ssl-port"), s.conf["ssl-port"], "5671")
	s.encrypted = isYes(cmp.Or(told("require-encryption"), s.conf["require-encryption"]))
	return s, err
}

// told is what the broker's command line and environment say of an option: those of its unit, or additional_parameters.
func (p *params) told() func(name string) string {
	if p.unit == "" {
		return p.more
	}
	u, _ := systemd.Read("/", p.unit)
	return func(name string) string { return cmp.Or(option(u.Exec, name), variable(u.Env, name)) }
}

// home is the data directory of a broker that is told none: by itself it takes one below its user's home.
func (p *params) home() string {
	if p.unit != "" {
		u, _ := systemd.Read("/", p.unit)
		if account, err := user.Lookup(cmp.Or(u.User, "root")); err == nil { // systemd gives it as HOME
			return filepath.Join(account.HomeDir, ".qpidd")
		}
	}
	return "/var/lib/qpidd"
}

// more is the value of an option in additional_parameters, where it stands in place of ours.
func (p *params) more(name string) string { return option(p.additional, name) }

// option is the value of an option on a command line.
func option(args []string, name string) string {
	for i, arg := range args {
		given, value, ok := strings.Cut(arg, "=")
		switch {
		case name == "port" && given == "-p", given == "--"+name && !ok:
			if i+1 < len(args) {
				return args[i+1]
			}
		case given == "--"+name:
			return value
		case name == "port" && strings.HasPrefix(arg, "-p"):
			return arg[len("-p"):]
		}
	}
	return ""
}

// variable is the value of an option in a broker's environment.
func variable(env []string, name string) string {
	name = "QPID_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "="
	if i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, name) }); i >= 0 {
		return env[i][len(name):]
	}
	return ""
}

// dir is the directory that an option names, or else the data directory. The
// broker takes what is not absolute from its working directory, /.
func (s settings) dir(told func(string) string, option string) string {
	dir := cmp.Or(told(option), s.conf[option])
	if dir == "" {
		return s.dataDir
	}
	return filepath.Join("/", dir)
}

// says is what a running broker was told of an option, by its command line, its
// environment or its configuration file: the first counts.
func (s settings) says(ctx context.Context, p *daemon.Process, name string) string {
	args, _ := p.Cmdline(ctx)
	env, _ := p.Environ(ctx)
	conf := s.conf
	if file := cmp.Or(option(args, "config"), variable(env, "config"), s.config); file != s.config {
		conf, _ = readConf(file)
	}
	return cmp.Or(option(args, name), variable(env, name), conf[name])
}

// listenAddress is where a broker that listens there can be reached from this host.
func listenAddress(iface string) string {
	if ip := net.ParseIP(iface); ip != nil && !ip.IsUnspecified() {
		return iface
	}
	if i, err := net.InterfaceByName(iface); err == nil {
		if addrs, err := i.Addrs(); err == nil {
			for _, a := range addrs {
				if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
					return n.IP.String()
				}
			}
		}
	}
	return "127.0.0.1"
}

// readConf reads qpidd.conf: `name=value`, without spaces around the sign, and
// comments; of a name that stands twice the first counts, as for the broker. It
// takes blanks after the sign.
func readConf(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		code := ocf.BadArgument
		if errors.Is(err, fs.ErrPermission) {
			code = ocf.Permission
		}
		return nil, ocf.Errorf(code, "configuration file cannot be read, so that the broker would not start: %w", err)
	}
	defer f.Close()
	conf := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if _, seen := conf[name]; ok && !seen {
			conf[name] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, ocf.Errorf(ocf.BadArgument, "configuration file %s: %w", path, err)
	}
	return conf, nil
}

func isYes(s string) bool { v, _ := ocf.ParseBool(s); return v }

// brokers is how many brokers there are to be: no more than instances of the
// clone, and than ha_brokers_url has addresses. Where it lists several addresses
// of the broker of this node, it does so of the others, too.
func (a *agent) brokers(r *ocf.Request, s settings) int {
	addresses := haAddresses(a.haBrokers)
	own := 0
	for _, address := range addresses {
		if ours(address, s.port) {
			own++
		}
	}
	n := len(addresses)
	if own > 1 {
		n = (n + own - 1) / own
	}
	if instances, err := strconv.Atoi(r.Meta("clone_max")); err == nil && instances > 0 {
		n = min(n, instances)
	}
	return n
}

// haAddresses are the addresses of a broker's URL, each once:
// [amqp:][user[/password]@][tcp:]host[:port],...
func haAddresses(url string) (addresses []string) {
	url = strings.TrimPrefix(url, "amqp:")
	url = url[strings.LastIndex(url, "@")+1:]
	for address := range strings.SplitSeq(url, ",") {
		for _, tag := range []string{"tcp:", "ssl:", "rdma:"} {
			address = strings.TrimPrefix(address, tag)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), "5672")
		}
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// ours tells whether the address is one of this node's with that port. A name
// that cannot be resolved is another's.
func ours(address, port string) bool {
	host, p, err := net.SplitHostPort(address)
	if err != nil || p != port {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ips, _ := net.DefaultResolver.LookupIPAddr(ctx, host)
	local, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(ips, func(ip net.IPAddr) bool {
		return slices.ContainsFunc(local, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip.IP)
		})
	})
}

// daemon is all there is to know about the broker.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	d, _, _ := a.broker(r)
	return d
}

// broker is the broker as it is on this node, and its place among others once the questions were asked.
func (a *agent) broker(r *ocf.Request) (service.Daemon, settings, *place) {
	s, unusable := a.settings()
	svc := a.service(r, s)
	at := &place{}
	refused := false
	return service.Daemon{
		Service: svc, Unusable: unusable,
		Unit: a.unit, User: a.user, Group: a.group,
		Binary:  func() (string, error) { return r.LookPath(a.binary) },
		Guard:   func(ctx context.Context) error { return a.guard(ctx, r, s) },
		Launch:  func(_ context.Context, binary string) (daemon.Command, error) { return a.launch(s, binary), nil },
		Started: func(ctx context.Context) error { return a.started(ctx, r, svc, s) },
		Questions: []service.Question{
			{Ask: func(ctx context.Context, p *daemon.Process) error { return a.stored(ctx, r, s, p) }},
			{Ask: func(ctx context.Context, p *daemon.Process) (err error) {
				if *at, err = a.answers(ctx, r, s, p); err != nil && !p.Alive() {
					*at = place{} // no word of what its connection said last
				}
				refused = err != nil
				return err
			}},
			{Level: 10, Ask: func(ctx context.Context, p *daemon.Process) error {
				if refused { // it would be so again
					return nil
				}
				return a.look(ctx, r, s, p)
			}},
		},
		Judge: func(ctx context.Context, p *daemon.Process, found error) error {
			if !a.haCluster {
				return found
			}
			return a.role(ctx, r, s, p, *at, found)
		},
		Patience: func(ctx context.Context, _ *daemon.Process) daemon.StopOptions {
			if a.haCluster {
				a.forget(ctx, r) // before the stop: Pacemaker goes by it
			}
			return patience(ctx)
		},
		Evidence: a.evidence(r),
		Host:     func(context.Context, string) error { return a.host(r, s) },
	}, s, at
}

// evidence is what tells the broker where nothing identifies it.
func (a *agent) evidence(r *ocf.Request) (tests []daemon.Test) {
	if r.Named("data_dir") {
		tests = append(tests, daemon.UsesDir(a.dataDir, "data-dir"))
	}
	if r.Named("config") {
		tests = append(tests, daemon.Names("--config", a.config))
	}
	return tests
}

func (a *agent) service(r *ocf.Request, s settings) service.Service {
	exes, script := daemon.Program(a.binary)
	holds := func(_ context.Context, p *daemon.Process) (bool, error) {
		pid, err := lockHolder(s.dataDir)
		return err == nil && pid == p.PID, nil
	}
	id := daemon.Identity{
		Name: "qpidd", Executables: append(exes, "qpidd", "lt-qpidd"),
		Kind: script, Test: daemon.Any(holds, daemon.UsesDir(s.dataDir, "data-dir")), Claims: a.claims(s),
		// Whoever holds the lock of the data directory is the broker; where nobody does all processes are looked at.
		PIDFile: filepath.Join(s.dataDir, "lock"), ReadPID: func(string) (int, error) { return a.hint(s.dataDir) },
	}
	return service.Service{
		Name: "broker", On: s.dataDir, Identity: id,
		Answers: func(ctx context.Context) error { _, err := a.answers(ctx, r, s, nil); return err },
	}
}

// guards are the storages of the directories that the broker keeps messages in.
// The parameters device and fstype name that of the data directory.
func (a *agent) guards(s settings) []storage.Guard {
	var guards []storage.Guard
	for i, dir := range s.dirs {
		g := a.storage
		g.Dir = dir
		if i > 0 {
			g.Device, g.FSType = "", ""
		}
		guards = append(guards, g)
	}
	return guards
}

// claims are why a broker that works in another directory may be ours: it is where clients look for ours, or the
// configuration file, which says where ours works, said something else when it was started.
func (a *agent) claims(s settings) []daemon.Claim {
	var list []daemon.Claim
	if at, err := netip.ParseAddrPort(s.address); err == nil {
		if cmp.Or(a.told()("interface"), a.iface, s.conf["interface"]) == "" {
			at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		}
		list = append(list, daemon.Claim{Says: "has our address " + at.String(), Test: daemon.ListensOn(at), Differs: worksIn})
	}
	if a.dataDir == "" && s.config != "" {
		list = append(list, daemon.Claim{
			Says: "was started by our " + s.config, Differs: worksIn,
			Test: daemon.StartedBy("--config", s.config, slices.Contains(configs, s.config), "--data-dir"),
		})
	}
	return list
}

// worksIn says in which data directory a broker works: it holds its lock.
func worksIn(_ context.Context, p *daemon.Process) string {
	files, _ := p.Files()
	dir := ""
	for _, file := range files {
		if d, ok := strings.CutSuffix(file, "/lock"); ok && (dir == "" || len(d) < len(dir)) { // not that of its paging directory
			dir = d
		}
	}
	return "works in " + cmp.Or(dir, "a directory that cannot be told")
}

// target is whom the health checks ask, and as whom. known is false when the
// operator named nobody to log in as, so that a refused login says nothing. p is
// nil for whoever holds the data directory.
func (a *agent) target(r *ocf.Request, s settings, p *daemon.Process) (t amqp.Target, known bool, err error) {
	t = amqp.Target{User: a.username, Password: a.passwd, Mechanism: a.mech, Product: amqp.QpidProduct, Admin: a.haCluster}
	if p != nil {
		t.PID = p.PID
	}
	if a.credentials != "" {
		c, err := mycnf.LoadDefaults(a.credentials)
		if err != nil {
			return t, true, ocf.Errorf(ocf.Degraded, "alive, but the check cannot log in: credentials_file: %w", err)
		}
		t.User, t.Password = c.User, c.Password
	}
	d, err := a.door(r, s, p)
	if err == nil && d.tls {
		t.TLS, err = a.tls()
	}
	t.Address = d.address
	return t, t.User != "", err
}

// door is an address that the broker listens on.
type door struct {
	address string
	tls     bool
}

// door is where the health checks go in. What a broker listens on it opens at
// its start, so that it is asked once; p is nil for whoever holds the data
// directory.
func (a *agent) door(r *ocf.Request, s settings, p *daemon.Process) (door, error) {
	if p == nil {
		pid, _ := lockHolder(s.dataDir)
		return s.open(pid)
	}
	kept := filepath.Join(r.TempDir(), "openstack-qpidd-"+r.Resource()+".door")
	key := fmt.Sprint(p.PID, " ", p.StartTime, " ", s.port, " ", s.tlsPort, " ", s.encrypted)
	if b, err := os.ReadFile(kept); err == nil {
		if f := strings.Split(string(b), "\n"); len(f) == 3 && f[0] == key {
			return door{f[1], f[2] == "tls"}, nil
		}
	}
	d, err := s.open(p.PID)
	if err == nil {
		speaks := "plain"
		if d.tls {
			speaks = "tls"
		}
		_ = os.WriteFile(kept, []byte(key+"\n"+d.address+"\n"+speaks), 0o600) // or asked again
	}
	return d, err
}

// open asks a process for its door. Its own sockets tell, for it may have been
// started by others, with options or an environment of their own; the
// configuration file only says which of several is meant, and which speak TLS.
func (s settings) open(pid int) (door, error) {
	reckoned := door{s.address, s.port == s.tlsPort && s.encrypted}
	if pid == 0 {
		return reckoned, nil
	}
	listening, err := sockets.TCP(strconv.Itoa(pid), sockets.Listen)
	if err != nil {
		return reckoned, nil // nobody else can be asked
	}
	slices.SortStableFunc(listening, func(a, b sockets.Socket) int { return cmp.Compare(s.rank(b), s.rank(a)) })
	best, found, err := sockets.First(pid, listening)
	switch {
	case err != nil:
		return reckoned, nil
	case !found:
		return door{}, ocf.Errorf(ocf.Generic, "it listens nowhere: it still recovers its store, or hangs, or its configuration keeps it from listening: see its log")
	}
	addr := best.Local.Addr().Unmap()
	switch addr {
	case netip.IPv4Unspecified():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		addr = netip.IPv6Loopback()
	}
	return door{netip.AddrPortFrom(addr, best.Local.Port()).String(), s.speaksTLS(best)}, nil
}

// rank is how likely this is the socket that clients are meant to come by.
func (s settings) rank(l sockets.Socket) (r int) {
	addr := l.Local.Addr().Unmap()
	for i, better := range []bool{addr.Is4(), !addr.IsLinkLocalUnicast(), strconv.Itoa(int(l.Local.Port())) == s.port, s.speaksTLS(l) == s.encrypted} {
		if better {
			r |= 1 << i
		}
	}
	return r
}

func (s settings) speaksTLS(l sockets.Socket) bool {
	return strconv.Itoa(int(l.Local.Port())) == s.tlsPort && (s.port != s.tlsPort || s.encrypted)
}

// tls is how the health checks speak TLS. The socket is known to be the
// broker's, so that its certificate is looked at only where ssl_ca says by what.
func (a *agent) tls() (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: true}
	bad := func(name string, err error) (*tls.Config, error) {
		return nil, ocf.Errorf(ocf.Degraded, "alive, but the check cannot speak TLS: %s: %w", name, err)
	}
	if a.sslCert != "" {
		pair, err := tls.LoadX509KeyPair(a.sslCert, cmp.Or(a.sslKey, a.sslCert))
		if err != nil {
			return bad("ssl_cert, ssl_key", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if a.sslCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(a.sslCA)
	if err != nil {
		return bad("ssl_ca", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return bad("ssl_ca", fmt.Errorf("%s holds no certificate (PEM)", a.sslCA))
	}
	c.VerifyConnection = func(state tls.ConnectionState) error { // its name is not looked at: we come by the address
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
	return c, nil
}

// hint is which process may be the broker: the one that holds the data
// directory's lock, or that the pid file names.
func (a *agent) hint(dataDir string) (int, error) {
	if pid, err := lockHolder(dataDir); err == nil && pid > 0 || a.pid == "" {
		return pid, err
	}
	return daemon.ReadPID(a.pid)
}

// lockHolder is the process that holds the data directory's lock, 0 if none
// does (qpidd locks it with fcntl(2)).
func lockHolder(dataDir string) (int, error) {
	f, err := os.OpenFile(filepath.Join(dataDir, "lock"), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return 0, fmt.Errorf("ask for the lock %s: %w", f.Name(), err)
	}
	if l.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(l.Pid), nil
}

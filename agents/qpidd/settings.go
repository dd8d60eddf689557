package qpidd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mycnf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

type agent struct{ *params }

// settings are what holds on this node: parameters first, then the broker's
// configuration file, then what the distribution does.
type settings struct {
	config           string // "" if there is none
	dataDir, address string
	port             string
	brokers          int // in ha_brokers_url
	conf             map[string]string
}

var configs = []string{"/etc/qpid/qpidd.conf", "/etc/qpidd.conf"}

// settings reads the configuration file. Its error means that the broker would
// not start with it; the settings are then what can be known without it.
func (p *params) settings() (settings, error) {
	s := settings{config: p.config}
	if s.config == "" {
		if i := slices.IndexFunc(configs, service.Exists); i >= 0 {
			s.config = configs[i]
		}
	}
	var err error
	if s.config != "" {
		s.conf, err = readConf(s.config)
	}
	if err == nil && p.dataDir == "" && isYes(s.conf["no-data-dir"]) {
		err = ocf.Errorf(ocf.Configured, "%s says no-data-dir: the broker is told from others by the data directory that it holds: remove that line, or set data_dir", s.config)
	}
	s.dataDir = filepath.Clean(cmp.Or(p.dataDir, s.conf["data-dir"], "/var/lib/qpidd"))
	s.port = cmp.Or(s.conf["port"], "5672")
	if p.port != 0 {
		s.port = strconv.Itoa(p.port)
	}
	s.address = net.JoinHostPort(listenAddress(cmp.Or(p.iface, s.conf["interface"])), s.port)
	s.brokers = strings.Count(p.haBrokers, ",") + 1
	return s, err
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
// comments; of a name that stands twice the first counts, as for the broker.
func readConf(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		code := ocf.Args
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
			conf[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, ocf.Errorf(ocf.Args, "configuration file %s: %w", path, err)
	}
	return conf, nil
}

func isYes(s string) bool { v, _ := ocf.ParseBool(s); return v }

// service is the broker as it is on this node. unusable is why the
// configuration file cannot be used, if it cannot.
func (a *agent) service(r *ocf.Request) (svc service.Service, s settings, unusable error) {
	s, unusable = a.settings()
	a.storage.Dir = s.dataDir
	exes, script := daemon.Program(a.binary)
	id := daemon.Identity{
		Name: "qpidd", Executables: append(exes, "qpidd", "lt-qpidd"), PIDFile: a.pid,
		Kind: script, Test: daemon.UsesDir(s.dataDir, "data-dir"),
	}
	return service.Service{
		Name: "broker", On: s.dataDir, Identity: id,
		Answers: func(ctx context.Context) error { _, err := a.answers(ctx, r, s, 0); return err },
	}, s, unusable
}

// target is whom the health checks ask, and as whom. known is false when the
// operator named nobody to log in as, so that a refused login says nothing.
func (a *agent) target(s settings, pid int) (t amqp.Target, known bool, err error) {
	t = amqp.Target{Address: s.address, User: a.username, Password: a.passwd, Mechanism: a.mech, Product: amqp.QpidProduct, Admin: a.haCluster, PID: pid}
	if a.credentials != "" {
		user, password, _, err := mycnf.LoadDefaults(a.credentials)
		if err != nil {
			return t, true, err
		}
		t.User, t.Password = user, password
	}
	return t, t.User != "", nil
}

// lockHolder is the process that holds the data directory's lock, 0 if none
// does (qpidd locks it with fcntl(2)).
func lockHolder(dataDir string) (int, error) {
	f, err := os.OpenFile(filepath.Join(dataDir, "lock"), os.O_RDWR, 0)
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

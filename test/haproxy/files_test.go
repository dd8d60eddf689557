package haproxy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

const (
	unitFile = "/run/systemd/system/haproxy.service"
	plain    = "defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n"
)

// unit has haproxy.service name these files, in an environment.
func (h *host) unit(exec string, env ...string) {
	h.T.Helper()
	box.Sh(h.T, "mkdir -p %s", filepath.Dir(unitFile))
	text := "[Service]\nExecStart=" + exec + "\n"
	for _, v := range env {
		text += "Environment=" + v + "\n"
	}
	h.write(unitFile, text)
	h.T.Cleanup(func() { _ = os.Remove(unitFile) })
}

// listens are the TCP addresses of the box.
func (h *host) listens(address string) bool {
	h.T.Helper()
	return strings.Contains(box.Sh(h.T, "ss -Hltn"), " "+address+" ")
}

func (h *host) wantListen(addresses ...string) {
	h.T.Helper()
	for _, a := range addresses {
		if !h.listens(a) {
			h.T.Errorf("nobody listens on %s:\n%s", a, box.Sh(h.T, "ss -Hltnp"))
		}
	}
}

// byHand starts an HAProxy as a unit does, with nothing but env in its environment.
func (h *host) byHand(env []string, args ...string) {
	h.T.Helper()
	cmd := exec.Command("/usr/sbin/haproxy", args...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin"}, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.T.Fatalf("haproxy %q: %v: %s", args, err, out)
	}
}

// TestFiles is the table of what files, directories and environments HAProxy may be run with.
func TestFiles(t *testing.T) {
	front := func(name, address string) string {
		return fmt.Sprintf("frontend %s\n bind %s\n http-request return status 200\n", name, address)
	}
	// two is a configuration in two places, as EL's unit has it.
	two := func(h *host, file string) (dir string) {
		dir = filepath.Join(filepath.Dir(file), "conf.d")
		box.Sh(h.T, "mkdir -p %s/dir.cfg", dir) // a directory: HAProxy passes it over
		h.write(file, plain+front("f", "127.0.0.1:18081"))
		h.write(dir+"/api.cfg", front("g", "127.0.0.1:18082"))
		h.T.Cleanup(func() { _ = os.RemoveAll(dir); _ = os.Remove(file) })
		return dir
	}
	box.Rows(t, newHost, []box.Row[*host]{
		{"a stats socket on all addresses, and no master's", func(h *host) {
			h.write(config, "global\n stats socket *:18089 level admin\n"+plain+front("f", "127.0.0.1:18081"))
			h.byHand(nil, "-W", "-D", "-f", config, "-p", pidFile)
			h.Monitor(0, ocf.OK)
			h.Monitor(10, ocf.OK)
			h.Start()
			h.Want(ocf.ReloadAgent, ocf.OK)
			h.Monitor(0, ocf.OK)
		}},
		{"a stats socket that cannot be dialled", func(h *host) {
			h.write(config, "global\n stats socket ipv4@0.0.0.0:18089 interface lo level admin\n stats socket 192.0.2.7:18090 transparent\n"+plain+front("f", "127.0.0.1:18081"))
			h.write(config, "global\n stats socket 192.0.2.7:18090 transparent\n"+plain+front("f", "127.0.0.1:18081"))
			h.byHand(nil, "-W", "-D", "-f", config, "-p", pidFile)
			h.Monitor(0, ocf.Degraded, "cannot be asked", "restart it when convenient")
			h.Start()
		}},
		{"disabled in the defaults", func(h *host) {
			h.write(config, plain+" disabled\n"+front("f", "127.0.0.1:18081")+front("g", "127.0.0.1:18082")+" enabled\ndefaults more\n mode http\n timeout client 5s\n"+front("i", "127.0.0.1:18083")+"defaults\n disabled\nfrontend j from more\n bind 127.0.0.1:18084\nfrontend k\n mode http\n timeout client 5s\n bind 127.0.0.1:18085\n")
			h.Start()
			h.Monitor(0, ocf.OK)
			h.wantListen("127.0.0.1:18082", "127.0.0.1:18083", "127.0.0.1:18084")
			if h.listens("127.0.0.1:18081") || h.listens("127.0.0.1:18085") {
				h.T.Error("what is disabled listens")
			}
		}},
		{"several files and directories", func(h *host) {
			dir := two(h, "/run/two.cfg")
			p := h.With("config", "/run/two.cfg "+dir)
			p.Start()
			p.Monitor(0, ocf.OK)
			h.write(dir+"/api.cfg", front("g", "127.0.0.1:18083"))
			p.Monitor(0, ocf.Degraded, "127.0.0.1:18083", "api.cfg:2")
			p.Want(ocf.ReloadAgent, ocf.OK)
			h.wantListen("127.0.0.1:18081", "127.0.0.1:18083")
			p.Monitor(0, ocf.OK)
			p.Stop()
		}},
		{"one that a unit started with a directory besides", func(h *host) {
			for _, master := range [][]string{{"-S", "/run/haproxy-master.sock"}, nil} { // EL's has none
				dir := two(h, config)
				h.byHand(nil, append([]string{"-W", "-D", "-f", config, "-f", dir, "-p", pidFile}, master...)...)
				h.write(config, "global\n stats socket /run/haproxy/admin.sock\n"+plain+front("f", "127.0.0.1:18083"))
				h.Want(ocf.ReloadAgent, ocf.OK)
				h.wantListen("127.0.0.1:18082", "127.0.0.1:18083")
				h.Monitor(0, ocf.OK)
				h.Stop()
			}
		}},
		{"one that a unit started with files that are not named", func(h *host) {
			dir := two(h, config)
			h.byHand(nil, "-W", "-D", "-f", config, "-f", dir, "-p", pidFile, "-S", "/run/haproxy-master.sock")
			h.write("/run/other.cfg", front("o", "127.0.0.1:18084"))
			p := h.With("config", config+" /run/other.cfg")
			p.Want(ocf.ReloadAgent, ocf.OK)
			p.Monitor(0, ocf.Degraded, dir, "config")
			h.wantListen("127.0.0.1:18081", "127.0.0.1:18082")
			p.Stop()
		}},
		{"a restart with what the unit names", func(h *host) {
			dir := two(h, "/etc/haproxy/haproxy.cfg")
			h.unit("/usr/sbin/haproxy -Ws -f $CONFIG -f $CFGDIR -p $PIDFILE $OPTIONS", `"CONFIG=/etc/haproxy/haproxy.cfg" "PIDFILE=/run/haproxy.pid" "CFGDIR=`+dir+`"`)
			p := h.With("config", "/etc/haproxy/haproxy.cfg")
			p.Start()
			h.wantListen("127.0.0.1:18081", "127.0.0.1:18082")
			p.Monitor(0, ocf.OK)
			p.Stop()
		}},
		{"a variable that is not set", func(h *host) {
			h.write(config, plain+front("f", `"${VIP}:18081"`)+front("g", "${VIP}:18082"))
			h.Validate(ocf.BadArgument, "$VIP in haproxy.cfg:7", "$VIP in haproxy.cfg:10")
			h.Want(ocf.Start, ocf.BadArgument, "not set in HAProxy's environment", "$VIP in haproxy.cfg:7")
			h.unit("/usr/sbin/haproxy -f "+config, "VIP=127.0.0.1")
			h.Start()
			h.Monitor(0, ocf.OK)
			h.wantListen("127.0.0.1:18081", "127.0.0.1:18082")
			h.unit("/usr/sbin/haproxy -f "+config, "VIP=127.0.0.2") // a new one is a reload
			h.Want(ocf.ReloadAgent, ocf.OK)
			box.Until(h.T, "the former one is gone", func() bool { return len(h.Pids()) == 2 })
			h.wantListen("127.0.0.2:18081", "127.0.0.2:18082")
			h.Monitor(0, ocf.OK)
		}},
		{"a variable of the environment of one that a unit started", func(h *host) {
			h.write(config, plain+front("f", `"${VIP}:18081"`))
			h.byHand([]string{"VIP=127.0.0.1"}, "-W", "-D", "-f", config, "-p", pidFile, "-S", "/run/haproxy-master.sock")
			h.Monitor(0, ocf.OK)
			h.Want(ocf.ReloadAgent, ocf.OK)
			h.wantListen("127.0.0.1:18081")
			h.With("additional_parameters", "-n 300").Want(ocf.ReloadAgent, ocf.OK) // a new master
			h.With("additional_parameters", "-n 300").Monitor(0, ocf.OK)
			h.wantListen("127.0.0.1:18081")
			if h.listens("0.0.0.0:18081") {
				h.T.Error("it listens on all addresses")
			}
		}},
		{"an HAProxy without the master's socket", func(h *host) {
			h.write("/run/haproxy-1.8", "#!/bin/sh\necho 'HA-Proxy version 1.8.27-493ce0b 2020/11/06'\n")
			box.Sh(h.T, "chmod 755 /run/haproxy-1.8")
			p := h.With("binary", "/run/haproxy-1.8")
			p.Want(ocf.Start, ocf.NotInstalled, "1.8.27", "too old", "1.9")
			p.Validate(ocf.NotInstalled, "1.8.27")
		}},
		{"a worker that dies a second after the reload", func(h *host) {
			h.write("/run/die.lua", "core.register_task(function() if io.open('/run/die') then core.msleep(700) os.execute('kill -9 $PPID') end end)\n")
			h.write(config, with(h.T, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "    lua-load /run/die.lua\n    insecure-fork-wanted\n"))
			h.Start()
			m, _ := h.family()
			h.write("/run/die", "")
			defer syscall.Unlink("/run/die")
			r := h.Run(ocftest.Call{Action: ocf.ReloadAgent, Timeout: h.Limit})
			if r.Code != ocf.Generic || !strings.Contains(r.Reason, "died within") {
				h.T.Errorf("reload: %s", r)
			}
			box.Until(h.T, "the master is gone", func() bool { return syscall.Kill(m, 0) != nil })
			h.Monitor(0, ocf.NotRunning)
		}},
	})
}

package qpidd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/needs"
)

// byHand runs the broker as something else than the agent does, until the test ends.
func (h *host) byHand(env string, args ...string) {
	h.T.Helper()
	box.Sh(h.T, "chown root %s", dataDir)
	box.Background(h.T, "env", append(append(strings.Fields(env), h.Params["binary"], "--config", config, "--data-dir", dataDir, "--log-to-file", logFile), args...)...)
}

// TestListens: a broker that serves is asked where it listens, whatever the
// configuration file says.
func TestListens(t *testing.T) {
	sound := func(h *host) {
		h.T.Helper()
		h.Await(h.Watch, 0, ocf.OK)
		for _, level := range []int{0, 10, 20} {
			h.Monitor(level, ocf.OK)
		}
		h.Start() // it runs
	}
	box.Rows(t, newHost, []box.Row[*host]{
		{"--port of an init script's options", func(h *host) {
			h.byHand("", "--port", "5698")
			sound(h)
		}},
		{"QPID_PORT", func(h *host) {
			h.byHand("QPID_PORT=5698")
			sound(h)
		}},
		{"--interface", func(h *host) {
			h.byHand("", "--interface", "127.0.0.9")
			sound(h)
		}},
		{"the file was changed since", func(h *host) {
			h.Start()
			box.Sh(h.T, "sed -i s/%d/5698/ %s", port, config)
			sound(h)
		}},
		{"options in additional_parameters", func(h *host) {
			for _, more := range []string{"--port=5698", "--port 5698", "-p 5698", "--interface 127.0.0.9 -p5698", "--daemon --port 5698"} {
				p := h.With("additional_parameters", more)
				p.Start()
				p.Monitor(10, ocf.OK)
				h.Monitor(10, ocf.OK) // nor does it matter what was said
				p.Stop()
			}
		}},
		{"another broker where the file says", func(h *host) {
			h.byHand("", "--port", "5698")
			h.Await(h.Watch, 0, ocf.OK)
			broker.Start(h.T, broker.Options{Port: port})
			sound(h)
			h.Signal(syscall.SIGSTOP)
			h.Monitor(0, ocf.Generic, "frozen")
		}},
		{"port 0", func(h *host) { // a "=" in the name would be one in the stand-in's path, and env(1) would take that for a variable
			h.Params["additional_parameters"] = "--port 0"
			h.Want(ocf.Start, ocf.NotConfigured, "port=0")
			h.Want(ocf.Monitor, ocf.NotConfigured, "port=0")
			delete(h.Params, "additional_parameters")
			box.Sh(h.T, "sed -i s/port=%d/port=0/ %s", port, config)
			h.Want(ocf.Start, ocf.NotConfigured, "port=0")
			h.byHand("") // somebody did
			h.Await(h.Watch, 10, ocf.OK)
		}},
	})
}

// TestOurs: a broker that was started by our configuration file runs, whatever
// became of the file.
func TestOurs(t *testing.T) {
	h := newHost(t)
	delete(h.Params, "data_dir")
	lines := []string{"auth=no", "data-dir=" + dataDir}
	h.configure(lines...)
	h.Start()
	h.Monitor(10, ocf.OK)
	box.Sh(t, "sed -i 's/port=%d/port=5698/; s,%s,/run/srv/other,' %s", port, dataDir, config)
	h.Want(ocf.Monitor, ocf.Generic, "was started by our "+config, "works in /run/srv")
	h.Want(ocf.Stop, ocf.Generic, "was started by our "+config)
	h.Want(ocf.Start, ocf.Generic, "was started by our "+config)
	h.configure(lines...)
	h.Monitor(10, ocf.OK) // it lived
	h.Want(ocf.Stop, ocf.OK)
	h.Want(ocf.Monitor, ocf.NotRunning)
}

// TestTLS: a broker that takes TLS only.
func TestTLS(t *testing.T) {
	if h := newHost(t); h.kind != broker.Real {
		t.Skip("SKIP: needs a real qpidd, for TLS")
	}
	needs.Program(t, "certutil", "libnss3-tools")
	dir := t.TempDir()
	box.LetIn(t, dir)
	box.Sh(t, `cd %s && mkdir db && echo secret >pw && head -c 99 /dev/urandom >noise
certutil -N -d db -f pw
certutil -S -d db -f pw -z noise -n broker -s CN=broker.example -x -t CT,C,C
certutil -S -d db -f pw -z noise -n check -s CN=check -c broker -t ,, -m 7
certutil -L -d db -n broker -a >ca.pem
pk12util -o check.p12 -d db -n check -k pw -w pw && openssl pkcs12 -in check.p12 -passin file:pw -nodes -clcerts -out check.pem
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout /dev/null -out other.pem
chown -R daemon db pw`, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	box.Rows(t, newHost, []box.Row[*host]{
		{"no plain port", func(h *host) {
			h.configure("auth=no", "listen-disable=tcp", "ssl-port=5698", "ssl-cert-db="+file("db"), "ssl-cert-password-file="+file("pw"), "ssl-cert-name=broker")
			h.tls(file)
		}},
		{"require-encryption", func(h *host) {
			h.configure("auth=no", "require-encryption=yes", "ssl-port=5698", "ssl-cert-db="+file("db"), "ssl-cert-password-file="+file("pw"), "ssl-cert-name=broker")
			h.tls(file)
		}},
		{"one port for both", func(h *host) {
			h.configure("auth=no", fmt.Sprintf("ssl-port=%d", port), "ssl-cert-db="+file("db"), "ssl-cert-password-file="+file("pw"), "ssl-cert-name=broker")
			h.tls(file)
		}},
		{"as katello has it", func(h *host) {
			text := fmt.Sprintf("#cluster-mechanism=ANONYMOUS\nlog-enable=error+\nlog-to-syslog=yes\nauth=no\nrequire-encryption=yes\nssl-require-client-authentication=yes\nssl-port=5698\nssl-cert-db=%s\nssl-cert-password-file=%s\nssl-cert-name=broker\n\nport=%d\ninterface=lo\n", file("db"), file("pw"), port)
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				h.T.Fatal(err)
			}
			h.Start()
			h.Monitor(0, ocf.Degraded, "certificate")
			h.With("ssl_cert", file("check.pem"), "ssl_ca", file("ca.pem")).Monitor(20, ocf.OK)
		}},
		{"clients must have a certificate", func(h *host) {
			h.configure("auth=no", "listen-disable=tcp", "ssl-port=5698", "ssl-cert-db="+file("db"), "ssl-cert-password-file="+file("pw"), "ssl-cert-name=broker", "ssl-require-client-authentication=yes")
			h.Start()
			h.Monitor(0, ocf.Degraded, "certificate")
			h.With("ssl_cert", file("check.pem"), "ssl_key", file("check.pem")).Monitor(20, ocf.OK)
			h.With("ssl_cert", file("check.pem"), "ssl_ca", file("ca.pem")).Monitor(20, ocf.OK)
		}},
	})
}

// tls starts the broker and looks at it through TLS.
func (h *host) tls(file func(string) string) {
	h.T.Helper()
	h.Start()
	for _, level := range []int{0, 10, 20} {
		h.Monitor(level, ocf.OK)
		h.With("ssl_ca", file("ca.pem")).Monitor(level, ocf.OK)
	}
	if !strings.Contains(h.T.Name(), "one_port") {
		h.With("ssl_ca", file("other.pem")).Monitor(0, ocf.Degraded, "certificate")
		h.With("ssl_ca", "/nowhere").Monitor(0, ocf.Degraded, "ssl_ca")
		h.With("ssl_cert", "/nowhere").Monitor(0, ocf.Degraded, "ssl_cert")
	}
	h.Stop()
}

// TestLevel20 is what the management tells, as it is.
func TestLevel20(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"default-queue-limit of 1 GB", func(h *host) {
			h.configure("auth=no", "default-queue-limit=1000000000")
			h.Start()
			h.send("orders", 200, 8000, nil)
			h.With("degraded_queue_percent", "1").Monitor(20, ocf.OK)
		}},
		{"default-queue-limit of 0 is none", func(h *host) {
			p := h.With("additional_parameters", "--default-queue-limit 0", "degraded_queue_percent", "1")
			p.Start()
			h.send("orders", 200, 8000, nil)
			p.Monitor(20, ocf.OK)
		}},
		{"a queue's own limit of 0 is none", func(h *host) {
			h.Start()
			h.send("orders", 200, 8000, map[string]any{"qpid.max_size": int64(0)})
			h.With("degraded_queue_percent", "1").Monitor(20, ocf.OK)
		}},
		{"default-queue-limit of 20 kB, without flow control", func(h *host) {
			h.byHand("QPID_DEFAULT_QUEUE_LIMIT=20000", "--default-flow-stop-threshold=0", "--default-flow-resume-threshold=0")
			h.Await(h.Watch, 0, ocf.OK)
			h.send("orders", 18, 1000, nil)
			h.Monitor(20, ocf.Degraded, "orders", "full")
		}},
		{"all that is wrong, brokers that are not in step first", func(h *host) {
			ha := h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d,127.0.0.1:5690", port), "degraded_connections_percent", "1",
				"additional_parameters", "--max-connections 50")
			ha.Start()
			ha.Want(ocf.Promote, ocf.OK)
			h.send("first", 15, 1000, map[string]any{"qpid.max_size": int64(20000), "qpid.flow_stop_size": int64(0), "qpid.replicate": "none"})
			h.send("fuller", 18, 1000, map[string]any{"qpid.max_size": int64(20000), "qpid.flow_stop_size": int64(0), "qpid.replicate": "none"})
			r := ha.With("degraded_queue_percent", "50").Monitor(20, ocf.DegradedPromoted, "1 of 2 brokers")
			at := 0
			for _, words := range []string{"1 of 2 brokers", "queue fuller", "1 more", "of 50 connections"} {
				i := strings.Index(r.Reason[at:], words)
				if i < 0 {
					h.T.Errorf("no %q after byte %d of %q", words, at, r.Reason)
				}
				at += max(i, 0)
			}
		}},
	})
}

// TestFile is what the configuration file may say.
func TestFile(t *testing.T) {
	box.Rows(t, newHost, []box.Row[*host]{
		{"daemon=yes", func(h *host) {
			h.configure("auth=no", "daemon=yes")
			h.Start()
			h.Running()
			h.Monitor(10, ocf.OK)
		}},
		{"a blank after the sign", func(h *host) {
			text := fmt.Sprintf("port= %d\ninterface=\t127.0.0.1\nauth=no # open\n", port)
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				h.T.Fatal(err)
			}
			h.Start()
			h.Monitor(10, ocf.OK)
		}},
		{"as pulp's guide has it: no-data-dir", func(h *host) {
			h.configure("auth=no", "no-data-dir=yes", "log-enable=info+", "ssl-port=5698")
			h.Start() // with the parameter data_dir, by which it is told from others
			if _, err := os.Stat(dataDir + "/lock"); err != nil {
				h.T.Error(err)
			}
			h.Monitor(20, ocf.OK)
			h.Stop()
			delete(h.Params, "data_dir")
			h.Want(ocf.Start, ocf.NotConfigured, "no-data-dir")
		}},
		{"as the puppet module has it", func(h *host) {
			h.configure("log-enable=error+", "log-to-syslog=yes", "auth=no", "max-connections=5000", "session-max-unacked=10", "mgmt-pub-interval=5", "default-queue-limit=1073741824")
			h.Start()
			h.Monitor(20, ocf.OK)
		}},
		{"a key of an older broker, and a misspelt one", func(h *host) {
			for _, key := range []string{"cluster-mechanism=DIGEST-MD5 ANONYMOUS", "link-maintenace-interval=2"} {
				h.configure("auth=no", key)
				h.Want(ocf.Start, ocf.Generic, key[:12])
			}
		}},
		{"mgmt-enable=no, and a store", func(h *host) {
			if h.kind != broker.Real {
				h.T.Skip("SKIP: needs a real qpidd, with modules")
			}
			h.configure("auth=no", "mgmt-enable=no")
			p := h.With("store", "linearstore")
			p.Start()
			p.Monitor(10, ocf.OK)
			p.Monitor(20, ocf.Degraded, "management is off")
			p.Stop()
			bare := p.With("module_dir", h.bare())
			bare.Want(ocf.Start, ocf.NotInstalled, "linearstore is not loaded")
			bare.Monitor(20, ocf.Degraded, "linearstore is not loaded")
		}},
	})
}

// TestACL: a user of the checks who may read and not act is told before the
// failover, and nothing is restarted for it.
func TestACL(t *testing.T) {
	const open = "acl allow all all\n"
	for _, row := range []struct {
		name, acl string
		allowed   bool
	}{
		{"no methods at all", "acl deny checker@QPID access method\n" + open, false},
		{"all but promote", "acl deny checker@QPID access method name=promote\n" + open, false},
		{"promote, and the question for it", "acl allow checker@QPID access method name=promote schemaclass=habroker\nacl allow checker@QPID access method name=Lookup\nacl deny checker@QPID access method\n" + open, true},
		{"everything", open, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHost(t)
			if h.kind != broker.Real && strings.Contains(row.acl, "name=") {
				t.Skip("SKIP: needs a real qpidd, for ACLs that name methods")
			}
			file := filepath.Join(t.TempDir(), "acl")
			box.LetIn(t, filepath.Dir(file))
			if err := os.WriteFile(file, []byte(row.acl), 0o644); err != nil {
				t.Fatal(err)
			}
			h.configure("auth=no", "acl-file="+file)
			ha := h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d", port), "username", "checker", "passwd", "x")
			ha.Start()
			pids := ha.Running()
			if row.allowed {
				ha.Monitor(0, ocf.OK)
				ha.Monitor(10, ocf.OK)
				ha.Want(ocf.Promote, ocf.OK)
				ha.Monitor(10, ocf.RunningPromoted)
				return
			}
			ha.Monitor(10, ocf.Degraded, "ACL", "promote", "checker")
			ha.Want(ocf.Promote, ocf.Generic, "ACL", "promote")
			ha.Monitor(0, ocf.Degraded, "ACL", "promote")
			// Others may, and the primary's monitors warn too.
			h.With("ha_cluster", "true", "ha_brokers_url", fmt.Sprintf("amqp:127.0.0.1:%d", port)).Want(ocf.Promote, ocf.OK)
			ha.Monitor(10, ocf.DegradedPromoted, "ACL", "promote", "checker")
			if after := ha.Running(); !slices.Equal(after, pids) {
				t.Errorf("processes %v became %v", pids, after)
			}
		})
	}
}

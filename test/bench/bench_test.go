// Package bench measures, side by side in one run: every figure is a ratio to
// something else that did the same on the same machine at the same time.
//
// Run it with `make bench`.
package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/needs"
)

func TestMain(m *testing.M) { box.Main(m, "/etc/mysql") }

// contender is a command to time.
type contender struct {
	name      string
	argv      []string
	env       []string
	code      int
	before    func(b *testing.B) // each run, out of the time; nil: nothing
	wall, cpu []time.Duration
}

func (c *contender) run(b *testing.B) {
	if c.before != nil {
		c.before(b)
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	said, err := os.CreateTemp(b.TempDir(), "") // not a pipe, which what goes on in the background would hold
	if err != nil {
		b.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	begin := time.Now()
	err = cmd.Run()
	wall := time.Since(begin)
	if got := cmd.ProcessState.ExitCode(); got != c.code {
		out, _ := os.ReadFile(said.Name())
		b.Fatalf("%s: exit %d, want %d: %v: %s", c.name, got, c.code, err, out)
	}
	c.wall = append(c.wall, wall)
	c.cpu = append(c.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// against times ours and theirs in turn, and reports the medians and how many
// times more theirs takes.
func against(b *testing.B, ours, theirs *contender) (wall, cpu float64) {
	b.Helper()
	ours.run(b) // warm-up
	theirs.run(b)
	ours.wall, ours.cpu, theirs.wall, theirs.cpu = nil, nil, nil, nil
	for b.Loop() {
		ours.run(b)
		theirs.run(b)
	}
	return report(b, ours, theirs)
}

// report reports what two have taken.
func report(b *testing.B, ours, theirs *contender) (wall, cpu float64) {
	b.Helper()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	ow, oc, tw, tc := median(ours.wall), median(ours.cpu), median(theirs.wall), median(theirs.cpu)
	wall, cpu = float64(tw)/float64(ow), float64(tc)/float64(oc)
	b.ReportMetric(0, "ns/op") // both together: says nothing
	b.ReportMetric(ms(ow), "ms")
	b.ReportMetric(ms(oc), "ms-cpu")
	b.ReportMetric(ms(tw), "ms-theirs")
	b.ReportMetric(wall, "x-wall")
	b.ReportMetric(cpu, "x-cpu")
	b.Logf("%-34s %6.2f ms wall %6.2f ms cpu", ours.name, ms(ow), ms(oc))
	b.Logf("%-34s %6.2f ms wall %6.2f ms cpu, %.2f x wall, %.2f x cpu", theirs.name, ms(tw), ms(tc), wall, cpu)
	return wall, cpu
}

// target says whether an aim was reached. It fails nothing: figures of a noisy
// machine are for people to read.
func target(b *testing.B, aim string, got, want float64) {
	word := "reached"
	if got < want {
		word = "MISSED"
	}
	b.Logf("aim: %s: %s", aim, word)
}

func agent(b *testing.B, name, action string, env ...string) *contender {
	return &contender{name: name + " " + action, argv: []string{built.Agent(b, name), action}, env: append(env, "OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=bench", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_timeout=20000")}
}

// compile makes a static C program.
func compile(b *testing.B, name, source string) string {
	b.Helper()
	dir := b.TempDir()
	c := filepath.Join(dir, name+".c")
	if err := os.WriteFile(c, []byte(source), 0o644); err != nil {
		b.Fatal(err)
	}
	box.Sh(b, "gcc -O2 -static -o %s/%s %s", dir, name, c)
	return filepath.Join(dir, name)
}

const (
	socket    = "/run/mysqld/mysqld.sock"
	myConfig  = "/run/my.cnf"
	myDatadir = "/run/srv/mysql"
)

// mariadb starts a server, for the whole run.
func mariadb(b *testing.B) {
	box.Need(b)
	if _, err := os.Stat(socket); err == nil {
		return
	}
	needs.Program(b, "mariadbd", "mariadb-server")
	conf := fmt.Sprintf("[mysqld]\ndatadir=%s\nsocket=%s\npid-file=/run/mysqld/mysqld.pid\nskip-networking\ninnodb_log_file_size=8M\ninnodb_buffer_pool_size=16M\ninnodb_use_native_aio=0\n", myDatadir, socket)
	if err := os.WriteFile(myConfig, []byte(conf), 0o644); err != nil {
		b.Fatal(err)
	}
	box.Sh(b, "mkdir -p %s; chown mysql %s; OCF_RESKEY_config=%s OCF_RESKEY_shared_storage=false OCF_RESKEY_enable_creation=true OCF_RESKEY_log=/run/mysqld.log %s start", myDatadir, myDatadir, myConfig, built.Agent(b, "mysql-shared-storage"))
}

func heartbeat(b *testing.B, action, level string) *contender {
	const script = "/usr/lib/ocf/resource.d/heartbeat/mysql"
	needs.File(b, script, "resource-agents")
	return &contender{
		name: "ocf:heartbeat:mysql " + action + " level " + level, argv: []string{script, action},
		env: []string{
			"OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=bench", "OCF_CHECK_LEVEL=" + level, "OCF_RESKEY_CRM_meta_interval=10000",
			"OCF_RESKEY_binary=/usr/sbin/mariadbd", "OCF_RESKEY_config=" + myConfig, "OCF_RESKEY_datadir=" + myDatadir, "OCF_RESKEY_socket=" + socket,
			"OCF_RESKEY_pid=/run/mysqld/mysqld.pid", "OCF_RESKEY_test_table=mysql.user", "OCF_RESKEY_test_user=root",
		},
	}
}

func BenchmarkMySQLMonitorAgainstHeartbeat(b *testing.B) {
	mariadb(b)
	wall, cpu := against(b, agent(b, "mysql-shared-storage", "monitor", "OCF_RESKEY_config="+myConfig, "OCF_RESKEY_shared_storage=false"), heartbeat(b, "monitor", "10"))
	target(b, "at least 10 times less wall and CPU than theirs", min(wall, cpu), 10)
}

func BenchmarkMySQLMonitorLevel10AgainstHeartbeat(b *testing.B) {
	mariadb(b)
	ours := agent(b, "mysql-shared-storage", "monitor", "OCF_RESKEY_config="+myConfig, "OCF_RESKEY_shared_storage=false", "OCF_CHECK_LEVEL=10")
	against(b, ours, heartbeat(b, "monitor", "10"))
}

func BenchmarkMySQLMonitorAgainstStaticC(b *testing.B) {
	mariadb(b)
	c := compile(b, "greeting", `
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strcpy(a.sun_path, "`+socket+`");
	char buf[256];
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(s, (struct sockaddr *)&a, sizeof a) || read(s, buf, sizeof buf) < 5;
}`)
	wall, _ := against(b, agent(b, "mysql-shared-storage", "monitor", "OCF_RESKEY_config="+myConfig, "OCF_RESKEY_shared_storage=false"), &contender{name: "static C: connect, read greeting", argv: []string{c}})
	target(b, "at most 3 times as long as theirs", wall, 1.0/3)
}

func BenchmarkMetaDataAgainstBash(b *testing.B) {
	box.Need(b)
	wall, _ := against(b, agent(b, "mysql-shared-storage", "meta-data"), &contender{name: "bash -c :", argv: []string{"bash", "-c", ":"}})
	target(b, "at most 3 ms where theirs takes 2", wall, 2.0/3)
}

func BenchmarkMetaDataAgainstHeartbeat(b *testing.B) {
	box.Need(b)
	against(b, agent(b, "mysql-shared-storage", "meta-data"), heartbeat(b, "meta-data", "0"))
}

func BenchmarkQpiddMonitorAgainstBareClient(b *testing.B) {
	box.Need(b)
	br := broker.Start(b, broker.Options{})
	b.Logf("broker: %s", br.Kind())
	box.Sh(b, "printf 'port=%d\\n' >/run/qpidd.conf", br.Port)
	ours := agent(b, "qpidd", "monitor", "OCF_RESKEY_config=/run/qpidd.conf", "OCF_RESKEY_data_dir="+br.DataDir, "OCF_RESKEY_user=root")
	const bare = "../../bin/bare" // on the file system of the agents: how it caches a program matters
	box.Sh(b, "CGO_ENABLED=0 $(../deps/go-path) build -trimpath -ldflags '-s -w' -o %s ./bare", bare)
	wall, cpu := against(b, ours, &contender{name: "go-amqp: connect, login, session", argv: []string{bare, br.Addr()}})
	if br.Kind() == broker.Real {
		target(b, "at most 1.4 times the wall and CPU of theirs", min(wall, cpu), 1/1.4)
	}
}

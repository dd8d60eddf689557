package bench

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/openstack"
)

// BenchmarkConsoleauthMonitorAgainstShell needs the older shell agent ocf:openstack:nova-consoleauth, which
// OLDER_CONSOLEAUTH names.
func BenchmarkConsoleauthMonitorAgainstShell(b *testing.B) {
	box.Need(b)
	older := os.Getenv("OLDER_CONSOLEAUTH")
	if older == "" {
		b.Skip("SKIP: needs OLDER_CONSOLEAUTH, the path of the older shell agent")
	}
	box.Sh(b, "echo 2000 9999 >/proc/sys/net/ipv4/ip_local_port_range") // it knows ports of four digits only
	rabbit, db := openstack.StartRabbit(b), openstack.StartMariaDB(b)
	nova := openstack.NewNova(b, db, rabbit.TransportURL())
	env := []string{
		"OCF_RESKEY_binary=" + nova.Consoleauth(), "OCF_RESKEY_config=" + nova.Conf, "OCF_RESKEY_user=root", "OCF_RESKEY_pid=/run/consoleauth.pid",
		"OCF_RESKEY_database_server_port=" + strconv.Itoa(db.Port), "OCF_RESKEY_amqp_server_port=" + strconv.Itoa(rabbit.Port),
	}
	ours := func(action, level string) *contender {
		return agent(b, "nova-consoleauth", action, slices.Concat(env, []string{"OCF_RESKEY_log=/run/consoleauth.log", "OCF_CHECK_LEVEL=" + level})...)
	}
	ours("start", "0").run(b)
	b.Cleanup(func() { ours("stop", "0").run(b) })
	shell := &contender{name: "the older shell agent monitor", argv: []string{older, "monitor"}, env: ours("monitor", "0").env}
	box.Until(b, "it has reported, and both agents are content", func() bool { return content(ours("monitor", "0")) && content(shell) })

	for _, level := range []string{"0", "10", "20"} {
		b.Run("level "+level, func(b *testing.B) {
			c := ours("monitor", level)
			b.Logf("processes made: %d, by the older agent %d",
				len(box.Forks(b, c.env, int(ocf.OK), c.argv...)), len(box.Forks(b, shell.env, int(ocf.OK), shell.argv...)))
			against(b, c, shell)
			if level == "0" {
				target(b, "a monitor at level 0 under 10 ms", 10/(median(c.wall).Seconds()*1000), 1)
			}
		})
	}
}

func content(c *contender) bool {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	return cmd.Run() == nil
}

// Package ocf is the OCF resource agent API 1.1 for Go: declare an agent as a
// value, and get from that one declaration its meta-data, the parsing and
// validation of its parameters, its usage, manual page, shell completion and
// JSON, and a runner that keeps every promise the standard asks of an agent.
//
// An agent is a constructor that binds parameters to variables and actions to
// functions:
//
//	func New() ocf.Agent {
//		var p struct{ pidfile string }
//		return ocf.Agent{
//			Name:    "sleeper",
//			Version: "1.0",
//			Short:   "Sleeps on one node at a time",
//			Long:    "Runs sleep(1).",
//			Parameters: []ocf.Parameter{{
//				Name: "pidfile", Value: ocf.Path(&p.pidfile), Default: "/run/sleeper.pid",
//				Short: "Pid file", Long: "Where the pid is written.",
//			}},
//			Actions: []ocf.Action{
//				{Name: ocf.Start, Timeout: 20 * time.Second, Run: start},
//				{Name: ocf.Stop, Timeout: 20 * time.Second, Run: stop},
//				{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: monitor},
//			},
//		}
//	}
//
//	func main() { ocf.Main(New) }
//
// An action returns nil for success, or an error made by [Errorf] whose code
// is the exit code and whose text is the exit reason that an operator reads in
// crm_mon. The runner ends every action before Pacemaker's timeout, prints one
// `ocf-exit-reason:` line for every exit that is not 0, turns a panic into exit
// 1 with a reason, and writes logs and traces where the cluster wants them.
//
// A recurring monitor that finds its resource well stays and asks again, and at
// once when what it watches has ended: see [Stay] and [Request.Release].
//
// The API promises what a tag v0 does: names may still change from one minor version to the next, and the changelog says
// so; what an agent does on the wire (meta-data, exit codes, environment) is the standard's and stays.
//
// The package knows no daemon and no cluster command. Test an agent against
// the standard with package ocftest.
//
// Source: https://github.com/ClusterLabs/OCF-spec, ra/1.1/resource-agent-api.md;
// and, for what the standard leaves open, Pacemaker Explained and
// resource-agents' ocf-tester(8).
package ocf

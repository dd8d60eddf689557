package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// fake makes an empty package of that name, as a stand-in for one that the real ones deal with.
func fake(t *testing.T, name, format, provides string) string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/build")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "nfpm.yaml")
	yaml := fmt.Sprintf("name: %s\narch: %s\nversion: \"1\"\nmaintainer: nobody <nobody@example.org>\nprovides: [%s]\n", name, runtime.GOARCH, provides)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "go", "run", string(regexp.MustCompile(`github.com/goreleaser/nfpm/\S+`).Find(text)), "package", "--config", config, "--packager", format, "--target", dir)
	return file(t, dir, "*."+format)
}

// Ours depend on what a cluster's nodes have, by the names that EL and Debian have for it, on nothing else, and not beside the
// older agents of the same provider.
func TestDependencies(t *testing.T) {
	need(t, "rpm", "dpkg")
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root")
	}
	dir := of(t, built)
	rpm, deb := file(t, dir, "*."+rpmArch[runtime.GOARCH]+".rpm"), file(t, dir, "*_"+runtime.GOARCH+".deb")
	for _, c := range []struct {
		format  string
		node    func(root string) error
		install func(root, pkg string) *exec.Cmd
		ours    string
		shell   string // what a minimal system has
		lacking string // what is said without the cluster's packages
		beside  string // and beside the older agents
	}{
		{
			format: "rpm", ours: rpm, shell: "/bin/sh",
			node: func(string) error { return nil },
			install: func(root, pkg string) *exec.Cmd { // no script can run there: there is no shell
				return exec.Command("rpm", "--root", root, "--noscripts", "--install", pkg)
			},
			lacking: "pacemaker is needed by openstack-ocf",
			beside:  "openstack-resource-agents conflicts with",
		},
		{
			format: "deb", ours: deb,
			node: func(root string) error {
				return os.MkdirAll(filepath.Join(root, "var/lib/dpkg/info"), 0o755)
			},
			install: func(root, pkg string) *exec.Cmd {
				return exec.Command("/bin/sh", "-ec", `
					mkdir -p "$1/var/lib/dpkg/updates"; touch "$1/var/lib/dpkg/status"
					dpkg --root="$1" --log=/dev/null --unpack "$2"
					dpkg --root="$1" --log=/dev/null --simulate --configure --pending`, "sh", root, pkg)
			},
			lacking: "openstack-ocf depends on pacemaker",
			beside:  "conflicting packages - not installing openstack-ocf",
		},
	} {
		t.Run(c.format, func(t *testing.T) {
			with := func(names ...string) (string, error) {
				root := t.TempDir()
				if err := c.node(root); err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					if out, err := c.install(root, fake(t, name, c.format, c.shell)).CombinedOutput(); err != nil {
						t.Fatalf("%s: %v\n%s", name, err, out)
					}
				}
				out, err := c.install(root, c.ours).CombinedOutput()
				return string(out), err
			}
			if out, err := with(); err == nil || !strings.Contains(out, c.lacking) {
				t.Errorf("on a node without a cluster: %v\n%s", err, out)
			}
			if out, err := with("pacemaker", "resource-agents"); err != nil {
				t.Errorf("on a node of a cluster: %v\n%s", err, out)
			}
			if out, err := with("pacemaker", "resource-agents", "openstack-resource-agents"); err == nil || !strings.Contains(out, c.beside) {
				t.Errorf("beside the older agents: %v\n%s", err, out)
			}
		})
	}
}

// Both packagers sort what packaging/version makes of git's tags as it is meant: each is an upgrade of the one before.
func TestVersionsSort(t *testing.T) {
	need(t, "rpm", "dpkg")
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		run(t, "git", append([]string{"-C", repo, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
	}
	if err := os.MkdirAll(filepath.Join(repo, "packaging"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../packaging/version")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "packaging/version"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	git("add", ".")
	var versions []string
	for _, tag := range []string{"", "v1.0.0-rc1", "v1.0.0", "", "v1.0.1", "v1.10.0"} {
		git("commit", "-q", "--allow-empty", "-m", "x")
		if tag != "" {
			git("tag", "-a", "-m", "x", tag)
		}
		versions = append(versions, strings.TrimSpace(run(t, filepath.Join(repo, "packaging/version"))))
	}
	t.Log(versions)
	for i, v := range versions[1:] {
		before := versions[i]
		if out, err := exec.Command("dpkg", "--compare-versions", before+"-1", "lt", v+"-1").CombinedOutput(); err != nil {
			t.Errorf("dpkg does not take %s for an upgrade of %s: %v %s", v, before, err, out)
		}
		if out := run(t, "rpm", "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", before, v)); strings.TrimSpace(out) != "-1" {
			t.Errorf("rpm does not take %s for an upgrade of %s: %s", v, before, out)
		}
	}
	if !regexp.MustCompile(`^0\+1\.g[0-9a-f]+$`).MatchString(versions[0]) || versions[1] != "1.0.0~rc1" || versions[2] != "1.0.0" || !strings.HasPrefix(versions[3], "1.0.0+1.g") {
		t.Errorf("versions: %q", versions)
	}
}

package packaging

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What only the deb or only the rpm has: the deb's change log and lintian's exceptions are files, the rpm's change log is in its
// header; and Debian has the licence's text on every node.
var (
	debOnly = []string{"/usr/share/doc/openstack-ocf/changelog.Debian.gz", "/usr/share/lintian/overrides/openstack-ocf"}
	rpmOnly = []string{
		"/usr/share/licenses/openstack-ocf/LICENSE",
		// EL's zsh looks there, Debian's at the other place.
		"/usr/share/zsh/site-functions/_openstack-ocf", "/usr/share/zsh/vendor-completions/_openstack-ocf",
	}
)

var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func TestReproducible(t *testing.T) {
	read := func(build func() release) string {
		sums, err := os.ReadFile(filepath.Join(of(t, build), "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(sums)
	}
	first, second := read(built), read(again)
	if strings.Count(first, "\n") != 8 {
		t.Errorf("two architectures are 8 files, not\n%s", first)
	}
	if first != second {
		t.Errorf("two builds of the same source:\n%s\n%s", first, second)
	}
	for _, f := range strings.Split(strings.TrimSpace(first), "\n") {
		name := strings.Fields(f)[1]
		if info, err := os.Stat(filepath.Join(of(t, built), name)); err != nil || info.Size() < 1<<20 && !strings.HasSuffix(name, ".cdx.json") {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %.1f MB", name, float64(info.Size())/1e6)
		}
	}
}

// The rpm, the deb, the tarball and `make install` put the same files onto a node, for each architecture.
func TestSameFiles(t *testing.T) {
	need(t, "rpm", "dpkg-deb")
	if os.Geteuid() != 0 {
		t.Skip("SKIP: needs root")
	}
	dir := of(t, built)
	trees := map[string]map[string]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			deb, rpm, tarball := t.TempDir(), t.TempDir(), t.TempDir()
			run(t, "dpkg-deb", "-x", file(t, dir, "*_"+arch+".deb"), deb)
			// Without scripts, because there is no shell under the root; TestNode runs them.
			run(t, "rpm", "--root", rpm, "--nodeps", "--noscripts", "--ignorearch", "-i", file(t, dir, "*."+rpmArch[arch]+".rpm"))
			install(t, file(t, dir, "*-linux-"+arch+".tar.gz"), tarball)
			want := tree(t, tarball)
			trees[arch] = want
			if got := differences(tree(t, deb), want); !slices.Equal(got, debOnly) {
				t.Errorf("the deb and the tarball differ in %q", got)
			}
			if got := differences(tree(t, rpm), want); !slices.Equal(got, rpmOnly) {
				t.Errorf("the rpm and the tarball differ in %q", got)
			}

			f, err := elf.Open(filepath.Join(deb, "usr/sbin/openstack-ocf"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Machine != machines[arch] || f.Section(".interp") != nil {
				t.Errorf("the binary is for %v, static: %v", f.Machine, f.Section(".interp") == nil)
			}
			for _, owned := range []string{"/usr/lib/ocf/resource.d/openstack", "/usr/lib/systemd/system/pacemaker.service.d", "/usr/share/doc/openstack-ocf"} {
				if list := run(t, "rpm", "-qlp", file(t, dir, "*."+rpmArch[arch]+".rpm")); !strings.Contains(list, owned+"\n") {
					t.Errorf("the rpm does not own %s", owned)
				}
			}
			if got := run(t, "rpm", "-qp", "--qf", "%{ARCH}", file(t, dir, "*."+rpmArch[arch]+".rpm")); got != rpmArch[arch] {
				t.Errorf("the rpm is for %s", got)
			}
			if got := run(t, "dpkg-deb", "-f", file(t, dir, "*_"+arch+".deb"), "Architecture"); got != arch+"\n" {
				t.Errorf("the deb is for %s", got)
			}
		})
	}
	if a, b := keys(trees["amd64"]), keys(trees["arm64"]); !slices.Equal(a, b) {
		t.Errorf("other files on arm64: %q, %q", a, b)
	}
	binary := differences(trees["amd64"], trees["arm64"])
	if !slices.Equal(binary, []string{"/usr/sbin/openstack-ocf"}) {
		t.Errorf("more than the binary depends on the architecture: %q", binary)
	}
}

// install unpacks a tarball and runs its script for the image of a node.
func install(t *testing.T, tarball, image string, args ...string) string {
	t.Helper()
	at := t.TempDir()
	run(t, "tar", "--extract", "--file", tarball, "--directory", at, "--strip-components=1")
	cmd := exec.Command(filepath.Join(at, "install"), args...)
	cmd.Env = append(os.Environ(), "DESTDIR="+image)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// Every agent is there with its page, and nothing in the packages is for another one.
func TestComplete(t *testing.T) {
	image := t.TempDir()
	install(t, file(t, of(t, built), "*-linux-"+runtime.GOARCH+".tar.gz"), image)
	files := tree(t, image)
	agents := names(run(t, filepath.Join(image, "usr/sbin/openstack-ocf"), "agents"))
	if len(agents) < 3 {
		t.Fatalf("agents: %q", agents)
	}
	want := []string{
		"/usr/lib/systemd/system/pacemaker.service.d/openstack-ocf.conf", "/usr/sbin/openstack-ocf",
		"/usr/share/bash-completion/completions/openstack-ocf", "/usr/share/doc/openstack-ocf/README.md",
		"/usr/share/doc/openstack-ocf/copyright", "/usr/share/doc/openstack-ocf/third-party.txt", "/usr/share/doc/openstack-ocf/guide.md",
		"/usr/share/man/man8/openstack-ocf.8.gz", "/usr/share/doc/openstack-ocf/prometheus-rules.yaml",
		"/usr/share/doc/openstack-ocf/grafana-dashboard.json",
		"/usr/lib/systemd/system/openstack-ocf-metrics.service", "/usr/lib/systemd/system/openstack-ocf-metrics.timer",
		"/usr/share/zsh/vendor-completions/_openstack-ocf", "/usr/share/fish/vendor_completions.d/openstack-ocf.fish",
	}
	for _, a := range agents {
		link := "/usr/lib/ocf/resource.d/openstack/" + a
		want = append(want, link, "/usr/share/man/man7/ocf_openstack_"+a+".7.gz")
		if target := path.Join(path.Dir(link), strings.TrimPrefix(files[link], "-> ")); target != "/usr/sbin/openstack-ocf" {
			t.Errorf("%s leads to %s", link, target)
		}
	}
	examples, err := filepath.Glob("../../packaging/examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, e := range examples {
		want = append(want, "/usr/share/doc/openstack-ocf/examples/"+filepath.Base(e))
	}
	slices.Sort(want)
	if got := keys(files); !slices.Equal(got, want) {
		t.Errorf("installed is\n%s\nbut wanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// All that is linked into the program has its licence in there.
	var linked struct {
		Deps []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(run(t, "go", "version", "-m", "-json", filepath.Join(image, "usr/sbin/openstack-ocf"))), &linked); err != nil {
		t.Fatal(err)
	}
	licences, err := os.ReadFile(filepath.Join(image, "usr/share/doc/openstack-ocf/third-party.txt"))
	if err != nil || len(linked.Deps) == 0 {
		t.Fatal(err, linked)
	}
	bill, err := os.ReadFile(file(t, of(t, built), "*-linux-"+runtime.GOARCH+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range linked.Deps {
		if !bytes.Contains(bill, []byte(`"purl": "pkg:golang/`+d.Path+"@"+d.Version)) {
			t.Errorf("the bill of materials does not have %s %s", d.Path, d.Version)
		}
		_, text, _ := bytes.Cut(licences, []byte("==== "+d.Path+" "+d.Version+"\n"))
		if text, _, _ = bytes.Cut(text, []byte("\n==== ")); len(text) < 500 {
			t.Errorf("%s %s: the licence is %q", d.Path, d.Version, text)
		}
	}
}

// names are the agents' names in the output of `openstack-ocf agents`.
func names(out string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^ocf:openstack:(\S+)`).FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return list
}

// The script is idempotent, upgrades, takes agents away that are no more, and leaves other people's files alone.
func TestInstallScript(t *testing.T) {
	old, latest := file(t, of(t, built), "*-linux-"+runtime.GOARCH+".tar.gz"), file(t, of(t, upgrade), "*-linux-"+runtime.GOARCH+".tar.gz")
	image := t.TempDir()
	provider := filepath.Join(image, "usr/lib/ocf/resource.d/openstack")
	install(t, old, image)
	first := tree(t, image)
	install(t, old, image)
	if d := differences(first, tree(t, image)); d != nil {
		t.Errorf("a second installation changed %q", d)
	}
	gone, page, foreign := filepath.Join(provider, "gone"), filepath.Join(image, "usr/share/man/man7/ocf_openstack_gone.7.gz"), filepath.Join(provider, "site-agent")
	for path, make := range map[string]func(string) error{
		gone:    func(path string) error { return os.Symlink("../../../../sbin/openstack-ocf", path) },
		page:    func(path string) error { return os.WriteFile(path, nil, 0o644) },
		foreign: func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755) },
	} {
		if err := make(path); err != nil {
			t.Fatal(err)
		}
	}
	install(t, latest, image)
	if out := run(t, filepath.Join(image, "usr/sbin/openstack-ocf"), "--version"); !strings.HasSuffix(out, " "+newer+"\n") {
		t.Errorf("after the upgrade: %s", out)
	}
	upgraded := tree(t, image)
	if d := differences(first, upgraded); !slices.Equal(d, []string{strings.TrimPrefix(foreign, image), "/usr/sbin/openstack-ocf"}) {
		t.Errorf("the upgrade changed %q", d)
	}

	// An older version's script removes a newer one, and nothing else.
	for range 2 {
		install(t, old, image, "--uninstall")
		if left := keys(tree(t, image)); !slices.Equal(left, []string{strings.TrimPrefix(foreign, image)}) {
			t.Errorf("after the removal: %q", left)
		}
	}

	// Another package's agent stops an installation before it has changed anything.
	if err := os.WriteFile(filepath.Join(provider, "qpidd"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	run(t, "tar", "--extract", "--file", old, "--directory", at, "--strip-components=1")
	for _, c := range []struct {
		name string
		args []string
		dest string
		says string
	}{
		{"another package's agent", nil, image, provider + "/qpidd is another package's agent"},
		{"unknown argument", []string{"--remove"}, image, "unknown arguments: --remove; see "},
		{"half a tarball", []string{"--tree", t.TempDir()}, image, "does not hold openstack-ocf: unpack the whole tarball"},
		{"a file where a directory must be", nil, filepath.Join(provider, "qpidd"), "Not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := tree(t, image)
			cmd := exec.Command(filepath.Join(at, "install"), c.args...)
			cmd.Env = append(os.Environ(), "DESTDIR="+c.dest)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.says) {
				t.Errorf("%v: %s", err, out)
			}
			if d := differences(before, tree(t, image)); d != nil {
				t.Errorf("it changed %q", d)
			}
		})
	}
}

// Exceptions are in packaging/, each with its reason.
func TestLint(t *testing.T) {
	for _, c := range []struct {
		tool string
		args []string
		file string
		want *regexp.Regexp
	}{
		// Strings in a Go program follow each other without an end between them; what looks like a misspelling is two of them.
		{"lintian", []string{"--display-info", "--allow-root", "--suppress-tags=spelling-error-in-binary"}, "*.deb", regexp.MustCompile(`^$`)},
		{"rpmlint", []string{"--config", "../../packaging/rpmlint.toml"}, "*.rpm", regexp.MustCompile(` 0 errors, 0 warnings`)},
	} {
		t.Run(c.tool, func(t *testing.T) {
			need(t, c.tool)
			packages, err := filepath.Glob(filepath.Join(of(t, built), c.file))
			if err != nil || len(packages) != 2 {
				t.Fatal(packages, err)
			}
			// rpmlint unpacks with cpio, and the names in nfpm's rpms are absolute: that would write onto the machine.
			bin := t.TempDir()
			if err := os.WriteFile(filepath.Join(bin, "cpio"), []byte("#!/bin/sh\nPATH=${PATH#*:}\nexec cpio --no-absolute-filenames \"$@\"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			if out := run(t, c.tool, append(c.args, packages...)...); !c.want.MatchString(out) {
				t.Error(out)
			}
		})
	}
}

func TestManualPages(t *testing.T) {
	need(t, "man")
	image := t.TempDir()
	install(t, file(t, of(t, built), "*-linux-"+runtime.GOARCH+".tar.gz"), image)
	pages, err := filepath.Glob(filepath.Join(image, "usr/share/man/man*/*.gz"))
	if err != nil || len(pages) < 4 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		// Not justified, as a terminal shows it: a gap in a line is not worth a warning.
		cmd := exec.Command("man", "--warnings", "--encoding=UTF-8", "--no-justification", "--local-file", "-Tutf8", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80", "MANROFFSEQ=", "PAGER=cat")
		var warnings bytes.Buffer
		cmd.Stderr = &warnings
		text, err := cmd.Output()
		if err != nil || warnings.Len() > 0 || len(text) < 1000 {
			t.Errorf("%s: %v\n%s", filepath.Base(page), err, warnings.Bytes())
		}
	}
}

// Whoever adds a command says in the manual what it is for.
func TestManualHasEveryCommand(t *testing.T) {
	image := t.TempDir()
	install(t, file(t, of(t, built), "*-linux-"+runtime.GOARCH+".tar.gz"), image)
	page, err := os.ReadFile("../../packaging/openstack-ocf.8")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, _ := strings.Cut(run(t, filepath.Join(image, "usr/sbin/openstack-ocf"), "help"), "COMMANDS:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	found := regexp.MustCompile(`(?m)^ +([a-z-]+)`).FindAllStringSubmatch(commands, -1)
	if len(found) < 4 {
		t.Fatalf("commands: %q", found)
	}
	for _, c := range found {
		if !regexp.MustCompile(`(?m)^\.TP\n\.B[IR]? ` + regexp.QuoteMeta(strings.ReplaceAll(c[1], "-", `\-`)) + `(\\~|$)`).Match(page) {
			t.Errorf("packaging/openstack-ocf.8 does not describe the command %q", c[1])
		}
	}
}

package house

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "write CHANGELOG.md")

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What CONTRIBUTING.md tells a newcomer to run and to look at, there is.
func TestContributingPointsAtWhatThereIs(t *testing.T) {
	text, makefile := read(t, "CONTRIBUTING.md"), "\n"+read(t, "Makefile")
	paths, targets := 0, 0
	for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		for i, word := range strings.Fields(quoted[1]) {
			if command, args, _ := strings.Cut(quoted[1], " "); command == "make" && i > 0 {
				for target := range strings.FieldsSeq(args) {
					if targets++; !strings.Contains(target, "=") && !strings.Contains(makefile, "\n"+target+":") {
						t.Errorf("the Makefile has no %s", target)
					}
				}
			}
			word = word[strings.LastIndex(word, "=")+1:] // PKG=./test/mysql
			if room, _, ok := strings.Cut(strings.TrimPrefix(word, "./"), "/"); ok && strings.Contains(" agents lib ocf packaging test .ci ", " "+room+" ") && !regexp.MustCompile(`[A-Z]{4}`).MatchString(word) {
				if paths++; !exists(word) {
					t.Errorf("there is no %s", word)
				}
			}
		}
	}
	if paths < 15 || targets < 10 {
		t.Errorf("only %d paths and %d targets", paths, targets)
	}
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(top, path))
	return err == nil
}

// CHANGELOG.md says what the packages' changelog says: `make changelog` makes it of that.
func TestChangelogIsThePackages(t *testing.T) {
	var entries []struct {
		Semver  string
		Date    string
		Changes []struct{ Note string }
	}
	text := strings.ReplaceAll(read(t, "packaging/changelog.yaml"), "@DATE@", "none") // is no YAML
	if err := yaml.Unmarshal([]byte(text), &entries); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# What operators notice, newest first\n\n<!-- Made of packaging/changelog.yaml by `make changelog`. -->\n")
	for _, e := range entries {
		title := "Not released yet"
		if !strings.HasPrefix(e.Semver, "@") {
			version, _, _ := strings.Cut(e.Semver, "-")
			day, _, _ := strings.Cut(e.Date, "T")
			title = version + ", " + day
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		for _, c := range e.Changes {
			fmt.Fprintf(&b, "- %s\n", c.Note)
		}
	}
	if len(entries) == 0 || len(entries[0].Changes) == 0 {
		t.Fatal("the packages' changelog says nothing")
	}
	if *update {
		if err := os.WriteFile(filepath.Join(top, "CHANGELOG.md"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, "CHANGELOG.md") != b.String() {
		t.Error("CHANGELOG.md is not what `make changelog` makes of packaging/changelog.yaml")
	}
}

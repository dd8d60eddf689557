package filesystem

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ext is what systemd-udevd 247 keeps of an ext4 on a partition, as it was; the UUID, label and serial are the test's.
const ext = `S:disk/by-uuid/477d7458-36d2-4da3-a85f-1ffa0f1d0c48
S:disk/by-partuuid/2a9f96b1-9279-4d4f-ac8e-6da8f76e261f
S:disk/by-path/pci-0000:00:05.0-part1
S:disk/by-label/my\x20data
%sW:13
I:1012523
E:ID_SERIAL=%s
E:ID_PART_TABLE_TYPE=gpt
E:ID_PATH=pci-0000:00:05.0
E:ID_FS_LABEL=my_data
E:ID_FS_UUID=477d7458-36d2-4da3-a85f-1ffa0f1d0c48
E:ID_FS_TYPE=%s
E:ID_FS_USAGE=filesystem
E:ID_PART_ENTRY_NUMBER=%d
G:systemd
`

func TestTwinsByUdev(t *testing.T) {
	const byUUID, byLabel = "disk/by-uuid/477d7458-36d2-4da3-a85f-1ffa0f1d0c48", `disk/by-label/my\x20data`
	plain := func(serial string) string { return fmt.Sprintf(ext, "", serial, "ext4", 1) }
	with := func(priority int) string {
		return fmt.Sprintf(ext, fmt.Sprintf("L:%d\n", priority), fmt.Sprint("x", priority), "ext4", 1)
	}
	btrfs := fmt.Sprintf(ext, "", "x", "btrfs", 1)
	for name, c := range map[string]struct {
		files   map[string]string
		link    string
		names   string // in order
		certain bool
		why     string
	}{
		"one":                 {files: map[string]string{"b8:17": plain("a")}, names: "8:17", certain: true},
		"a clone":             {files: map[string]string{"b8:17": plain("a"), "b8:33": plain("b")}, names: "8:17 8:33", why: "is one a clone"},
		"by its label":        {files: map[string]string{"b8:17": plain("a"), "b8:33": plain("b")}, link: byLabel, names: "8:17 8:33", why: "is on /dev/8:17 and /dev/8:33: is one a clone"},
		"paths to one disk":   {files: map[string]string{"b8:17": plain("a"), "b8:33": plain("a")}, names: "8:17 8:33", why: "start multipathd"},
		"two partitions":      {files: map[string]string{"b8:17": plain("a"), "b8:18": fmt.Sprintf(ext, "", "a", "ext4", 2)}, names: "8:17 8:18", why: "is one a clone"},
		"an old LVM snapshot": {files: map[string]string{"b253:3": with(-100), "b253:4": with(0)}, names: "253:4 253:3", certain: true, why: "is one a clone"},
		"part of another":     {files: map[string]string{"b8:17": plain("a"), "b7:1": plain("b")}, names: "8:17", certain: true}, // below
		"btrfs on two":        {files: map[string]string{"b8:17": btrfs, "b8:33": btrfs}, certain: true},
		"other names":         {files: map[string]string{"b8:17": plain("a"), "b8:33": strings.ReplaceAll(plain("b"), "by-uuid/477d", "by-uuid/577d"), "c8:49": plain("c"), "n1": "I:1\n", "+drivers:scsi:sd": "I:1\n"}, names: "8:17", certain: true},
		"nothing":             {certain: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if c.link == "" {
				c.link = byUUID
			}
			twins, err := twinsByUdev(dir, c.link, func(n Number) (string, bool) { return fmt.Sprintf("%d:%d", n.Major, n.Minor), n.Major != 7 })
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, t := range twins {
				names = append(names, t.Name)
			}
			if got := strings.Join(names, " "); got != c.names {
				t.Errorf("%q, want %q", got, c.names)
			}
			why, certain := Doubt("UUID=x", twins)
			if certain != c.certain || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
				t.Errorf("%q, %t; want %q, %t", why, certain, c.why, c.certain)
			}
		})
	}
}

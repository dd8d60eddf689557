package filesystem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

// TestAtBoot: systemd's own reader of fstab judges; lines are as people have them.
func TestAtBoot(t *testing.T) {
	needs.Installed(t, "systemd")
	root := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SYSTEMD_FSTAB", filepath.Join(root, "fstab"))
	for name, c := range map[string]struct {
		fstab       string
		device, dir string // "" is /dev/of-nobody, /srv/data
		want        string // "" is nothing
	}{
		"none":             {},
		"a comment":        {fstab: "# /dev/of-nobody /srv/data ext4 defaults 0 0"},
		"the device":       {fstab: "/dev/of-nobody /mnt ext4 defaults 0 0", want: "systemd mounts /dev/of-nobody on /mnt at boot, behind the cluster's back (/etc/fstab): remove it there, or give it noauto"},
		"the directory":    {fstab: "UUID=60926ab6-5992-4f05-907c-23d4c719e2c7       /srv/data       xfs    defaults,nofail       0 2", want: "mounts /dev/disk/by-uuid/60926ab6-5992-4f05-907c-23d4c719e2c7 on /srv/data"},
		"noauto":           {fstab: "/dev/mapper/vg-data /srv/data ext4 defaults,noauto,noatime 0 0"},
		"automount":        {fstab: "/dev/of-nobody /srv/data ext4 noauto,x-systemd.automount 0 0", want: "on /srv/data"},
		"wanted":           {fstab: "/dev/of-nobody /srv/data ext4 noauto,x-systemd.wanted-by=multi-user.target 0 0", want: "on /srv/data"},
		"network":          {fstab: "nas:/export /srv/data nfs rw,hard,_netdev,nofail 0 0", device: "nas:/export", want: "nas:/export on /srv/data"},
		"network, noauto":  {fstab: "nas:/export /srv/data nfs noauto 0 0", device: "nas:/export"},
		"another's export": {fstab: "nas:/export /home nfs defaults 0 0", device: "nas:/export"},
		"escaped":          {fstab: `LABEL=my\040data /srv/my\040data ext4 defaults 0 0`, dir: "/srv/my data", want: `/dev/disk/by-label/my\x20data on /srv/my data`},
		"a slash":          {fstab: "/dev/sdb1 /srv/data/ ext4", want: "on /srv/data"},
		"a remark":         {fstab: "/dev/of-nobody\t/mnt\text4\tdefaults # the cluster's", want: "on /mnt"},
		"quoted":           {fstab: `UUID="dead-beef" /mnt ext4 defaults 0 0`, device: "UUID=dead-beef", want: "/dev/disk/by-uuid/dead-beef on /mnt"},
		"PARTLABEL":        {fstab: "PARTLABEL=data /mnt ext4 defaults 0 0", device: "/dev/disk/by-partlabel/data", want: "on /mnt"},
		"by link":          {fstab: "/dev/disk/by-uuid/dead-beef /mnt ext4 defaults 0 0", device: "-U dead-beef", want: "on /mnt"},
		"another's":        {fstab: "UUID=dead-beef / ext4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n/dev/sda3 /srv ext4 defaults 0 2\nproc /proc proc defaults 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			write("fstab", c.fstab+"\n")
			if c.device == "" {
				c.device = "/dev/of-nobody"
			}
			if c.dir == "" {
				c.dir = "/srv/data"
			}
			device, err := ParseDevice(c.device)
			if err != nil {
				t.Fatal(err)
			}
			list, err := AtBoot(t.Context(), root, device, c.dir)
			if got := strings.Join(list, "\n"); err != nil || (got == "") != (c.want == "") || !strings.Contains(got, c.want) || len(list) > 1 {
				t.Errorf("%q, %v; want %q", list, err, c.want)
			}
		})
	}
	write("fstab", "")
	write("etc/systemd/system/srv-data.mount", "[Mount]\nWhat=/dev/sdb1\nWhere=/srv/data\n[Install]\nWantedBy=multi-user.target\n")
	if list, err := AtBoot(t.Context(), root, "/dev/of-nobody", "/srv/data"); err != nil || list != nil {
		t.Errorf("a unit that is not enabled: %q, %v", list, err)
	}
	write("etc/systemd/system/multi-user.target.wants/srv-data.mount", "") // a link to it
	if list, err := AtBoot(t.Context(), root, "/dev/of-nobody", "/srv/data"); err != nil || len(list) != 1 || !strings.HasSuffix(list[0], "srv-data.mount): systemctl disable srv-data.mount") {
		t.Errorf("an enabled unit: %q, %v", list, err)
	}
}

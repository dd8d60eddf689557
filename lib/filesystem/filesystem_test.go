package filesystem

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseDevice(t *testing.T) {
	for given, want := range map[string]string{
		"/dev/sdb1":               "/dev/sdb1",
		"-L data":                 "LABEL=data",
		"-Ldata":                  "LABEL=data",
		"-L my data":              "LABEL=my data",
		"--label data":            "LABEL=data",
		"--label=data":            "LABEL=data",
		`LABEL="my data"`:         "LABEL=my data",
		"-U dead-beef":            "UUID=dead-beef",
		"--uuid=dead-beef":        "UUID=dead-beef",
		"PARTUUID=1":              "PARTUUID=1",
		"server:/path":            "server:/path",
		"//server/share":          "//server/share",
		"/srv/a=b":                "/srv/a=b",
		"/dev/disk/by-label/data": "/dev/disk/by-label/data",
		"-L":                      "", // no device
		"LABEL=":                  "",
		"-x /dev/sdb1":            "",
	} {
		got, err := ParseDevice(given)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
		if again, err := ParseDevice(got); want != "" && (again != got || err != nil) {
			t.Errorf("%q became %q: %v", got, again, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	for _, row := range []struct {
		fstype, options string
		flags           uintptr
		data            string
		ok              bool
	}{
		{"ext4", "", 0, "", true},
		{"ext4", "defaults,_netdev,x-systemd.requires=a,comment=b", 0, "", true},
		{"ext4", "noatime,nodev,nosuid", unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID, "", true},
		{"ext4", "ro,rw", 0, "", true},
		{"ext4", "rw,ro", unix.MS_RDONLY, "", true},
		{"ext4", "errors=panic,noatime,data=writeback", unix.MS_NOATIME, "errors=panic,data=writeback", true},
		{"xfs", "inode64,logbufs=8,noquota", 0, "inode64,logbufs=8,noquota", true},
		// What only mount(8) knows how to do.
		{"ext4", "loop", 0, "", false},
		{"ext4", "bind", 0, "", false},
		{"ext4", "user", 0, "", false},
		{"ext4", "X-mount.mkdir", 0, "", false},
		{"ext4", `context="system_u:object_r:mysqld_db_t:s0"`, 0, "", false},
		{"ext4", "logbufs=8", 0, "", false}, // another type's
		{"ext4", "errors=", 0, "", false},
		{"nfs", "ro", 0, "", false},
		{"none", "bind", 0, "", false},
	} {
		flags, data, ok := ParseOptions(row.fstype, row.options)
		if flags != row.flags || data != row.data || ok != row.ok {
			t.Errorf("%s %q: %#x %q %v, want %#x %q %v", row.fstype, row.options, flags, data, ok, row.flags, row.data, row.ok)
		}
	}
}

func TestReadOnly(t *testing.T) {
	for options, want := range map[string]bool{"": false, "ro": true, "rw": false, "ro,rw": false, "noatime,ro": true, "errors=remount-ro": false} {
		if ReadOnly(options) != want {
			t.Errorf("%q: %v", options, !want)
		}
	}
}

package filesystem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/mount"
)

// Twin is one of several devices that one LABEL or UUID is of.
type Twin struct {
	Name     string // "sdb1"
	Serial   string // of the disk, as udev has it, and the partition's number: two that have the same are two paths to it
	Priority int    // udev gives its link to the one with the highest
}

// Twins are the devices that could be mounted by a name which is meant to be of one alone: LABEL=, UUID= and the like, or udev's
// link of it. Clones and snapshots of a disk have the same, the paths to a disk where multipathd does not run, and the two halves
// of a mirror. Those that are a part of another device are not among them, for they cannot be mounted. The highest priority comes
// first. Of any other name, and of a file system that has several devices, there are none.
func Twins(ctx context.Context, device string) ([]Twin, error) {
	link := device
	tag, value, ok := tagged(device)
	if ok {
		link = mount.TagLink(tag, value)
	}
	link, ok = strings.CutPrefix(link, "/dev/disk/by-")
	if kind, _, _ := strings.Cut(link, "/"); !ok || !slices.Contains([]string{"uuid", "label", "partuuid", "partlabel"}, kind) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return hang.Bound(ctx, "the devices of "+device, func() ([]Twin, error) {
		if !exists("/run/udev/control") {
			return twinsByLooking(tag, value)
		}
		return twinsByUdev("/run/udev/data", "disk/by-"+link, canMount)
	})
}

// Doubt is why it cannot be told which of several devices a name means; certain says that it is known all the same, for udev has
// it mean the first. "" is that there is no doubt.
func Doubt(device string, twins []Twin) (why string, certain bool) {
	if len(twins) < 2 {
		return "", true
	}
	var names []string
	paths := twins[0].Serial != ""
	for _, t := range twins {
		names = append(names, "/dev/"+t.Name)
		paths = paths && t.Serial == twins[0].Serial
	}
	why = fmt.Sprintf("%s is on %s: ", device, strings.Join(names, " and "))
	if paths {
		why += "these are paths to one disk, and nobody has joined them: start multipathd, or name one by /dev/disk/by-path"
	} else {
		why += "is one a clone, a snapshot, half of a mirror? Take it away or give it a UUID and label of its own (tune2fs -U random -L, xfs_admin -U generate -L), or name the right one by /dev/disk/by-id or /dev/mapper"
	}
	return why, twins[0].Priority > twins[1].Priority
}

// twinsByUdev reads what udev knows of the devices, without asking any of them.
func twinsByUdev(database, link string, free func(Number) (name string, ok bool)) (list []Twin, err error) {
	files, err := filepath.Glob(database + "/b*:*")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil { // the device has just gone
			continue
		}
		t, links, of := record(string(b))
		if !slices.Contains(links, link) || of == "btrfs" || of == "bcachefs" { // several devices make one file system
			continue
		}
		major, minor, _ := strings.Cut(strings.TrimPrefix(filepath.Base(file), "b"), ":")
		var n Number
		n.Major, _ = strconv.Atoi(major)
		n.Minor, _ = strconv.Atoi(minor)
		var ok bool
		if t.Name, ok = free(n); ok {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b Twin) int { return cmp.Or(b.Priority-a.Priority, strings.Compare(a.Name, b.Name)) })
	return list, nil
}

// record reads what udev keeps of a device. S: is a link that it has, or would have if no other had it, L: its priority there, E:
// a property.
func record(text string) (t Twin, links []string, fstype string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		name, property, _ := strings.Cut(value, "=")
		switch {
		case key == "S":
			links = append(links, value)
		case key == "L":
			t.Priority, _ = strconv.Atoi(value)
		case name == "ID_SERIAL":
			t.Serial = property + t.Serial
		case name == "ID_PART_ENTRY_NUMBER":
			t.Serial += " " + property
		case name == "ID_FS_TYPE":
			fstype = property
		}
	}
	return t, links, fstype
}

// twinsByLooking reads every device, where no udev runs.
func twinsByLooking(tag, value string) (list []Twin, err error) {
	err = eachOf(tag, value, func(path string) bool {
		list = append(list, Twin{Name: strings.TrimPrefix(path, "/dev/")})
		return true
	})
	return list, err
}

// canMount says whether a device could be mounted, or is: nobody has made another one of it.
func canMount(n Number) (name string, ok bool) {
	name = n.Name()
	if name == "" || holders(name) {
		return name, false
	}
	fd, err := unix.Open("/dev/"+strings.ReplaceAll(name, "!", "/"), unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		unix.Close(fd)
		return name, true
	}
	if !errors.Is(err, unix.EBUSY) { // a DRBD secondary, a path that is dead, or this is not root
		return name, os.Geteuid() != 0
	}
	table, err := mount.Read()
	return name, err == nil && len(table.Of(n.Major, n.Minor)) > 0
}

package filesystem

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// flag is an option that mount(2) has a flag for.
type flag struct {
	set  uintptr
	undo bool // it takes the flag away
}

// flags are those of mount(8) "FILESYSTEM-INDEPENDENT MOUNT OPTIONS" that are flags of mount(2).
func flags() map[string]flag {
	return map[string]flag{
		"defaults": {}, "auto": {}, "noauto": {}, "_netdev": {}, "nofail": {},
		"ro": {unix.MS_RDONLY, false}, "rw": {unix.MS_RDONLY, true},
		"noexec": {unix.MS_NOEXEC, false}, "exec": {unix.MS_NOEXEC, true},
		"nosuid": {unix.MS_NOSUID, false}, "suid": {unix.MS_NOSUID, true},
		"nodev": {unix.MS_NODEV, false}, "dev": {unix.MS_NODEV, true},
		"sync": {unix.MS_SYNCHRONOUS, false}, "async": {unix.MS_SYNCHRONOUS, true},
		"dirsync": {unix.MS_DIRSYNC, false},
		"noatime": {unix.MS_NOATIME, false}, "atime": {unix.MS_NOATIME, true},
		"nodiratime": {unix.MS_NODIRATIME, false}, "diratime": {unix.MS_NODIRATIME, true},
		"relatime": {unix.MS_RELATIME, false}, "norelatime": {unix.MS_RELATIME, true},
		"strictatime": {unix.MS_STRICTATIME, false}, "nostrictatime": {unix.MS_STRICTATIME, true},
		"lazytime": {unix.MS_LAZYTIME, false}, "nolazytime": {unix.MS_LAZYTIME, true},
		"iversion": {unix.MS_I_VERSION, false}, "noiversion": {unix.MS_I_VERSION, true},
		"silent": {unix.MS_SILENT, false}, "loud": {unix.MS_SILENT, true},
	}
}

// data are the options that the file systems themselves know, and that mean the same to mount(2) and mount(8).
func data(fstype string) []string {
	switch fstype {
	case "ext4", "ext3", "ext2":
		return []string{
			"acl", "noacl", "user_xattr", "nouser_xattr", "errors", "data", "commit", "barrier", "nobarrier", "discard", "nodiscard",
			"journal_checksum", "nojournal_checksum", "journal_async_commit", "data_err", "delalloc", "nodelalloc", "stripe", "noload", "norecovery",
			"minixdf", "bsddf", "grpid", "nogrpid", "bsdgroups", "sysvgroups", "resuid", "resgid", "block_validity", "noblock_validity",
			"dioread_lock", "dioread_nolock", "max_batch_time", "min_batch_time", "journal_ioprio", "auto_da_alloc", "noauto_da_alloc",
			"noinit_itable", "init_itable", "max_dir_size_kb", "i_version", "quota", "noquota", "usrquota", "grpquota", "prjquota", "usrjquota", "grpjquota",
			"jqfmt", "inode_readahead_blks", "oldalloc", "orlov", "abort", "debug", "nombcache", "no_mbcache", "dax", "test_dummy_encryption", "sb",
		}
	case "xfs":
		return []string{
			"allocsize", "attr2", "noattr2", "dax", "discard", "nodiscard", "grpid", "nogrpid", "bsdgroups", "sysvgroups", "filestreams",
			"ikeep", "noikeep", "inode32", "inode64", "largeio", "nolargeio", "logbufs", "logbsize", "logdev", "rtdev", "noalign", "norecovery",
			"nouuid", "noquota", "uquota", "usrquota", "uqnoenforce", "quota", "gquota", "grpquota", "gqnoenforce", "pquota", "prjquota",
			"pqnoenforce", "sunit", "swidth", "swalloc", "wsync",
		}
	}
	return nil
}

// ParseOptions parts the options of mount(8) into what mount(2) takes. ok is false where there is one that is not known to
// mean the same to both: such as loop, bind or context=, which mount(8) does itself.
func ParseOptions(fstype, options string) (set uintptr, more string, ok bool) {
	known, own := flags(), data(fstype)
	if own == nil || strings.ContainsAny(options, `"\`) {
		return 0, "", false
	}
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		name, value, hasValue := strings.Cut(o, "=")
		f, flagged := known[o]
		switch {
		case o == "", hasValue && (name == "comment" || strings.HasPrefix(name, "x-")), strings.HasPrefix(o, "x-"):
		case flagged && f.undo:
			set &^= f.set
		case flagged:
			set |= f.set
		case slices.Contains(own, name) && (!hasValue || value != ""):
			rest = append(rest, o)
		default:
			return 0, "", false
		}
	}
	return set, strings.Join(rest, ","), true
}

// ReadOnly says whether the options ask for a mount that takes no writes.
func ReadOnly(options string) bool {
	ro := false
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "ro", "rw":
			ro = o == "ro"
		}
	}
	return ro
}

// Binds says whether the options ask for a bind mount: its device is a directory, of a file system that stays where it is.
func Binds(options string) bool {
	list := strings.Split(options, ",")
	return slices.Contains(list, "bind") || slices.Contains(list, "rbind")
}

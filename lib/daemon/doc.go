// Package daemon finds, starts and stops one daemon on this node.
//
// Pacemaker starts a service elsewhere on the strength of "it does not run here", so Find only says so
// (nil, nil) when that is sure: it does not trust pid files, names, sockets or locks. A daemon is a process
// whose executable is one of the Identity's (also when the file was replaced or deleted since) and for which
// the Identity's Test says that it serves our data. What cannot be decided is an error: *DoubtError, or one
// that wraps fs.ErrPermission.
//
// Every Process holds a pidfd (pidfd_open(2), Linux 5.3), so that what is read about it and signals sent to
// it concern that one process even if its pid is used again. On older kernels the start time from
// /proc/PID/stat is compared before and after instead, and waiting means looking every few milliseconds.
//
// A zombie is dead, but for one kind: a process killed while one of its threads is stuck in the kernel shows
// a leader in state Z, yet the stuck thread still holds every file. Such a process is alive here.
//
// Processes in containers on this node are seen too: their /proc/PID/exe and cwd look like ours. A Test made
// by UsesDir takes such a process for ours only if it uses the same directory by device and inode.
//
// The package is Linux only.
package daemon

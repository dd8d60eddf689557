package words

import (
	"slices"
	"strings"
	"testing"
)

func TestTelling(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"nothing", nil, nil},
		{"blank", []string{"", "  "}, nil},
		{"no trouble: the last ones", []string{"a", "b", "c", "d", "e", "f"}, []string{"b", "c", "d", "e", "f"}},
		{"trouble only", []string{"hello", "Cannot open x", "bye"}, []string{"Cannot open x"}},
		{"repeated", []string{"1 failed to lock", "2 failed to lock"}, []string{"1 failed to lock"}},
		{
			"marked levels count before words",
			[]string{"[Note] 0 errors in the check", "[ERROR] Aborting"},
			[]string{"[ERROR] Aborting"},
		},
		{
			"the middle goes",
			[]string{"error a", "error b", "error c", "error d", "error e", "error f"},
			[]string{"error a", "error b", "error c", "error e", "error f"},
		},
		{"a warning is no last word", []string{"2026-11-26  7:21:32 0 [Warning] Could not increase number of max_open_files to more than 1024", "2026-11-26  7:21:33 0 [Note] InnoDB: errors: none"}, nil},
		{"nor is one of another daemon", []string{
			"2026-11-26 07:21:33 [Broker] warning Cannot set thread names", "[NOTICE]   (12) : haproxy version is 2.6, cannot say more",
			"2026-11-26 07:21:34.999 2196 WARNING oslo_config.cfg [None req-50ced0ef - - - - - -] Deprecated: unable to go on",
		}, nil},
		{
			"what speaks of warnings is no warning",
			[]string{"2026-11-26 07:21:33 [Broker] critical Unexpected error: warning was fatal"},
			[]string{"warning was fatal"},
		},
		{
			"advice that destroys data is not passed on",
			[]string{"2026-11-26  7:21:32 0 [ERROR] mariadbd: Aria recovery failed. Please run aria_chk -r on all Aria tables (*.MAI) and delete all aria_log.######## files"},
			[]string{"mariadbd: Aria recovery failed. (Its advice to repair or delete is in the log: copy the data first)"},
		},
		{
			"nor within other words",
			[]string{"[ERROR] Crash recovery failed. Either correct the problem (if it's, for example, out of memory error) and restart, or delete tc log and start server with --tc-heuristic-recover={commit|rollback}"},
			[]string{"[ERROR] Crash recovery failed. (Its advice to repair or delete is in the log: copy the data first)"},
		},
		{
			"EL's scripts before the server: nothing was done",
			[]string{
				"Database MariaDB is probably initialized in /var/lib/mysql already, nothing is done.",
				"If this is not the case, make sure the /var/lib/mysql is empty before running mariadb-prepare-db-dir.", "the disk is upside down",
			},
			[]string{"the disk is upside down"},
		},
		{
			"and what they cannot do, without the advice to empty the storage",
			[]string{
				"Database MariaDB is not initialized, but the directory /var/lib/mysql is not empty, so initialization cannot be done.",
				"Make sure the /var/lib/mysql is empty before running mariadb-prepare-db-dir.",
			},
			[]string{"Database MariaDB is not initialized, but the directory /var/lib/mysql is not empty, so initialization cannot be done."},
		},
		{"what could not be deleted is no advice", []string{"error: cannot delete port 7"}, []string{"error: cannot delete port 7"}},
		{"cleaned", []string{"\x1b[31merror\tx\r"}, []string{"[31merror x"}},
		{
			"without what stands before the message",
			[]string{
				"2026-11-26  7:21:32 0 [ERROR] Can't open the table", "2026-11-26 07:21:33 [Broker] critical Unexpected error: x",
				"2026-11-26 07:21:34.999 2196 ERROR oslo_service.service [None req-50ced0ef - - - - - -] Login refused", "2026-11-26T07:21:35Z error",
			},
			[]string{"Can't open the table", "x", "Login refused"},
		},
		{
			"the server's words come before the names of what passed them on",
			[]string{
				"2026-12-01 00:37:59.001 11689 CRITICAL nova [-] Unhandled error: sqlalchemy.exc.OperationalError: (pymysql.err.OperationalError) (1040, 'Too many connections')",
				"(Background on this error at: https://sqlalche.me/e/14/e3q8)", "2026-12-01 00:37:59.001 11689 ERROR nova Traceback (most recent call last):",
				"2026-12-01 00:37:59.002 11689 ERROR nova [-] Error starting thread.: oslo_db.exception.DBConnectionError: (pymysql.err.OperationalError) (2003, 'gone')",
			},
			[]string{"(1040, 'Too many connections')", "Error starting thread.: (2003, 'gone')"},
		},
		{
			"Redis calls what it dies of a warning",
			[]string{
				"12:M 28 Nov 2026 04:54:28.663 # WARNING Memory overcommit must be enabled! Without it, a background save may fail",
				"12:M 28 Nov 2026 04:54:28.663 # Warning: Could not create server TCP listening socket *:6399: bind: Address already in use",
				"12:M 28 Nov 2026 04:54:28.663 # Failed listening on port 6399 (TCP), aborting.",
			},
			[]string{"Could not create server TCP listening socket *:6399: bind: Address already in use"},
		},
		{
			"and has its cause below a heading",
			[]string{"", "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***", "Reading the configuration file, at line 1", ">>> 'dir /run/redis-data'", "No such file or directory"},
			[]string{">>> 'dir /run/redis-data'", "No such file or directory"},
		},
		{
			"InnoDB tells an error of the system by its number",
			[]string{"2026-11-29  5:12:58 0 [ERROR] InnoDB: preallocating 12582912 bytes for file ./ibtmp1 failed with error 28"},
			[]string{"InnoDB: preallocating 12582912 bytes for file ./ibtmp1 failed: no space left on device (error 28)"},
		},
		{
			"HAProxy sums up what it said", // an older one has a time before the number of its process
			[]string{
				"[NOTICE]   (496) : haproxy version is 2.6.12-1+deb12u4",
				"[ALERT]    (496) : config : parsing [/etc/haproxy/haproxy.cfg:12] : unknown keyword 'no-such-option' in 'frontend' section",
				"[ALERT] 332/025512 (496) : Starting frontend main: cannot bind socket [0.0.0.0:80]",
				"[ALERT]    (496) : config : Fatal errors found in configuration.",
			},
			[]string{
				"parsing [/etc/haproxy/haproxy.cfg:12] : unknown keyword 'no-such-option' in 'frontend' section",
				"Starting frontend main: cannot bind socket [0.0.0.0:80]", "Fatal errors found in configuration.",
			},
		},
	} {
		if got := Telling(c.lines); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	long := Telling([]string{"error " + strings.Repeat("ü", 1000)})
	if len(long) != 1 || len(long[0]) > 303 {
		t.Errorf("a line of %d bytes", len(long[0]))
	}
}

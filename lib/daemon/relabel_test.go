package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// put writes a file below root that can be run, and returns its path.
func put(t *testing.T, root, path, text string) string {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRelabel(t *testing.T) {
	root := t.TempDir()
	put(t, root, "usr/sbin/restorecon", "#!/bin/sh\necho $* >>"+root+"/asked\n")
	if err := relabel(t.Context(), root, []string{"/run/nova"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(root + "/asked"); err == nil {
		t.Error("without SELinux it asked for labels")
	}
	put(t, root, "sys/fs/selinux/enforce", "1")
	if err := relabel(t.Context(), root, []string{"/run/nova", "/run/lock/nova"}); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(root + "/asked"); string(b) != "/run/nova /run/lock/nova\n" {
		t.Errorf("it asked for %q", b)
	}
	put(t, root, "usr/sbin/restorecon", "#!/bin/sh\necho no default label >&2; exit 255\n")
	if err := relabel(t.Context(), root, []string{"/run/nova"}); err == nil || !strings.Contains(err.Error(), "no default label") {
		t.Errorf("what it says is not told: %v", err)
	}
}

// What restorecon says of a program is what its policy has, in the words of EL 9 and of EL 7.
func TestMislabelled(t *testing.T) {
	root := t.TempDir()
	program := put(t, root, "usr/sbin/haproxy", "")
	link := filepath.Join(root, "usr/sbin/link")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	put(t, root, "usr/sbin/restorecon", "#!/bin/sh\nexec cat "+root+"/says\n")
	for _, c := range []struct{ enforce, program, says, want string }{
		{"0", program, "Would relabel " + program + " from system_u:object_r:bin_t:s0 to system_u:object_r:haproxy_exec_t:s0\n", ""},
		{"1", program, "Would relabel " + program + " from system_u:object_r:bin_t:s0 to system_u:object_r:haproxy_exec_t:s0\n", "is labelled bin_t, not haproxy_exec_t"},
		{"1", link, "restorecon reset " + program + " context system_u:object_r:unlabeled_t:s0->system_u:object_r:haproxy_exec_t:s0\n", "is labelled unlabeled_t, not haproxy_exec_t"},
		{"1", program, "Would relabel " + program + " from <no context> to system_u:object_r:haproxy_exec_t:s0\n", "is not labelled haproxy_exec_t"},
		{"1", program, "", ""},
		{"1", "haproxy", "Would relabel x from a:b:c:d to e:f:g:h\n", ""},
		{"1", root + "/none", "Would relabel x from a:b:c:d to e:f:g:h\n", ""},
	} {
		put(t, root, "sys/fs/selinux/enforce", c.enforce)
		put(t, root, "says", c.says)
		got := Mislabelled(t.Context(), root, c.program)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || c.want != "" && !strings.HasSuffix(got, "restorecon -v "+program) {
			t.Errorf("enforce %s, %q: %q", c.enforce, c.says, got)
		}
	}
}

package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/diff"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/words"
)

// BalancerFile is where the load balancer looks for its configuration on the nodes; "" without one.
func (cp *ControlPlane) BalancerFile() string {
	b := cp.balancer()
	if b == nil {
		return ""
	}
	return b.place.Balancer.File(b.parameter)
}

// BalancerConfig is the load balancer's configuration for the API services; "" without them.
func (cp *ControlPlane) BalancerConfig() string {
	b := cp.balancer()
	if b == nil || len(cp.apis) == 0 {
		return ""
	}
	var fronts []placement.Frontend
	for _, a := range cp.apis {
		f := placement.Frontend{
			Name: a.name.s, Bind: netip.AddrPortFrom(cp.ipAddress(), uint16(a.port)),
			Check: a.check, Healthy: string(a.healthy), Tunnel: a.tunnel,
		}
		for _, n := range cp.nodes {
			if len(a.nodes) == 0 || slices.Contains(names(a.nodes), n.name.s) {
				ip, _ := address(n.value.s) // checked when it was read
				f.Servers = append(f.Servers, placement.Server{Name: n.name.s, At: netip.AddrPortFrom(ip, uint16(a.port))})
			}
		}
		fronts = append(fronts, f)
	}
	return b.place.Balancer.Config(fronts)
}

// checkBalancer has the load balancer itself look for faults in its configuration.
func (cp *ControlPlane) checkBalancer(ctx context.Context) error {
	text := cp.BalancerConfig()
	if text == "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "plan")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, filepath.Base(cp.BalancerFile()))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return pacemaker.CheckFile(ctx, cp.balancer().place.Balancer.Check, file)
}

// WriteBalancer writes the load balancer's configuration into a file, if the load balancer finds no fault in it. What
// was there before is kept beside it, under the name that is returned; "" if nothing was.
func (cp *ControlPlane) WriteBalancer(ctx context.Context, file string) (kept string, err error) {
	if cp.BalancerConfig() == "" {
		return "", errors.New("the file describes no load balancer")
	}
	if err := cp.checkBalancer(ctx); err != nil {
		return "", err
	}
	f, err := cp.lookAt(file)
	if err != nil || f == nil {
		return "", err
	}
	return f.write()
}

// Rewrite is a configuration file on this node that is to become another.
type Rewrite struct {
	File string // as the load balancer has it
	// Foreign: somebody else wrote what is there.
	Foreign bool
	path    string // with links resolved
	old     []byte
	mode    fs.FileMode // 0: there is no file yet
	text    string
}

// lookAt compares the load balancer's configuration with what is in a file; nil if it is that.
func (cp *ControlPlane) lookAt(file string) (*Rewrite, error) {
	w := &Rewrite{File: file, path: file, text: cp.BalancerConfig()}
	if _, err := os.Lstat(file); err == nil {
		if w.path, err = filepath.EvalSymlinks(file); err != nil {
			return nil, fmt.Errorf("%s is a link to a file that cannot be found: %w", file, err)
		}
		fi, err := os.Stat(w.path)
		if err != nil {
			return nil, err
		}
		if !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file, but %s: name a file with the parameter that says where the configuration is", file, fi.Mode().Type())
		}
		w.mode = fi.Mode()
		if w.old, err = os.ReadFile(w.path); err != nil {
			return nil, err
		}
		w.Foreign = len(w.old) > 0 && !cp.balancer().place.Balancer.Ours(string(w.old))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if string(w.old) == w.text {
		return nil, nil
	}
	return w, nil
}

// Diff is what becomes of the file, without the lines that stay.
func (w *Rewrite) Diff() []string {
	lines := slices.DeleteFunc(diff.Lines(string(w.old), w.text), func(l string) bool { return strings.HasPrefix(l, "  ") })
	for i, l := range lines {
		for _, word := range strings.Fields(l[2:]) {
			if words.Secret(word, "") || word == "auth" {
				at := strings.Index(l, word) + len(word)
				lines[i] = l[:at] + " (secret)"
				break
			}
		}
	}
	return lines
}

// write writes the file in one step, with the owner and mode that it has. What was there stays beside it, under the name
// that is returned.
func (w *Rewrite) write() (kept string, err error) {
	if now, err := os.ReadFile(w.path); string(now) != string(w.old) || err != nil && w.mode != 0 {
		return "", fmt.Errorf("%s has changed meanwhile, and was left as it is: call this again", w.File)
	}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o755); err != nil {
		return "", err
	}
	if w.mode == 0 { // there is none yet
		return "", files.Replace(w.path, []byte(w.text), 0o644)
	}
	kept = w.path + "." + stamp()
	if err := os.Link(w.path, kept); err != nil {
		return "", err
	}
	return kept, files.ReplaceLike(w.path, []byte(w.text))
}

// takeBack puts back what write replaced.
func (w *Rewrite) takeBack(kept string) error {
	if kept == "" {
		return os.Remove(w.path)
	}
	return os.Rename(kept, w.path)
}

func stamp() string { return time.Now().UTC().Format("20060102T150405Z") }

package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cibTimeout bounds a call of cibadmin(8), which waits for the node that leads the CIB.
const cibTimeout = 30 * time.Second

// ErrChanged says that somebody changed the CIB between reading and writing.
var ErrChanged = errors.New("the CIB has changed meanwhile")

// CIB reads the whole CIB, configuration and status.
func CIB(ctx context.Context) (*Element, error) {
	out, err := tool(ctx, cibTimeout, "", "cibadmin", "--query")
	if err != nil {
		return nil, fmt.Errorf("cannot read the cluster's configuration: is the cluster running on this node? %w", err)
	}
	return ParseXML(strings.NewReader(out))
}

// Patch makes the CIB what to is, if it is still exactly what from is, status and all; otherwise the error is
// ErrChanged. All of it becomes so, or nothing. Both are put into dir meanwhile, for they may hold passwords.
func Patch(ctx context.Context, dir string, from, to *Element) error {
	// A change has to come with a higher epoch, or it counts as older than what is there.
	to = &Element{Name: to.Name, Attrs: append([]Attr(nil), from.Attrs...), Children: to.Children}
	epoch, err := strconv.Atoi(from.Attr("epoch"))
	if err != nil {
		return fmt.Errorf("the CIB's epoch: %w", err)
	}
	to.Set("epoch", strconv.Itoa(epoch+1))
	to.Set("num_updates", "0")
	a, b := filepath.Join(dir, "from.xml"), filepath.Join(dir, "to.xml")
	defer os.Remove(a)
	defer os.Remove(b)
	if err := os.WriteFile(a, []byte(from.String()), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b, []byte(to.String()), 0o600); err != nil {
		return err
	}
	patch, err := tool(ctx, toolTimeout, "", "crm_diff", "--original", a, "--new", b)
	var failed *ToolError
	if err != nil && (!errors.As(err, &failed) || failed.Code != 1) { // 1: there are differences
		return err
	}
	_, err = tool(ctx, cibTimeout, patch, "cibadmin", "--patch", "--xml-pipe")
	if errors.As(err, &failed) && failed.Code == codeOld {
		return fmt.Errorf("%w: %s", ErrChanged, failed.Stderr)
	}
	return err
}

// DeleteByID removes elements of the configuration by their name and id. What is not there is not missed.
func DeleteByID(ctx context.Context, name, id string) error {
	_, err := tool(ctx, cibTimeout, "", "cibadmin", "--delete", "--xml-text", strings.TrimSpace(El(name, "id", id).String()))
	var failed *ToolError
	if errors.As(err, &failed) && failed.Code == codeNoSuch {
		return nil
	}
	return err
}

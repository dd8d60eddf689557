package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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

// SavedCIB reads the CIB that this node keeps on its disk, which takes no tool and no running cluster.
func SavedCIB() (*Element, error) {
	f, err := os.Open("/var/lib/pacemaker/cib/cib.xml")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseXML(f)
}

// Patch makes the CIB what to is, if it is still exactly what from is, status and all; otherwise the error is
// ErrChanged. All of it becomes so, or nothing.
func Patch(ctx context.Context, from, to *Element) error {
	// A change has to come with a higher epoch, or it counts as older than what is there.
	to = &Element{Name: to.Name, Attrs: slices.Clone(from.Attrs), Children: to.Children}
	epoch, err := strconv.Atoi(from.Attr("epoch"))
	if err != nil {
		return fmt.Errorf("the CIB's epoch: %w", err)
	}
	to.Set("epoch", strconv.Itoa(epoch+1))
	to.Set("num_updates", "0")
	// The status is most of a large CIB, and mostly stays. That it has not changed meanwhile either, the versions say.
	same := from.Child("status").Equal(to.Child("status"))
	var files []*os.File
	for _, cib := range []*Element{from, to} {
		if same {
			cib = &Element{Name: cib.Name, Attrs: cib.Attrs, Children: slices.Clone(cib.Children)}
			cib.Children = slices.DeleteFunc(cib.Children, func(e *Element) bool { return e.Name == "status" })
		}
		f, err := memory(cib.String())
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	patch, err := toolWith(ctx, toolTimeout, files, "", "crm_diff", "--original", "/dev/fd/3", "--new", "/dev/fd/4")
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

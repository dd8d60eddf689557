// Package pacemaker calls Pacemaker's own tools, with bounded time. It and
// package daemon are the only ones that run programs.
package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// toolTimeout bounds a call whose context allows more: attrd answers in milliseconds or not at all.
const toolTimeout = 10 * time.Second

func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	// Asked for all nodes, attrd_updater answers for the one of CRM_meta_on_node alone, which agents are given.
	if slices.Contains(args, "--all") {
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OCF_RESKEY_CRM_meta_") })
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.Join(strings.Fields(string(exit.Stderr)), " "))
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// SetAttribute sets a transient attribute of a node, "" being this one, which
// lasts until the node leaves the cluster; the value "" removes it
// (attrd_updater(8)).
func SetAttribute(ctx context.Context, node, name, value string) error {
	args := []string{"--name", name, "--update", value}
	if value == "" {
		args = []string{"--name", name, "--delete"}
	}
	if node != "" {
		args = append(args, "--node", node)
	}
	_, err := run(ctx, "attrd_updater", args...)
	return err
}

const attributeLine = `name="([^"]*)" host="([^"]*)" value="([^"]*)"`

// Attributes are the values that all nodes have of a transient attribute, by
// the nodes' names. Without any it is empty.
func Attributes(ctx context.Context, name string) (map[string]string, error) {
	out, err := run(ctx, "attrd_updater", "--name", name, "--all", "--query")
	if err != nil {
		if strings.Contains(err.Error(), "No such device or address") || strings.Contains(err.Error(), "attribute does not exist") {
			return map[string]string{}, nil
		}
		return nil, err
	}
	return parseAttributes(out), nil
}

func parseAttributes(out string) map[string]string {
	values := map[string]string{}
	for _, m := range regexp.MustCompile(attributeLine).FindAllStringSubmatch(out, -1) {
		if m[3] != "" {
			values[m[2]] = m[3]
		}
	}
	return values
}

// PromotionScore is the name of the attribute that holds the promotion score of
// a resource (Pacemaker Explained, "Promotion scores"); instance may carry a
// clone instance's number.
func PromotionScore(instance string) string {
	name, _, _ := strings.Cut(instance, ":")
	return "master-" + name
}

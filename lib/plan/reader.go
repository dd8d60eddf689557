package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// word is a value in the file, and the line it stands on.
type word struct {
	s    string
	line int
}

// pair is a parameter, or another name with its value.
type pair struct{ name, value word }

// reader walks through the file's YAML and notes all that is wrong with it.
type reader struct {
	file string
	errs []error
}

func (r *reader) errorf(line int, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %w", r.file, line, fmt.Errorf(format, args...)))
}

// parse returns the top of the file's only document; nil if there is none.
func (r *reader) parse(data []byte) ast.Node {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			r.errorf(at.GetToken().Position.Line, "this is no YAML: %s", at.GetMessage())
		} else {
			r.errorf(1, "this is no YAML: %w", err)
		}
		return nil
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		r.errorf(1, "want one YAML document that describes a control plane")
		return nil
	}
	return f.Docs[0].Body
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// entries are the keys and values of a mapping; what says what it is to be.
func (r *reader) entries(n ast.Node, what string) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	r.errorf(lineOf(n), "want %s, as `name: value` lines", what)
	return nil
}

// mapping reads a mapping whose keys are known.
func (r *reader) mapping(n ast.Node, what string, fields map[string]func(ast.Node)) {
	for _, e := range r.entries(n, what) {
		key := e.Key.String()
		read, known := fields[key]
		if !known {
			r.errorf(lineOf(e.Key), "%q is not known here: want one of %s", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			continue
		}
		read(e.Value)
	}
}

// text reads a plain value.
func (r *reader) text(n ast.Node, what string) word {
	switch n := n.(type) {
	case *ast.StringNode:
		return word{n.Value, lineOf(n)}
	case *ast.LiteralNode:
		return word{strings.TrimSpace(n.Value.Value), lineOf(n)}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return word{n.GetToken().Value, lineOf(n)}
	}
	r.errorf(lineOf(n), "want %s", what)
	return word{line: lineOf(n)}
}

// into is a field that is a plain value.
func (r *reader) into(w *word, what string) func(ast.Node) {
	return func(n ast.Node) { *w = r.text(n, what) }
}

// pairs are a mapping whose keys are the operator's.
func (r *reader) pairs(n ast.Node, what, value string) []pair {
	var list []pair
	for _, e := range r.entries(n, what) {
		list = append(list, pair{word{e.Key.GetToken().Value, lineOf(e.Key)}, r.text(e.Value, value)})
	}
	return list
}

// list reads a sequence.
func (r *reader) list(n ast.Node, what string, read func(ast.Node)) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.errorf(lineOf(n), "want %s, as a list: a line `- ...` each", what)
		return
	}
	for _, item := range seq.Values {
		read(item)
	}
}

// words reads a sequence of plain values.
func (r *reader) words(n ast.Node, what string) []word {
	var list []word
	r.list(n, what, func(n ast.Node) { list = append(list, r.text(n, what)) })
	return list
}

// isPlain tells a plain value from a mapping or a list.
func isPlain(n ast.Node) bool {
	_, ok := n.(ast.ScalarNode)
	return ok
}

package plan

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
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

// deepest is how deep brackets may nest, and largest how big a file may be: the parser's time grows with the square.
const (
	deepest = 32
	largest = 1 << 20
)

// parse returns the top of the file's only document; nil if there is none.
func (r *reader) parse(data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors of Windows begin a file with it
	if len(data) > largest {
		r.errorf(1, "%d bytes are no description of a control plane", len(data))
		return nil
	}
	if !utf8.Valid(data) {
		line := 1
		for rest := data; ; line++ {
			l, after, more := bytes.Cut(rest, []byte("\n"))
			if !utf8.Valid(l) || !more {
				break
			}
			rest = after
		}
		r.errorf(line, "this is no UTF-8")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !r.plain(tokens) {
		return nil
	}
	f, err := parser.Parse(tokens, 0)
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

// plain refuses what of YAML is not read here.
func (r *reader) plain(tokens token.Tokens) bool {
	depth, entries := 0, 0
	for _, t := range tokens {
		line := t.Position.Line
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			r.errorf(line, "%q: anchors, aliases and merge keys are not read here: write out what is meant (in quotes, if it is a value that begins with %s)", t.Origin, t.Value)
			return false
		case token.TagType, token.DirectiveType, token.MappingKeyType:
			r.errorf(line, "%q: tags, directives and complex keys are not read here: write the value in quotes if it is one", t.Value)
			return false
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		entries++
		if t.Type != token.SequenceEntryType {
			entries = 0
		}
		if depth > deepest || entries > deepest {
			r.errorf(line, "lists and mappings nest deeper than %d: nothing here does", deepest)
			return false
		}
	}
	return true
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// entry is a key of a mapping with its value.
type entry struct {
	key   word
	value ast.Node
}

// entries are the keys and values of a mapping; what says what it is to be.
func (r *reader) entries(n ast.Node, what string) []entry {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.errorf(lineOf(n), "want %s, as `name: value` lines", what)
		return nil
	}
	seen := map[string]int{}
	var list []entry
	for _, v := range values {
		key := r.text(v.Key, "a name")
		if line, twice := seen[key.s]; twice {
			r.errorf(key.line, "%q is already defined in line %d", key.s, line)
			continue
		}
		seen[key.s] = key.line
		list = append(list, entry{key, v.Value})
	}
	return list
}

// mapping reads a mapping whose keys are known.
func (r *reader) mapping(n ast.Node, what string, fields map[string]func(ast.Node)) {
	for _, e := range r.entries(n, what) {
		read, known := fields[e.key.s]
		if !known {
			r.errorf(e.key.line, "%q is not known here: want one of %s", e.key.s, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			continue
		}
		read(e.value)
	}
}

// text reads a plain value. It goes into commands, the CIB and configuration files, where a line that it breaks, or a
// character that nobody sees, could say something else.
func (r *reader) text(n ast.Node, what string) word {
	w := word{line: lineOf(n)}
	switch n := n.(type) {
	case *ast.StringNode:
		w.s = n.Value
	case *ast.LiteralNode:
		w.s = strings.TrimSpace(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		w.s = n.GetToken().Value
	default:
		r.errorf(w.line, "want %s", what)
		return w
	}
	switch {
	case strings.TrimSpace(w.s) == "":
		r.errorf(w.line, "want %s, and not an empty value", what)
	case strings.ContainsFunc(w.s, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.errorf(w.line, "%q: want %s, on one line and without control characters", w.s, what)
		w.s = ""
	}
	return w
}

// into is a field that is a plain value.
func (r *reader) into(w *word, what string) func(ast.Node) {
	return func(n ast.Node) { *w = r.text(n, what) }
}

// pairs are a mapping whose keys are the operator's.
func (r *reader) pairs(n ast.Node, what, value string) []pair {
	var list []pair
	for _, e := range r.entries(n, what) {
		if e.key.s != "" && !matches(isName, e.key.s) {
			r.errorf(e.key.line, "%q: want a name of letters, digits, - . and _ that does not begin with -", e.key.s)
			continue
		}
		list = append(list, pair{e.key, r.text(e.value, value)})
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

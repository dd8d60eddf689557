// Package policy asks the targeted SELinux policy, as its sources expand, whether agents and services may do on EL what they do.
package policy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Policy is what a policy.conf says of types: constraints and roles are passed over, and every module that is in the text counts
// as installed.
type Policy struct {
	attributes map[string][]string // of a type
	members    map[string][]string // of an attribute
	alias      map[string]string
	booleans   map[string]bool // as installed
	allows     []rule
	moves      []rule // type_transition
}

// rule is an allow or a type_transition.
type rule struct {
	from, to, class, what set
	name                  string   // of the file, in a type_transition
	when                  []string // conditions, all of which must be so
}

type set []string

// Read reads a policy.conf.
func Read(text io.Reader) (*Policy, error) {
	p := &Policy{attributes: map[string][]string{}, members: map[string][]string{}, alias: map[string]string{}, booleans: map[string]bool{}}
	s := bufio.NewScanner(text)
	s.Buffer(nil, 1<<20)
	s.Split(token)
	r := &reader{words: s, policy: p}
	for r.next() {
		r.statement()
	}
	for t, list := range p.attributes {
		for _, a := range list {
			p.members[a] = append(p.members[a], t)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("policy.conf: %w", err)
	}
	return p, nil
}

// token splits the text into words, marks and strings; comments are left out.
func token(data []byte, end bool) (advance int, tok []byte, err error) {
	const marks = "{}();:,!~*-"
	for advance < len(data) {
		c := data[advance]
		switch {
		case c == '#':
			n := bytes.IndexByte(data[advance:], '\n')
			if n < 0 {
				if !end {
					return advance, nil, nil
				}
				return len(data), nil, nil
			}
			advance += n
		case c <= ' ':
			advance++
		case c == '"':
			if n := bytes.IndexByte(data[advance+1:], '"'); n >= 0 {
				return advance + n + 2, data[advance : advance+n+2], nil
			}
			return advance, nil, nil
		case strings.IndexByte(marks, c) >= 0:
			return advance + 1, data[advance : advance+1], nil
		default:
			n := bytes.IndexFunc(data[advance:], func(r rune) bool {
				return r <= ' ' || r == '"' || r == '#' || r != '-' && strings.ContainsRune(marks, r)
			})
			if n < 0 {
				if !end {
					return advance, nil, nil
				}
				n = len(data) - advance
			}
			return advance + n, data[advance : advance+n], nil
		}
	}
	return advance, nil, nil
}

type reader struct {
	words  *bufio.Scanner
	word   string
	policy *Policy
	blocks []string // the condition of each that is open, "" if it has none
	last   string   // condition of the one that was closed last
}

func (r *reader) next() bool {
	ok := r.words.Scan()
	r.word = r.words.Text()
	return ok
}

// statement reads what begins with the word that was read.
func (r *reader) statement() {
	switch r.word {
	case "{":
		r.blocks = append(r.blocks, "")
	case "}":
		if n := len(r.blocks); n > 0 {
			r.last, r.blocks = r.blocks[n-1], r.blocks[:n-1]
		}
	case "require":
		r.skip()
	case "if":
		var cond []string
		for r.next() && r.word != "{" {
			cond = append(cond, r.word)
		}
		r.blocks = append(r.blocks, strings.Join(cond, " "))
	case "else":
		r.next() // "{"
		r.blocks = append(r.blocks, "! "+r.last)
	case "bool":
		if w := r.rest(); len(w) == 2 {
			r.policy.booleans[w[0]] = w[1] == "true"
		}
	case "type", "typeattribute":
		r.declare()
	case "typealias":
		if w := r.rest(); len(w) > 2 {
			r.names(w[0], w[2:])
		}
	case "allow", "type_transition":
		r.rule(r.word)
	case "dontaudit", "auditallow", "neverallow", "role", "roleattribute", "role_transition", "range_transition", "type_change", "type_member":
		r.rest()
	}
}

// skip passes over a block.
func (r *reader) skip() {
	for depth := 0; r.next(); {
		switch r.word {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				return
			}
		}
	}
}

// rest are the words up to the statement's end.
func (r *reader) rest() (words []string) {
	for r.next() && r.word != ";" {
		words = append(words, r.word)
	}
	return words
}

// declare reads "type NAME [alias NAMES] [, ATTRIBUTE]..." and "typeattribute NAME ATTRIBUTE[, ATTRIBUTE]...".
func (r *reader) declare() {
	w := r.rest()
	if len(w) == 0 {
		return
	}
	name, w := w[0], w[1:]
	if len(w) > 0 && w[0] == "alias" {
		end := slices.Index(w, ",")
		if end < 0 {
			end = len(w)
		}
		r.names(name, w[1:end])
		w = w[end:]
	}
	list := r.policy.attributes[name]
	for _, a := range w {
		if a != "," && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	r.policy.attributes[name] = list
}

func (r *reader) names(of string, aliases []string) {
	for _, a := range aliases {
		if a != "{" && a != "}" && a != "," {
			r.policy.alias[a] = of
		}
	}
}

// rule reads "FROM TO : CLASS WHAT [NAME]".
func (r *reader) rule(kind string) {
	w := r.rest()
	if !slices.Contains(w, ":") {
		return // of roles
	}
	var x rule
	for _, s := range []*set{&x.from, &x.to, nil, &x.class, &x.what} {
		if s == nil {
			w = w[1:]
			continue
		}
		*s, w = take(w)
	}
	if len(w) > 0 {
		x.name = strings.Trim(w[0], `"`)
	}
	for _, c := range r.blocks {
		if c != "" {
			x.when = append(x.when, c)
		}
	}
	if kind == "allow" {
		r.policy.allows = append(r.policy.allows, x)
	} else {
		r.policy.moves = append(r.policy.moves, x)
	}
}

// take takes a name, or a set in braces, off a list of words.
func take(w []string) (set, []string) {
	depth := 0
	for i, word := range w {
		switch word {
		case "{":
			depth++
		case "}":
			depth--
		}
		if depth == 0 && word != "~" && word != "-" {
			return w[:i+1], w[i+1:]
		}
	}
	return w, nil
}

// has tells whether one of the names is in the set. A name that stands behind a minus is out, whatever else says that it is in.
func (s set) has(names ...string) bool {
	in, minus, not := false, false, false
	for _, w := range s {
		switch w {
		case "{", "}":
			continue
		case "~":
			not = true
			continue
		case "-":
			minus = true
			continue
		}
		if w == "*" || slices.Contains(names, w) {
			if minus {
				return not
			}
			in = true
		}
		minus = false
	}
	return in != not
}

// names are a type, its aliases and the attributes by which rules speak of it.
func (p *Policy) names(t string) []string {
	if of, ok := p.alias[t]; ok {
		t = of
	}
	names := append([]string{t}, p.attributes[t]...)
	for a, of := range p.alias {
		if of == t {
			names = append(names, a)
		}
	}
	return names
}

// Known tells whether there is such a type.
func (p *Policy) Known(t string) bool {
	_, is := p.attributes[t]
	_, other := p.alias[t]
	return is || other
}

// Missing are those of the permissions that from does not have on to. bools are set besides those that are on as installed;
// without tells which attributes of from do not count.
func (p *Policy) Missing(from, to, class string, perms []string, bools []string, without func(attribute string) bool) []string {
	source, target := slices.DeleteFunc(p.names(from), without), p.names(to)
	left := slices.Clone(perms)
	for _, x := range p.allows {
		if len(left) == 0 {
			break
		}
		if x.class.has(class) && x.from.has(source...) && (x.to.has(target...) || from == to && x.to.has("self")) && p.holds(x.when, bools) {
			left = slices.DeleteFunc(left, func(perm string) bool { return x.what.has(perm) })
		}
	}
	return left
}

// Becomes is the type of what from makes: a process of a program with the type at, or a file with that name in a directory with it;
// "" if nothing is said.
func (p *Policy) Becomes(from, at, class, name string) (found string) {
	source, target := p.names(from), p.names(at)
	for _, x := range p.moves {
		if (x.name == "" || x.name == name) && x.class.has(class) && x.from.has(source...) && x.to.has(target...) && p.holds(x.when, nil) {
			if found = x.what[0]; x.name != "" {
				return found
			}
		}
	}
	return found
}

func (p *Policy) holds(when, bools []string) bool {
	for _, cond := range when {
		e := expression{words: strings.Fields(cond), on: func(name string) bool { return p.booleans[name] || slices.Contains(bools, name) }}
		if !e.or() {
			return false
		}
	}
	return true
}

// expression is a condition of booleans.
type expression struct {
	words []string
	on    func(string) bool
}

func (e *expression) is(word string) bool {
	if len(e.words) > 0 && e.words[0] == word {
		e.words = e.words[1:]
		return true
	}
	return false
}

func (e *expression) or() bool {
	v := e.and()
	for e.is("||") {
		w := e.and()
		v = v || w
	}
	return v
}

func (e *expression) and() bool {
	v := e.not()
	for e.is("&&") {
		w := e.not()
		v = v && w
	}
	return v
}

func (e *expression) not() bool {
	switch {
	case e.is("!"):
		return !e.not()
	case e.is("("):
		v := e.or()
		e.is(")")
		return v
	case len(e.words) == 0:
		return false
	}
	name := e.words[0]
	e.words = e.words[1:]
	return e.on(name)
}

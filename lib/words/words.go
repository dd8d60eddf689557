// Package words makes what servers, logs and the network say fit for a reason that an operator reads in one line.
package words

import (
	"errors"
	"net"
	"os"
	"strings"
	"unicode"
)

// limit is the most bytes that one voice gets in a reason.
const limit = 300

// Line is a text in one line: printable, valid UTF-8, with single blanks, and not endless.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// Error is an error's Line. Of one of package net's it is what the system says, without the operation and the address
// that Go puts before: a reason names both already.
func Error(err error) string {
	var system *os.SyscallError
	if op, ok := err.(*net.OpError); ok && errors.As(op, &system) { //nolint:errorlint // of an error around it the words are kept
		err = system.Err
	}
	return Line(strings.ReplaceAll(err.Error(), "\n", "; "))
}

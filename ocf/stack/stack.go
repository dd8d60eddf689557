// Package stack spares a program that lives for milliseconds the growing of its stacks: Go copies one that is used up to
// one of twice the size, and looks up each function on it to do so.
package stack

var none int

// Room has the stack of this goroutine enlarged at once to the 8 KiB that an agent needs. At the bottom there are few
// functions to look up: two calls of it made a monitor a twentieth cheaper.
//
//go:noinline
func Room() byte {
	var wanted [5 << 10]byte
	return wanted[none] // without a use of it, the compiler leaves it out
}

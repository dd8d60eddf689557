package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// live is a terminal below whose lines stands, while something goes on, for how long it has, and for how long at most.
type live struct {
	out io.Writer

	mu    sync.Mutex
	shown bool
}

func (l *live) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	return l.out.Write(p)
}

// clear takes the line away: to its begin, and erase to its end (ECMA-48).
func (l *live) clear() {
	if l.shown {
		fmt.Fprint(l.out, "\r\x1b[K")
		l.shown = false
	}
}

// during does something, and shows how it goes on every so often.
func (l *live) during(every time.Duration, most string, do func() error) error {
	began, ended := time.Now(), make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			l.mu.Lock()
			l.clear()
			fmt.Fprintf(l.out, "%6.0f s  ... (%s at most)", time.Since(began).Seconds(), most)
			l.shown = true
			l.mu.Unlock()
		}
	})
	defer func() {
		close(ended)
		showing.Wait()
		l.mu.Lock()
		l.clear()
		l.mu.Unlock()
	}()
	return do()
}

// during does something, and shows how it goes on if out is a terminal.
func during(out io.Writer, most string, do func() error) error {
	if l, ok := out.(*live); ok {
		return l.during(time.Second, most, do)
	}
	return do()
}

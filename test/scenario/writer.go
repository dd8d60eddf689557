package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Ledger is a service that keeps numbers, as one client sees it. It is used by one goroutine at a time.
type Ledger interface {
	// Put has the service keep n. Only a nil error says that it was acknowledged; after any other, the service
	// may or may not have kept it. Put connects when it has to, and gives up on its own, in a second or so.
	Put(ctx context.Context, n int) error
	// Numbers returns all numbers the service keeps, each as often as it is there.
	Numbers(ctx context.Context) ([]int, error)
	Close() error
}

// usualPause is short beside the shortest outage, and long beside what a try costs: at 5 ms the clients, and what the services do for
// them, are half of a small machine's work.
const usualPause = 20 * time.Millisecond

// Writer puts 1, 2, 3, ... into a ledger without end: one try a number, whatever comes of it.
type Writer struct {
	ledger Ledger
	pause  time.Duration
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	acks    []ack       // in order of time
	fails   []time.Time // when tries failed, in order
	tries   int
	lastErr error
	changed chan struct{} // closed and replaced at every acknowledgement
}

type ack struct {
	n           int
	begun, done time.Time
}

// Write starts a writer, until Stop, with a pause between two tries, and so the resolution of what it measures; 0: 20 ms.
func Write(l Ledger, pause time.Duration) *Writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writer{ledger: l, pause: cmp.Or(pause, usualPause), cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go w.run(ctx)
	return w
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(w.pause)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		err := w.ledger.Put(ctx, n)
		done := time.Now()
		w.mu.Lock()
		w.tries = n
		if err == nil {
			w.acks = append(w.acks, ack{n, begun, done})
			close(w.changed)
			w.changed = make(chan struct{})
		} else if ctx.Err() == nil { // a try that Stop ended is no failure
			w.fails = append(w.fails, done)
			w.lastErr = err
		}
		w.mu.Unlock()
	}
}

// Stop ends the writing, with the try that is under way.
func (w *Writer) Stop() {
	w.cancel()
	<-w.done
}

// Acknowledged is how many numbers were acknowledged so far, of how many tries.
func (w *Writer) Acknowledged() (acknowledged, tries int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acks), w.tries
}

// WaitServed returns when a try was acknowledged that began after t.
func (w *Writer) WaitServed(ctx context.Context, t time.Time) error {
	for {
		w.mu.Lock()
		served := len(w.acks) > 0 && w.acks[len(w.acks)-1].begun.After(t)
		changed := w.changed
		w.mu.Unlock()
		if served {
			return nil
		}
		select {
		case <-changed:
		case <-w.done:
			return errors.New("the client was stopped")
		case <-ctx.Done():
			w.mu.Lock()
			defer w.mu.Unlock()
			return fmt.Errorf("the client is not served: %w; its last error: %w", ctx.Err(), w.lastErr)
		}
	}
}

// Outage is a time without an acknowledgement: from the last one before it to the first one after it.
type Outage struct{ Lost, Back time.Time }

// Length is how long it was.
func (o Outage) Length() time.Duration { return o.Back.Sub(o.Lost) }

func (o Outage) String() string { return fmt.Sprintf("%.2f s", o.Length().Seconds()) }

// Outage returns the longest time without an acknowledgement that ended after since.
func (w *Writer) Outage(since time.Time) (longest Outage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, _ := slices.BinarySearchFunc(w.acks, since, func(a ack, t time.Time) int { return a.done.Compare(t) })
	for i := max(first, 1); i < len(w.acks); i++ {
		if o := (Outage{w.acks[i-1].done, w.acks[i].done}); o.Length() > longest.Length() {
			longest = o
		}
	}
	return longest
}

// Outages are all times without an acknowledgement that are longer than least, between the first one after from and the last.
func (w *Writer) Outages(from time.Time, least time.Duration) (list []Outage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, _ := slices.BinarySearchFunc(w.acks, from, func(a ack, t time.Time) int { return a.done.Compare(t) })
	for i := first + 1; i < len(w.acks); i++ {
		if o := (Outage{w.acks[i-1].done, w.acks[i].done}); o.Length() > least {
			list = append(list, o)
		}
	}
	return list
}

// Failed is how many tries ended without an acknowledgement after since.
func (w *Writer) Failed(since time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, _ := slices.BinarySearchFunc(w.fails, since, time.Time.Compare)
	return len(w.fails) - first
}

// LastError is why the last try that failed did; nil if none has.
func (w *Writer) LastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr
}

// Between is how many of the numbers were acknowledged after from, and not after to.
func (w *Writer) Between(numbers []int, from, to time.Time) (count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.acks {
		if a.done.After(from) && !a.done.After(to) && slices.Contains(numbers, a.n) {
			count++
		}
	}
	return count
}

// Audit is what a ledger holds, held against what was acknowledged.
type Audit struct {
	Acknowledged int
	Found        int   // of the acknowledged ones
	Lost         []int // acknowledged, but not there
	Twice        []int // there more than once
	More         int   // there without having been acknowledged: the answer was lost on the way
	Stray        []int // there without ever having been put
}

// Err is nil if every acknowledged number is there exactly once, and nothing that was never put.
func (a Audit) Err() error {
	if len(a.Lost)+len(a.Twice)+len(a.Stray) == 0 {
		return nil
	}
	return fmt.Errorf("of %d acknowledged: %d lost %.20v, %d found twice %.20v, %d never written %.20v",
		a.Acknowledged, len(a.Lost), a.Lost, len(a.Twice), a.Twice, len(a.Stray), a.Stray)
}

// Audit reads the ledger back. The writer must have been stopped.
func (w *Writer) Audit(ctx context.Context) (Audit, error) {
	numbers, err := w.ledger.Numbers(ctx)
	if err != nil {
		return Audit{}, fmt.Errorf("read back: %w", err)
	}
	times := map[int]int{}
	for _, n := range numbers {
		times[n]++
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := Audit{Acknowledged: len(w.acks)}
	acked := map[int]bool{}
	for _, k := range w.acks {
		acked[k.n] = true
		if times[k.n] == 0 {
			a.Lost = append(a.Lost, k.n)
		} else {
			a.Found++
		}
	}
	for n, count := range times {
		switch {
		case n < 1 || n > w.tries:
			a.Stray = append(a.Stray, n)
		case count > 1:
			a.Twice = append(a.Twice, n)
		case !acked[n]:
			a.More++
		}
	}
	slices.Sort(a.Twice)
	slices.Sort(a.Stray)
	return a, nil
}

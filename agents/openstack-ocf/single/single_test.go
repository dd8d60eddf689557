package single

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHang: a system call that hangs leaves the processor to those that wait for it no longer.
func TestHang(t *testing.T) {
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Fatalf("%d processors", n)
	}
	var fd [2]int
	if err := unix.Pipe(fd[:]); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := unix.Read(fd[0], make([]byte, 1))
		done <- err
	}()
	begin := time.Now()
	select {
	case err := <-done:
		t.Fatal(err)
	case <-time.After(50 * time.Millisecond):
	}
	if late := time.Since(begin); late > time.Second {
		t.Errorf("waited %s", late)
	}
	_ = unix.Close(fd[1])
	if err := <-done; err != nil {
		t.Error(err)
	}
}

package hang_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/hang"
)

func TestBound(t *testing.T) {
	if v, err := hang.Bound(t.Context(), "it", func() (int, error) { return 1, os.ErrExist }); v != 1 || err != os.ErrExist {
		t.Errorf("got %d, %v", v, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	v, err := hang.Bound(ctx, "the storage of /srv", func() (int, error) { <-release; return 1, nil })
	if v != 0 || !errors.Is(err, context.DeadlineExceeded) || err.Error() != "the storage of /srv does not answer: context deadline exceeded" {
		t.Errorf("got %d, %v", v, err)
	}
}

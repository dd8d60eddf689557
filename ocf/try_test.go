package ocf

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	var port string
	a := Agent{
		Name: "try", Parameters: []Parameter{{Name: "port", Value: String(&port)}},
		Actions: []Action{{Name: ValidateAll, Timeout: time.Second, Depth: 10, Run: func(_ context.Context, r *Request) error {
			r.Log.Warn("the unit is enabled")
			r.Log.Info("not this")
			return Errorf(NotInstalled, "no program for %s at %d", port, r.Level)
		}}},
	}
	got := Try(t.Context(), a, ValidateAll, "db", map[string]string{"port": "3306"}, time.Minute, "OCF_CHECK_LEVEL=10")
	if got.Code != NotInstalled || got.Reason != "no program for 3306 at 10" || !slices.Equal(got.Warnings, []string{"the unit is enabled"}) {
		t.Errorf("%+v", got)
	}
}

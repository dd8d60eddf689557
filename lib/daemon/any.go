package daemon

import "context"

// Any is the disjunction of tests: the first yes decides; a doubt counts only if none says yes.
func Any(tests ...Test) Test {
	return func(ctx context.Context, p *Process) (bool, error) {
		var doubt error
		for _, test := range tests {
			ours, err := test(ctx, p)
			if ours && err == nil {
				return true, nil
			}
			if doubt == nil {
				doubt = err
			}
		}
		return false, doubt
	}
}

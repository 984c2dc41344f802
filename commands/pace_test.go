package commands_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/domain/problem"
)

// Of a thousand items, those that cannot be done are left behind one by one, and all others
// are done, in not many more steps than without them.
func TestAPaceFindsWhatCannotBeDone(t *testing.T) {
	t.Parallel()
	const step = 100
	refusal := problem.New(problem.TooLarge, "event_too_large", "")
	broken := errors.New("broken")
	faults := map[int]error{0: refusal, 57: broken, 58: refusal, 999: broken}
	var pace commands.Pace
	left, tries, at := map[int]string{}, 0, 0
	for at < 1000 {
		tries++
		require.Less(t, tries, 100)
		if pace.Unfit != "" {
			left[at] = pace.Unfit
			at++
			pace.Done()
			continue
		}
		most := step
		if pace.Most > 0 {
			most = min(most, pace.Most)
		}
		var fault error
		for n := at; n < min(at+most, 1000) && fault == nil; n++ {
			fault = faults[n]
		}
		if fault != nil {
			require.True(t, pace.Failed(fault))
			continue
		}
		at = min(at+most, 1000)
		pace.Done()
	}
	require.Equal(t, map[int]string{0: "event_too_large", 57: "internal", 58: "event_too_large", 999: "internal"}, left)

	stuck := commands.Pace{Most: 1, Unfit: "internal"}
	require.False(t, stuck.Failed(broken))
}

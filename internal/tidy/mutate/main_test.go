package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the tests of a package do not notice is named, each change once, and nothing else: of
// two functions that are the same, all of the one that is not held.
func TestWhatNobodyNoticesIsNamed(t *testing.T) {
	var said strings.Builder
	err := mutate(t.Context(), &said, "./testdata/halfheld")
	require.Error(t, err)
	var changes []string
	for line := range strings.Lines(err.Error()) {
		if place, change, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			require.Regexp(t, `^halfheld\.go:(3[3-9]|4\d)$`, place, change)
			changes = append(changes, change)
		}
	}
	require.ElementsMatch(t, []string{
		`names = append(make([]string, 0, len(list)+1), "of") → (nothing)`,
		"sum += n → (nothing)", "n → -(n)",
		"n > most && !reversed → n > most || !reversed", "n > most → n >= most", "n > most → n <= most", "n > most → n > most + 1", "!reversed → !(!reversed)",
		`names = append(names, "many") → (nothing)`, `names = append(names, "two") → (nothing)`,
		"kind == 2 → kind != 2", "kind == 2 → kind == 2 + 1",
		"reversed → !(reversed)", "sum = -sum → (nothing)", "-sum → sum",
		"sum * 2 → sum / 2", "sum * 2 → sum * 2 + 1",
		"pause+time.Second <= 5*time.Second → pause+time.Second < 5*time.Second", "pause+time.Second <= 5*time.Second → pause+time.Second > 5*time.Second",
		"pause+time.Second <= 5*time.Second → pause+time.Second <= 5*time.Second + 1", "pause+time.Second → pause-time.Second", "pause+time.Second → pause+time.Second + 1",
	}, changes)
	require.Equal(t, fmt.Sprintf("%d changes, %d of them noticed\n", 2*len(changes), len(changes)), said.String())
}

// What is never run is named before anything is changed.
func TestWhatIsNeverRunIsNamed(t *testing.T) {
	var said strings.Builder
	require.ErrorContains(t, mutate(t.Context(), &said, "./testdata/halfrun"), "halfrun.go:7.13,8.12 1")
	require.Empty(t, said.String())
}

// Package halfheld is for the test of what changes packages: its own tests notice every
// change of Held, and none of Unheld, which is the same.
package halfheld

import "time"

// Kind is a type of the package, which changes must name.
type Kind int

// most is a limit.
const most = 3

// Held is held by a test.
func Held(list []int, kind Kind, reversed bool, pause time.Duration) (sum int, names []string, over bool) {
	names = append(make([]string, 0, len(list)+1), "of")
	for _, n := range list {
		sum += n
		switch {
		case n > most && !reversed:
			names = append(names, "many")
		case kind == 2:
			names = append(names, "two")
		}
	}
	if reversed {
		sum = -sum
	}
	return sum * 2, names, pause+time.Second <= 5*time.Second
}

// Unheld is Held, which nobody looks at.
func Unheld(list []int, kind Kind, reversed bool, pause time.Duration) (sum int, names []string, over bool) {
	names = append(make([]string, 0, len(list)+1), "of")
	for _, n := range list {
		sum += n
		switch {
		case n > most && !reversed:
			names = append(names, "many")
		case kind == 2:
			names = append(names, "two")
		}
	}
	if reversed {
		sum = -sum
	}
	return sum * 2, names, pause+time.Second <= 5*time.Second
}

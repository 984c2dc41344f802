package halfheld

import (
	"fmt"
	"testing"
	"time"
)

func TestHeld(t *testing.T) {
	for _, c := range []struct {
		list     []int
		kind     Kind
		reversed bool
		pause    time.Duration
		want     string
	}{
		{[]int{1, 3, 4, 5}, 1, false, 4 * time.Second, "26 [of many many] true"},
		{[]int{4}, 2, true, 4*time.Second + 1, "-8 [of two] false"},
		{[]int{1}, 2, false, 0, "2 [of two] true"},
		{[]int{1}, 3, false, 0, "2 [of] true"},
	} {
		Unheld(c.list, c.kind, c.reversed, c.pause)
		sum, names, over := Held(c.list, c.kind, c.reversed, c.pause)
		if got := fmt.Sprint(sum, " ", names, " ", over); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

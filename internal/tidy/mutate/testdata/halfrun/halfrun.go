// Package halfrun is for the test of what changes packages: its own tests run half of it.
package halfrun

// Sign says on which side of zero a number is.
func Sign(n int) int {
	switch {
	case n < 0:
		return -1
	}
	return 1
}

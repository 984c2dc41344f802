package eventstore

// Signal wakes one waiting goroutine. Wakes between two waits are one: whoever
// wakes must look for all there is to do.
type Signal struct{ c chan struct{} }

// NewSignal makes a signal that has not been given.
func NewSignal() *Signal { return &Signal{c: make(chan struct{}, 1)} }

// Wake never blocks.
func (s *Signal) Wake() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C receives once per burst of wakes.
func (s *Signal) C() <-chan struct{} { return s.c }

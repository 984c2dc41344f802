package ratelimit

// Resting reports whether Redis is left alone after a failure.
func (l *Limiter) Resting() bool { return l.shared.resting() }

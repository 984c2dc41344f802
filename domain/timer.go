package domain

import "time"

// Timer declares one kind of thing that is to happen at a time, as the expiry of a hold.
// Events set it, and set it to another time, and cancel it; what happens when it is due
// is a command, which package reactions knows.
type Timer struct {
	// Name is of lower-case letters and underscores, 40 at most. It stays: the ids of
	// commands hang on it.
	Name string
	// Types are the events that it looks at.
	Types []string
	// Change says what such an event does, if anything. It is pure.
	Change func(Event, Payload) (TimerChange, bool)
}

// TimerChange is what an event does to one timer.
type TimerChange struct {
	// Key tells the timers of a kind in an organisation apart; 1 to 256 bytes. All events
	// about one key are of one stream.
	Key string
	// Set says that the timer is to fire at Due, whatever was said before; otherwise it
	// is not to fire.
	Set bool
	Due time.Time
}

package relay

import "time"

// OnStatus has f called with every new Status; set before Run.
func (r *Relay) OnStatus(f func(Status)) { r.changed = f }

// OnlyWhenWoken keeps the relay from looking for events by itself.
func (r *Relay) OnlyWhenWoken() { r.pollInterval, r.sessionTime = time.Hour, time.Hour }

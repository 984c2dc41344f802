package reactions

// All are the reactions of the product. A new one is a line here.
func All() []Reaction {
	return []Reaction{}
}

// Timers are the timers of the product: those of projections.TimerKinds, each with its
// command. A new one is a line here and one there.
func Timers() []Timer {
	return []Timer{}
}

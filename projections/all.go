package projections

// All are the projections of the product. A new view is one line here.
func All() []Projection {
	all := []Projection{
		Entities(),
		EntityHistory(),
		Ledger(),
		Members(),
		Organizations(),
		WorkJobs(),
	}
	if kinds := TimerKinds(); len(kinds) > 0 { // without any it would be a view of nothing
		all = append(all, Timers(kinds))
	}
	return all
}

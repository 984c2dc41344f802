package projections

// All are the projections of the product. A new view is one line here.
func All() []Projection {
	return []Projection{
		Entities(),
		Members(),
		Organizations(),
	}
}
